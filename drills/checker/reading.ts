/**
 * Reading what a run put on topics, with another client than the platform's: what is committed and nothing else, from
 * where topics ended when the run began, without a group and without commits. Keys, values and headers are the bytes.
 */
import {
  Admin,
  FetchIsolationLevels,
  fetchV11,
  ListOffsetTimestamps,
  listOffsetsV7,
  type RecordsBatch,
} from '@platformatic/kafka';
import { NotChecked } from './verdict.ts';

export interface SeenRecord {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** Of several of one name the last. */
  readonly headers: Readonly<Record<string, Buffer | null>>;
}

/** Offsets by topic and partition. */
export type Offsets = ReadonlyMap<string, ReadonlyMap<number, number>>;

/** All records of a topic since the mark, each partition's in order of offsets. */
export type RecordsOf = (topic: string) => readonly SeenRecord[];

/** Everything rejects with NotChecked when the cluster does not answer. */
export interface Reader {
  /** Where topics end now, with what no transaction has committed yet. What comes later belongs to the run. */
  ends(topics: readonly string[]): Promise<Offsets>;
  /** What a group has committed; partitions without a commit are left out. */
  committed(group: string): Promise<Offsets>;
  /** Reads on from where it was at each call, from `mark` at first. */
  since(mark: Offsets): () => Promise<RecordsOf>;
  close(): Promise<void>;
}

const { READ_COMMITTED, READ_UNCOMMITTED } = FetchIsolationLevels;
const partitionBytes = 8 * 1024 * 1024;
const waitMs = 250;
/** A partition that has more to give gives nothing so many times: it will not any more. */
const emptyAnswers = 20;

