import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { painter } from '../drawing/table.ts';
import { planTable, stepsOf } from './plan-table.ts';
import type { PlannedChange } from './terraform.ts';

const { dev } = environments;
const change = (name: string, ...actions: PlannedChange['actions']): PlannedChange => ({
  address: name,
  name,
  actions,
  files: { before: '', after: '' },
});

test('a plan says what is replaced and what people notice of it, and leaves out what stays', (t) => {
  const steps = stepsOf(
    [
      change('kafka-2', 'delete', 'create'),
      change('kafka-1', 'no-op'),
      change('topics', 'delete', 'create'),
      change('mysql-1', 'delete', 'create'),
      change('api', 'delete', 'create'),
      change('api-2', 'delete', 'create'),
      change('pay', 'delete', 'create'),
      change('gateway', 'delete', 'create'),
      change('gateway-settings', 'delete', 'create'),
      change('promotion', 'delete', 'create'),
      change('jaeger', 'update'),
      change('volume mysql-data', 'delete'),
    ],
    dev,
  );
  t.deepEqual(
    steps.map(({ name, change: is }) => `${name} ${is}`),
    [
      'kafka-2 replaced',
      'topics run again',
      'mysql-1 replaced',
      'api replaced',
      'api-2 replaced',
      'pay replaced',
      'gateway replaced',
      'gateway-settings run again',
      'promotion replaced',
      'jaeger changed in place',
      'volume mysql-data removed',
    ],
  );
  const notice = Object.fromEntries(steps.map(({ name, notice: says }) => [name, says]));
  t.regex(notice['kafka-2']!, /one after the other/);
  t.regex(notice['mysql-1']!, /one after the other/);
  t.regex(notice.api!, /no request fails/);
  t.regex(notice['api-2']!, /no request fails/);
  t.regex(notice.pay!, /no request fails/);
  t.regex(notice.gateway!, /nobody is answered/);
  t.regex(notice['gateway-settings']!, /nothing; .* while the gateway serves/);
  t.regex(notice.promotion!, /waits/);
  t.is(notice.topics, undefined);
  t.regex(notice['volume mysql-data']!, /gone/);
  const text = planTable([{ name: 'dev-kafka', steps }], painter(false));
  t.regex(text, /dev-kafka +kafka-2 +replaced +one after the other/);
  t.is(planTable([{ name: 'dev-kafka', steps: [] }], painter(false)), 'Nothing would change.');
});

test('a plan that moves the ensemble says that its members are replaced together', (t) => {
  const [moved, broker] = stepsOf(
    [
      {
        ...change('zookeeper-1', 'delete', 'create'),
        files: { before: 'server.1=zookeeper-1:2888:3888', after: 'server.1=zookeeper-1:2889:3889' },
      },
      change('kafka-1', 'delete', 'create'),
    ],
    dev,
  );
  t.regex(moved!.notice!, /together/);
  t.regex(broker!.notice!, /one after the other/);
});

test('a plan says which settings change while all brokers run, and from what to what', (t) => {
  const job = change('live-settings', 'delete', 'create');
  const file = (...lines: string[]) => ['# why', ...lines].join('\n');
  const [step] = stepsOf(
    [
      {
        ...job,
        files: {
          before: file('log.retention.ms=5', 'num.io.threads=4', 'min.insync.replicas=2'),
          after: file('log.retention.ms=6', 'min.insync.replicas=2', 'message.max.bytes=9'),
        },
      },
    ],
    dev,
  );
  t.is(step!.change, 'run again');
  t.is(
    step!.notice,
    'nothing; changed while all brokers run: log.retention.ms 5 -> 6, num.io.threads 4 -> as Kafka has it, message.max.bytes=9',
  );
  t.is(stepsOf([job], dev)[0]!.notice, undefined);
});
