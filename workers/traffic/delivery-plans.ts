/** What people of food delivery are up to, and what each does next about an order. Pure. */

/** What somebody does, by the last part of its address. */
export type DeliveryStep =
  | 'accept'
  | 'cook'
  | 'call'
  | 'cancel'
  | 'call-again'
  | 'leave'
  | 'deliver'
  | 'refund-request'
  | 'approve'
  | 'reject';

export type PersonRole = 'customer' | 'owner' | 'rider';

export interface Plan {
  /** Before the owner accepts, or at the same moment. */
  readonly cancels?: 'first' | 'at-once';
  /** Tries to cancel when it is being cooked, which must be refused. */
  readonly cancelsLate?: true;
  /** To where no rider is: the customer gives up. */
  readonly nowhere?: true;
  /** The rider says so, and does not wait for the clock. */
  readonly confirms?: true;
  readonly wants?: 'REFUND' | 'REDELIVERY';
  readonly rejects?: true;
  /** Of the dish that there is little of: there may be none left. */
  readonly scarce?: true;
  /** So much of it as there will never be: must be refused. */
  readonly tooMuch?: true;
}

const shares: readonly { readonly share: number; readonly plan: Plan }[] = [
  { share: 5, plan: {} },
  { share: 2, plan: { cancelsLate: true } },
  { share: 3, plan: { confirms: true } },
  { share: 2, plan: { cancels: 'first' } },
  { share: 3, plan: { cancels: 'at-once' } },
  { share: 1, plan: { nowhere: true } },
  { share: 2, plan: { wants: 'REFUND' } },
  { share: 1, plan: { wants: 'REFUND', rejects: true } },
  { share: 2, plan: { wants: 'REDELIVERY', confirms: true } },
  { share: 2, plan: { scarce: true } },
  { share: 1, plan: { tooMuch: true } },
];
/** Each as often as its share is. */
export const plans: readonly Plan[] = shares.flatMap(({ share, plan }) =>
  Array.from({ length: share }, () => plan),
);

/** What was done about an order already that its state does not say. */
export interface Memory {
  asked: boolean;
  triedLate: boolean;
}

export interface Act {
  readonly by: PersonRole;
  readonly step: DeliveryStep;
  readonly body?: object;
  /** It is not possible any more. */
  readonly owes?: 'refused';
}

const ended = ['CANCELLED', 'REFUND_APPROVED', 'REFUND_REJECTED'];

/** What people do at the same moment about an order in a state; `wait`: it is for others; `end`: nothing more will be done. */
export function nextOf(plan: Plan, state: string, memory: Memory): readonly Act[] | 'wait' | 'end' {
  if (ended.includes(state)) return 'end';
  const act = (by: PersonRole, step: DeliveryStep, more: Omit<Act, 'by' | 'step'> = {}) => ({
    by,
    step,
    ...more,
  });
  const accept = act('owner', 'accept');
  const cancel = act('customer', 'cancel');
  switch (state) {
    case 'PLACED':
      if (plan.cancels === undefined) return [accept];
      return plan.cancels === 'first' ? [cancel] : [accept, cancel];
    case 'ACCEPTED':
    case 'REDELIVERY':
      return [act('owner', 'cook')];
    case 'COOKING':
      return plan.cancelsLate && !memory.triedLate
        ? [{ ...cancel, owes: 'refused' }]
        : [act('owner', 'call')];
    case 'ASSIGNED':
      return plan.confirms ? [act('rider', 'leave')] : 'wait';
    case 'DELIVERING':
      return [act('rider', 'deliver')];
    case 'DELIVERY_FAILED':
      return plan.nowhere ? [cancel] : [act('customer', 'call-again')];
    case 'DELIVERED':
      if (plan.wants === undefined || memory.asked) return 'end';
      return [act('customer', 'refund-request', { body: { wanted: plan.wants, complaint: 'cold' } })];
    case 'REFUND_REQUESTED':
      return plan.rejects
        ? [act('owner', 'reject', { body: { rejection: 'it was hot' } })]
        : [act('owner', 'approve')];
    default:
      return 'wait';
  }
}
