/** Worker `log-store`: log lines of all processes, from their topic into the log store and to its own stdout. */
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { kafkaOnlySettings } from '../base/config.ts';
import type { Worker } from '../platform/worker.ts';
import { startLogStore } from './log-store.ts';
import { victoriaLogs } from './victorialogs.ts';

const config = Type.Object({
  LOG_STORE_URL: Type.String({ pattern: '^https?://[^\\s]+$', description: 'base address of VictoriaLogs' }),
  PROCESS_NAME: kafkaOnlySettings.properties.PROCESS_NAME,
});

export const worker: Worker<typeof config> = {
  name: 'log-store',
  consumes: [groups.logStore],
  produces: [topics.logsDlq],
  kafkaOnly: true,
  config,
  async start({ config: settings, kafka, log, metrics: registry, fail }) {
    const own = settings.PROCESS_NAME;
    const consumer = await startLogStore(kafka, {
      group: groups.logStore,
      store: victoriaLogs(settings.LOG_STORE_URL),
      // Not by the logger, which would publish them again; lines of this process are on its stdout already.
      write: (lines) =>
        process.stdout.write(
          lines
            .filter((line) => line.process !== own)
            .map(({ text }) => `${text}\n`)
            .join(''),
        ),
      registry,
      log,
      onFatal: fail,
    });
    return { ready: consumer.ready, waitingFor: () => 'its partitions', stop: () => consumer.stop() };
  },
};
