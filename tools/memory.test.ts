import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { memoryLimitMiB, memoryOf } from './memory.ts';

test('all containers together may take what each may, those that are left out nothing', (t) => {
  const { dev } = environments;
  const all = memoryLimitMiB(dev, new Set());
  t.is(all - memoryLimitMiB(dev, new Set(['grafana'])), dev.grafana.size.memoryMiB);
  t.is(all - memoryLimitMiB(dev, new Set(['kafka'])), 3 * dev.kafka.size.memoryMiB);
  const one = { ...dev, processes: { ...dev.processes, list: dev.processes.list.slice(1) } };
  t.is(all - memoryLimitMiB(one, new Set()), 2 * dev.processes.list[0]!.size.memoryMiB);
});

test('what is there is told beside what may be taken', (t) => {
  t.deepEqual(memoryOf(4 * 1_024 ** 3, 8_192), {
    says: '4.0 GiB; all containers together may take 8.0',
    share: 0.5,
  });
});
