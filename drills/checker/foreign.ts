/** Judges what foreign producers sent: its effect, or a dead letter with its reason, and nothing of what they aborted. */
import { topics } from '../../catalog/topics.ts';
import type { RecordsOf } from './reading.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { bodyOf, headerOf, traceIdOf } from './wire.ts';

/** Names the message of a record that must become a dead letter. */
export const owedHeader = 'drill-owed';

export interface ForeignMessage {
  /** Of the purchase, the request or the order that is told of, or of the record where it is none of them. */
  readonly id: string;
  /** How it was sent, in words. */
  readonly what: string;
  /**
   * The answer to a purchase, why a request for a coupon is refused, how often the receiver outside does its work, the code
   * of its dead letter, or nothing at all: it was aborted.
   */
  readonly owes:
    | { readonly affect: 0 | 1 }
    | { readonly reason: string }
    | { readonly effects: 1 }
    | { readonly code: string }
    | 'nothing';
  readonly isAcked: boolean;
}

const resultTopics = [topics.couponResults, topics.couponIssueSucceeded, topics.couponIssueFailed];
const letterTopics = [
  topics.purchaseDlq,
  topics.promoBehaviorDlq,
  topics.couponRequestsDlq,
  topics.couponIssueDlq,
  topics.orderCompletedDlq,
  topics.productEventsDlq,
  topics.orderExpiryDlq,
  topics.externalEventsDlq,
];
export const foreignTopics: readonly string[] = [
  topics.purchaseEnriched,
  ...resultTopics,
  ...letterTopics,
].map(({ name }) => name);

interface Enriched {
  readonly purchaseId: string;
  readonly version: number;
  readonly promotion_affect: 0 | 1;
}

/**
 * Pure. What was not acked may have got through or not.
 * @param received how often the receiver outside has done the work of an order
 */
export function checkForeign(
  messages: readonly ForeignMessage[],
  recordsOf: RecordsOf,
  received: ReadonlyMap<string, number>,
): Verdict {
  const enriched = recordsOf(topics.purchaseEnriched.name);
  const deadLetters = letterTopics.flatMap(({ name }) => recordsOf(name));
  const results = Map.groupBy(
    resultTopics.flatMap(({ name }) => recordsOf(name)),
    (record) => (bodyOf(record) as { requestId?: string } | undefined)?.requestId,
  );
  const findings: Finding[] = [];
  const ids = new Set(messages.map(({ id }) => id));
  const last = new Map<string, Enriched>();
  const traces = new Map<string, string | undefined>();
  let repeats = 0;
  for (const record of enriched) {
    const answer = bodyOf(record) as Enriched | undefined;
    if (answer === undefined || !ids.has(answer.purchaseId)) continue;
    const { purchaseId: id, version } = answer;
    const before = last.get(id)?.version ?? 0;
    if (version === before) repeats += 1;
    if (version < before) continue;
    last.set(id, answer);
    traces.set(id, traceIdOf(record));
  }
  const codes = Map.groupBy(
    deadLetters.filter((record) => headerOf(record, owedHeader) !== undefined),
    (record) => headerOf(record, owedHeader),
  );
  for (const { id, what, owes, isAcked } of messages) {
    const answer = last.get(id);
    const told = results.get(id) ?? [];
    const out = (kind: Finding['kind'], detail: string) =>
      findings.push(found(kind, id, `${what}: ${detail}`, traces.get(id)));
    if (owes === 'nothing') {
      if (answer !== undefined || told.length > 0) out('from-nowhere', 'aborted, and answered');
    } else if ('code' in owes) {
      const said = [
        ...new Set((codes.get(id) ?? []).map((record) => String(headerOf(record, 'muster-error-code')))),
      ];
      if (said.length === 0 && isAcked) out('lost', 'acked, and no dead letter');
      else if (said.some((code) => code !== owes.code))
        out('wrong', `a dead letter for ${said.join(', ')}, not for ${owes.code}`);
    } else if ('reason' in owes) {
      const reasons = new Set(told.map((record) => String(bodyOf(record)?.reason)));
      if (reasons.size === 0 && isAcked) out('lost', 'acked, and nobody was told what became of it');
      else if (reasons.size > 1 || (reasons.size === 1 && !reasons.has(owes.reason)))
        out('wrong', `told ${[...reasons].join(', ')}, not ${owes.reason}`);
    } else if ('effects' in owes) {
      const effects = received.get(id) ?? 0;
      if (effects === 0 && isAcked) out('lost', 'acked, and the receiver outside does not know of it');
      else if (effects > 1) out('doubled', `the receiver outside has done its work ${effects} times`);
    } else if (answer === undefined) {
      if (isAcked) out('lost', 'acked, and no answer came out');
    } else if (answer.promotion_affect !== owes.affect && isAcked)
      out('wrong', `answered with ${answer.promotion_affect}, not with ${owes.affect}`);
  }
  const acked = messages.filter(({ isAcked }) => isAcked).length;
  return { subject: 'foreign producers', acked, inDoubt: messages.length - acked, repeats, findings };
}
