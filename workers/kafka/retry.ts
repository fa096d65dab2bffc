/** Where a record goes whose handler failed: to the next retry topic, and from the last to the dead letters. Pure. */
import { retryTopics, type Topic } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import { type DeadLetterReason, deadLetterOf } from './dead-letters.ts';
import type { IncomingRecord, RawHeaders, RawRecord } from './kafka.ts';
import { headerText, originHeader, parsePlace, placeOf } from './records.ts';

/** How often a record was tried and put off before; 0 for one that comes from its own topic. */
export function attemptsOf(record: IncomingRecord): number {
  const attempts = Number(headerText(record, 'muster-attempt') ?? 0);
  return Number.isSafeInteger(attempts) && attempts > 0 ? attempts : 0;
}

/** UTC ms before which a retried record must not be handled; 0 when there is none. */
export function dueAtMs(record: IncomingRecord): number {
  const due = Number(headerText(record, 'muster-due-at') ?? 0);
  return Number.isFinite(due) ? due : 0;
}

/** The record to write after a failure: the next retry, or the dead letter when the attempts are used up. */
export function afterFailure(
  record: IncomingRecord,
  group: {
    readonly id: string;
    readonly retryDelaysMs: readonly number[];
    readonly topics: readonly Topic[];
  },
  why: DeadLetterReason,
  nowMs: number,
): RawRecord {
  const attempt = attemptsOf(record);
  const delayMs = group.retryDelaysMs[attempt];
  if (delayMs === undefined) return deadLetterOf(record, why, nowMs);
  const origin = headerText(record, originHeader) ?? placeOf(record);
  const originTopic = parsePlace(origin)?.topic ?? record.topic;
  const topic = group.topics.find(({ name }) => name === originTopic);
  const retry = topic && retryTopics(topic, group).find((candidate) => candidate.delayMs === delayMs);
  if (retry === undefined) return deadLetterOf(record, why, nowMs);
  return {
    topic: retry.name,
    key: record.key,
    value: record.value,
    headers: {
      ...(record.headers as RawHeaders),
      [originHeader]: origin,
      'muster-attempt': String(attempt + 1),
      'muster-due-at': String(nowMs + delayMs),
      'muster-error-code': why.code,
      'muster-error-reason': why.reason.slice(0, 500),
      'muster-group': why.group,
    },
  };
}

/** What may be written down of a failure: our own messages hold no personal data; of foreign errors only the kind. */
export function reasonOf(error: unknown, group: string): DeadLetterReason {
  if (error instanceof MusterError) return { code: error.code, reason: error.message, group };
  const { name, code } = error as { name?: string; code?: string };
  return {
    code: typeof code === 'string' && code.startsWith('MUSTER_') ? code : 'MUSTER_HANDLER_FAILED',
    reason: `the handler failed with ${name ?? typeof error}${typeof code === 'string' ? ` (${code})` : ''}`,
    group,
  };
}
