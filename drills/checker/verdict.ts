/** What a checker says. Checkers share no code with the system they judge: they import the catalog, packages and each other. */

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
  | 'committed-beyond'
  /** Evidence is missing: something that had to be looked at could not be. Silence is not health. */
  | 'not-checked';

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
  /** Inputs of this run that were acked and are answered for. */
  readonly acked: number;
  /** What a judge looked at that is told of nothing that was sent, in words: rows that are there, whoever made them. */
  readonly looked?: string;
  /** Inputs without an ack: they may have had their effect, once, or not. */
  readonly inDoubt: number;
  /** Effects that were told again: at-least-once at work, no harm. */
  readonly repeats: number;
  readonly findings: readonly Finding[];
}

/** What it answers for, in words. */
export const answersFor = ({ acked, inDoubt, repeats, looked }: Verdict): string =>
  looked === undefined
    ? `${acked.toLocaleString('en')} acked, ${inDoubt.toLocaleString('en')} in doubt, ${repeats.toLocaleString('en')} told again`
    : `looked at ${looked}`;

/** How many findings there are of each kind. */
export function countByKind(findings: readonly Finding[]): ReadonlyMap<FindingKind, number> {
  const counts = new Map<FindingKind, number>();
  for (const { kind } of findings) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/** Evidence that cannot be had; `id` names what could not be asked. */
export class NotChecked extends Error {
  readonly id: string;
  constructor(id: string, why: string) {
    super(why);
    this.id = id;
  }
}

/** The verdict of a checker that could not look. */
export function unjudged(subject: string, error: unknown): Verdict {
  const { id, message } = error instanceof NotChecked ? error : { id: subject, message: String(error) };
  const findings = [found('not-checked', id, message)];
  return { subject, acked: 0, inDoubt: 0, repeats: 0, findings };
}
