/**
 * What becomes of a delivery order: one table of all steps, and the decision by it. Pure, everything passed in. A step that is
 * not in the table does not exist: the store takes steps only by it, and the diagram of docs/delivery.md is drawn from it.
 */
import { type Refused, refuse } from '../base/refusal.ts';
import { isAhead } from '../store/due.ts';

export const states = [
  'PLACED',
  'ACCEPTED',
  'COOKING',
  'CALLED',
  'ASSIGNED',
  'DELIVERING',
  'DELIVERED',
  'DELIVERY_FAILED',
  'CANCELLED',
  'REFUND_REQUESTED',
  'REFUND_APPROVED',
  'REFUND_REJECTED',
  'REDELIVERY',
] as const;
export type State = (typeof states)[number];

/** Those in which somebody waits for something. */
export const openStates = [
  'PLACED',
  'ACCEPTED',
  'COOKING',
  'CALLED',
  'ASSIGNED',
  'DELIVERING',
  'DELIVERY_FAILED',
  'REFUND_REQUESTED',
  'REDELIVERY',
] as const satisfies readonly State[];

/** Who takes a step. `clock`: what is due, by whichever process looks. */
export type Actor = 'customer' | 'owner' | 'rider' | 'clock';
export type Wanted = 'REFUND' | 'REDELIVERY';

/** What a row of the table also depends on. */
type Condition = 'a rider is free' | 'all riders are busy' | 'a refund is wanted' | 'a redelivery is wanted';
/** Moments of an order that a step is measured from. */
type Moment = 'assigned' | 'delivered';

export interface Row {
  readonly step: Step;
  readonly from: State;
  readonly to: State;
  readonly by: readonly Actor[];
  readonly when?: Condition;
  /** The clock takes the step just then, and not a millisecond before; others may earlier. */
  readonly after?: { readonly moment: Moment; readonly ms: number };
  /** Possible so long, the last millisecond included. */
  readonly within?: { readonly moment: Moment; readonly ms: number };
  /** Money and stock go back. */
  readonly givesBack?: true;
  /** A free rider becomes the order's, or the order's becomes free. */
  readonly rider?: 'takes' | 'frees';
  readonly tells: readonly Exclude<Actor, 'clock'>[];
}

/** From the assignment to the delivery, unless the rider confirms it earlier. */
const deliveryMs = 1_000;
const refundWindowMs = 10 * 60_000;

const delivers = {
  step: 'deliver',
  to: 'DELIVERED',
  by: ['rider', 'clock'],
  after: { moment: 'assigned', ms: deliveryMs },
  rider: 'frees',
  tells: ['customer', 'owner', 'rider'],
} as const;

export type Step =
  | 'accept'
  | 'cancel'
  | 'cook'
  | 'call'
  | 'dispatch'
  | 'leave'
  | 'deliver'
  | 'callAgain'
  | 'requestRefund'
  | 'approve'
  | 'reject';

