/** Judges what foreign producers sent: joined, or a dead letter with its reason, and nothing of what they aborted. */
import { setTimeout as sleep } from 'node:timers/promises';
import { topics } from '../../catalog/topics.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import type { SeenRecord } from './promotion.ts';
import { type Mark, readSince } from './reading.ts';
import { type Finding, found, traceIdOf, type Verdict } from './verdict.ts';

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
  for (const { value, headers } of enriched) {
    const answer = JSON.parse(String(value)) as Enriched;
    const { purchaseId: id, version } = answer;
    if (!ids.has(id)) continue;
    const before = last.get(id)?.version ?? 0;
    if (version === before) repeats += 1;
    if (version < before) continue;
    last.set(id, answer);
    traces.set(id, traceIdOf(headers));
  }
  const codes = Map.groupBy(
    deadLetters.filter(({ headers }) => headers[owedHeader] !== undefined),
    ({ headers }) => String(headers[owedHeader]),
  );
  for (const { id, what, owes, isAcked } of messages) {
    const answer = last.get(id);
    const out = (kind: Finding['kind'], detail: string) =>
      findings.push(found(kind, id, `${what}: ${detail}`, traces.get(id)));
    if (owes === 'nothing') {
      if (answer !== undefined) out('from-nowhere', 'aborted, and answered');
    } else if ('code' in owes) {
      const said = [
        ...new Set((codes.get(id) ?? []).map(({ headers }) => String(headers['muster-error-code']))),
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

/** Judges when the run is over; looks again while something is wrong, for `patienceMs` at most. */
export async function judgeForeign(
  kafka: Kafka,
  since: Mark,
  messages: readonly ForeignMessage[],
  options: { readonly patienceMs: number; readonly signal: AbortSignal },
): Promise<Verdict> {
  const read = readSince(kafka, since);
  const untilMs = Date.now() + options.patienceMs;
  for (;;) {
    const of = await read();
    const [enriched, ...letters] = foreignTopics.map(of);
    const verdict = checkForeign(messages, enriched!, letters.flat());
    if (verdict.findings.length === 0 || Date.now() > untilMs || options.signal.aborted) return verdict;
    await sleep(1_000);
  }
}
