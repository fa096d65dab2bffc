/** Which ids have come to topics, as somebody finds out who looks at their ends from time to time: cheaper than a consumer. */
import type { Ends, IncomingRecord, Kafka } from './kafka.ts';

interface ArrivalOptions {
  readonly kafka: Pick<Kafka, 'admin' | 'read'>;
  readonly topics: readonly string[];
  /** Undefined: the record says nothing. */
  idOf(record: IncomingRecord): string | undefined;
  /** How far back it begins, and how long an id is known at least. */
  readonly backMs: number;
}

interface Arrivals {
  /** Reads on to the ends of the topics as they are now; what came after `neededFromMs` is not forgotten. */
  advance(nowMs: number, neededFromMs: number): Promise<void>;
  /** Whatever came after this time has been read, by the brokers' clock. */
  readonly completeFromMs: number;
  /** Whether this id is one of those that are remembered. */
  follows(id: string): boolean;
  has(id: string): boolean;
}

/** Records of one partition that the first look may read, and each later one. What is more is passed over. */
const mostAtFirst = 50_000;
const mostAtOnce = 5_000;
/** Ids that are remembered, some 30 bytes each; beyond it only a half, a quarter ... of all are followed. */
const mostIds = 250_000;

export function arrivals(options: ArrivalOptions): Arrivals {
  const { kafka, topics, idOf, backMs } = options;
  const positions = new Map<string, number>();
  // Two generations: an id is in one of them for backMs at least. Its hash stands for it: of a hundred thousand ids one in
  // forty thousand is taken for another.
  let young = new Set<number>();
  let old = new Set<number>();
  let bornMs = 0;
  let completeFromMs = 0;
  let oneIn = 1;
  const followed = (hash: number) => (hash >>> 0) % oneIn === 0;

  function age(nowMs: number, neededFromMs: number): void {
    if (nowMs - bornMs > backMs && neededFromMs >= bornMs) {
      old = young;
      young = new Set();
      bornMs = nowMs;
      if (oneIn > 1 && old.size < mostIds / 8) {
        // Those that were not followed are not known: it begins anew.
        oneIn = 1;
        positions.clear();
      }
    }
    while (young.size + old.size > mostIds) {
      oneIn *= 2;
      for (const ids of [young, old]) for (const hash of ids) if (!followed(hash)) ids.delete(hash);
    }
  }

  /** Most looks find that nothing has come. */
  function isNew(topic: string, ends: Ends): boolean {
    return [...(ends.get(topic) ?? [])].some(
      ([partition, end]) => positions.get(`${topic}-${partition}`) !== end,
    );
  }

  async function readOn(topic: string, nowMs: number): Promise<void> {
    let starts: ReadonlyMap<number, number> | undefined;
    for (const { partition, low, high } of await kafka.admin.offsets(topic)) {
      const place = `${topic}-${partition}`;
      let from = positions.get(place);
      let most = mostAtOnce;
      // New here, a topic made anew, or one whose records went before they were read.
      if (from === undefined || from > high || from < low) {
        starts ??= await kafka.admin.offsetsAt(topic, nowMs - backMs);
        from = Math.max(low, starts.get(partition) ?? high);
        most = mostAtFirst;
        completeFromMs = Math.max(completeFromMs, nowMs - backMs);
      }
      let passedOver = high - from > most;
      from = Math.max(from, high - most);
      if (high > from)
        for await (const records of kafka.read(topic, partition, from, high))
          for (const record of records) {
            if (passedOver) completeFromMs = Math.max(completeFromMs, record.timestampMs);
            passedOver = false;
            const id = idOf(record);
            if (id === undefined) continue;
            const hash = hashOf(id);
            if (followed(hash)) young.add(hash);
          }
      positions.set(place, high);
    }
  }

  return {
    get completeFromMs() {
      return completeFromMs;
    },
    follows: (id) => followed(hashOf(id)),
    has(id) {
      const hash = hashOf(id);
      return young.has(hash) || old.has(hash);
    },
    async advance(nowMs, neededFromMs) {
      age(nowMs, neededFromMs);
      const ends = await kafka.admin.ends(topics);
      for (const topic of topics) if (isNew(topic, ends)) await readOn(topic, nowMs);
    },
  };
}

/** FNV-1a, 32 bits with a sign: V8 keeps such numbers without an object. */
function hashOf(id: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < id.length; i++) hash = Math.imul(hash ^ id.charCodeAt(i), 0x01000193);
  return hash | 0;
}