/** Every step that there is. An order begins PLACED, which its customer and its owner are told. */
export const rows: readonly Row[] = [
  { step: 'accept', from: 'PLACED', to: 'ACCEPTED', by: ['owner'], tells: ['customer'] },
  {
    step: 'cancel',
    from: 'PLACED',
    to: 'CANCELLED',
    by: ['customer'],
    givesBack: true,
    tells: ['customer', 'owner'],
  },
  { step: 'cook', from: 'ACCEPTED', to: 'COOKING', by: ['owner'], tells: ['customer'] },
  { step: 'call', from: 'COOKING', to: 'CALLED', by: ['owner'], tells: ['customer'] },
  {
    step: 'dispatch',
    from: 'CALLED',
    to: 'ASSIGNED',
    by: ['clock'],
    when: 'a rider is free',
    rider: 'takes',
    tells: ['customer', 'owner', 'rider'],
  },
  {
    step: 'dispatch',
    from: 'CALLED',
    to: 'DELIVERY_FAILED',
    by: ['clock'],
    when: 'all riders are busy',
    tells: ['customer', 'owner'],
  },
  {
    step: 'callAgain',
    from: 'DELIVERY_FAILED',
    to: 'CALLED',
    by: ['customer'],
    tells: ['customer', 'owner'],
  },
  {
    step: 'cancel',
    from: 'DELIVERY_FAILED',
    to: 'CANCELLED',
    by: ['customer'],
    givesBack: true,
    tells: ['customer', 'owner'],
  },
  { step: 'leave', from: 'ASSIGNED', to: 'DELIVERING', by: ['rider'], tells: ['customer'] },
  { ...delivers, from: 'ASSIGNED' },
  { ...delivers, from: 'DELIVERING' },
  {
    step: 'requestRefund',
    from: 'DELIVERED',
    to: 'REFUND_REQUESTED',
    by: ['customer'],
    within: { moment: 'delivered', ms: refundWindowMs },
    tells: ['customer', 'owner'],
  },
  {
    step: 'approve',
    from: 'REFUND_REQUESTED',
    to: 'REFUND_APPROVED',
    by: ['owner'],
    when: 'a refund is wanted',
    givesBack: true,
    tells: ['customer'],
  },
  {
    step: 'approve',
    from: 'REFUND_REQUESTED',
    to: 'REDELIVERY',
    by: ['owner'],
    when: 'a redelivery is wanted',
    tells: ['customer'],
  },
  { step: 'reject', from: 'REFUND_REQUESTED', to: 'REFUND_REJECTED', by: ['owner'], tells: ['customer'] },
  { step: 'cook', from: 'REDELIVERY', to: 'COOKING', by: ['owner'], tells: ['customer'] },
];

export interface Order {
  readonly orderId: string;
  /** Pseudonyms. */
  readonly customer: string;
  readonly owner: string;
  /** Of the delivery that is under way, or the last one. */
  readonly rider: string | undefined;
  readonly shopId: string;
  readonly itemId: string;
  readonly itemName: string;
  readonly quantity: number;
  /** Of all of it, minor units. */
  readonly paidMinor: number;
  /** 0, or all that was paid. */
  readonly refundedMinor: number;
  readonly currency: string;
  /** Where it goes. */
  readonly district: string;
  readonly state: State;
  /** 1 when it is placed, one more with each step. */
  readonly version: number;
  readonly assignedAtMs: number | undefined;
  readonly deliveredAtMs: number | undefined;
  /** When the clock takes its next step; undefined: it has none. */
  readonly dueAtMs: number | undefined;
  /** What the customer wants instead, and why; why the owner does not. */
  readonly wanted: Wanted | undefined;
  readonly complaint: string | undefined;
  readonly photoId: string | undefined;
  readonly rejection: string | undefined;
  readonly changedAtMs: number;
}

/** Who asks; a person in a role, by a pseudonym. */
export type Asker = 'clock' | { readonly role: Exclude<Actor, 'clock'>; readonly who: string };

/**
 * A step that is asked for, and what it needs. `ifVersion`: only of the order as that version has left it, so that what comes late is
 * not taken for a step of today.
 */
export type Asked = { readonly ifVersion?: number } & (
  | {
      readonly step: 'requestRefund';
      readonly wanted: Wanted;
      readonly complaint: string;
      readonly photoId: string;
    }
  | { readonly step: 'reject'; readonly rejection: string }
  /** `rider`: the free one that is to be the order's; undefined: all are busy. */
  | { readonly step: 'dispatch'; readonly rider: string | undefined }
  | { readonly step: Exclude<Step, 'requestRefund' | 'reject' | 'dispatch'> }
);

export type Decided = { readonly ok: true; readonly row: Row; readonly next: Order } | Refused;

/**
 * The order after a step, or why there is none. `atMs`: when it was asked for, UTC by the database's clock, so that nobody pays
 * for our queue. Who is no party of the order learns nothing of it.
 */
