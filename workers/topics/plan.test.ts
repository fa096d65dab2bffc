import test from 'ava';
import { environments } from '../../catalog/environments.ts';
import { allGroups } from '../../catalog/groups.ts';
import { allTopics, retryTopics, topics } from '../../catalog/topics.ts';
import { describePlan, planTopics, wantedTopics } from './plan.ts';

const config = { 'retention.ms': '1000', 'cleanup.policy': 'delete' };
const wanted = [{ name: 'a', partitions: 3, replicationFactor: 3, config }];
const spread = [
  [1, 2, 3],
  [2, 3, 1],
  [3, 1, 2],
];
const present = [{ ...wanted[0]!, assignment: spread }];

test('a topic that is missing is created with its settings', (t) => {
  const plan = planTopics(wanted, []);
  t.deepEqual(plan, { steps: [{ kind: 'create', topic: wanted[0]! }], drift: [] });
  t.deepEqual(describePlan(plan).slice(0, 2), [
    '+ create a: 3 partitions, 3 copies',
    '    retention.ms = 1000',
  ]);
});

test('a topic that is as wanted needs nothing', (t) => {
  const plan = planTopics(wanted, present);
  t.deepEqual(plan, { steps: [], drift: [] });
  t.deepEqual(describePlan(plan), ['Topics are as the catalog says; nothing to do.']);
});

test('partitions are raised only when told to, and never lowered', (t) => {
  const fewer = [{ ...present[0]!, partitions: 2 }];
  t.deepEqual(planTopics(wanted, fewer).steps, []);
  t.regex(planTopics(wanted, fewer).drift[0]!.what, /--raise-partitions/);
  t.deepEqual(planTopics(wanted, fewer, { raisePartitions: true }).steps, [
    { kind: 'raise-partitions', name: 'a', from: 2, to: 3 },
  ]);
  const more = [{ ...present[0]!, partitions: 5 }];
  t.deepEqual(planTopics(wanted, more, { raisePartitions: true }).steps, []);
  t.regex(planTopics(wanted, more).drift[0]!.what, /cannot lower/);
});

test('altered settings are set anew and foreign ones are repeated, because Kafka replaces them as a whole', (t) => {
  const actual = [
    { ...present[0]!, config: { 'retention.ms': '5', 'cleanup.policy': 'delete', 'flush.ms': '9' } },
  ];
  const plan = planTopics(wanted, actual);
  t.deepEqual(plan.steps, [
    {
      kind: 'alter-config',
      name: 'a',
      changes: [{ name: 'retention.ms', from: '5', to: '1000' }],
      config: { ...config, 'flush.ms': '9' },
    },
  ]);
  t.regex(plan.drift[0]!.what, /flush\.ms=9/);
});

test('other copies and unknown topics are reported and left alone', (t) => {
  const plan = planTopics(wanted, [
    { ...present[0]!, replicationFactor: 1 },
    { ...present[0]!, name: 'stranger' },
  ]);
  t.deepEqual(plan.steps, []);
  t.deepEqual(
    plan.drift.map(({ name }) => name),
    ['a', 'stranger'],
  );
});

test('a topic with one leader per broker is created so, and another preferred leader is reported', (t) => {
  const [canary] = wantedTopics([topics.canary], [], environments.dev);
  t.deepEqual(canary!.assignment, spread);
  t.regex(describePlan(planTopics([canary!], []))[0]!, /led by brokers 1, 2, 3$/);
  const moved = { ...canary!, assignment: [[1, 2, 3], spread[2]!, spread[1]!] };
  t.deepEqual(planTopics([canary!], [{ ...canary!, assignment: spread }]), { steps: [], drift: [] });
  t.deepEqual(
    planTopics([canary!], [moved]).drift.map(
      ({ what }) => /partition \d, the catalog says \d/.exec(what)?.[0],
    ),
    ['partition 1, the catalog says 2', 'partition 2, the catalog says 3'],
  );
  t.is(wantedTopics([topics.purchase], [], environments.dev)[0]!.assignment, undefined);
});

test('the catalog is wanted as it stands, with retry topics of groups that retry', (t) => {
  const group = {
    ...allGroups[0]!,
    id: 'g',
    topics: [topics.purchase],
    retryDelaysMs: [1_000, 2_000, 2_000, 250],
  };
  const names = wantedTopics(allTopics, [group], environments.dev).map(({ name }) => name);
  t.deepEqual(
    names.filter((name) => name.includes('retry')),
    ['purchase.g.retry-1s', 'purchase.g.retry-250ms', 'purchase.g.retry-2s'],
  );
  t.true(allTopics.every(({ name }) => names.includes(name)));
  t.deepEqual(retryTopics(topics.purchase, { id: 'g', retryDelaysMs: [] }), []);
});
