import test from 'ava';
import type { ClusterReader } from '../kafka/kafka.ts';
import { ClusterState } from './cluster-state.ts';
import { lagMetricText } from './exposition.ts';
import { createPass } from './pass.ts';

/** Two brokers; partition 0 of `orders` and group `a` are the first's, partition 1 and group `b` the second's. */
function twoBrokers() {
  const cluster = {
    down: new Set<number>(),
    leaders: [1, 2] as [number, number],
    calls: [] as string[],
    end: 100,
    /** What coordinators leave out. */
    untold: undefined as 'members' | 'commits' | undefined,
  };
  const answer = async <T>(broker: number, what: string, value: T): Promise<T> => {
    cluster.calls.push(`${what} ${broker}`);
    if (cluster.down.has(broker)) throw new Error('does not answer');
    return value;
  };
  const partitionsOf = (broker: number) =>
    [0, 1].filter((partition) => cluster.leaders[partition] === broker);
  const reader: ClusterReader = {
    topology: async () => ({
      brokers: [1, 2],
      controller: 2,
      topics: [
        {
          name: 'orders',
          id: 'x',
          partitions: [0, 1].map((partition) => ({
            partition,
            leader: cluster.leaders[partition]!,
            replicas: [1, 2],
            inSync: [1, 2],
          })),
        },
        {
          name: '__consumer_offsets',
          id: 'y',
          partitions: [{ partition: 0, leader: 1, replicas: [1], inSync: [1] }],
        },
      ],
    }),
    topicSettings: async (topics) =>
      new Map(topics.map((topic) => [topic, { 'cleanup.policy': 'delete', 'retention.ms': '1000000' }])),
    groups: (broker) => answer(broker, 'groups', [broker === 1 ? 'a' : 'b', 'left-out']),
    describeGroups: (broker, ids) =>
      answer(
        broker,
        'describe',
        (cluster.untold === 'members' ? [] : ids).map((id) => ({ id, members: 1, assigned: new Map() })),
      ),
    async committed(broker, ids, take) {
      await answer(broker, 'committed', undefined);
      for (const id of ids) for (const partition of [0, 1]) take(id, 'orders', partition, 40);
      return new Set(cluster.untold === 'commits' ? [] : ids);
    },
    offsets: (broker, of, partitions) =>
      answer(
        broker,
        of,
        (partitions.get('orders') ?? [])
          .filter((partition) => partitionsOf(broker).includes(partition))
          .map((partition) => ({ topic: 'orders', partition, offset: of === 'start' ? 10 : cluster.end })),
      ),
    firstRecords: (broker, positions) =>
      answer(
        broker,
        'records',
        positions.map(({ topic, partition, offset }) => ({
          topic,
          partition,
          from: offset,
          nextOffset: offset,
          record: { offset, timestampMs: Date.now() - 60_000 },
        })),
      ),
    takeRequestCounts: () => new Map(),
    close: async () => {},
  };
  const state = new ClusterState({
    allowedLag: 0,
    windowMs: 60_000,
    sampleMs: 6_000,
    goneAfterMs: 0,
    expected: new Map(),
  });
  const pass = createPass(reader, state, {
    includesTopic: (name) => !name.startsWith('__'),
    includesGroup: (id) => id !== 'left-out',
    reads: 10,
    retentionEveryMs: 60_000,
  });
  const series = () =>
    [...lagMetricText(state)]
      .join('')
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => line.slice(0, line.lastIndexOf(' ')));
  return { cluster, state, pass, series };
}

test('one pass sees all, and only what it was told to watch', async (t) => {
  const { state, pass, series } = twoBrokers();
  t.deepEqual(await pass(), { problems: [] });
  t.deepEqual([...state.groups.keys()], ['a', 'b']);
  t.deepEqual([...state.topics.keys()], ['orders']);
  const orders = state.groups.get('b')!.topics.get('orders')!.get(0)!;
  t.is(orders.lag, 60);
  t.is(orders.quality, 'fetched');
  t.true(orders.retentionUsed > 0.05 && orders.retentionUsed < 0.08);
  t.false(series().some((name) => name.includes('left-out') || name.includes('__')));
});

test('a broker that is down: it is asked once, its values stay, the others go on, nothing vanishes', async (t) => {
  const { cluster, state, pass, series } = twoBrokers();
  // The log starts are read in the second: a partition is read at one offset a pass.
  await pass();
  await pass();
  const before = series();
  cluster.down.add(2);
  cluster.end = 150;
  cluster.calls = [];
  for (let i = 0; i < 10; i++) {
    const { problems } = await pass();
    t.deepEqual(problems, ['groups of broker 2: does not answer']);
  }
  t.is(cluster.calls.filter((call) => call === 'groups 2').length, 10);
  t.false(cluster.calls.some((call) => call.endsWith(' 2') && call !== 'groups 2'));
  t.deepEqual(series(), before);
  t.is(state.topics.get('orders')!.partitions.get(0)!.end, 150);
  t.is(state.topics.get('orders')!.partitions.get(1)!.end, 100);
  t.is(state.groups.get('a')!.topics.get('orders')!.get(0)!.lag, 110);
  t.is(state.groups.get('b')!.topics.get('orders')!.get(1)!.lag, 60);

  cluster.down.clear();
  t.deepEqual(await pass(), { problems: [] });
  t.is(state.topics.get('orders')!.partitions.get(1)!.end, 150);
});

test('a coordinator that tells of its groups only in part is named', async (t) => {
  const { cluster, pass } = twoBrokers();
  for (const untold of ['members', 'commits'] as const) {
    cluster.untold = untold;
    t.deepEqual(
      await pass(),
      { problems: [1, 2].map((broker) => `groups of broker ${broker}: not all were told`) },
      untold,
    );
  }
  cluster.untold = undefined;
  t.deepEqual(await pass(), { problems: [] });
});

test('a partition without a leader is no failure of the pass: there is nobody to ask', async (t) => {
  const { cluster, state, pass, series } = twoBrokers();
  // The log starts are read in the second: a partition is read at one offset a pass.
  await pass();
  await pass();
  const before = series();
  cluster.leaders = [1, -1];
  t.deepEqual(await pass(), { problems: [] });
  t.deepEqual(series(), before);
  t.is(state.topics.get('orders')!.partitions.get(1)!.leader, -1);
});
