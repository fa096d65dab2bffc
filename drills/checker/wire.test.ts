import test from 'ava';
import { seen, trace } from './seen.fixture.ts';
import { NotChecked, unjudged } from './verdict.ts';
import { bodyOf, headerOf, mentioned, nameOf, showing, traceIdOf } from './wire.ts';

test('a value is read as JSON, and what is none is nothing', (t) => {
  t.deepEqual(bodyOf(seen({ value: { a: 1 } })), { a: 1 });
  for (const value of [null, Buffer.from('{'), Buffer.from('7'), Buffer.of(0x22, 0xff, 0x22)])
    t.is(bodyOf({ value }), undefined);
});

test('headers, trace and place of a record', (t) => {
  const record = seen({ topic: 'a-b', partition: 2, offset: 9, headers: { ce_id: 'x' } });
  t.is(headerOf(record, 'ce_id'), 'x');
  t.is(headerOf(record, 'ce_type'), undefined);
  t.is(traceIdOf(record), trace);
  t.is(traceIdOf(seen({ headers: { traceparent: 'nonsense' } })), undefined);
  t.is(nameOf(record), 'a-b-2-9');
});

test('a text is found in key, value, header and name of a header', (t) => {
  const records = [
    seen({ key: 'person-1' }),
    seen({ value: { a: 'person-1' } }),
    seen({ headers: { a: 'person-1' } }),
    seen({ headers: { 'person-1': 'a' } }),
  ];
  for (const record of records) t.is(showing([seen({}), record], ['person-']), record);
  t.is(showing([seen({})], ['person-']), undefined);
});

test('ids are found in texts of any form, and only those that are asked for', (t) => {
  const [a, b] = ['01890000-0000-7000-8000-000000000001', '01890000-0000-7000-8000-000000000002'];
  const nested = JSON.stringify([['topic', 'key', JSON.stringify({ id: a, other: b })]]);
  t.deepEqual([...mentioned([nested], new Set([a]))], [a]);
});

test('a checker that could not look says who did not answer', (t) => {
  t.like(unjudged('orders', new NotChecked('mysql', 'no answer')), {
    subject: 'orders',
    acked: 0,
    findings: [{ kind: 'not-checked', id: 'mysql', detail: 'no answer' }],
  });
  t.like(unjudged('orders', new TypeError('a bug of ours')), {
    findings: [{ kind: 'not-checked', id: 'orders', detail: 'TypeError: a bug of ours' }],
  });
});
