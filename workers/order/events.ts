/** What orders and products say on Kafka, and how it is read. Pure. Nothing in it names a person: customers are pseudonyms. */
import {
  type OrderCompleted,
  type OrderConfirmed,
  orderCompleted,
  orderExpiryDue,
  type ProductEvent,
  productEvent,
} from '../../catalog/events/order.ts';
import type { PaymentCompleted } from '../../catalog/events/outside.ts';
import { type Topic, topics } from '../../catalog/topics.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import type { Order } from './order.ts';

/** Records of one paid order: for ranking and analytics, for whoever is outside of the shop, for webhooks. */
export function paidRecords(
  order: Order,
  payment: {
    readonly paymentId: string;
    readonly paidAtMs: number;
    readonly traceparent: string | undefined;
  },
): readonly OutgoingRecord[] {
  const at = new Date(payment.paidAtMs).toISOString();
  const sold = {
    orderId: order.orderId,
    userId: order.user,
    products: order.lines.map(({ productId, quantity, unitAmountMinor }) => ({
      id: productId,
      qty: quantity,
      unitAmountMinor,
    })),
    totalAmount: order.total,
  };
  const record = (topic: Topic, key: string, id: string, data: unknown) =>
    recordOf(topic, key, {
      id,
      subject: order.orderId,
      timeMs: payment.paidAtMs,
      traceparent: payment.traceparent,
      data,
    });
  const customer = `user:${order.user}`;
  return [
    record(topics.orderCompleted, customer, `${order.orderId}-completed`, {
      ...sold,
      completedAt: at,
    } satisfies OrderCompleted),
    record(topics.orderConfirmed, order.orderId, `${order.orderId}-confirmed`, {
      ...sold,
      paymentId: payment.paymentId,
      confirmedAt: at,
    } satisfies OrderConfirmed),
    record(topics.externalEvents, customer, payment.paymentId, {
      paymentId: payment.paymentId,
      orderId: order.orderId,
      amount: order.total,
      timestamp: at,
    } satisfies PaymentCompleted),
  ];
}

export function productRecord(
  event: Omit<ProductEvent, 'changedAt'>,
  changedAtMs: number,
  traceparent?: string,
): OutgoingRecord {
  return recordOf(topics.productEvents, `product:${event.productId}`, {
    id: `${event.productId}-${event.version}`,
    subject: event.productId,
    timeMs: changedAtMs,
    traceparent,
    data: { ...event, changedAt: new Date(changedAtMs).toISOString() } satisfies ProductEvent,
  });
}

function recordOf(
  topic: Topic,
  key: string,
  event: {
    readonly id: string;
    readonly subject: string;
    readonly timeMs: number;
    readonly traceparent: string | undefined;
    readonly data: unknown;
  },
): OutgoingRecord {
  const { traceparent, ...rest } = event;
  return eventRecord({
    topic: topic.name,
    key,
    type: topic.event!.type,
    source: '/muster/order',
    ...rest,
    ...(traceparent === undefined ? {} : { traceparent }),
  });
}

const invalid = 'MUSTER_EVENT_INVALID';
export const readOrderCompleted = eventReader(orderCompleted, invalid);
export const readProductEvent = eventReader(productEvent, invalid);
export const readOrderExpiryDue = eventReader(orderExpiryDue, invalid);
