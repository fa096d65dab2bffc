import test from 'ava';
import { topics } from '../../catalog/topics.ts';
import { checkForeign, type ForeignMessage, owedHeader } from './foreign.ts';
import type { SeenRecord } from './reading.ts';

const at = { topic: 't', partition: 0, offset: 0, key: null } as const;
const answer = (purchaseId: string, promotion_affect: 0 | 1, version = 1) => ({
  ...at,
  headers: {},
  value: Buffer.from(JSON.stringify({ purchaseId, version, promotion_affect })),
});
const letter = (id: string, code: string) => ({
  ...at,
  headers: { [owedHeader]: Buffer.from(id), 'muster-error-code': Buffer.from(code) },
  value: null,
});
const one = (id: string, owes: ForeignMessage['owes'], isAcked = true): ForeignMessage => ({
  id,
  what: 'odd',
  owes,
  isAcked,
});
const result = (requestId: string, reason?: string) => ({
  ...at,
  headers: {},
  value: Buffer.from(JSON.stringify({ requestId, reason })),
});
function kinds(
  messages: readonly ForeignMessage[],
  enriched: readonly SeenRecord[],
  letters: readonly SeenRecord[],
  { results = [], received = {} }: { results?: SeenRecord[]; received?: Record<string, number> } = {},
) {
  const records = new Map([
    [topics.purchaseEnriched.name, enriched],
    [topics.couponIssueDlq.name, letters],
    [topics.couponIssueFailed.name, results],
  ]);
  const { findings } = checkForeign(
    messages,
    (topic) => records.get(topic) ?? [],
    new Map(Object.entries(received)),
  );
  return findings.map(({ kind, id }) => `${kind} ${id}`);
}

test('what is joined, refused with its reason or aborted, as it should be, is no finding', (t) => {
  const messages = [one('a', { affect: 1 }), one('b', { code: 'MUSTER_EMPTY_VALUE' }), one('c', 'nothing')];
  // The answer before the act was there, and a dead letter told twice.
  const letters = [letter('b', 'MUSTER_EMPTY_VALUE'), letter('b', 'MUSTER_EMPTY_VALUE')];
  t.deepEqual(kinds(messages, [answer('a', 0), answer('a', 1, 2), answer('a', 1, 2)], letters), []);
});

test('of several answers the one with the highest version counts, whatever came last', (t) => {
  t.deepEqual(kinds([one('a', { affect: 1 })], [answer('a', 1, 2), answer('a', 0, 1)], []), []);
});

test('an answer or a dead letter that is missing was lost, unless there was no ack', (t) => {
  const owes = { code: 'MUSTER_EMPTY_VALUE' };
  t.deepEqual(kinds([one('a', { affect: 1 }), one('b', owes)], [], []), ['lost a', 'lost b']);
  t.deepEqual(kinds([one('a', { affect: 1 }, false), one('b', owes, false)], [], []), []);
});

test('another answer, another reason, and what was aborted and counts all the same are findings', (t) => {
  const messages = [one('a', { affect: 1 }), one('b', { code: 'MUSTER_EMPTY_VALUE' }), one('c', 'nothing')];
  t.deepEqual(kinds(messages, [answer('a', 0), answer('c', 1)], [letter('b', 'MUSTER_NOT_UTF8')]), [
    'wrong a',
    'wrong b',
    'from-nowhere c',
  ]);
});

test('a request is told its reason, again and again the same; one that was aborted is told nothing', (t) => {
  const asked = [one('a', { reason: 'NOT_FOUND' })];
  const told = (...results: SeenRecord[]) => kinds(asked, [], [], { results });
  t.deepEqual(told(result('a', 'NOT_FOUND'), result('a', 'NOT_FOUND')), []);
  t.deepEqual(told(), ['lost a']);
  t.deepEqual(told(result('a')), ['wrong a']);
  t.deepEqual(told(result('a', 'NOT_FOUND'), result('a', 'DUPLICATE')), ['wrong a']);
  t.deepEqual(kinds([one('a', 'nothing')], [], [], { results: [result('a', 'NOT_FOUND')] }), [
    'from-nowhere a',
  ]);
  t.deepEqual(kinds([one('a', { reason: 'NOT_FOUND' }, false)], [], []), []);
});

test('the receiver outside does the work of an event once', (t) => {
  const asked = [one('a', { effects: 1 })];
  t.deepEqual(kinds(asked, [], [], { received: { a: 1 } }), []);
  t.deepEqual(kinds(asked, [], []), ['lost a']);
  t.deepEqual(kinds(asked, [], [], { received: { a: 2 } }), ['doubled a']);
});
