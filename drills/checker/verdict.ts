/** What a checker says. Checkers share no code with the system they judge, but for the wire format and the oracle. */

export type FindingKind =
  /** Acked, and no effect, rejection or dead letter came of it. */
  | 'lost'
  /** More than one effect. */
  | 'doubled'
  /** An effect, but not the right one. */
  | 'wrong'
  /** The effects of one key in another order than their causes. */
  | 'order'
  /** An effect without a cause of this run. */
  | 'from-nowhere'
  /** An effect nobody was told of, or one that was told and did not happen. */
  | 'untold'
  | 'over-issued'
  /** Sums that do not agree. */
  | 'ledger'
  | 'personal-data'
  /** An offset was committed although work before it was not done. */
  | 'committed-beyond';

export interface Finding {
  readonly kind: FindingKind;
  /** Business id of what is wrong: purchase, coupon request, order, topic. */
  readonly id: string;
  /** In words, without personal data. */
  readonly detail: string;
  readonly traceId?: string;
}

/** A finding; a record's trace is named where it has one. */
export function found(kind: FindingKind, id: string, detail: string, traceId?: string): Finding {
  return { kind, id, detail, ...(traceId === undefined ? {} : { traceId }) };
}

export interface Verdict {
  /** Which checker. */
  readonly subject: string;
  /** Inputs that were acked and are answered for. */
  readonly acked: number;
  /** Inputs without an ack: they may have had their effect, once, or not. */
  readonly inDoubt: number;
  /** Effects that were told again: at-least-once at work, no harm. */
  readonly repeats: number;
  readonly findings: readonly Finding[];
}

/** How many findings there are of each kind. */
export function countByKind(findings: readonly Finding[]): ReadonlyMap<FindingKind, number> {
  const counts = new Map<FindingKind, number>();
  for (const { kind } of findings) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** Trace id of a record's traceparent header (string or bytes). */
export function traceIdOf(headers: Readonly<Record<string, unknown>>): string | undefined {
  const id = String(headers.traceparent ?? '').split('-')[1];
  return id !== undefined && /^[0-9a-f]{32}$/.test(id) ? id : undefined;
}
