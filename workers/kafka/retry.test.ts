import test from 'ava';
import type { Topic } from '../../catalog/topics.ts';
import { topics } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import { deadLetterOf, replayOf } from './dead-letters.ts';
import type { IncomingRecord, RawRecord } from './kafka.ts';
import { eventRecord, parsePlace, readEvent } from './records.ts';
import { afterFailure, attemptsOf, dueAtMs, reasonOf } from './retry.ts';
import { parseTraceparent, sampledSender, traceparentOf } from './tracing-kafka.ts';

const group = { id: 'g', topics: [topics.purchase] as readonly Topic[], retryDelaysMs: [1_000, 2_000] };
const why = { code: 'MUSTER_X', reason: 'because', group: 'g' };

function received(record: RawRecord, partition: number, offset: number): IncomingRecord {
  const bytes = (value: Buffer | string | null) => (value === null ? null : Buffer.from(value as string));
  return {
    topic: record.topic,
    partition,
    offset,
    timestampMs: 42,
    key: bytes(record.key),
    value: bytes(record.value),
    headers: (record.headers ?? {}) as IncomingRecord['headers'],
  };
}

test('a record is put off once per delay and then dies, keeping its origin and bytes all the way', (t) => {
  const first = received({ topic: 'purchase', key: 'u', value: null, headers: { own: 'x' } }, 3, 17);
  const one = received(afterFailure(first, group, why, 1_000), 3, 1);
  t.is(one.topic, 'purchase.g.retry-1s');
  t.is(attemptsOf(one), 1);
  t.is(dueAtMs(one), 2_000);
  const two = received(afterFailure(one, group, why, 5_000), 3, 2);
  t.is(two.topic, 'purchase.g.retry-2s');
  t.is(dueAtMs(two), 7_000);
  t.is(readEvent(two).id, 'purchase-3-17');
  const dead = afterFailure(two, group, why, 9_000);
  t.is(dead.topic, 'purchase.dlq');
  t.is(dead.value, null);
  t.is(dead.headers!['muster-source'], 'purchase-3-17');
  t.is(dead.headers!.own, 'x');
  const back = replayOf(received(dead, 0, 5));
  t.is(back.topic, 'purchase');
  t.deepEqual(back.headers, { own: 'x', ce_id: 'purchase-3-17' });
});

test('a damaged attempt header counts as none', (t) => {
  t.is(
    attemptsOf(received({ topic: 'a', key: null, value: null, headers: { 'muster-attempt': '-3' } }, 0, 0)),
    0,
  );
  t.is(
    attemptsOf(received({ topic: 'a', key: null, value: null, headers: { 'muster-attempt': 'x' } }, 0, 0)),
    0,
  );
  t.is(
    dueAtMs(received({ topic: 'a', key: null, value: null, headers: { 'muster-due-at': 'x' } }, 0, 0)) || 0,
    0,
  );
});

test('the reason of a foreign error names its kind only; ours is passed on', (t) => {
  t.deepEqual(reasonOf(new Error('card 1234-5678 declined'), 'g'), {
    code: 'MUSTER_HANDLER_FAILED',
    reason: 'the handler failed with Error',
    group: 'g',
  });
  t.is(reasonOf(new MusterError('MUSTER_X', 'quantity is negative'), 'g').reason, 'quantity is negative');
});

test('an event is read as it was written; a record without headers is known by its place', (t) => {
  const record = eventRecord({
    topic: 'a-b',
    key: 'k',
    type: 'T',
    source: '/s',
    id: 'i',
    timeMs: 1_700_000_000_123,
    data: { x: 1 },
  });
  t.is(record.value, '{"x":1}');
  t.deepEqual(readEvent(received(record, 1, 2)), {
    id: 'i',
    type: 'T',
    source: '/s',
    timeMs: 1_700_000_000_123,
    traceparent: undefined,
  });
  const plain = readEvent(received({ topic: 'a-b', key: null, value: 'x' }, 1, 2));
  t.is(plain.id, 'a-b-1-2');
  t.is(plain.timeMs, 42);
  t.deepEqual(parsePlace('a-b-1-2'), { topic: 'a-b', partition: 1, offset: 2 });
  t.is(parsePlace('nonsense'), undefined);
  const broken = received({ topic: 'a', key: null, value: null, headers: { ce_time: 'yesterday' } }, 0, 0);
  t.is(readEvent(broken).timeMs, 42);
});

test('a dead letter of a record of a topic without retries goes to that topic’s dead letters', (t) => {
  const dead = deadLetterOf(received({ topic: 'promo_behavior', key: 'k', value: 'v' }, 0, 1), why, 0);
  t.is(dead.topic, 'promo_behavior.dlq');
  t.is(dead.headers!['muster-failed-at'], '1970-01-01T00:00:00.000Z');
});

test('a trace context is read only when it is whole and sampled', (t) => {
  const text = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const sender = parseTraceparent(text)!;
  t.is(traceparentOf(sender), text);
  const of = (traceparent: string) => sampledSender({ headers: { traceparent: Buffer.from(traceparent) } });
  t.is(of(text)!.traceId, '0af7651916cd43dd8448eb211c80319c');
  t.is(of(text.replace(/01$/, '00')), undefined);
  t.is(of('garbage'), undefined);
  t.is(of(text.replace('0af7651916cd43dd8448eb211c80319c', '0'.repeat(32))), undefined);
  t.is(sampledSender({ headers: {} }), undefined);
});
