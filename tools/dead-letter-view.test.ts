import test from 'ava';
import { maskedValue, rawText } from './dead-letter-view.ts';

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
