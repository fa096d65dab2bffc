/** What members of my-pay ask for, and how often. Pure. */
import type { PayMember, People } from './pay-members.ts';

export type PayKind = 'recharge' | 'remittance' | 'payment' | 'refund';

/** Something that a member has asked for. */
export interface Asked {
  readonly kind: PayKind;
  /** As answered, each time that it was sent. */
  readonly ids: readonly string[];
  /** Of a refund the customer, who gets it. */
  readonly from: string;
  /** Of a payment and its refunds: who is paid. */
  readonly merchant?: string;
  /** Of a refund: the payment that it takes back. */
  readonly paymentId?: string;
  /** Minor units; nobody else of the run has asked for as much by the same kind, or of the same payment. */
  readonly amountMinor: number;
  /** `ended`: DONE or FAILED, as banks and balances are. */
  readonly owes: 'refused' | 'ended' | 'DONE' | 'FAILED';
  /** `accepted`: 202; `refused`: 4xx; `failed`: never a final answer. */
  readonly outcome: 'accepted' | 'refused' | 'failed';
  /** How it ended, as its member was told; undefined: nobody said. */
  readonly end: 'DONE' | 'FAILED' | undefined;
  /** When it was first sent, UTC ms. */
  readonly sentAtMs: number;
}

/** What somebody is about to ask for. */
export interface Wish {
  readonly kind: PayKind;
  readonly from: PayMember;
  readonly owes: Asked['owes'];
  readonly merchant?: string;
  readonly paymentId?: string;
  /** Of the request, beside the amount. */
  readonly body: object;
}

export type Pick = <Item>(list: readonly Item[]) => Item;
const send = (from: PayMember, owes: Asked['owes'], body: object): Wish => ({
  kind: 'remittance',
  from,
  owes,
  body: { from: from.memberId, ...body },
});
const payTo = (
  from: PayMember,
  { memberId: merchant }: PayMember,
  owes: Asked['owes'],
  more: object = {},
): Wish => ({
  kind: 'payment',
  from,
  owes,
  merchant,
  body: { from: from.memberId, merchantId: merchant, ...more },
});

/** What people ask for, and how often. */
const wishes: readonly { readonly share: number; readonly make: (people: People, pick: Pick) => Wish }[] = [
  {
    share: 24,
    make({ rich }, pick) {
      const from = pick(rich);
      return send(from, 'DONE', { to: pick(rich.filter((one) => one !== from)).memberId });
    },
  },
  {
    share: 15,
    make({ rich, poor }, pick) {
      const from = pick(poor);
      return send(from, 'ended', { to: pick(rich).memberId, rechargeFrom: from.accountId });
    },
  },
  {
    share: 11,
    make({ rich }, pick) {
      const from = pick(rich);
      return send(from, 'ended', { toAccountId: from.payee.accountId });
    },
  },
  {
    share: 4,
    make({ poor }, pick) {
      const from = pick(poor);
      return send(from, 'ended', { toAccountId: from.payee.accountId, rechargeFrom: from.accountId });
    },
  },
  {
    share: 14,
    make({ rich, poor }, pick) {
      const from = pick([...rich, ...poor]);
      return {
        kind: 'recharge',
        from,
        owes: 'ended',
        body: { memberId: from.memberId, accountId: from.accountId },
      };
    },
  },
  { share: 3, make: ({ rich, broke }, pick) => send(broke, 'FAILED', { to: pick(rich).memberId }) },
  { share: 2, make: ({ rich }, pick) => send(pick(rich), 'FAILED', { to: 'nobody' }) },
  {
    share: 2,
    make({ rich }, pick) {
      const from = pick(rich);
      return send(from, 'refused', { to: from.memberId });
    },
  },
  { share: 15, make: ({ rich, merchants }, pick) => payTo(pick(rich), pick(merchants), 'DONE') },
  {
    share: 6,
    make({ poor, merchants }, pick) {
      const from = pick(poor);
      return payTo(from, pick(merchants), 'ended', { rechargeFrom: from.accountId });
    },
  },
  { share: 2, make: ({ broke, merchants }, pick) => payTo(broke, pick(merchants), 'FAILED') },
  // No merchant.
  { share: 2, make: ({ rich, broke }, pick) => payTo(pick(rich), broke, 'refused') },
];
/** Each as often as its share is. */
export const mixed = wishes.flatMap(({ share, make }) => Array.from({ length: share }, () => make));
