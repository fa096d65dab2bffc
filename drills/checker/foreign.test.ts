import test from 'ava';
import { checkForeign, type ForeignMessage, owedHeader } from './foreign.ts';

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
const kinds = (...args: Parameters<typeof checkForeign>) =>
  checkForeign(...args).findings.map(({ kind, id }) => `${kind} ${id}`);

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
