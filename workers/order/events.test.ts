import test from 'ava';
import Value from 'typebox/value';
import { orderCompleted, orderConfirmed } from '../../catalog/events/order.ts';
import { paymentCompleted } from '../../catalog/events/outside.ts';
import { topics } from '../../catalog/topics.ts';
import { paidRecords, productRecord, readOrderCompleted, readProductEvent } from './events.ts';
import type { Order } from './order.ts';

const user = `u_${'A'.repeat(22)}`;
const order: Order = {
  orderId: 'o-1',
  user,
  status: 'COMPLETED',
  lines: [{ productId: 'mug', quantity: 2, unitAmountMinor: 12_000 }],
  total: { amountMinor: 24_000, currency: 'KRW' },
};
const traceparent = `00-${'1'.repeat(32)}-${'2'.repeat(16)}-01`;

test('a paid order says so on three topics, by their schemas, in its own trace, under ids that stay the same', (t) => {
  const records = paidRecords(order, { paymentId: 'p-1', paidAtMs: 1_795_223_730_123, traceparent });
  const byTopic = new Map(records.map((record) => [record.topic, record]));
  t.is(records.length, 3);
  for (const [topic, schema, key] of [
    [topics.orderCompleted, orderCompleted, `user:${user}`],
    [topics.orderConfirmed, orderConfirmed, 'o-1'],
    [topics.externalEvents, paymentCompleted, `user:${user}`],
  ] as const) {
    const record = byTopic.get(topic.name)!;
    t.true(Value.Check(schema, JSON.parse(String(record.value))), topic.name);
    t.is(record.key, key);
    t.like(record.headers, { ce_type: topic.event.type, traceparent });
  }
  t.is(byTopic.get(topics.externalEvents.name)!.headers!.ce_id, 'p-1');
  t.deepEqual(
    paidRecords(order, { paymentId: 'p-1', paidAtMs: 1_795_223_730_123, traceparent }).map(
      ({ headers }) => headers!.ce_id,
    ),
    records.map(({ headers }) => headers!.ce_id),
  );
});

test('what is written is read back; what is not understood is named by its fields, never by its values', (t) => {
  const [completed] = paidRecords(order, { paymentId: 'p-1', paidAtMs: 0, traceparent: undefined });
  const bytes = Buffer.from(String(completed!.value));
  t.is(readOrderCompleted({ value: bytes }).orderId, 'o-1');
  const product = productRecord(
    { productId: 'mug', kind: 'DEPLETED', version: 2, name: 'Mug', price: order.total, stock: 0 },
    0,
  );
  t.is(readProductEvent({ value: Buffer.from(String(product.value)) }).kind, 'DEPLETED');

  const wrong = {
    ...JSON.parse(bytes.toString()),
    userId: 'alice@example.org',
    products: [{ id: 'mug', qty: -7 }],
  };
  for (const value of [null, Buffer.from('{'), Buffer.from(JSON.stringify(wrong))]) {
    const error = t.throws(() => readOrderCompleted({ value }), { code: 'MUSTER_EVENT_INVALID' } as never);
    t.notRegex((error as Error).message, /alice|-7/);
  }
});
