import test from 'ava';
import { Type } from 'typebox';
import { eventReader } from './event-reader.ts';

const schema = Type.Object(
  { id: Type.String(), qty: Type.Integer() },
  { title: 'Thing', additionalProperties: false },
);
const read = eventReader(schema);
const of = (text: string | Buffer) => ({ value: Buffer.from(text as string) });

test('an event is read as its schema says', (t) => {
  t.deepEqual(read(of('{"id":"a","qty":1}')), { id: 'a', qty: 1 });
});

test('what is not one is refused by what is wrong with it, and nothing of it is repeated', (t) => {
  const wrong = (value: Buffer | null) => {
    const { code, message } = t.throws(() => read({ value })) as Error & { code: string };
    return `${code} ${message}`;
  };
  t.regex(wrong(null), /^MUSTER_EMPTY_VALUE /);
  t.regex(wrong(Buffer.from('{')), /^MUSTER_JSON_INVALID /);
  t.is(wrong(Buffer.from('{"id":"a","qty":"Kim"}')), 'MUSTER_FIELD_INVALID not a Thing: see qty');
  t.is(wrong(Buffer.from('{"id":"a","qty":1,"Kim":1}')), 'MUSTER_FIELD_INVALID not a Thing: see value');
  t.is(wrong(Buffer.from('[]')), 'MUSTER_FIELD_INVALID not a Thing: see value');
});

test('bytes that are no text are not repaired to some', (t) => {
  const bytes = Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xff]), Buffer.from('","qty":1}')]);
  t.throws(() => read({ value: bytes }), { code: 'MUSTER_JSON_INVALID' } as never);
});

test('a reader may have one code for everything', (t) => {
  const coded = eventReader(schema, 'MUSTER_THING_INVALID');
  for (const value of [null, Buffer.from('{'), Buffer.from('{}')])
    t.throws(() => coded({ value }), { code: 'MUSTER_THING_INVALID' } as never);
});
