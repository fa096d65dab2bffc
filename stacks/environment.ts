/** The stacks of one environment and what each waits for. */
import type { App } from 'cdktf';
import { DataStack } from './data-stack.ts';
import type { ImageName } from './images.ts';
import { KafkaStack } from './kafka-stack.ts';
import { ObservabilityStack } from './observability-stack.ts';
import { ServicesStack } from './services-stack.ts';
import type { Settings } from './settings.ts';

/**
 * `<env>-kafka` comes first and owns the network; `<env>-data` and `<env>-observability` follow side by side;
 * `<env>-services` needs topics and tables. Destroying goes the other way round.
 */
export function createStacks(app: App, settings: Settings<ImageName>) {
  const name = settings.environment.name;
  const left = (['cmak', 'grafana'] as const).filter((image) => settings.image(image) === undefined);
  if (left.length > 0)
    process.stderr.write(
      `muster: ${left.join(' and ')} left out: only a registry has the image, and the engine does not hold it\n`,
    );
  const kafka = new KafkaStack(app, `${name}-kafka`, { settings });
  const data = new DataStack(app, `${name}-data`, { settings });
  const observability = new ObservabilityStack(app, `${name}-observability`, { settings });
  const services = new ServicesStack(app, `${name}-services`, { settings });
  data.addDependency(kafka);
  observability.addDependency(kafka);
  services.addDependency(kafka);
  services.addDependency(data);
  return { kafka, data, observability, services };
}
