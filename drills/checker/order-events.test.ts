import test from 'ava';
import { checkOrderEvents, type PlacedOrder, paidTopics } from './order-events.ts';
import type { SeenRecord } from './reading.ts';
import { seen, trace } from './seen.fixture.ts';

const record = (topic: string, key: string, offset: number, value: object) =>
  seen({ topic, key, offset, value });

/** Customer u_1 pays o1, then, when that is answered, o2; o3 overlaps with all of them. */
const paid = (orderId: string, paySentAtMs: number, paidAtMs: number): PlacedOrder => ({
  orderId,
  paymentId: `pay-${orderId}`,
  items: [],
  outcome: 'paid',
  paySentAtMs,
  paidAtMs,
});
const orders = [paid('o1', 100, 150), paid('o2', 200, 260), paid('o3', 140, 300)];
const told = (topic: string, ...orderIds: readonly string[]) =>
  orderIds.map((orderId, offset) =>
    record(topic, topic === 'order-confirmed' ? orderId : 'user:u_1', offset, {
      orderId,
      ...(topic === 'order-completed' ? {} : { paymentId: `pay-${orderId}` }),
    }),
  );
const product = (...versions: readonly number[]) =>
  versions.map((version, offset) =>
    record('product-events', 'product:p1', offset, { productId: 'p1', version }),
  );

const well: Readonly<Record<string, readonly SeenRecord[]>> = {
  ...Object.fromEntries(paidTopics.map((topic) => [topic, told(topic, 'o1', 'o2', 'o3')])),
  'product-events': product(1, 2, 3),
};
const changed = [{ productId: 'p1', changes: 2 }];
const check = (topics: Readonly<Record<string, readonly SeenRecord[]>>) =>
  checkOrderEvents({ orders, changed, personal: ['person-'] }, (topic) => ({ ...well, ...topics })[topic]!);
const kinds = (topics: Readonly<Record<string, readonly SeenRecord[]>>) =>
  check(topics).findings.map(({ kind }) => kind);

test('events that tell of every payment once and in order are well', (t) => {
  t.deepEqual(check({}), { findings: [], repeats: 0 });
});

test('a payment that was answered before the customer’s next comes before it', (t) => {
  for (const topic of ['order-completed', 'external-events'])
    t.like(check({ [topic]: told(topic, 'o2', 'o1', 'o3') }).findings, [
      { kind: 'order', id: 'o1', traceId: trace },
    ]);
  // Keyed by order: there is none.
  t.deepEqual(kinds({ 'order-confirmed': told('order-confirmed', 'o2', 'o1', 'o3') }), []);
});

test('payments that overlapped may come in either order', (t) => {
  t.deepEqual(kinds({ 'order-completed': told('order-completed', 'o1', 'o3', 'o2') }), []);
  t.deepEqual(kinds({ 'order-completed': told('order-completed', 'o3', 'o1', 'o2') }), []);
});

test('a payment out of order is seen although one between the two may be where it is', (t) => {
  t.deepEqual(kinds({ 'order-completed': told('order-completed', 'o2', 'o3', 'o1') }), ['order']);
});

test('a customer’s events on two partitions have no order', (t) => {
  const [o1, o2, o3] = told('order-completed', 'o1', 'o2', 'o3');
  t.deepEqual(kinds({ 'order-completed': [o1!, o2!, { ...o3!, partition: 1 }] }), ['order']);
});

test('an event that comes again is a repeat, in whatever place', (t) => {
  const again = check({ 'order-completed': told('order-completed', 'o1', 'o2', 'o3', 'o1') });
  t.deepEqual(again, { findings: [], repeats: 1 });
});

test('a paid order that is missing on a topic is untold, one with another payment doubled', (t) => {
  t.deepEqual(kinds({ 'external-events': told('external-events', 'o1', 'o2') }), ['untold']);
  const other = record('external-events', 'user:u_1', 9, { orderId: 'o1', paymentId: 'another' });
  t.deepEqual(kinds({ 'external-events': [...well['external-events']!, other] }), ['doubled']);
});

test('versions of a product grow by one', (t) => {
  t.deepEqual(kinds({ 'product-events': product(1, 3, 2) }), ['order']);
  t.deepEqual(kinds({ 'product-events': product(2, 3, 4) }), ['order']);
  t.deepEqual(check({ 'product-events': product(1, 2, 2, 1, 3) }), { findings: [], repeats: 2 });
});

test('a change that was answered and has no event is untold', (t) => {
  t.deepEqual(kinds({ 'product-events': product(1, 2) }), ['untold']);
});

test('a user id on an event is personal data leaked', (t) => {
  const shown = record('product-events', 'product:p9', 9, { productId: 'p9', version: 1, by: 'person-7' });
  t.deepEqual(kinds({ 'product-events': [...well['product-events']!, shown] }), ['personal-data']);
});

test('what is not about orders, or cannot be read, is not looked at', (t) => {
  const other = seen({ topic: 'external-events', offset: 9, value: { couponId: 'c1' } });
  const broken = seen({ topic: 'external-events', offset: 10, value: '{"orderId' });
  t.deepEqual(kinds({ 'external-events': [...well['external-events']!, other, broken] }), []);
});
