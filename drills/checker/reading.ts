/** Reading what a run put on topics: from where they ended when it began. */
import type { IncomingRecord, Kafka } from '../../workers/kafka/kafka.ts';

/** End offsets by topic and partition: what comes later belongs to the run. */
export type Mark = ReadonlyMap<string, ReadonlyMap<number, number>>;

export async function markEnds(kafka: Kafka, topics: readonly string[]): Promise<Mark> {
  const marks = await Promise.all(
    topics.map(async (topic) => {
      const offsets = await kafka.admin.offsets(topic);
      return [topic, new Map(offsets.map(({ partition, high }) => [partition, high]))] as const;
    }),
  );
  return new Map(marks);
}

/** All records of a topic since the mark, each partition's in order of offsets. */
export type RecordsOf = (topic: string) => readonly IncomingRecord[];

/** Reads on from where it was at each call. */
export function readSince(kafka: Kafka, since: Mark): () => Promise<RecordsOf> {
  const seen = new Map<string, IncomingRecord[]>();
  const positions = new Map([...since].map(([topic, marks]) => [topic, new Map(marks)]));
  return async () => {
    for (const [topic, position] of positions) {
      const list = seen.get(topic) ?? [];
      seen.set(topic, list);
      for (const { partition, high } of await kafka.admin.offsets(topic)) {
        for await (const chunk of kafka.read(topic, partition, position.get(partition) ?? 0, high)) {
          for (const record of chunk) list.push(record);
          position.set(partition, (chunk.at(-1)?.offset ?? 0) + 1);
        }
      }
    }
    return (topic) => seen.get(topic) ?? [];
  };
}
