/** Worker `zookeeper-disk`: measures what every ZooKeeper has on its disk, which its own metrics do not say. */
import { Type } from 'typebox';
import { metrics } from '../../catalog/metrics.ts';
import { gauge } from '../base/metrics.ts';
import type { Worker } from '../platform/worker.ts';
import { diskBytes } from './disk.ts';

const config = Type.Object({
  ZOOKEEPER_CONNECT: Type.String({
    pattern: '^[^\\s,:]+:\\d{1,5}(,[^\\s,:]+:\\d{1,5})*$',
    description: 'the ZooKeepers, host:port separated by commas',
  }),
});

const measureEveryMs = 60_000;

export const worker: Worker<typeof config> = {
  name: 'zookeeper-disk',
  consumes: [],
  produces: [],
  kafkaOnly: true,
  config,
  async start({ config: settings, log, metrics: registry }) {
    const bytes = gauge(registry, metrics.zookeeper.diskBytes);
    const measure = async (server: string) => {
      try {
        bytes.set({ server }, await diskBytes(server));
      } catch (error) {
        bytes.remove({ server });
        log.warn('a ZooKeeper does not say what it has on its disk', { server, error });
      }
    };
    const all = () => Promise.all(settings.ZOOKEEPER_CONNECT.split(',').map(measure));
    const timer = setInterval(() => void all(), measureEveryMs);
    void all();
    return { ready: () => true, stop: async () => clearInterval(timer) };
  },
};
