import test from 'ava';
import { type JournalEntry, outsideBanks, type TransferOrder } from './banks.ts';

function twoBanks() {
  const journal: JournalEntry[] = [];
  const banks = outsideBanks((entry) => journal.push(entry));
  const open = (bank: string, number: string, depositMinor = 0) =>
    banks.setAccount(bank, number, { state: 'NORMAL', currency: 'KRW', depositMinor });
  open('hana', '1', 100);
  open('hana', '2');
  open('woori', '3');
  const order = (
    id: string,
    more: Partial<TransferOrder> = {},
    misbehave: { mode: 'ok' | 'reject' | 'wrong-amount' } = { mode: 'ok' },
  ) =>
    banks.order(
      'hana',
      id,
      { from: '1', to: { bank: 'hana', accountNumber: '2' }, amountMinor: 60, currency: 'KRW', ...more },
      { atMs: 1, misbehave },
    );
  return { banks, journal, order };
}

test('an order is carried out once per id, whatever else is asked under it', (t) => {
  const { banks, order } = twoBanks();
  const first = order('t-1');
  t.like(first, { transfer: { state: 'EXECUTED' } });
  t.deepEqual(order('t-1'), first);
  t.deepEqual(order('t-1', { amountMinor: 61 }), { kind: 'conflict' });
  t.is(banks.account('hana', '1')!.balanceMinor, 40);
  t.is(banks.account('hana', '2')!.balanceMinor, 60);
});

test('what cannot be is rejected, for good, and moves nothing', (t) => {
  const { banks, order } = twoBanks();
  const reason = (id: string, more: Partial<TransferOrder>) =>
    (order(id, more) as { transfer: { reason?: string } }).transfer.reason;
  t.is(reason('t-1', { amountMinor: 101 }), 'MONEY_SHORT');
  t.is(reason('t-2', { from: '9' }), 'SENDER_UNKNOWN');
  t.is(reason('t-3', { to: { bank: 'kb', accountNumber: '1' } }), 'RECEIVER_UNKNOWN');
  banks.setAccount('hana', '2', { state: 'CLOSED', currency: 'KRW', depositMinor: 0 });
  t.is(reason('t-4', {}), 'RECEIVER_CLOSED');
  banks.setAccount('hana', '2', { state: 'NORMAL', currency: 'KRW', depositMinor: 0 });
  t.is(reason('t-4', {}), 'RECEIVER_CLOSED', 'the same id has the same answer');
  t.like(order('t-5', {}, { mode: 'reject' }), { transfer: { state: 'REJECTED', reason: 'BANK_REFUSES' } });
  t.is(banks.account('hana', '1')!.balanceMinor, 100);
});

test('all books sum to zero, between banks too, and are the same when they are made again from the journal', (t) => {
  const { banks, journal, order } = twoBanks();
  order('t-1', { to: { bank: 'woori', accountNumber: '3' } });
  order('t-2', { amountMinor: 10 }, { mode: 'wrong-amount' });
  order('t-3', { amountMinor: 1_000 });
  t.is(banks.sum(), 0);
  t.is(banks.account('woori', '3')!.balanceMinor, 60);
  t.is(banks.account('hana', '2')!.balanceMinor, 11);
  const again = outsideBanks(() => t.fail());
  for (const entry of journal) again.replay(entry);
  const page = { sinceMs: 0, after: 0, limit: 10 };
  t.deepEqual(again.statement('hana', page), banks.statement('hana', page));
  t.deepEqual(again.account('hana', '1'), banks.account('hana', '1'));
  t.is(again.sum(), 0);
});

test('a statement is read by page', (t) => {
  const { banks, order } = twoBanks();
  for (let n = 0; n < 5; n++) order(`t-${n}`, { amountMinor: 1 });
  const ids: string[] = [];
  for (let after: number | undefined = 0; after !== undefined; ) {
    const { entries, next } = banks.statement('hana', { sinceMs: 0, after, limit: 2 });
    ids.push(...entries.map(({ transferId }) => transferId));
    after = next;
  }
  t.deepEqual(ids, ['t-0', 't-1', 't-2', 't-3', 't-4']);
  t.deepEqual(banks.statement('hana', { sinceMs: 2, after: 0, limit: 2 }), { entries: [], next: undefined });
});
