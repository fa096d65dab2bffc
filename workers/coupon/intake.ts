/**
 * Taking requests in: durable first, then published.
 *
 * Group commit: requests that arrive while a transaction runs share the next one, so that the cost of a commit (round
 * trips, the disk) is paid once for many. The event log rows and a note of what is still to be published commit together;
 * only then a request is answered. What was committed is published from memory; the note goes when Kafka has acked. A
 * note that stays (this process died, Kafka was away) is published by whichever replica finds it first. That is an outbox
 * with a row per group commit instead of one per request, and without reading back what is in memory anyway.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Context, context, trace } from '@opentelemetry/api';
import type { Logger } from 'winston';
import type { CouponRequest } from '../../catalog/events/coupon.ts';
import { uuidV7 } from '../base/ids.ts';
import { HttpError } from '../http/errors.ts';
import type { OutgoingRecord, Producer } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import { type MessageSpan, startSend, traceparentOf } from '../kafka/tracing-kafka.ts';
import type { Ordering } from './ordering.ts';
import {
  acceptRequests,
  type NewRequest,
  publishForgotten,
  type RequestBatch,
  type RequestStore,
} from './requests.ts';

export interface IntakeOptions {
  readonly store: RequestStore;
  readonly producer: Pick<Producer, 'send'>;
  readonly ordering: Ordering;
  readonly log: Logger;
  /** Called with the number of requests of each commit. */
  onAccepted?(requests: number): void;
  /** Most requests of one commit. Default 500. */
  readonly maxBatch?: number;
  /** Commits at the same time. Default 1: a second one only makes both smaller. */
  readonly lanes?: number;
  /** Requests that may wait for a commit; more are refused. Default 10,000. */
  readonly maxWaiting?: number;
  /** Age at which a note counts as forgotten. Default 5,000. */
  readonly forgottenAfterMs?: number;
}

export interface Intake {
  /**
   * Resolves to the request's id when it is durable. Rejects with MUSTER_DATABASE_DOWN (it may have been stored all the
   * same, and then it is decided like any other) or MUSTER_OVERLOADED.
   */
  request(asked: Omit<CouponRequest, 'requestId'>): Promise<string>;
  /** Waits for what runs and for the acks of the last seconds; the rest is left to the notes. */
  stop(): Promise<void>;
}

interface Waiting extends NewRequest {
  readonly active: Context;
  resolve(requestId: string): void;
  reject(error: unknown): void;
}

/** Least time from the beginning of one commit to that of the next. */
const gatherMs = 10;
const sendDeadlineMs = 10_000;
/** Batches sent and not acked; beyond it (Kafka is away) batches wait in the database and not in memory. */
const maxUnacked = 200;

