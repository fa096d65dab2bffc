/** The join's state after an assignment: read back from the input topics, which are its changelog. */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import type { IncomingRecord, Kafka } from '../kafka/kafka.ts';
import { type Join, type JoinOptions, restoreFrom, type Source, type Ticket } from './join.ts';
import { appendedMsOf, feed, sources, topicOf, understand } from './join-records.ts';

/** What is appended after a question for the ends may be stamped this much before our clock's time. */
export const clockSkewMs = 5_000;

/** The part of a slot that reading back needs. */
export interface RestorableSlot {
  readonly partition: number;
  readonly join: Join;
  /** Highest end offset heard of, by source. */
  readonly queues: readonly [{ end: number }, { end: number }, { end: number }, { end: number }];
  /** Where reading begins; everything below was done in an earlier life. */
  readonly start: readonly [number, number, number, number];
  readonly low: readonly [number, number, number, number];
  restored: boolean;
  /** Taken away meanwhile. */
  dead: boolean;
}

export interface RestoreDeps {
  readonly kafka: Kafka;
  readonly log: Logger;
  readonly options: JoinOptions;
  readonly timeZone: string;
  /** Partition of a user. */
  readonly partitionOf: (userId: string) => number;
}

/**
 * Reads the state of all slots back, beside the new data, which waits in the queues. Tries for as long as one of the
 * slots lives; `done` is called as each slot is there.
 */
export async function restoreSlots<S extends RestorableSlot>(
  list: readonly S[],
  deps: RestoreDeps,
  done: (slot: S) => void,
): Promise<void> {
  const { kafka, log } = deps;
  const beganMs = Date.now();
  let records = 0;
  for (let pauseMs = 200; ; pauseMs = Math.min(pauseMs * 2, 3_000)) {
    if (list.every((slot) => slot.dead)) return;
    try {
      const from = await restoreTimes(list, deps);
      const offsets = await Promise.all(
        topicOf.map((topic, index) => kafka.admin.offsetsAt(topic, index < 2 ? from.purchaseMs : from.actMs)),
      );
      await Promise.all(
        list.map(async (slot) => {
          if (slot.restored || slot.dead) return;
          for (const one of sources) {
            const first = Math.max(slot.low[one], offsets[one]!.get(slot.partition) ?? slot.start[one]);
            records += await restoreSource(slot, one, Math.min(first, slot.start[one]), deps);
            slot.join.startAt(one, slot.start[one]);
          }
          if (slot.dead) return;
          slot.join.restored();
          slot.restored = true;
          done(slot);
        }),
      );
      log.info('state read back', { records, tookMs: Date.now() - beganMs, slots: list.length });
      return;
    } catch (error) {
      // What was read stays: reading it again changes nothing.
      if (list.every((slot) => slot.dead)) return;
      log.warn('the state could not be read back, trying again', { error });
      await sleep(pauseMs);
    }
  }
}

/** How far back both sides must be read, for the slot that needs most. */
async function restoreTimes(
  list: readonly RestorableSlot[],
  { kafka, options }: RestoreDeps,
): Promise<{ purchaseMs: number; actMs: number }> {
  const nowMs = Date.now() - clockSkewMs;
  let purchaseMs = nowMs;
  let actMs = nowMs;
  await Promise.all(
    list.map(async (slot) => {
      const uncommitted = await Promise.all(
        sources.map(async (from) => {
          const at = slot.start[from];
          // Nothing was ever committed: nothing is to be read back.
          if (at === slot.low[from] && sources.every((one) => slot.start[one] === slot.low[one]))
            return nowMs;
          if (at >= slot.queues[from].end) return nowMs;
          for await (const [first] of kafka.read(topicOf[from], slot.partition, at, at + 1))
            if (first !== undefined) return appendedMsOf(first);
          return nowMs;
        }),
      );
      const needed = restoreFrom(uncommitted as [number, number, number, number], options);
      purchaseMs = Math.min(purchaseMs, needed.purchaseMs);
      actMs = Math.min(actMs, needed.actMs);
    }),
  );
  return { purchaseMs, actMs };
}

/** Feeds [from, start) of a source into the state. Returns the number of records. */
async function restoreSource(
  slot: RestorableSlot,
  one: Source,
  from: number,
  deps: RestoreDeps,
): Promise<number> {
  const { kafka, log } = deps;
  const to = slot.start[one];
  let position = from;
  let records = 0;
  for (let idle = 0; position < to && !slot.dead; ) {
    const before = position;
    for await (const chunk of kafka.read(topicOf[one], slot.partition, position, to)) {
      if (slot.dead) return records;
      const last = chunk.at(-1);
      if (last === undefined) continue;
      const ticket = slot.join.begin(one, last.offset + 1);
      for (const record of chunk) restoreRecord(slot, ticket, one, record, deps);
      slot.join.finish(ticket, last.timestampMs, Date.now());
      records += chunk.length;
      position = last.offset + 1;
      await nextTurn();
    }
    if (position > before) idle = 0;
    else {
      idle += 1;
      // The rest may hold nothing but markers, or is deleted by now.
      if (idle >= 3) {
        log.warn('part of the state was not found', {
          topic: topicOf[one],
          partition: slot.partition,
          position,
          to,
        });
        break;
      }
    }
  }
  return records;
}

function restoreRecord(
  slot: RestorableSlot,
  ticket: Ticket,
  one: Source,
  record: IncomingRecord,
  { timeZone, partitionOf }: RestoreDeps,
): void {
  const result = understand(one, record, timeZone);
  if (!result.ok || partitionOf(result.value.userId) !== slot.partition) return;
  feed(slot.join, ticket, one, record, result.value, undefined);
}
