/**
 * Worker `promotion-join`: feeds the join of join.ts from Kafka and sends what it answers.
 *
 * One slot per partition number: partition i of both inputs and of both repartition topics. Per source a queue of fetched
 * batches; the slot takes from the queue whose head was appended first, so that a backlog is read in step and the state
 * stays as small as with live data. A record whose user belongs to another partition (a producer that knows nothing of
 * us) goes to the repartition topic, standardised and keyed by user. Offsets are committed when all that a record led to
 * is acked. On assignment the state is read back from the input topics (see join.ts).
 */
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import {
  type Batch,
  type IncomingRecord,
  type OutgoingRecord,
  type PartitionConsumer,
  partitionFor,
  type StartOffsets,
  type TopicPartition,
} from '../kafka/kafka.ts';
import { inSpan, type MessageSpan, startProcess, startSend } from '../kafka/tracing-kafka.ts';
import type { Worker } from '../platform/worker.ts';
import { answerRecords } from './enriched.ts';
import type { Rejection } from './fields.ts';
import {
  createJoin,
  type HeldPurchase,
  type JoinOptions,
  joinDefaults,
  type Source,
  source,
} from './join.ts';
import { createJoinMeters } from './join-meters.ts';
import {
  deadLetter,
  feed,
  forwarded,
  otherBody,
  sourceOf,
  sources,
  topicOf,
  understand,
} from './join-records.ts';
import { clockSkewMs, type RestorableSlot, restoreSlots } from './join-restore.ts';

const config = Type.Object({
  TIME_ZONE: Type.String({
    minLength: 1,
    default: 'Asia/Seoul',
    description: 'IANA zone of a time that carries none',
  }),
  JOIN_GRACE_MS: Type.Integer({
    minimum: 0,
    maximum: 3_600_000,
    default: joinDefaults.graceMs,
    description: 'how much later than its purchase an act may arrive and still count, in ms',
  }),
  JOIN_MISS_HOLD_MS: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: joinDefaults.missHoldMs,
    description: 'how long a purchase without acts waits for them at most, in ms',
  }),
});

const groupId = groups.promotionJoin.id;
/** Records taken from one source before the others are looked at again. */
const runLength = 512;
/** Longest stretch of work without letting the event loop turn. */
const sliceMs = 10;
/** Records sent and not yet acked, at most. */
const maxOutstanding = 10_000;
/** Fetched records a source may have waiting. */
const pauseAbove = 2_000;
const resumeBelow = 500;
const tickMs = 50;
/** Least time between two questions for the end offsets, when misses wait for them, and when none do. */
const askEveryMs = 200;
const askIdleMs = 5_000;
/** Acts may be read this far ahead of purchases, in append time. */
const actsAheadMs = 120_000;

interface Queue {
  readonly batches: Batch[];
  /** Index of the next record in the first batch. */
  next: number;
  records: number;
  paused: boolean;
  /** Highest end offset heard of. */
  end: number;
}

interface Slot extends RestorableSlot {
  readonly epoch: number;
  readonly queues: readonly [Queue, Queue, Queue, Queue];
  pumping: boolean;
  /** Since when the head waits for another source to catch up; 0: it does not. */
  waitingSinceMs: number;
}

