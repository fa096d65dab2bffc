import test from 'ava';
import { progressLine } from './lifecycle.ts';
import {
  inOrder,
  plannedChanges,
  resourceName,
  type StackProgress,
  stacksBefore,
  terraformReader,
} from './terraform.ts';

const stack = (name: string, ...dependencies: string[]) => ({ name, folder: `/${name}`, dependencies });
const stacks = [stack('services', 'kafka', 'data'), stack('data', 'kafka'), stack('kafka')];

test('stacks come after those they depend on, and go before them', (t) => {
  const ordered = inOrder(stacks);
  t.deepEqual(
    ordered.map(({ name }) => name),
    ['kafka', 'data', 'services'],
  );
  t.deepEqual(stacksBefore(ordered[2]!, ordered, 'forwards'), ['kafka', 'data']);
  t.deepEqual(stacksBefore(ordered[0]!, ordered, 'backwards'), ['data', 'services']);
});

test('a circle of stacks is refused instead of waited for', (t) => {
  t.throws(() => inOrder([stack('a', 'b'), stack('b', 'a')]), { code: 'MUSTER_SYNTH' });
});

test('a resource is called what a person would call it', (t) => {
  t.is(resourceName('docker_container.kafka_kafka-1_container_1F2E3D4C'), 'kafka-1');
  t.is(resourceName('docker_container.api_process_container_AABBCCDD'), 'api');
  t.is(resourceName('docker_volume.mysql-data_volume_00112233'), 'volume mysql-data');
});

test('terraform’s events become progress, counts and whole error messages', (t) => {
  const seen: StackProgress[] = [];
  const reader = terraformReader((progress) => seen.push(progress));
  const hook = (type: string, extra: object = {}) =>
    reader.line(
      JSON.stringify({
        type,
        hook: { resource: { addr: 'docker_container.mysql_container_00112233' }, action: 'create', ...extra },
      }),
    );
  reader.line(
    JSON.stringify({ type: 'change_summary', changes: { add: 2, change: 0, remove: 0, operation: 'plan' } }),
  );
  hook('apply_start');
  hook('apply_progress', { elapsed_seconds: 10 });
  t.deepEqual(seen.at(-1), {
    done: 0,
    planned: 2,
    running: [{ name: 'mysql', verb: 'creating', seconds: 10 }],
  });
  t.is(
    progressLine(seen.at(-1)!),
    process.stdout.isTTY ? '0 of 2 · creating mysql (10 s)' : '0 of 2 · creating mysql',
  );
  hook('apply_complete');
  t.deepEqual(seen.at(-1), { done: 1, planned: 2, running: [] });
  reader.line('not json');
  reader.line(
    JSON.stringify({
      type: 'diagnostic',
      diagnostic: {
        severity: 'error',
        summary: 'Unable to start container',
        detail: 'port is already allocated',
        address: 'docker_container.mysql_container_00112233',
      },
    }),
  );
  t.deepEqual(reader.errors, ['mysql: Unable to start container: port is already allocated']);
  reader.line(
    JSON.stringify({ type: 'change_summary', changes: { add: 1, change: 0, remove: 0, operation: 'apply' } }),
  );
  t.deepEqual(reader.result, { added: 1, changed: 0, removed: 0 });
});

test('a plan says which files a container has and would have', (t) => {
  const address = 'docker_container.zookeeper_zookeeper-1_container_00112233';
  const change = {
    actions: ['delete', 'create'],
    before: { upload: [{ file: '/etc/muster/zoo.cfg', content: 'old' }] },
    after: { upload: [{ file: '/etc/muster/zoo.cfg', content: 'new' }] },
  };
  const volume = { address: 'docker_volume.x', change: { actions: ['create'], before: null, after: {} } };
  const [container, other] = plannedChanges(
    JSON.stringify({ resource_changes: [{ address, change }, volume] }),
  );
  t.like(container, { name: 'zookeeper-1', actions: ['delete', 'create'] });
  t.deepEqual(container!.files, { before: 'old', after: 'new' });
  t.deepEqual(other!.files, { before: '', after: '' });
  t.deepEqual(plannedChanges('{}'), []);
});
