/** Tells systems outside about business events by webhook. */
import { trace } from '@opentelemetry/api';
import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics as names } from '../../catalog/metrics.ts';
import { MusterError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { counter, durationHistogram } from '../base/metrics.ts';
import { createOutgoing } from '../http/outgoing.ts';
import type { Understood } from '../kafka/apply.ts';
import { consume, type RecordConsumer } from '../kafka/consume.ts';
import type { Kafka } from '../kafka/kafka.ts';
import { attemptsOf } from '../kafka/retry.ts';
import {
  type Beginning,
  beginAttemptOf,
  logFailure,
  logForeign,
  noteAttempts,
  type TakenEvent,
} from '../store/event-log.ts';
import type { EventState } from '../store/event-states.ts';
import { groupCommit } from '../store/group-commit.ts';
import { stateAfter } from './delivery.ts';
import { type OutsideEvent, readOutsideEvent } from './events.ts';

/** Webhooks that run at once in a process: a receiver that hangs holds this many, not the partitions. */
const concurrency = 32;

/** Between two fetches of a partition: an event that comes alone does not wait, under load a fetch brings more. */
const pauseMs = 30;
/** A commit carries what came in this time, or so many notes: nearly all webhooks, when they come as fast as they can. */
const notedEveryMs = 25;
const notesAtOnce = 24;

/** What a webhook has to say to the event log. */
interface Note {
  readonly begins?: Beginning;
  readonly taken?: TakenEvent;
}

/** A webhook that was not taken; what it means for the record is decided already. */
class WebhookFailed extends MusterError {
  readonly isFinal: boolean;
  constructor(what: string, isFinal: boolean) {
    super('MUSTER_WEBHOOK_FAILED', `the webhook was not taken: ${what}`);
    this.isFinal = isFinal;
  }
}

export interface DeliveryOptions {
  readonly kafka: Kafka;
  readonly db: Kysely<unknown>;
  readonly log: Logger;
  readonly registry: Registry;
  readonly group: ConsumerGroup;
  /** The receiver: its base address without a slash at the end, and the longest wait for an answer. */
  readonly webhook: { readonly baseUrl: string; readonly timeoutMs: number };
  onFatal(error: Error): void;
}

/** Delivers the events of the group's topics until stopped. */
export async function deliverEvents(options: DeliveryOptions): Promise<RecordConsumer> {
  const { db, group, log, registry, webhook } = options;
  const states = counter(registry, names.outside.events);
  const attempts = counter(registry, names.outside.webhookAttempts);
  const durations = durationHistogram(registry, names.outside.webhookDuration);
  const entered = (state: EventState) => states.inc({ state });
  const receiver = createOutgoing({ name: 'webhooks', registry, ...webhook });

  // What the webhooks under way have to say to the log shares statements and commits.
  const note = groupCommit(
    async (notes: readonly Note[]) => {
      const begun = await noteAttempts(db, {
        begun: notes.flatMap(({ begins }) => begins ?? []),
        taken: notes.flatMap(({ taken }) => taken ?? []),
      });
      return notes.map(() => begun);
    },
    { most: notesAtOnce, waiting: concurrency, everyMs: notedEveryMs },
  );

  /** The number of the attempt that begins now; undefined: nothing is to be done any more. */
  async function begin(beginning: Beginning, putOff: number): Promise<number | undefined> {
    // By far the most come here for the first time.
    if (putOff === 0 && (await note({ begins: beginning }))) {
      entered('PUBLISHED');
      return 1;
    }
    if (await logForeign(db, beginning.event)) entered('PUBLISHED');
    return beginAttemptOf(db, beginning);
  }

  async function deliver({ data, record }: Understood<OutsideEvent>): Promise<void> {
    const putOff = attemptsOf(record);
    const attempt = await begin({ event: data, traceId: sampledTraceId() }, putOff);
    // It was delivered before: a record may come more than once.
    if (attempt === undefined) return;
    entered('IN_PROGRESS');
    const startedMs = performance.now();
    const { id, path, body } = data;
    const answer = await receiver.call({
      method: 'POST',
      path,
      // The same for every attempt of an event: a receiver that keeps to it does the work once.
      idempotencyKey: id,
      body,
      sentBefore: attempt - 1,
      // An event that was attempted keeps the schedule of its retries.
      evenIfDown: true,
    });
    attempts.inc({ outcome: answer.outcome });
    durations.observe({ outcome: answer.outcome }, (performance.now() - startedMs) / 1_000);
    const wanted = stateAfter(answer, putOff, group.retryDelaysMs.length);
    if (wanted === 'COMPLETED') {
      await note({ taken: { eventId: data.id, ...answer } });
      entered(wanted);
      return;
    }
    const state = await logFailure(db, data.id, attempt, answer, wanted, group.retryDelaysMs[putOff]);
    if (state === wanted) entered(state);
    if (state === 'COMPLETED') return;
    const what = answer.status === null ? answer.outcome : `status ${answer.status}`;
    if (wanted === 'DEAD_LETTER')
      log.error('an event for outside was given up', { eventId: data.id, attempt, what });
    throw new WebhookFailed(what, wanted === 'DEAD_LETTER');
  }

  return consume<OutsideEvent>(options.kafka, {
    group,
    log,
    concurrency,
    pauseMs,
    // While the receiver is down, events that were not attempted keep all their attempts for later.
    mayBegin: receiver.mayCall,
    parse: readOutsideEvent,
    async apply(records) {
      for (const one of records) await deliver(one);
      return undefined;
    },
    isFinal: (error) =>
      error instanceof WebhookFailed
        ? error.isFinal
        : error instanceof MusterError && error.code === 'MUSTER_DUPLICATE_ID_OTHER_BODY',
    onFatal: options.onFatal,
  });
}

function sampledTraceId(): string | undefined {
  const span = trace.getActiveSpan();
  return span?.isRecording() ? span.spanContext().traceId : undefined;
}
