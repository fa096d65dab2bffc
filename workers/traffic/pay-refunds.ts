/** What is given back of a payment, in parts and as a whole, more than there is and twice at once. Pure. */

/** `parts`: all of it in two parts at the same moment, and then more. `twice`: all of it, twice at the same moment. */
export const refundPlans = ['none', 'none', 'none', 'none', 'parts', 'parts', 'twice'] as const;
export type RefundPlan = (typeof refundPlans)[number];

interface Outcome {
  readonly outcome: 'accepted' | 'refused' | 'failed';
}

/** What is asked for at the same moment, and then what; minor units. No two parts of a payment are the same. */
export function refundsOf(
  plan: RefundPlan,
  paidMinor: number,
): { readonly atOnce: readonly number[]; readonly after: readonly number[] } {
  const third = Math.ceil(paidMinor / 3);
  if (plan === 'parts') return { atOnce: [third, paidMinor - third], after: [1] };
  return { atOnce: plan === 'twice' ? [paidMinor, paidMinor] : [], after: [] };
}

/**
 * What each of those that were sent at once owes: of two that are all of it one is carried out, the one that was accepted, or of which
 * nobody knows.
 */
export function owedOf<Sent extends Outcome>(
  plan: RefundPlan,
  sent: readonly Sent[],
): readonly (readonly [Sent, 'DONE' | 'refused'])[] {
  if (plan !== 'twice') return sent.map((one) => [one, 'DONE']);
  const order = ['accepted', 'failed', 'refused'];
  return sent
    .toSorted((a, b) => order.indexOf(a.outcome) - order.indexOf(b.outcome))
    .map((one, index) => [one, index === 0 ? 'DONE' : 'refused']);
}