export function startIntake(options: IntakeOptions): Intake {
  const { store, producer, ordering, log } = options;
  const maxBatch = options.maxBatch ?? 500;
  const lanes = options.lanes ?? 1;
  const stopping = new AbortController();
  let waiting: Waiting[] = [];
  let committing = 0;
  let scheduled = false;
  let lastCommitMs = 0;
  const running = new Set<Promise<void>>();
  const unacked = new Set<string>();
  let acked: string[] = [];

  /** A request that comes alone goes at the end of this turn of the event loop; under load commits keep their distance. */
  function schedule(): void {
    if (scheduled || committing >= lanes || waiting.length === 0) return;
    scheduled = true;
    const waitMs = lastCommitMs + gatherMs - performance.now();
    if (waitMs > 1) setTimeout(commitNext, waitMs);
    else setImmediate(commitNext);
  }

  function commitNext(): void {
    scheduled = false;
    lastCommitMs = performance.now();
    const batch = waiting.slice(0, maxBatch);
    waiting = waiting.slice(maxBatch);
    committing += 1;
    track(commit(batch));
    schedule();
  }

  function track(work: Promise<void>): void {
    running.add(work);
    void work.finally(() => running.delete(work));
  }

  async function commit(entries: readonly Waiting[]): Promise<void> {
    const batch: RequestBatch = { batchId: uuidV7(Date.now()), requests: entries };
    try {
      await acceptRequests(store, batch);
    } catch (error) {
      for (const entry of entries) entry.reject(error);
      return;
    } finally {
      committing -= 1;
      schedule();
    }
    options.onAccepted?.(entries.length);
    // Before the answers: the spans must begin while those of the requests are open.
    const spans = entries.map(({ active }) =>
      context.with(active, () => startSend(ordering.requestTopic, 1, 'coupon-api')),
    );
    for (const entry of entries) entry.resolve(entry.requestId);
    if (unacked.size < maxUnacked) track(publish(batch, spans));
    else for (const span of spans) span?.end();
  }

  async function publish(batch: RequestBatch, spans: readonly (MessageSpan | undefined)[]): Promise<void> {
    unacked.add(batch.batchId);
    try {
      await send(batch, spans);
      acked.push(batch.batchId);
      for (const span of spans) span?.end();
    } catch (error) {
      log.warn('requests could not be published yet; they are durable and will be', {
        requests: batch.requests.length,
        error,
      });
      for (const span of spans) span?.end(error);
    } finally {
      unacked.delete(batch.batchId);
    }
  }

  function send({ requests }: RequestBatch, spans?: readonly (MessageSpan | undefined)[]): Promise<void> {
    const nowMs = Date.now();
    const records = requests.map(({ requestId, userId, couponId, traceparent }, index): OutgoingRecord => {
      const request: CouponRequest = { requestId, userId, couponId };
      const parent = spans?.[index]?.traceparent ?? traceparent;
      return eventRecord({
        topic: ordering.requestTopic,
        key: ordering.requestKey(request),
        type: 'CouponRequest',
        source: '/muster/coupon-api',
        id: requestId,
        timeMs: nowMs,
        data: request,
        ...(parent === undefined ? {} : { traceparent: parent }),
      });
    });
    // Outside of any request's context: its span is not that of the whole batch.
    return context.with(trace.deleteSpan(context.active()), () =>
      producer.send(records, { deadlineMs: sendDeadlineMs }),
    );
  }

  /** Removes the notes of what is acked, four times a second; and publishes what was forgotten. */
  async function tidy(): Promise<void> {
    const forgottenAfterMs = options.forgottenAfterMs ?? 5_000;
    let lastLookMs = 0;
    let failures = 0;
    while (!stopping.signal.aborted) {
      await sleep(failures === 0 ? 250 : Math.min(5_000, 250 * 2 ** failures), undefined, {
        signal: stopping.signal,
      }).catch(() => undefined);
      try {
        await forget();
        if (Date.now() - lastLookMs >= 1_000 && !stopping.signal.aborted) {
          lastLookMs = Date.now();
          const count = await publishForgotten(
            store,
            { olderThanMs: forgottenAfterMs, limit: 20 },
            async (batch) => {
              // Still under way from memory: whether that will be acked nobody knows yet.
              if (unacked.has(batch.batchId)) return false;
              await send(batch);
              return true;
            },
          );
          if (count > 0) log.info('published what was left behind', { batches: count });
        }
        failures = 0;
      } catch (error) {
        failures = Math.min(failures + 1, 6);
        if (failures === 1)
          log.warn('notes of published requests could not be tidied; trying again', { error });
      }
    }
  }

  async function forget(): Promise<void> {
    const batchIds = acked;
    acked = [];
    try {
      if (batchIds.length > 0) await store.deleteNotes(batchIds);
    } catch (error) {
      acked.push(...batchIds);
      throw error;
    }
  }
  const tidying = tidy();

  return {
    request({ userId, couponId }) {
      if (stopping.signal.aborted || waiting.length >= (options.maxWaiting ?? 10_000))
        return Promise.reject(
          new HttpError(503, 'MUSTER_OVERLOADED', 'too many requests wait for the database; try again'),
        );
      const active = context.active();
      const span = trace.getSpan(active)?.spanContext();
      return new Promise((resolve, reject) => {
        waiting.push({
          requestId: uuidV7(Date.now()),
          userId,
          couponId,
          traceparent: span === undefined ? undefined : traceparentOf(span),
          active,
          resolve,
          reject,
        });
        schedule();
      });
    },
    async stop() {
      while (waiting.length > 0 || committing > 0) await sleep(10);
      stopping.abort();
      await Promise.race([Promise.allSettled(running), sleep(3_000, undefined, { ref: false })]);
      await tidying;
      await forget().catch((error: unknown) => log.info('notes of published requests stay', { error }));
    },
  };
}
