/** Sends what the join answers, and what it moves or refuses, until it is acked; with the spans of the purchases. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import { topics } from '../../catalog/topics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import type { OutgoingRecord, Producer } from '../kafka/kafka.ts';
import { inSpan, type MessageSpan, startSend } from '../kafka/tracing-kafka.ts';
import { answerRecords } from './enriched.ts';
import type { Answer } from './join.ts';
import type { HeldPurchase } from './join-state.ts';
import type { JoinTask } from './join-task.ts';

/** Records sent and not yet acked, at most. */
const maxOutstanding = 10_000;

export interface AnswersOptions {
  readonly producer: Producer;
  readonly log: Logger;
  readonly pseudonymKey: Buffer;
  fail(error: Error): void;
  answered(answers: readonly Answer[]): void;
  /** Something was acked: offsets may be free. */
  acked(task: JoinTask): void;
  /** There is room again for more. */
  hasRoom(): void;
}

export interface Answers {
  /** Sends the join's answers; they are acked to the join when Kafka has them. */
  deliver(task: JoinTask): void;
  /** `done` is called when all are acked, unless the task was taken away. */
  send(task: JoinTask, records: readonly OutgoingRecord[], done: () => void): void;
  /** The span ends when the purchase's answer is acked. */
  trace(purchase: HeldPurchase, span: MessageSpan): void;
  endSpans(): void;
  isFull(): boolean;
  /** Waits for what is on its way, at most so long; no new tries. */
  stop(longestMs: number): Promise<void>;
}

export function createAnswers(options: AnswersOptions): Answers {
  const { producer, log, pseudonymKey } = options;
  /** Spans of purchases that are not answered yet. */
  const spans = new Map<HeldPurchase, MessageSpan>();
  let outstanding = 0;
  let stopping = false;

  function send(task: JoinTask, records: readonly OutgoingRecord[], done: () => void): void {
    outstanding += records.length;
    void sendUntilAcked(task, records).then((acked) => {
      outstanding -= records.length;
      if (!acked || task.dead) return;
      done();
      options.acked(task);
      if (outstanding < maxOutstanding / 2) options.hasRoom();
    });
  }

  /** Tries for as long as the task is ours: without the ack nothing may be committed. */
  async function sendUntilAcked(task: JoinTask, records: readonly OutgoingRecord[]): Promise<boolean> {
    for (;;) {
      try {
        await producer.send(records, { deadlineMs: 30_000 });
        return true;
      } catch (error) {
        if (task.dead || stopping) return false;
        if ((error as { code?: string }).code !== 'MUSTER_KAFKA_SEND') {
          // Not a matter of time: a restart replays from the commits.
          options.fail(error instanceof Error ? error : new Error(String(error)));
          return false;
        }
        log.warn('answers could not be sent, trying again', { records: records.length, error });
        await sleep(500);
      }
    }
  }

  /** The records of an answer; spans that end with its ack are added to `open`. */
  function recordsOf(answer: Answer, open: MessageSpan[]): OutgoingRecord[] {
    const { purchase, touches } = answer;
    const user = pseudonym(pseudonymKey, purchase.userId);
    const span = spans.get(purchase);
    if (span === undefined)
      return answerRecords(answer, user, { enriched: purchase.trace, promotion: purchase.trace });
    const sending = (topic: string) => inSpan(span, () => startSend(topic, 1, 'promotion-join'));
    const enriched = sending(topics.purchaseEnriched.name);
    const promotion = touches.length > 0 ? sending(topics.promotion.name) : undefined;
    spans.delete(purchase);
    for (const one of [enriched, promotion, span]) if (one !== undefined) open.push(one);
    return answerRecords(answer, user, {
      enriched: enriched?.traceparent ?? purchase.trace,
      promotion: promotion?.traceparent ?? purchase.trace,
    });
  }

  return {
    send,
    deliver(task) {
      const answers = task.join.take();
      if (answers.length === 0) return;
      const records: OutgoingRecord[] = [];
      const open: MessageSpan[] = [];
      for (const answer of answers) for (const record of recordsOf(answer, open)) records.push(record);
      send(task, records, () => {
        for (const span of open) span.end();
        for (const answer of answers) task.join.acked(answer);
        options.answered(answers);
      });
    },
    trace: (purchase, span) => void spans.set(purchase, span),
    endSpans() {
      for (const span of spans.values()) span.end();
      spans.clear();
    },
    isFull: () => outstanding >= maxOutstanding,
    async stop(longestMs) {
      stopping = true;
      for (const until = performance.now() + longestMs; outstanding > 0 && performance.now() < until; )
        await sleep(20);
    },
  };
}
