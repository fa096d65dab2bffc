/** How far the whole group has read, so that misses can be answered and state be dropped. */
import { groups } from '../../catalog/groups.ts';
import type { Ends, Kafka } from '../kafka/kafka.ts';
import { appendedMsOf, topicOf } from './join-records.ts';
import { clockSkewMs } from './join-restore.ts';
import { source, sources } from './join-runs.ts';
import { type JoinTask, readToEnd } from './join-task.ts';

const inputs = [source.purchase, source.act] as const;
/** Least time between two looks at what other members have read. */
const othersEveryMs = 5_000;

/** What was seen of an input partition that another member reads. */
interface Seen {
  /** End offset at the last look, and the wall clock then. */
  end: number;
  askedMs: number;
  /** Everything appended before this time has been read, and moved where it belongs. */
  readUpToMs: number;
}

export interface EndWatch {
  /** Asks for the ends of all sources and tells the joins of `tasks`. Rejects when the cluster does not answer. */
  ask(tasks: ReadonlyMap<number, JoinTask>, nowMs: number): Promise<void>;
}

/** `nowMs` of `ask` is the joins' own clock. */
export function createEndWatch(kafka: Kafka): EndWatch {
  const { admin } = kafka;
  const seenOf = new Map<string, Seen>();
  let othersAskedMs = Number.NEGATIVE_INFINITY;
  let othersUpToMs = Number.NEGATIVE_INFINITY;

  /**
   * A record that another member moves to one of ours brings the append time it had: what that member has not read may
   * still come, however long it lags.
   */
  async function readByOthers(tasks: ReadonlyMap<number, JoinTask>, ends: Ends): Promise<number> {
    let upToMs = Number.POSITIVE_INFINITY;
    const askedMs = Date.now();
    for (const one of inputs) {
      const isOthers = (partition: number) => !tasks.has(partition);
      if (![...ends.get(topicOf[one])!.keys()].some(isOthers)) continue;
      const committed = await admin.committed(groups.promotionJoin.id, topicOf[one]);
      for (const { partition, low, high } of await admin.offsets(topicOf[one])) {
        if (!isOthers(partition)) continue;
        const at = Math.max(low, committed.get(partition) ?? low);
        const name = `${one}/${partition}`;
        const seen = seenOf.get(name) ?? {
          end: Number.POSITIVE_INFINITY,
          askedMs,
          readUpToMs: Number.NEGATIVE_INFINITY,
        };
        if (at >= high) seen.readUpToMs = askedMs - clockSkewMs;
        else if (at >= seen.end) seen.readUpToMs = seen.askedMs - clockSkewMs;
        else
          for await (const [first] of kafka.read(topicOf[one], partition, at, at + 1))
            if (first !== undefined) seen.readUpToMs = appendedMsOf(first) - 1;
        seen.end = high;
        seen.askedMs = askedMs;
        seenOf.set(name, seen);
        upToMs = Math.min(upToMs, seen.readUpToMs);
      }
    }
    return upToMs;
  }

  return {
    async ask(tasks, nowMs) {
      const wallMs = Date.now();
      const ends = await admin.ends(topicOf);
      if (nowMs - othersAskedMs >= othersEveryMs) {
        othersAskedMs = nowMs;
        othersUpToMs = await readByOthers(tasks, ends);
      }
      let movedUpToMs = Math.min(wallMs - clockSkewMs, othersUpToMs);
      for (const task of tasks.values())
        for (const one of inputs)
          if (!readToEnd(task, one)) movedUpToMs = Math.min(movedUpToMs, task.join.appendPosition(one));
      for (const task of tasks.values()) {
        if (!task.restored) continue;
        const own = topicOf.map((topic) => ends.get(topic)?.get(task.partition) ?? 0);
        for (const one of sources) {
          const queue = task.queues[one];
          queue.end = Math.max(queue.end, own[one]!);
          if (!readToEnd(task, one)) continue;
          // A repartition topic may still get what the inputs have not been read for.
          const isInput = one === source.purchase || one === source.act;
          task.join.caughtUp(one, isInput ? wallMs - clockSkewMs : movedUpToMs);
        }
        task.join.observeEnds(nowMs, own[source.act]!, own[source.actByUser]!);
      }
    },
  };
}
