import { appendFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { openJournal } from './journal.ts';
import { type Behaviour, createReceiver, type Receipt } from './receiver.ts';

const told = (behaviour: Partial<Behaviour>) => {
  const receiver = createReceiver(100);
  receiver.behaviour = { mode: 'ok', ...behaviour };
  return receiver;
};
const answer = (status: number, afterMs = 0) => ({ kind: 'answer', status, afterMs });

test('the work of a key is done once, and every repeat is answered like the first', (t) => {
  const receiver = told({});
  t.deepEqual(receiver.take('k', { a: 1 }, 0), answer(200));
  t.deepEqual(receiver.take('k', { a: 1 }, 5), answer(200));
  t.deepEqual(receiver.receipts(), [
    {
      key: 'k',
      body: { a: 1 },
      effects: 1,
      attempts: [
        { at: '1970-01-01T00:00:00.000Z', answer: 200 },
        { at: '1970-01-01T00:00:00.005Z', answer: 200 },
      ],
    },
  ]);
});

test('the same key with another body is refused and does no work', (t) => {
  const receiver = told({});
  receiver.take('k', { a: 1 }, 0);
  t.deepEqual(receiver.take('k', { a: 2 }, 0), answer(409));
  t.deepEqual(receiver.receipts()[0]?.body, { a: 1 });
});

test('told to fail or to hang it does no work; told to be slow or to lose the answer it does', (t) => {
  const effects = (behaviour: Partial<Behaviour>) => {
    const receiver = told(behaviour);
    const reaction = receiver.take('k', {}, 0);
    return { reaction, effects: receiver.receipts()[0]!.effects };
  };
  t.deepEqual(effects({ mode: 'fail', status: 500 }), { reaction: answer(500) as never, effects: 0 });
  t.deepEqual(effects({ mode: 'hang' }), { reaction: { kind: 'hang' }, effects: 0 });
  t.deepEqual(effects({ mode: 'slow', delayMs: 70 }), { reaction: answer(200, 70) as never, effects: 1 });
  t.deepEqual(effects({ mode: 'lose-response' }), { reaction: { kind: 'lose' }, effects: 1 });
});

test('"first" counts the attempts of each key; "keyPrefix" leaves the others alone', (t) => {
  const receiver = told({ mode: 'fail', first: 2, keyPrefix: 'a' });
  const statuses = (key: string) =>
    [1, 2, 3].map((at) => (receiver.take(key, {}, at) as { status: number }).status);
  t.deepEqual(statuses('a1'), [503, 503, 200]);
  t.deepEqual(statuses('a2'), [503, 503, 200]);
  t.deepEqual(statuses('b'), [200, 200, 200]);
});

test('of more keys than it can keep the oldest go', (t) => {
  const receiver = createReceiver(2);
  for (const key of ['a', 'b', 'c']) receiver.take(key, {}, 0);
  t.deepEqual(
    receiver.receipts().map(({ key }) => key),
    ['c', 'b'],
  );
});

test('what was received is known again after a restart, each key once, and no more than is kept', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'muster-receiver-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'webhooks.jsonl');
  const restarted = () => {
    const journal = openJournal<Receipt>(path, { synced: false });
    return { journal, receiver: createReceiver(3, journal) };
  };
  const first = restarted();
  first.receiver.take('a', { n: 1 }, 0);
  for (let again = 0; again < 20; again++) first.receiver.take('b', { n: 2 }, again);
  first.journal.close();
  appendFileSync(path, '{"key":"half');

  const { journal, receiver } = restarted();
  t.true(journal.entries.length <= 6, 'the journal does not grow without end');
  t.deepEqual(
    receiver.receipts().map(({ key, effects, attempts }) => [key, effects, attempts.length]),
    [
      ['b', 1, 20],
      ['a', 1, 1],
    ],
  );
  t.deepEqual(receiver.take('a', { n: 9 }, 0), answer(409));
  receiver.clear();
  journal.close();
  t.deepEqual(restarted().receiver.receipts(), []);
});
