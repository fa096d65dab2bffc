/**
 * What is known of the cluster as OpenMetrics text. A thousand partitions with fifty groups are two hundred thousand
 * series: written out group by group and topic by topic, they never are all in memory.
 */
import { metrics } from '../../catalog/metrics.ts';
import type { ClusterState, GroupPartition, PartitionState } from './cluster-state.ts';
import { statuses } from './verdict.ts';

const names = metrics.lag;

type PartitionValue = (log: PartitionState, nowMs: number) => number | undefined;
type GroupValue = (state: GroupPartition, nowMs: number) => number | undefined;

const ofPartitions: readonly (readonly [name: string, help: string, value: PartitionValue])[] = [
  [names.currentOffset, 'End offset (high watermark).', ({ end }) => end],
  [names.oldestOffset, 'Log start offset.', ({ start }) => start],
  [names.leader, 'Broker id of the leader; -1 while there is none.', ({ leader }) => leader],
  [names.replicas, 'Replicas that the partition should have.', ({ replicas }) => replicas.length],
  [names.inSyncReplicas, 'Replicas in sync.', ({ inSync }) => inSync.length],
  [
    names.underReplicated,
    '1 while a replica is not in sync.',
    ({ replicas, inSync }) => (inSync.length < replicas.length ? 1 : 0),
  ],
  [
    names.oldestRecordAge,
    'Seconds since the oldest record that is still there was written. Not there while the partition is empty or its oldest record was not read yet.',
    (log, nowMs) => log.oldestAgeSeconds(nowMs),
  ],
];

const ofGroups: readonly (readonly [name: string, help: string, value: GroupValue, quality?: true])[] = [
  [
    names.groupOffset,
    'Committed next offset. Not there where the group has never committed.',
    ({ committed }) => committed,
  ],
  [
    names.groupLag,
    'Records that the group has still to read: from its offset (the log start, when that is later) to the end, transaction markers at its offset left out.',
    ({ lag }) => lag,
  ],
  [
    names.groupLagSeconds,
    'Seconds that the next record to be read has been waiting; label quality says how well that is known.',
    (state, nowMs) => state.lagSeconds(nowMs),
    true,
  ],
  [
    names.groupRetentionUsed,
    'How close the next record to be read is to its deletion: 0 not at all, 1 about to be deleted or deleted unread.',
    (state) => state.retentionUsed,
  ],
];

/** All of it, a piece for each topic and each group's topic. */
export function* lagMetricText(state: ClusterState, now: () => number = Date.now): Generator<string> {
  yield family(names.brokers, 'gauge', 'Brokers in the cluster’s metadata.');
  yield `${names.brokers} ${state.brokers.length}\n`;

  yield family(names.topicPartitions, 'gauge', 'Partitions of the topic.');
  for (const [topic, { partitions }] of state.topics)
    yield `${names.topicPartitions}{topic="${escaped(topic)}"} ${partitions.size}\n`;

  for (const [name, help, value] of ofPartitions) {
    yield family(name, 'gauge', help);
    const nowMs = now();
    for (const [topic, { partitions }] of state.topics) {
      const before = `${name}{topic="${escaped(topic)}",partition="`;
      let text = '';
      for (const [partition, log] of partitions) {
        const number = value(log, nowMs);
        if (number !== undefined) text += `${before}${partition}"} ${number}\n`;
      }
      yield text;
    }
  }

  // OpenMetrics names a counter's family without the _total of its samples.
  yield family(
    names.offsetDecreases.replace(/_total$/, ''),
    'counter',
    'How often the end offset went back without the topic having been created anew: records were lost.',
  );
  for (const [topic, { partitions }] of state.topics) {
    let text = '';
    for (const [partition, { decreases }] of partitions)
      text += `${names.offsetDecreases}{topic="${escaped(topic)}",partition="${partition}"} ${decreases}\n`;
    yield text;
  }

  yield family(names.groupMembers, 'gauge', 'Members of the group.');
  for (const [group, { members }] of state.groups)
    yield `${names.groupMembers}{consumergroup="${escaped(group)}"} ${members}\n`;

  yield family(names.groupStatus, 'gauge', 'Burrow’s verdict on the group: 1 for the status that holds.');
  for (const [group, { status }] of state.groups)
    yield statuses
      .map(
        (each) =>
          `${names.groupStatus}{consumergroup="${escaped(group)}",status="${each}"} ${each === status ? 1 : 0}\n`,
      )
      .join('');

  for (const [name, help, value, withQuality] of ofGroups) {
    yield family(name, 'gauge', help);
    for (const [group, { topics }] of state.groups) {
      for (const [topic, partitions] of topics) {
        const nowMs = now();
        const before = `${name}{consumergroup="${escaped(group)}",topic="${escaped(topic)}",partition="`;
        let text = '';
        for (const [partition, each] of partitions.shown()) {
          const number = value(each, nowMs);
          if (number === undefined) continue;
          const quality = withQuality === true ? `",quality="${each.quality}` : '';
          text += `${before}${partition}${quality}"} ${number}\n`;
        }
        yield text;
      }
    }
  }
}

function family(name: string, type: string, help: string): string {
  return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
}

function escaped(label: string): string {
  return /[\\"\n]/.test(label)
    ? label.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
    : label;
}