export const worker: Worker<typeof config> = {
  name: 'promotion-join',
  consumes: [groups.promotionJoin],
  produces: [
    topics.purchaseEnriched,
    topics.promotion,
    topics.purchaseByUser,
    topics.promoBehaviorByUser,
    topics.purchaseDlq,
    topics.promoBehaviorDlq,
  ],
  config,
  async start({ config, fail, kafka, log, metrics: registry, secrets }) {
    const options: JoinOptions = {
      ...joinDefaults,
      graceMs: config.JOIN_GRACE_MS,
      missHoldMs: config.JOIN_MISS_HOLD_MS,
    };
    const timeZone = config.TIME_ZONE;
    const { admin } = kafka;
    const counts = await admin.partitionCounts([topicOf[source.purchase]]);
    const partitionCount = counts.get(topicOf[source.purchase]) ?? 0;
    const producer = await kafka.producer('promotion-join');
    const meters = createJoinMeters(registry);

    let slots = new Map<number, Slot>();
    let consumer: PartitionConsumer | undefined;
    let assigned = false;
    let newestEpoch = 0;
    let stopping = false;
    let outstanding = 0;
    /** Spans of purchases that are not answered yet. */
    const spans = new Map<HeldPurchase, MessageSpan>();

    // --- assignment and state ---------------------------------------------------------------------------------------

    async function onAssigned(assignment: readonly TopicPartition[], epoch: number): Promise<StartOffsets> {
      for (const slot of slots.values()) slot.dead = true;
      for (const span of spans.values()) span.end();
      spans.clear();
      slots = new Map();
      assigned = false;
      newestEpoch = epoch;
      const committed = await Promise.all(topicOf.map((topic) => admin.committed(groupId, topic)));
      const ends = await Promise.all(topicOf.map((topic) => admin.offsets(topic)));
      // The next assignment may have come, and been answered, while this one waited for the cluster.
      if (epoch !== newestEpoch) return [];
      const starts: (TopicPartition & { offset: number })[] = [];
      const fresh = new Map<number, Slot>();
      for (const partition of new Set(assignment.map((one) => one.partition))) {
        const edges = sources.map((from) => {
          const range = ends[from]!.find((one) => one.partition === partition) ?? { low: 0, high: 0 };
          const done = committed[from]!.get(partition);
          const inside = done !== undefined && done >= range.low && done <= range.high;
          return { ...range, start: inside ? done : range.low };
        });
        const join = createJoin(options);
        for (const from of sources) {
          join.startAt(from, edges[from]!.start);
          starts.push({ topic: topicOf[from], partition, offset: edges[from]!.start });
        }
        fresh.set(partition, {
          partition,
          epoch,
          join,
          queues: edges.map((edge) => ({
            batches: [],
            next: 0,
            records: 0,
            paused: false,
            end: edge.high,
          })) as unknown as Slot['queues'],
          start: edges.map((edge) => edge.start) as unknown as Slot['start'],
          low: edges.map((edge) => edge.low) as unknown as Slot['low'],
          restored: false,
          pumping: false,
          waitingSinceMs: 0,
          dead: false,
        });
      }
      slots = fresh;
      assigned = true;
      void restoreSlots(
        [...fresh.values()],
        { kafka, log, options, timeZone, partitionOf },
        (slot) => void pump(slot),
      );
      return starts;
    }

    // --- records ----------------------------------------------------------------------------------------------------

    function partitionOf(userId: string): number {
      return partitionFor(Buffer.from(userId), partitionCount);
    }

    /** Handles the next records of a source, up to `runLength`, as one run of the join. */
    function takeRun(slot: Slot, one: Source): void {
      const queue = slot.queues[one];
      const batch = queue.batches[0]!;
      const until = Math.min(batch.records.length, queue.next + runLength);
      const last = batch.records[until - 1]!;
      const { join } = slot;
      const ticket = join.begin(one, last.offset + 1);
      const sent: OutgoingRecord[] = [];
      const sentSpans: MessageSpan[] = [];
      for (let index = queue.next; index < until; index += 1) {
        const record = batch.records[index]!;
        const span = record.headers.traceparent === undefined ? undefined : startProcess(record, groupId);
        const result = understand(one, record, timeZone);
        if (!result.ok) {
          sent.push(refused(one, record, result.rejection));
          if (span !== undefined) {
            span.span.setAttribute('error.type', result.rejection.code);
            sentSpans.push(span);
          }
          continue;
        }
        const { value } = result;
        if (partitionOf(value.userId) !== slot.partition) {
          sent.push(forwarded(one, record, value, span?.traceparent));
          if (span !== undefined) sentSpans.push(span);
          continue;
        }
        const outcome = feed(join, ticket, one, record, value, span?.traceparent);
        if (outcome === 'conflict') sent.push(refused(one, record, otherBody));
        meters.outcome(one, outcome, value);
        if (span === undefined) continue;
        // The span of a purchase ends when its answer is acked.
        const purchase = outcome === 'hit' || outcome === 'held' ? join.lastPurchase() : undefined;
        if (purchase === undefined) span.end();
        else spans.set(purchase, span);
      }
      queue.records -= until - queue.next;
      queue.next = until;
      if (until === batch.records.length) {
        queue.batches.shift();
        queue.next = 0;
      }
      if (sent.length > 0) {
        join.retain(ticket);
        send(slot, sent, () => {
          join.release(ticket);
          for (const span of sentSpans) span.end();
        });
      }
      join.finish(ticket, last.timestampMs, Date.now());
      deliver(slot);
      resumeWhenLow(slot, one);
    }

    function refused(one: Source, record: IncomingRecord, rejection: Rejection): OutgoingRecord {
      const letter = deadLetter(one, record, rejection);
      meters.rejected(record.topic, letter.topic, rejection.code);
      return letter;
    }

    // --- sending ----------------------------------------------------------------------------------------------------

    /** Sends the join's answers; their offsets become free when they are acked. */
    function deliver(slot: Slot): void {
      const answers = slot.join.take();
      if (answers.length > 0) {
        const records: OutgoingRecord[] = [];
        const open: MessageSpan[] = [];
        for (const answer of answers) {
          const { purchase, touches } = answer;
          const span = spans.get(purchase);
          const enriched =
            span && inSpan(span, () => startSend(topics.purchaseEnriched.name, 1, 'promotion-join'));
          const promotion =
            span && touches.length > 0
              ? inSpan(span, () => startSend(topics.promotion.name, 1, 'promotion-join'))
              : undefined;
          if (enriched !== undefined) open.push(enriched);
          if (promotion !== undefined) open.push(promotion);
          if (span !== undefined) {
            spans.delete(purchase);
            open.push(span);
          }
          const made = answerRecords(answer, pseudonym(secrets.pseudonymKey, purchase.userId), {
            enriched: enriched?.traceparent ?? purchase.trace,
            promotion: promotion?.traceparent ?? purchase.trace,
          });
          for (const record of made) records.push(record);
        }
        send(slot, records, () => {
          for (const span of open) span.end();
          for (const answer of answers) slot.join.acked(answer);
          meters.answered(answers);
        });
      }
      commit(slot);
    }

    function send(slot: Slot, records: readonly OutgoingRecord[], done: () => void): void {
      outstanding += records.length;
      void sendUntilAcked(slot, records).then((acked) => {
        outstanding -= records.length;
        if (!acked || slot.dead) return;
        done();
        commit(slot);
        if (outstanding < maxOutstanding / 2) for (const one of slots.values()) void pump(one);
      });
    }

    /** Tries for as long as the slot is ours: without the ack nothing may be committed. */
    async function sendUntilAcked(slot: Slot, records: readonly OutgoingRecord[]): Promise<boolean> {
      for (;;) {
        try {
          await producer.send(records, { deadlineMs: 30_000 });
          return true;
        } catch (error) {
          if (slot.dead || stopping) return false;
          const code = (error as { code?: string }).code;
          if (code !== 'MUSTER_KAFKA_SEND') {
            // Not a matter of time: a restart replays from the commits.
            fail(error instanceof Error ? error : new Error(String(error)));
            return false;
          }
          log.warn('answers could not be sent, trying again', { records: records.length, error });
          await sleep(500);
        }
      }
    }

    function commit(slot: Slot): void {
      if (slot.dead) return;
      slot.join.commits((from, offset) => {
        consumer?.commit([{ topic: topicOf[from], partition: slot.partition, offset }], slot.epoch);
      });
    }

    // --- what is next -----------------------------------------------------------------------------------------------

    function onBatch(batch: Batch, epoch: number): void {
      const slot = slots.get(batch.partition);
      const one = sourceOf.get(batch.topic);
      if (slot === undefined || one === undefined || slot.epoch !== epoch || batch.records.length === 0)
        return;
      const queue = slot.queues[one];
      queue.batches.push(batch);
      queue.records += batch.records.length;
      queue.end = Math.max(queue.end, batch.highWatermark);
      if (queue.records > pauseAbove && !queue.paused) {
        queue.paused = true;
        consumer?.pause([{ topic: batch.topic, partition: batch.partition }]);
      }
      void pump(slot);
    }

    function resumeWhenLow(slot: Slot, one: Source): void {
      const queue = slot.queues[one];
      if (!queue.paused || queue.records > resumeBelow) return;
      queue.paused = false;
      consumer?.resume([{ topic: topicOf[one], partition: slot.partition }]);
    }

    async function pump(slot: Slot): Promise<void> {
      if (slot.pumping || !slot.restored) return;
      slot.pumping = true;
      try {
        let sinceMs = performance.now();
        while (!slot.dead && !stopping && outstanding < maxOutstanding) {
          const one = nextSource(slot);
          if (one === undefined) break;
          takeRun(slot, one);
          if (performance.now() - sinceMs > sliceMs) {
            await nextTurn();
            sinceMs = performance.now();
          }
        }
      } catch (error) {
        // A bug of ours. The position is lost, so the process starts anew from the commits.
        fail(error instanceof Error ? error : new Error(String(error)));
      } finally {
        slot.pumping = false;
      }
    }

    function readToEnd(slot: Slot, one: Source): boolean {
      return slot.queues[one].records === 0 && (slot.join.position(one) ?? 0) >= slot.queues[one].end;
    }

    /** The source whose next record was appended first; undefined when there is nothing, or it has to wait. */
    function nextSource(slot: Slot): Source | undefined {
      let best: Source | undefined;
      let bestMs = Number.POSITIVE_INFINITY;
      // Acts first, so that of two records of one ms the act is known when the purchase comes.
      for (const one of [source.act, source.actByUser, source.purchase, source.purchaseByUser] as const) {
        const queue = slot.queues[one];
        const head = queue.batches[0]?.records[queue.next];
        if (head !== undefined && head.timestampMs < bestMs) {
          best = one;
          bestMs = head.timestampMs;
        }
      }
      if (best === undefined) return undefined;
      const isPurchase = best < source.act;
      const others = isPurchase ? [source.act, source.actByUser] : [source.purchase, source.purchaseByUser];
      const aheadMs = isPurchase ? 0 : actsAheadMs;
      const longestMs = isPurchase ? options.missHoldMs : 30_000;
      // A side that has more to read, but not here yet, is waited for: else the other would run away from it.
      const behind = others.some(
        (one) =>
          slot.queues[one].records === 0 &&
          !readToEnd(slot, one) &&
          slot.join.appendPosition(one) + aheadMs < bestMs,
      );
      if (!behind) {
        slot.waitingSinceMs = 0;
        return best;
      }
      const nowMs = Date.now();
      if (slot.waitingSinceMs === 0) slot.waitingSinceMs = nowMs;
      return nowMs - slot.waitingSinceMs >= longestMs ? best : undefined;
    }

    // --- time -------------------------------------------------------------------------------------------------------

    let asking = false;
    let askedAtMs = 0;

    const timer = setInterval(() => {
      const nowMs = Date.now();
      let held = 0;
      let waits = false;
      for (const slot of slots.values()) {
        if (!slot.restored) continue;
        slot.join.tick(nowMs);
        deliver(slot);
        void pump(slot);
        held += slot.join.heldCount();
        waits ||= slot.join.waitsForEnds() || slot.waitingSinceMs > 0;
      }
      meters.held(held);
      if (!asking && assigned && nowMs - askedAtMs >= (waits ? askEveryMs : askIdleMs))
        void askForEnds(nowMs);
    }, tickMs);

    async function askForEnds(nowMs: number): Promise<void> {
      asking = true;
      askedAtMs = nowMs;
      try {
        const answers = await Promise.all(topicOf.map((topic) => admin.offsets(topic)));
        let forwardedUpToMs = nowMs - clockSkewMs;
        for (const slot of slots.values())
          for (const one of [source.purchase, source.act] as const)
            if (!readToEnd(slot, one))
              forwardedUpToMs = Math.min(forwardedUpToMs, slot.join.appendPosition(one));
        for (const slot of slots.values()) {
          if (!slot.restored) continue;
          const ends = answers.map(
            (list) => list.find(({ partition }) => partition === slot.partition)?.high ?? 0,
          );
          for (const one of sources) {
            const queue = slot.queues[one];
            queue.end = Math.max(queue.end, ends[one]!);
            if (!readToEnd(slot, one)) continue;
            // A repartition topic may still get what the inputs have not been read for.
            const isInput = one === source.purchase || one === source.act;
            slot.join.caughtUp(one, isInput ? nowMs - clockSkewMs : forwardedUpToMs);
          }
          slot.join.observeEnds(nowMs, ends[source.act]!, ends[source.actByUser]!);
          slot.join.tick(Date.now());
          deliver(slot);
          void pump(slot);
        }
      } catch (error) {
        log.debug('the end offsets could not be asked for', { error });
      } finally {
        asking = false;
      }
    }

    consumer = await kafka.consumePartitions({
      groupId,
      topics: groups.promotionJoin.topics.map((topic) => topic.name),
      coPartitioned: true,
      onAssigned,
      onBatch,
      onFatal: fail,
    });

    const ready = () => assigned && [...slots.values()].every((slot) => slot.restored);
    return {
      ready,
      waitingFor: () => (assigned ? 'reading the state back' : 'joining the group'),
      async stop() {
        clearInterval(timer);
        stopping = true;
        // What was sent is worth its ack: the next one need not do it again.
        for (const until = Date.now() + 8_000; outstanding > 0 && Date.now() < until; ) await sleep(20);
        for (const slot of slots.values()) commit(slot);
        await consumer?.stop();
        for (const slot of slots.values()) slot.dead = true;
        for (const span of spans.values()) span.end();
        await producer.close();
      },
    };
  },
};
