/**
 * One pass over the cluster. To each broker: ListGroups, DescribeGroups, OffsetFetch for all of its groups, ListOffsets
 * for start and end of all partitions that it leads, and a Fetch for the records whose timestamps are wanted; the
 * metadata and, now and then, the topics' settings come from any one of them. What a broker does not answer keeps its
 * last values.
 */
import type { ClusterReader, ClusterTopic } from '../kafka/kafka.ts';
import type { ClusterState, Wanted } from './cluster-state.ts';
import { retentionFrom } from './retention.ts';

export interface PassSettings {
  includesTopic(name: string): boolean;
  includesGroup(id: string): boolean;
  /** Records read for their timestamps. */
  readonly reads: number;
  /** Age at which a topic's retention is asked for again. */
  readonly retentionEveryMs: number;
}

export interface PassReport {
  /** What went wrong, one line each; empty: everything that there is was read. */
  readonly problems: readonly string[];
}

const retentionSettings = ['cleanup.policy', 'retention.ms', 'retention.bytes'];
const groupOffsetsTopic = '__consumer_offsets';

/** Makes passes; keeps only when it last asked for which topic's settings. */
export function createPass(
  cluster: ClusterReader,
  state: ClusterState,
  settings: PassSettings,
): () => Promise<PassReport> {
  const retentionAskedMs = new Map<string, number>();

  return async () => {
    const problems: string[] = [];
    const failed = new Set<number>();
    /** To all of the brokers at once; one that has failed is not asked again in this pass. */
    const fromEach = (brokers: Iterable<number>, what: string, work: (broker: number) => Promise<void>) =>
      Promise.all(
        [...brokers].map(async (broker) => {
          if (failed.has(broker)) return;
          try {
            await work(broker);
          } catch (error) {
            failed.add(broker);
            problems.push(`${what} of broker ${broker}: ${(error as Error).message}`);
          }
        }),
      );

    const { brokers, controller, topics: all } = await cluster.topology();
    const topics = all.filter(({ name }) => settings.includesTopic(name));
    state.controller = controller;
    state.seeTopology(brokers, topics, Date.now());
    const led = ledPartitions(topics);

    // Offsets of groups before those of logs: a group that is read later could seem to be ahead of the log.
    const groups = new Set<string>();
    await fromEach(brokers, 'groups', async (broker) => {
      const ids = (await cluster.groups(broker)).filter(settings.includesGroup);
      for (const id of ids) groups.add(id);
      state.seeGroups(new Set(ids), false, Date.now());
      const [descriptions, whole] = await Promise.all([
        cluster.describeGroups(broker, ids),
        cluster.committed(broker, ids, (group, topic, partition, offset) =>
          state.seeCommitted(group, topic, partition, offset),
        ),
      ]);
      for (const description of descriptions) state.seeDescription(description);
      for (const id of whole) state.seeAllCommitted(id);
      if (descriptions.length < ids.length || whole.size < ids.length)
        problems.push(`groups of broker ${broker}: not all were told`);
    });
    // The groups of a coordinator that nobody can be asked for are not gone.
    const homeless = all.some(
      ({ name, partitions }) => name === groupOffsetsTopic && partitions.some(({ leader }) => leader < 0),
    );
    state.seeGroups(groups, failed.size === 0 && !homeless, Date.now());

    await fromEach(led.keys(), 'offsets', async (broker) => {
      const partitions = led.get(broker)!;
      const [ends, starts] = await Promise.all([
        cluster.offsets(broker, 'end', partitions).then((offsets) => ({ offsets, atMs: Date.now() })),
        cluster.offsets(broker, 'start', partitions).then((offsets) => ({ offsets, atMs: Date.now() })),
      ]);
      for (const each of starts.offsets) state.seeOffset('start', each, each.offset, starts.atMs);
      for (const each of ends.offsets) state.seeOffset('end', each, each.offset, ends.atMs);
      const count = [...partitions.values()].reduce((sum, list) => sum + list.length, 0);
      if (ends.offsets.length < count) problems.push(`offsets of broker ${broker}: not all were told`);
    });

    await readRetention(topics).catch((error: Error) =>
      problems.push(`settings of topics: ${error.message}`),
    );

    const wanted = byLeader(state.wanted(Date.now(), settings.reads));
    await fromEach(wanted.keys(), 'records', async (broker) => {
      const asked = wanted.get(broker)!;
      state.seeRecords(asked, await cluster.firstRecords(broker, asked));
    });

    state.settle(Date.now());
    return { problems };
  };

  async function readRetention(topics: readonly ClusterTopic[]): Promise<void> {
    const nowMs = Date.now();
    const due = topics.filter(
      ({ id }) => nowMs - (retentionAskedMs.get(id) ?? Number.NEGATIVE_INFINITY) >= settings.retentionEveryMs,
    );
    if (due.length === 0) return;
    const found = await cluster.topicSettings(
      due.map(({ name }) => name),
      retentionSettings,
    );
    for (const { name, id } of due) {
      state.seeRetention(name, retentionFrom(found.get(name)));
      retentionAskedMs.set(id, nowMs);
    }
    const there = new Set(topics.map(({ id }) => id));
    for (const id of retentionAskedMs.keys()) if (!there.has(id)) retentionAskedMs.delete(id);
  }
}

function ledPartitions(topics: readonly ClusterTopic[]): Map<number, Map<string, number[]>> {
  const led = new Map<number, Map<string, number[]>>();
  for (const { name, partitions } of topics) {
    for (const { partition, leader } of partitions) {
      if (leader < 0) continue;
      let ofLeader = led.get(leader);
      if (ofLeader === undefined) {
        ofLeader = new Map();
        led.set(leader, ofLeader);
      }
      const list = ofLeader.get(name);
      if (list === undefined) ofLeader.set(name, [partition]);
      else list.push(partition);
    }
  }
  return led;
}

function byLeader(wanted: readonly Wanted[]): Map<number, Wanted[]> {
  const leaders = new Map<number, Wanted[]>();
  for (const each of wanted) {
    const list = leaders.get(each.leader);
    if (list === undefined) leaders.set(each.leader, [each]);
    else list.push(each);
  }
  return leaders;
}
