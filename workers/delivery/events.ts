/** What food delivery says and hears on Kafka. Pure; nothing in it names a person. */
import {
  type DeliveryEvent,
  type DeliveryLogEvent,
  type DeliveryOrderEvent,
  deliveryEvent,
  deliveryLogEvent,
  deliveryOrderEvent,
} from '../../catalog/events/delivery.ts';
import { topics } from '../../catalog/topics.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';
import { deliveryVersion, type Order, type Row, type State, toldOf } from './machine.ts';

/** Each understands a record of its topic, or throws MUSTER_EVENT_INVALID. */
export const readOrderEvent = eventReader(deliveryOrderEvent, 'MUSTER_EVENT_INVALID');
export const readDeliveryEvent = eventReader(deliveryEvent, 'MUSTER_EVENT_INVALID');
export const readLogEvent = eventReader(deliveryLogEvent, 'MUSTER_EVENT_INVALID');

const completed: readonly State[] = ['DELIVERED', 'REFUND_REQUESTED', 'REFUND_REJECTED'];
const failed: readonly State[] = ['DELIVERY_FAILED', 'CANCELLED', 'REFUND_APPROVED'];

/** The order as a step has left it, for those who deliver and those who notify. `traceparent`: of who asked for it. */
export function orderRecord(
  order: Order,
  tells: Row['tells'],
  traceparent: string | undefined,
): OutgoingRecord {
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
  const record = recordOf(topic, event.type, `customer:${customer}`, eventId, orderId, changedAtMs, data);
  return traceparent === undefined ? record : { ...record, headers: { ...record.headers, traceparent } };
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

/** That somebody was notified of a change. */
export function logRecord(
  { eventId: changeId, orderId, at }: DeliveryOrderEvent,
  { role, userId }: DeliveryOrderEvent['tells'][number],
  message: string,
): OutgoingRecord {
  const eventId = `${changeId}-${role}`;
  const { name: topic, event } = topics.deliveryLogEvents;
  const data: DeliveryLogEvent = { eventId, userId, message };
  return recordOf(topic, event.type, `person:${userId}`, eventId, orderId, Date.parse(at), data);
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
