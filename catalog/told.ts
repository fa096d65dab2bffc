/**
 * What events say is in our databases, and how it is found there. Asked when a database was restored (tools/reconcile.ts): what was
 * told after the moment that it was restored to, and is in no table, was acked and is lost.
 */
import type { DatabaseName } from './tables.ts';
import { type Topic, topics } from './topics.ts';

export interface Told {
  readonly topic: Topic;
  /** Of the event: the id of a row. */
  readonly field: string;
  readonly database: DatabaseName;
  readonly table: string;
  /** Where that id is. */
  readonly column: string;
  /** As text, or as its 16 bytes. */
  readonly type: 'text' | 'bytes';
  /**
   * What makes the row one that knows of the event: `decided`, it was decided; `version`, it is as far as the event says, which
   * has a field of that name. Unset: the row is there.
   */
  readonly knows?: 'decided' | 'version';
}

export const told: readonly Told[] = [
  {
    topic: topics.orderCompleted,
    field: 'orderId',
    database: 'shop',
    table: 'shop_payment',
    column: 'order_id',
    type: 'text',
  },
  {
    topic: topics.productEvents,
    field: 'productId',
    database: 'shop',
    table: 'shop_product',
    column: 'product_id',
    type: 'text',
    knows: 'version',
  },
  ...[topics.couponResults, topics.couponIssueSucceeded, topics.couponIssueFailed].map(
    (topic): Told => ({
      topic,
      field: 'requestId',
      database: 'shop',
      table: 'coupon_request',
      column: 'request_id',
      type: 'bytes',
      knows: 'decided',
    }),
  ),
  {
    topic: topics.firmbankingEvents,
    field: 'firmbankingId',
    database: 'banking',
    table: 'firmbanking',
    column: 'firmbanking_id',
    type: 'bytes',
    knows: 'decided',
  },
  {
    topic: topics.rechargeEvents,
    field: 'rechargeId',
    database: 'money',
    table: 'recharge',
    column: 'recharge_id',
    type: 'bytes',
    knows: 'decided',
  },
  {
    topic: topics.remittanceEvents,
    field: 'remittanceId',
    database: 'remittance',
    table: 'remittance',
    column: 'remittance_id',
    type: 'bytes',
    knows: 'decided',
  },
  {
    topic: topics.paymentEvents,
    field: 'eventId',
    database: 'payment',
    table: 'slip',
    column: 'slip_id',
    type: 'bytes',
    knows: 'decided',
  },
  {
    topic: topics.deliveryOrderEvents,
    field: 'orderId',
    database: 'delivery',
    table: 'delivery_order',
    column: 'order_id',
    type: 'bytes',
    knows: 'version',
  },
];
