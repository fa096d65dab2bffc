/**
 * One-shot: `node workers/topics/main.ts plan|apply [--raise-partitions]` with KAFKA_BROKERS and MUSTER_ENV.
 * Prints the plan first. Exit 0 also when there is nothing to do, 1 when a step failed, 64 for a wrong call.
 */
import { environmentNamed } from '../../catalog/environments.ts';
import { runOneShot } from '../base/one-shot.ts';
import { applyPlan, showPlan } from './apply.ts';

const usage =
  'usage: KAFKA_BROKERS=host:port,... MUSTER_ENV=dev|ci|prod node workers/topics/main.ts plan|apply [--raise-partitions]';

async function main(): Promise<number> {
  const flags = process.argv.slice(3);
  const [verb] = process.argv.slice(2);
  const unknown = flags.filter((flag) => flag !== '--raise-partitions');
  const brokers = process.env.KAFKA_BROKERS?.split(',').filter((address) => address !== '') ?? [];
  if ((verb !== 'plan' && verb !== 'apply') || unknown.length > 0 || brokers.length === 0) {
    console.error(usage);
    return 64;
  }
  const options = {
    brokers,
    environment: environmentNamed(process.env.MUSTER_ENV ?? 'dev'),
    print: (line: string) => console.log(line),
    raisePartitions: flags.includes('--raise-partitions'),
  };
  await (verb === 'plan' ? showPlan(options) : applyPlan(options));
  return 0;
}

await runOneShot(main);
