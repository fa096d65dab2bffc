/**
 * What is promised, as data: each promise is checked while the platform runs (worker `promises`), by a check that stands
 * beside the code of its capability (`workers/<capability>/promises.ts`). Alerts, dashboard, status and docs follow.
 */

export type PromiseCapability =
  | 'platform'
  | 'coupon'
  | 'order'
  | 'outside'
  | 'promotion'
  | 'money'
  | 'logging'
  | 'membership'
  | 'banking'
  | 'remittance'
  | 'payment'
  | 'settlement'
  | 'delivery';

interface PromiseFacts {
  readonly capability: PromiseCapability;
  /** One sentence, true at any moment. */
  readonly promised: string;
  /** What the ids name of which it is not true. */
  readonly ids: string;
  /** Something undecided counts as broken from this age on; 0: there is no moment in which it may be otherwise. */
  readonly limitMs: number;
  /** How often it is checked. */
  readonly periodMs: number;
}

const table = {
  'stores-take-writes': {
    capability: 'platform',
    promised: 'MySQL and Redis take writes.',
    ids: 'the store',
    limitMs: 0,
    periodMs: 5_000,
  },
  'commits-on-both': {
    capability: 'platform',
    promised: 'What MySQL acks is on both of its members.',
    ids: 'the member that takes writes',
    limitMs: 0,
    periodMs: 5_000,
  },
  'outbox-published': {
    capability: 'platform',
    promised: 'What was committed with a decision is published.',
    ids: 'the database and the row of its outbox',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'timers-fired': {
    capability: 'platform',
    promised: 'A timer whose time has come is published.',
    ids: 'the database and the row of its outbox',
    limitMs: 30_000,
    periodMs: 10_000,
  },
  'coupon-requests-decided': {
    capability: 'coupon',
    promised: 'Each accepted request for a coupon is decided.',
    ids: 'the request',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'coupon-stock-kept': {
    capability: 'coupon',
    promised: 'Of each coupon as many are issued as people hold, and never more than there are.',
    ids: 'the coupon',
    limitMs: 0,
    periodMs: 10_000,
  },
  'coupon-success-held': {
    capability: 'coupon',
    promised: 'Who was told SUCCESS holds the coupon, and who holds one was told so.',
    ids: 'the request, or the row of the history',
    limitMs: 30_000,
    periodMs: 10_000,
  },
  'coupon-outcomes-told': {
    capability: 'coupon',
    promised: 'Each decision is on the topic of results.',
    ids: 'the request',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'orders-paid-once': {
    capability: 'order',
    promised: 'Each COMPLETED order has one payment of its amount, and each payment a COMPLETED order.',
    ids: 'the order, or the payment',
    limitMs: 30_000,
    periodMs: 10_000,
  },
  'orders-told': {
    capability: 'order',
    promised: 'The three events of each payment are in the event log and on their topics.',
    ids: 'the event (order id and kind), or the payment',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'orders-expired': {
    capability: 'order',
    promised: 'An order that nobody pays in time expires.',
    ids: 'the order',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'stock-conserved': {
    capability: 'order',
    promised: 'Of each product what was put in, less what was sold, is what is left.',
    ids: 'the product',
    limitMs: 0,
    periodMs: 30_000,
  },
  'ranking-is-sum': {
    capability: 'order',
    promised: 'The ranking of products is the sum of the paid orders.',
    ids: 'the product',
    limitMs: 60_000,
    periodMs: 30_000,
  },
  'outside-events-ended': {
    capability: 'outside',
    promised: 'Each event for systems outside is taken, or given up and told.',
    ids: 'the event',
    limitMs: 600_000,
    periodMs: 10_000,
  },
  'purchases-answered': {
    capability: 'promotion',
    promised: 'Each purchase that came by the API or by log files has its answer.',
    ids: 'the purchase (pseudonym and purchase id)',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'ledger-sums-to-zero': {
    capability: 'money',
    promised: 'All balances of a currency sum to zero.',
    ids: 'the currency',
    limitMs: 0,
    periodMs: 30_000,
  },
  'ledger-entries-linked': {
    capability: 'money',
    promised:
      'Each transfer has its debit and its credit, and each entry the balance that follows from the one before it.',
    ids: 'the transfer',
    limitMs: 0,
    periodMs: 10_000,
  },
  'ledger-accounts-true': {
    capability: 'money',
    promised:
      'Each account has what its entries sum to, holds what its holds sum to, and no member is below zero.',
    ids: 'the account (pseudonym, or name of ours)',
    limitMs: 0,
    periodMs: 10_000,
  },
  'logs-stored': {
    capability: 'logging',
    promised: 'Each log line of a process is in the log store, or counted as dropped by the line after it.',
    ids: 'the life of a process, with the numbers of its lines',
    limitMs: 300_000,
    periodMs: 30_000,
  },
  'members-told': {
    capability: 'membership',
    promised: 'The last change of each member that others are to hear of is on member-events.',
    ids: 'the event (pseudonym and version)',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'members-have-accounts': {
    capability: 'money',
    promised:
      'Each member has an account in the state that follows from theirs: active OPEN, suspended SUSPENDED, left CLOSED once it is empty.',
    ids: 'the account (pseudonym)',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'recharges-decided': {
    capability: 'money',
    promised: 'Each accepted recharge is DONE or FAILED, or waits for a bank that is known to be down.',
    ids: 'the recharge',
    // A firm banking has 300 s, and is asked about each minute.
    limitMs: 420_000,
    periodMs: 10_000,
  },
  'recharges-booked': {
    capability: 'money',
    promised:
      'What a bank has taken from a member for us is booked for that member once, and nothing else is.',
    ids: 'the firm banking',
    limitMs: 120_000,
    periodMs: 10_000,
  },
  'remittances-decided': {
    capability: 'remittance',
    promised: 'Each accepted remittance is DONE or FAILED, or waits for a bank that is known to be down.',
    ids: 'the remittance',
    // A recharge and a payout.
    limitMs: 900_000,
    periodMs: 10_000,
  },
  'remittances-booked': {
    capability: 'remittance',
    promised:
      'What a remittance that is DONE says is booked and, to a bank account, paid out by the bank; of one that has FAILED nothing is, and nothing else is paid out.',
    ids: 'the remittance, or the firm banking that nobody has asked for',
    limitMs: 120_000,
    periodMs: 10_000,
  },
  'payments-decided': {
    capability: 'payment',
    promised:
      'Each accepted payment and refund is DONE or FAILED, or waits for a bank that is known to be down.',
    ids: 'the payment or refund',
    // A recharge.
    limitMs: 600_000,
    periodMs: 10_000,
  },
  'refunds-covered': {
    capability: 'payment',
    promised: 'What is refunded of a payment is never more than what was paid.',
    ids: 'the payment',
    limitMs: 0,
    periodMs: 10_000,
  },
  'payments-booked': {
    capability: 'payment',
    promised:
      'Each payment and refund that is DONE is in the books of money once, with its amount, and nothing else is there.',
    ids: 'the transfer of the books',
    limitMs: 120_000,
    periodMs: 10_000,
  },
  'slips-settled': {
    capability: 'settlement',
    promised:
      'Each payment and refund that is DONE is a slip of settlement, with its merchant and amount, and nothing else is.',
    ids: 'the payment or refund',
    // Kafka or settlement away for two and a half minutes, and catching up.
    limitMs: 300_000,
    periodMs: 10_000,
  },
  'settlements-run': {
    capability: 'settlement',
    promised: 'Each period that has ended is closed, and its slips are summed up.',
    ids: 'the period, which is the number of its run',
    limitMs: 600_000,
    periodMs: 10_000,
  },
  'settlements-ended': {
    capability: 'settlement',
    promised:
      'Each settlement is DONE or CARRIED, or STOPPED and told to staff, or waits for a bank that is known to be down, for its next day, or for a refund that is on its way.',
    ids: 'the settlement',
    // A thousand of them at once, through one bank.
    limitMs: 1_800_000,
    periodMs: 10_000,
  },
  'settlements-add-up': {
    capability: 'settlement',
    promised: 'Each slip of a closed period is in the settlement of its merchant, and in no other.',
    ids: 'the run and the merchant (pseudonym)',
    limitMs: 0,
    periodMs: 30_000,
  },
  'settlements-paid': {
    capability: 'settlement',
    promised:
      'What a settlement that is DONE says was paid out by a bank, and booked with the commission, to the unit.',
    ids: 'the settlement',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'deliveries-ended': {
    capability: 'delivery',
    promised:
      'An order that is called for gets a rider or is told that there is none, and its delivery ends.',
    ids: 'the order',
    // What is told again and again, and an order that was put off.
    limitMs: 120_000,
    periodMs: 10_000,
  },
  'riders-one-place': {
    capability: 'delivery',
    promised:
      'Each rider is free, off, or with one order that is under way, and each such order has its rider.',
    ids: 'the rider (pseudonym)',
    limitMs: 0,
    periodMs: 10_000,
  },
  'changes-notified': {
    capability: 'delivery',
    promised: 'Each change of an order was told its customer.',
    ids: 'the order and its version',
    limitMs: 60_000,
    periodMs: 10_000,
  },
  'firmbanking-decided': {
    capability: 'banking',
    promised:
      'Each accepted firm banking is EXECUTED or REJECTED, or waits for a bank that is known to be down.',
    ids: 'the firm banking',
    limitMs: 300_000,
    periodMs: 10_000,
  },
  'bank-books-equal': {
    capability: 'banking',
    promised: 'What we hold as EXECUTED or REJECTED is what the books of the banks say, compared daily.',
    ids: 'the transfer, as the bank names it',
    limitMs: 0,
    periodMs: 30_000,
  },
} as const satisfies Readonly<Record<string, PromiseFacts>>;

export type PromiseName = keyof typeof table;

export interface PromiseSpec extends PromiseFacts {
  /** kebab-case; the label `promise` of its series. */
  readonly name: PromiseName;
}

/** Names of a capability's promises. */
export type PromisesOf<Capability extends PromiseCapability> = {
  [Name in PromiseName]: (typeof table)[Name]['capability'] extends Capability ? Name : never;
}[PromiseName];

export const promises: readonly PromiseSpec[] = Object.entries(table).map(([name, rest]) => ({
  name: name as PromiseName,
  ...rest,
}));

/** A check that takes longer says nothing. */
export const checkDeadlineMs = 10_000;

/** What was seen longer ago than this says nothing of now: the promise counts as not checked. */
export function uncheckedAfterMs({ periodMs }: Pick<PromiseSpec, 'periodMs'>): number {
  return 2 * periodMs + checkDeadlineMs;
}

/** Where people read what to do: it has a part for each promise. */
export const promiseRunbook = 'alerts/runbooks/PromiseBroken.md';
