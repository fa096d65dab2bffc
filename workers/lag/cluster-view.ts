/** What is known of the cluster, for people: brokers, topics with their partitions, groups with their lag. Pure. */
import { type Static, type TSchema, Type } from 'typebox';
import type { ClusterState, GroupState, PartitionState } from './cluster-state.ts';
import { statuses } from './verdict.ts';

const orNull = <T extends TSchema>(type: T, description: string) =>
  Type.Union([type, Type.Null()], { description });

const brokerView = Type.Object({
  id: Type.Integer(),
  isThere: Type.Boolean({ description: 'false: copies should be on it, and it is not in the cluster' }),
  leads: Type.Integer({ description: 'partitions' }),
  copies: Type.Integer({ description: 'that should be on it' }),
  inSync: Type.Integer({ description: 'of its copies' }),
});

const partitionView = Type.Object({
  partition: Type.Integer(),
  leader: orNull(Type.Integer(), 'null: there is none'),
  replicas: Type.Array(Type.Integer()),
  inSync: Type.Array(Type.Integer()),
  start: orNull(Type.Integer(), 'log start; null: not read yet'),
  end: orNull(Type.Integer(), 'log end; null: not read yet'),
});

const groupView = Type.Object({
  id: Type.String(),
  members: Type.Integer(),
  status: Type.Enum([...statuses]),
  topics: Type.Array(Type.String(), { description: 'on which it has committed, or should have' }),
  lag: orNull(
    Type.Integer(),
    'records still to be read; null: not known of one of its partitions, or it has never committed',
  ),
  lagSeconds: orNull(
    Type.Number(),
    'how long the next record has been waiting, on the partition where it is longest; null as for `lag`',
  ),
});

export const clusterBody = Type.Object(
  {
    ageSeconds: Type.Number({ description: 'since all of it was read' }),
    controller: orNull(Type.Integer(), 'null: there is none; with KRaft any broker'),
    brokers: Type.Array(brokerView),
    topics: Type.Array(Type.Object({ name: Type.String(), partitions: Type.Array(partitionView) })),
    groups: Type.Array(groupView),
  },
  { title: 'Cluster' },
);

type ClusterView = Static<typeof clusterBody>;
type PartitionView = Static<typeof partitionView>;

export function clusterView(state: ClusterState, ageSeconds: number, nowMs: number): ClusterView {
  const topics = [...state.topics]
    .map(([name, { partitions }]) => ({
      name,
      partitions: [...partitions]
        .map(([partition, log]) => viewOfPartition(partition, log))
        .sort((a, b) => a.partition - b.partition),
    }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
  return {
    ageSeconds,
    controller: state.controller ?? null,
    brokers: brokersOf(
      state.brokers,
      topics.flatMap(({ partitions }) => partitions),
    ),
    topics,
    groups: [...state.groups]
      .map(([id, group]) => viewOfGroup(id, group, state, nowMs))
      .sort((a, b) => (a.id < b.id ? -1 : 1)),
  };
}

function viewOfPartition(
  partition: number,
  { leader, replicas, inSync, start, end }: PartitionState,
): PartitionView {
  return {
    partition,
    replicas: [...replicas],
    inSync: [...inSync],
    leader: leader < 0 ? null : leader,
    start: start ?? null,
    end: end ?? null,
  };
}

/** Those that are there, and those that are missed. */
function brokersOf(there: readonly number[], partitions: readonly PartitionView[]) {
  const ids = new Set([...there, ...partitions.flatMap(({ replicas }) => replicas)]);
  return [...ids]
    .sort((a, b) => a - b)
    .map((id) => ({
      id,
      isThere: there.includes(id),
      leads: partitions.filter(({ leader }) => leader === id).length,
      copies: partitions.filter(({ replicas }) => replicas.includes(id)).length,
      inSync: partitions.filter(({ inSync }) => inSync.includes(id)).length,
    }));
}

function viewOfGroup(id: string, group: GroupState, { topics }: ClusterState, nowMs: number) {
  let known = false;
  let lag: number | null = 0;
  let seconds: number | null = 0;
  for (const [topic, partitions] of group.topics) {
    for (const [partition, one] of partitions.shown()) {
      known = true;
      const end = topics.get(topic)?.partitions.get(partition)?.end;
      lag = lag === null || end === undefined ? null : lag + one.lag;
      seconds =
        seconds === null || one.quality === 'unknown' ? null : Math.max(seconds, one.lagSeconds(nowMs));
    }
  }
  return {
    id,
    members: group.members,
    status: group.status,
    topics: [...group.topics.keys()].sort(),
    lag: known ? lag : null,
    lagSeconds: known ? seconds : null,
  };
}
