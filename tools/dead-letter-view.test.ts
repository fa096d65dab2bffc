import test from 'ava';
import type { DeadLetterEntry } from '../workers/kafka/dead-letters.ts';
import { maskedValue, newestReasons, rawText, shownEntry } from './dead-letter-view.ts';

test('nothing personal of a dead letter is shown unless asked for', (t) => {
  const value = Buffer.from(
    JSON.stringify({
      userId: 'user-000123',
      card: '4111 1111 1111 1111',
      productId: 'sku-7',
      quantity: -1,
      price: '₩10,000',
      note: 'call me at 010-1234-5678',
      productName: '4111-1111-1111-1111',
    }),
  );
  const shown = maskedValue(value);
  t.notRegex(shown, /user-000123|4111|1234-5678/);
  t.regex(shown, /"quantity":-1/);
  t.regex(shown, /"productId":"sku-7"/);
  t.regex(shown, /"userId":"\(text, 11\)"/);
});

test('bytes that are no JSON object show their length only', (t) => {
  t.is(maskedValue(Buffer.from('user-000123 bought')), '18 bytes that are no JSON');
  t.is(maskedValue(Buffer.from('["user-000123"]')), '15 bytes, JSON array');
  t.is(maskedValue(null), 'no value (tombstone)');
});

test('a field name that is itself data is not shown', (t) => {
  t.notRegex(maskedValue(Buffer.from('{"4111111111111111": 1, "kim@example.com": 2}')), /4111|kim/);
});

test('raw shows text as text and anything else as hexadecimal', (t) => {
  t.is(rawText(Buffer.from('무선')), '무선');
  t.is(rawText(Buffer.from([0xff, 0x00])), '0xff00');
});

test('what is in a field that may be shown is shown in the same way', (t) => {
  const value = {
    paymentId: '0199a6c0-1c2d-7e3f-8a4b-5c6d7e8f9a0b',
    amount: { amountMinor: 59_000, currency: 'KRW', payer: 'Kim' },
    customer: { orderId: 'o-1' },
    orderId: 'kim@example.com',
  };
  t.is(
    maskedValue(Buffer.from(JSON.stringify(value))),
    '{"paymentId":"0199a6c0-1c2d-7e3f-8a4b-5c6d7e8f9a0b","amount":{"amountMinor":59000,"currency":"KRW","payer":"(text, 3)"},"customer":"(object)","orderId":"(text, 15)"}',
  );
});

const entry: DeadLetterEntry = {
  topic: 'external-events.dlq',
  partition: 0,
  offset: 4,
  failedAt: '2026-11-21T08:59:49.314Z',
  code: 'MUSTER_WEBHOOK_FAILED',
  reason: 'the webhook was not taken: status 500',
  source: 'external-events-2-1715',
  group: 'outside-events',
  replayed: true,
  keyBytes: 9,
  valueBytes: 17,
  record: {
    topic: 'external-events.dlq',
    partition: 0,
    offset: 4,
    timestampMs: 0,
    key: Buffer.from('user:4711'),
    value: Buffer.from('{"orderId":"o-1"}'),
    headers: {
      ce_id: 'p-1',
      ce_type: 'PaymentCompleted',
      'muster-attempt': '6',
      traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
    },
  },
};

test('an entry says which event it was, why it is here and where its trace is; of its key only the length', (t) => {
  t.is(
    shownEntry(entry, { raw: false }),
    [
      'external-events.dlq-0-4  2026-11-21T08:59:49.314Z  MUSTER_WEBHOOK_FAILED, replayed',
      '  reason  the webhook was not taken: status 500',
      '  event   p-1 (PaymentCompleted)',
      '  from    external-events-2-1715, group outside-events, after 6 retries',
      '  trace   4bf92f3577b34da6a3ce929d0e0e4736',
      '  key     9 bytes',
      '  value   {"orderId":"o-1"}',
      '',
    ].join('\n'),
  );
  t.regex(shownEntry(entry, { raw: true }), /user:4711/);
});

test('an event id that a person could hide in is not shown', (t) => {
  for (const id of ['kim@example.com', '4111-1111-1111-1111', 'user:4711', 'two words']) {
    const shown = shownEntry(
      { ...entry, record: { ...entry.record, headers: { ce_id: id } } },
      { raw: false },
    );
    t.false(shown.includes(id), id);
  }
});

test('the reasons of a topic are counted, the most frequent three named, with the newest time', (t) => {
  const at = (failedAt: string, code: string) => ({ ...entry, failedAt, code });
  const entries = [at('2026-01-01', 'A'), at('2026-01-03', 'B'), at('2026-01-02', 'B')];
  t.deepEqual(newestReasons(entries), { newest: '2026-01-03', why: 'B x2, A' });
  t.is(
    newestReasons(['C', 'D', 'E'].map((code) => at('2026-01-01', code)).concat(entries)).why,
    'B x2, C, D, 2 more',
  );
});