/** @param brokers `host:port`, separated by commas */
export function openReader(brokers: string): Reader {
  const admin = new Admin({
    clientId: 'muster-checker',
    bootstrapBrokers: brokers.split(','),
    connectTimeout: 2_000,
    requestTimeout: 10_000,
    retries: 2,
    retryDelay: 250,
  });

  async function asked<Answer>(id: string, question: () => Promise<Answer>): Promise<Answer> {
    try {
      return await question();
    } catch (error) {
      // Leaders may have changed.
      admin.clearMetadata();
      throw error instanceof NotChecked
        ? error
        : new NotChecked(id, `Kafka did not answer: ${(error as Error).message}`);
    }
  }

  /**
   * The highest epoch that each partition's leaders were known by. A broker that was cut off believes for a moment that it
   * leads what others have led since, and tells of ends that are long passed: it is asked with the epoch, and refuses.
   */
  const epochs = new Map<string, number>();

  async function leadersOf(topics: readonly string[], forceUpdate: boolean) {
    const known = await admin.metadata({ topics: [...topics], forceUpdate });
    return topics.flatMap((topic) =>
      (known.topics.get(topic)?.partitions ?? []).map(({ leader, leaderEpoch }, partition) => {
        const at = `${topic}-${partition}`;
        const broker = known.brokers.get(leader);
        if (broker === undefined) throw new NotChecked(at, 'it has no leader');
        const epoch = Math.max(leaderEpoch, epochs.get(at) ?? -1);
        epochs.set(at, epoch);
        return { topic, partition, leader, epoch, broker };
      }),
    );
  }

  const offsets = (topics: readonly string[], isolation: 0 | 1): Promise<Offsets> =>
    asked(topics.join(', '), async () => {
      const all = new Map(topics.map((topic) => [topic, new Map<number, number>()]));
      for (const own of Map.groupBy(await leadersOf(topics, true), ({ leader }) => leader).values()) {
        const partitions = [...Map.groupBy(own, ({ topic }) => topic)].map(([name, list]) => ({
          name,
          partitions: list.map(({ partition, epoch }) => ({
            partitionIndex: partition,
            currentLeaderEpoch: epoch,
            timestamp: ListOffsetTimestamps.LATEST,
          })),
        }));
        const connection = await admin.connections.get(own[0]!.broker);
        const answer = await listOffsetsV7.api.async(connection, -1, isolation, partitions);
        for (const { name, partitions } of answer.topics)
          for (const { partitionIndex, offset } of partitions)
            all.get(name)!.set(partitionIndex, Number(offset));
      }
      return all;
    });

  /** What lies at an offset and some behind it; `next` is where to go on. */
  const fetch = (topic: string, partition: number, from: number) =>
    asked(`${topic}-${partition}`, async () => {
      const leader = (await leadersOf([topic], false)).find((one) => one.partition === partition)!;
      const connection = await admin.connections.get(leader.broker);
      const wanted = {
        partition,
        fetchOffset: BigInt(from),
        partitionMaxBytes: partitionBytes,
        currentLeaderEpoch: leader.epoch,
        lastFetchedEpoch: -1,
      };
      const answer = await fetchV11.api.async(
        connection,
        waitMs,
        1,
        partitionBytes,
        READ_COMMITTED,
        0,
        -1,
        [{ topicId: topic, partitions: [wanted] }],
        [],
        '',
      );
      const { records, abortedTransactions } = answer.responses[0]!.partitions[0]!;
      const batches = records ?? [];
      const last = batches.at(-1);
      return {
        next: last === undefined ? from : Number(last.firstOffset) + last.lastOffsetDelta + 1,
        records: committedOnly(batches, abortedTransactions ?? []).flatMap((batch) =>
          batch.records.flatMap(({ offsetDelta, key, value, headers }): SeenRecord[] => {
            const offset = Number(batch.firstOffset) + offsetDelta;
            if (offset < from) return [];
            const named = headers.map(([name, content]) => [String(name), content] as const);
            return [{ topic, partition, offset, key, value, headers: Object.fromEntries(named) }];
          }),
        ),
      };
    });

  return {
    ends: (topics) => offsets(topics, READ_UNCOMMITTED),
    committed: (group) =>
      asked(group, async () => {
        const [answer] = await admin.listConsumerGroupOffsets({ groups: [group] });
        return new Map(
          (answer?.topics ?? []).map(({ name, partitions }) => [
            name,
            new Map(
              partitions.flatMap(({ partitionIndex, committedOffset }) =>
                committedOffset < 0n ? [] : [[partitionIndex, Number(committedOffset)] as const],
              ),
            ),
          ]),
        );
      }),
    since(mark) {
      const topics = [...mark.keys()];
      const seen = new Map(topics.map((topic) => [topic, [] as SeenRecord[]]));
      const positions = new Map([...mark].map(([topic, marks]) => [topic, new Map(marks)]));
      return async () => {
        const ends = await offsets(topics, READ_UNCOMMITTED);
        const stable = await offsets(topics, READ_COMMITTED);
        for (const [topic, position] of positions)
          for (const [partition, end] of ends.get(topic)!) {
            const until = stable.get(topic)!.get(partition)!;
            let at = position.get(partition) ?? 0;
            if (end < at)
              throw new NotChecked(`${topic}-${partition}`, `it ends at ${end}, and ${at} was there before`);
            for (let empty = 0; at < until; ) {
              const { records, next } = await fetch(topic, partition, at);
              if (next === at && ++empty === emptyAnswers)
                throw new NotChecked(
                  `${topic}-${partition}`,
                  `nothing comes from ${at}, and ${until} is its end`,
                );
              for (const record of records) seen.get(topic)!.push(record);
              at = next;
              position.set(partition, at);
            }
          }
        return (topic) => seen.get(topic) ?? [];
      };
    },
    async close() {
      await admin.close();
    },
  };
}

const isTransactional = 1 << 4;
const isControl = 1 << 5;
/** Of the key of a control record, after two bytes of its version. */
const abortMarker = 0;

/**
 * Batches without markers and without those of aborted transactions, as every reader that wants committed records has to
 * sort them out by itself: https://kafka.apache.org/protocol (Fetch, aborted_transactions).
 */
function committedOnly(
  batches: readonly RecordsBatch[],
  aborted: readonly { readonly producerId: bigint; readonly firstOffset: bigint }[],
): readonly RecordsBatch[] {
  const coming = [...aborted].sort((a, b) => Number(a.firstOffset - b.firstOffset));
  const open = new Set<bigint>();
  return batches.filter((batch) => {
    while (coming.length > 0 && coming[0]!.firstOffset <= batch.firstOffset + BigInt(batch.lastOffsetDelta))
      open.add(coming.shift()!.producerId);
    if ((batch.attributes & isControl) !== 0) {
      if (batch.records[0]?.key?.readInt16BE(2) === abortMarker) open.delete(batch.producerId);
      return false;
    }
    return (batch.attributes & isTransactional) === 0 || !open.has(batch.producerId);
  });
}