export function decide(order: Order, by: Asker, asked: Asked, atMs: number): Decided {
  if (by !== 'clock' && order[by.role] !== by.who) return unknownOrder;
  if (asked.ifVersion !== undefined && order.version !== asked.ifVersion)
    return refuse(409, 'MUSTER_ORDER_CHANGED', 'the order has changed since that version', [
      { field: 'version', reason: `is ${order.version} by now` },
    ]);
  const actor = by === 'clock' ? by : by.role;
  const possible = rows.filter(({ step, from }) => step === asked.step && from === order.state);
  if (possible.length === 0)
    return refuse(409, 'MUSTER_STEP_IMPOSSIBLE', 'the order is in another state', [
      { field: 'step', reason: `${asked.step} is not possible while it is ${order.state}` },
    ]);
  const row = possible.find(({ when }) => when === undefined || holds(when, order, asked))!;
  if (!row.by.includes(actor))
    return refuse(409, 'MUSTER_STEP_NOT_YOURS', 'somebody else takes this step', [
      { field: 'step', reason: `${asked.step} is for the ${row.by.join(' or the ')}` },
    ]);
  if (actor === 'clock' && row.after !== undefined && isBefore(atMs, momentOf(order, row.after)))
    return refuse(409, 'MUSTER_STEP_TOO_EARLY', 'the step is not due yet');
  if (row.within !== undefined && atMs > momentOf(order, row.within))
    return refuse(
      409,
      'MUSTER_REFUND_TOO_LATE',
      'a refund can be asked for within 10 minutes after delivery',
    );
  return { ok: true, row, next: after(order, row, asked, atMs) };
}

/** The people to be told of a step, by their roles. */
export const toldOf = (order: Order, tells: Row['tells']) =>
  tells.flatMap((role) => {
    const userId = order[role];
    return userId === undefined ? [] : [{ role, userId }];
  });

/** How an order begins, as a step is written down. */
export const placing = { step: 'place', tells: ['customer', 'owner'] } as const;

/** The version at which the order's delivery began, which a rider who leaves does not change. */
export const deliveryVersion = ({ state, version }: Pick<Order, 'state' | 'version'>): number =>
  state === 'DELIVERING' ? version - 1 : version;

export const unknownOrder = refuse(404, 'MUSTER_DELIVERY_ORDER_UNKNOWN', 'there is no such order');

function holds(when: Condition, { wanted }: Order, asked: Asked): boolean {
  switch (when) {
    case 'a rider is free':
      return asked.step === 'dispatch' && asked.rider !== undefined;
    case 'all riders are busy':
      return asked.step === 'dispatch' && asked.rider === undefined;
    case 'a refund is wanted':
      return wanted === 'REFUND';
    case 'a redelivery is wanted':
      return wanted === 'REDELIVERY';
  }
}

const momentOf = (
  { assignedAtMs, deliveredAtMs }: Order,
  { moment, ms }: { readonly moment: Moment; readonly ms: number },
): number => (moment === 'assigned' ? assignedAtMs! : deliveredAtMs!) + ms;

/** Not when the clock was set back since: an order that is under way does not wait for as long as that. */
const isBefore = (atMs: number, momentMs: number) => atMs < momentMs && !isAhead(momentMs, atMs);

function after(order: Order, row: Row, asked: Asked, atMs: number): Order {
  // A step that waited behind another one is after it, whenever it was asked for.
  const changedAtMs = isBefore(atMs, order.changedAtMs) ? order.changedAtMs : atMs;
  const next: Order = {
    ...order,
    state: row.to,
    version: order.version + 1,
    changedAtMs,
    ...(row.rider === 'takes' && asked.step === 'dispatch'
      ? { rider: asked.rider, assignedAtMs: changedAtMs }
      : {}),
    ...(row.to === 'DELIVERED' ? { deliveredAtMs: changedAtMs } : {}),
    ...(row.givesBack ? { refundedMinor: order.paidMinor } : {}),
    ...(asked.step === 'requestRefund'
      ? { wanted: asked.wanted, complaint: asked.complaint, photoId: asked.photoId }
      : {}),
    ...(asked.step === 'reject' ? { rejection: asked.rejection } : {}),
  };
  return { ...next, dueAtMs: dueAt(next) };
}

/** When the clock takes a step of the order's state: at once unless the table says after what. */
function dueAt(order: Order): number | undefined {
  const row = rows.find(({ from, by }) => from === order.state && by.includes('clock'));
  if (row === undefined) return undefined;
  return row.after === undefined ? order.changedAtMs : momentOf(order, row.after);
}
