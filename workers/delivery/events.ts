/** What food delivery says on Kafka. Pure; nothing in it names a person. */
import type { DeliveryEvent, DeliveryOrderEvent } from '../../catalog/events/delivery.ts';
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import { deliveryVersion, type Order, type Row, type State, toldOf } from './machine.ts';

const completed: readonly State[] = ['DELIVERED', 'REFUND_REQUESTED', 'REFUND_REJECTED'];
const failed: readonly State[] = ['DELIVERY_FAILED', 'CANCELLED', 'REFUND_APPROVED'];

/** The order as a step has left it, for those who deliver and those who notify. */
export function orderRecord(order: Order, tells: Row['tells']): OutgoingRecord {
  const { orderId, version, state, changedAtMs } = order;
  const eventId = `${orderId}-${version}`;
  const data: DeliveryOrderEvent = {
    eventId,
    orderId,
    version,
    userId: order.customer,
    name: order.itemName,
    quantity: order.quantity,
    price: order.paidMinor,
    currency: order.currency,
    status: completed.includes(state) ? 'completed' : failed.includes(state) ? 'failed' : 'created',
    state,
    tells: toldOf(order, tells),
    at: new Date(changedAtMs).toISOString(),
  };
  const { name: topic, event } = topics.deliveryOrderEvents;
  const { customer } = order;
  return recordOf(topic, event.type, `customer:${customer}`, eventId, orderId, changedAtMs, data);
}

/** How the delivery ended that the order is in. */
export function deliveryRecord(
  order: Order,
  status: DeliveryEvent['status'],
  atMs: number,
): { readonly record: OutgoingRecord; readonly event: DeliveryEvent } {
  const { orderId } = order;
  const version = deliveryVersion(order);
  const data: DeliveryEvent = { eventId: `${orderId}-${version}-${status}`, orderId, version, status };
  const { name: topic, event } = topics.deliveryEvents;
  return {
    event: data,
    record: recordOf(topic, event.type, `order:${orderId}`, data.eventId, orderId, atMs, data),
  };
}

const recordOf = (
  topic: string,
  type: string,
  key: string,
  id: string,
  subject: string,
  timeMs: number,
  data: object,
) => eventRecord({ topic, key, type, source: '/muster/delivery', id, subject, timeMs, data });
