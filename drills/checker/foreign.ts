/** Judges what foreign producers sent: joined, or a dead letter with its reason, and nothing of what they aborted. */
import { topics } from '../../catalog/topics.ts';
import type { SeenRecord } from './reading.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { bodyOf, headerOf, traceIdOf } from './wire.ts';

/** Names the message of a record that must become a dead letter. */
export const owedHeader = 'drill-owed';

export interface ForeignMessage {
  /** Of the purchase, or of the record where it is none. */
  readonly id: string;
  /** How it was sent, in words. */
  readonly what: string;
  /** The answer to it, the code of its dead letter, or nothing at all: it was aborted. */
  readonly owes: { readonly affect: 0 | 1 } | { readonly code: string } | 'nothing';
  readonly isAcked: boolean;
}

export const foreignTopics: readonly string[] = [
  topics.purchaseEnriched,
  topics.purchaseDlq,
  topics.promoBehaviorDlq,
].map(({ name }) => name);

interface Enriched {
  readonly purchaseId: string;
  readonly version: number;
  readonly promotion_affect: 0 | 1;
}

/** Pure. What was not acked may have got through or not. */
export function checkForeign(
  messages: readonly ForeignMessage[],
  enriched: readonly SeenRecord[],
  deadLetters: readonly SeenRecord[],
): Verdict {
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
    const out = (kind: Finding['kind'], detail: string) =>
      findings.push(found(kind, id, `${what}: ${detail}`, traces.get(id)));
    if (owes === 'nothing') {
      if (answer !== undefined) out('from-nowhere', 'aborted, and answered');
    } else if ('code' in owes) {
      const said = [
        ...new Set((codes.get(id) ?? []).map((record) => String(headerOf(record, 'muster-error-code')))),
      ];
      if (said.length === 0 && isAcked) out('lost', 'acked, and no dead letter');
      else if (said.some((code) => code !== owes.code))
        out('wrong', `a dead letter for ${said.join(', ')}, not for ${owes.code}`);
    } else if (answer === undefined) {
      if (isAcked) out('lost', 'acked, and no answer came out');
    } else if (answer.promotion_affect !== owes.affect && isAcked)
      out('wrong', `answered with ${answer.promotion_affect}, not with ${owes.affect}`);
  }
  const acked = messages.filter(({ isAcked }) => isAcked).length;
  return { subject: 'foreign producers', acked, inDoubt: messages.length - acked, repeats, findings };
}
