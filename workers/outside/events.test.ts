import test from 'ava';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { readOutsideEvent } from './events.ts';

const payment = {
  paymentId: 'p-1',
  orderId: 'o-1',
  amount: { amountMinor: 59_000, currency: 'KRW' },
  timestamp: '2026-11-21T01:15:30.000Z',
};
const record = (value: unknown, headers: IncomingRecord['headers'] = {}): IncomingRecord => ({
  topic: 'external-events',
  partition: 2,
  offset: 7,
  timestampMs: 1_000,
  key: null,
  value: value === null ? null : Buffer.isBuffer(value) ? value : Buffer.from(JSON.stringify(value)),
  headers,
});

test('an event is known by ce_id; that of a plain producer by its place, also when it was put off since', (t) => {
  const time = '2026-11-21T01:15:30.000Z';
  const named = readOutsideEvent(
    record(payment, { ce_id: 'p-1', ce_type: 'PaymentCompleted', ce_time: time }),
  );
  t.like(named, {
    id: 'p-1',
    type: 'PaymentCompleted',
    subject: 'o-1',
    path: '/webhooks/payment-completed',
    publishedAtMs: Date.parse(time),
  });
  t.deepEqual(JSON.parse(named.body.toString()), payment);
  t.like(readOutsideEvent(record(payment)), { id: 'external-events-2-7', publishedAtMs: 1_000 });
  const putOff = record(payment, { 'muster-source': 'external-events-0-3' });
  t.is(readOutsideEvent(putOff).id, 'external-events-0-3');
});

test('a time out of all reason is replaced by the broker\u2019s', (t) => {
  const event = readOutsideEvent(record(payment, { ce_id: 'p', ce_time: '+012345-01-01T00:00:00.000Z' }));
  t.is(event.publishedAtMs, 1_000);
});

test('what is no payment is refused with a code and without a word of what it says', (t) => {
  const cases: [unknown, IncomingRecord['headers'], string][] = [
    [null, {}, 'MUSTER_EMPTY_VALUE'],
    [Buffer.from([0xff]), {}, 'MUSTER_JSON_INVALID'],
    [Buffer.from('{"secret"'), {}, 'MUSTER_JSON_INVALID'],
    [payment, { ce_type: 'secret' }, 'MUSTER_EVENT_TYPE'],
    [payment, { ce_id: 'secret\nx' }, 'MUSTER_EVENT_ID'],
    [payment, { ce_id: 'secret'.repeat(40) }, 'MUSTER_EVENT_ID'],
    ['secret', {}, 'MUSTER_FIELD_INVALID'],
    [{ ...payment, secret: 1 }, {}, 'MUSTER_FIELD_INVALID'],
    [{ ...payment, orderId: '' }, {}, 'MUSTER_FIELD_INVALID'],
    [{ ...payment, amount: { amountMinor: 0.1, currency: 'secret' } }, {}, 'MUSTER_FIELD_INVALID'],
  ];
  for (const [value, headers, code] of cases) {
    const error = t.throws(() => readOutsideEvent(record(value, headers)), { code });
    t.notRegex(error!.message, /secret/);
  }
});

test('a coupon that was issued is told at a path of its own', (t) => {
  const issued = {
    couponHistoryId: 'h-1',
    couponId: 'c-1',
    user: `u_${'x'.repeat(22)}`,
    issuedAt: '2026-11-21T01:15:30.000Z',
  };
  t.like(readOutsideEvent(record(issued, { ce_id: 'h-1', ce_type: 'CouponIssued' })), {
    id: 'h-1',
    type: 'CouponIssued',
    subject: 'c-1',
    path: '/webhooks/coupon-issued',
  });
  t.throws(() => readOutsideEvent(record(payment, { ce_id: 'h-1', ce_type: 'CouponIssued' })), {
    code: 'MUSTER_FIELD_INVALID',
  });
});
