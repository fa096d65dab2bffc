import test from 'ava';
import { oracle } from '../checker/oracle.ts';
import { edgeMessages } from './edges.ts';

test('the edges of the window are inside, a millisecond beyond them is not, whichever message comes first', (t) => {
  const pairs = edgeMessages('run', 'person', Date.UTC(2026, 10, 1));
  const messages = pairs.flat();
  const iso = (ms: number) => new Date(ms).toISOString();
  const answers = oracle(
    messages.flatMap(({ purchase, userId, eventTimeMs }) =>
      purchase === undefined
        ? []
        : [{ purchaseId: purchase.purchaseId, userId, purchasedAt: iso(eventTimeMs) }],
    ),
    messages.flatMap(({ act, userId, eventTimeMs }) =>
      act === undefined ? [] : [{ ...act, userId, actedAt: iso(eventTimeMs) }],
    ),
  );
  t.deepEqual(
    [...answers.values()].map(({ affect }) => affect),
    [1, 1, 0, 0, 1, 1, 0, 0],
  );
  t.deepEqual(
    pairs.map(([first]) => first.kind),
    [...Array(4).fill('promo_behavior'), ...Array(4).fill('purchase')],
  );
  t.true(messages.every(({ id }) => /^run-e\d+$/.test(id)));
});
