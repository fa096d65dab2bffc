/** Worker `retention`: deletes what the databases have kept long enough (catalog/tables.ts), and measures their tables. */
import { databaseSettings } from '../base/config.ts';
import type { Worker } from '../platform/worker.ts';
import { startRetention } from '../store/retention.ts';

export const worker: Worker<typeof databaseSettings> = {
  name: 'retention',
  consumes: [],
  produces: [],
  config: databaseSettings,
  async start({ config, database, log, metrics }) {
    const retention = startRetention({
      db: await database(),
      database: config.MYSQL_DATABASE,
      registry: metrics,
      log,
    });
    return { ready: () => true, stop: retention.stop };
  },
};
