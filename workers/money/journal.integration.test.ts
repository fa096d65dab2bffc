/** The journal of a day on a real MySQL or MariaDB (MYSQL_*), read over HTTP as an accounting system does. */
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import { daysOf } from '../base/days.ts';
import { uuidV7 } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { databaseAway, rowsRead, scratchDatabase } from '../store/database.fixture.ts';
import { setAccount } from './accounts.ts';
import { audit } from './books.fixture.ts';
import { registerBooksRoutes } from './books-routes.ts';
import { houseAccounts } from './house.ts';
import { journal } from './journal.ts';
import type { Leg, Operation } from './ledger.ts';
import { bookAll } from './postings.ts';
import { ledgerStore } from './store.ts';

const timeZone = 'Asia/Seoul';
const days = daysOf(timeZone);
const house = houseAccounts(3);
const minute = 60_000;
let db: Kysely<unknown>;
let drop: (() => Promise<void>) | undefined;
let run = 0;

test.before(async () => {
  ({ db, drop } = await scratchDatabase('journal', 'money'));
});
test.after.always(() => drop?.());
test.beforeEach((t) => t.timeout(120_000));

async function someone(currency = 'KRW'): Promise<string> {
  const name = `u_${String(++run).padStart(22, '0')}`;
  await setAccount(db, name, { currency, state: 'OPEN' });
  return name;
}

const legs = (from: string, to: string, ...amounts: readonly number[]): readonly Leg[] =>
  amounts.map((amountMinor) => ({ from, to, amountMinor, reason: 'transfer' }));

async function bookAt(atMs: number, ...operations: readonly Operation[]): Promise<void> {
  const calls = operations.map((operation) => ({
    operation,
    once: { scope: 'money:test', key: `key-${++run}`, body: '' },
  }));
  for (const outcome of await bookAll(
    ledgerStore(async () => db),
    calls,
    () => atMs,
  ))
    if (!outcome.ok) throw new Error(outcome.refusal.code);
}

const transfer = (own: readonly Leg[], currency = 'KRW'): Operation & { readonly kind: 'transfer' } => ({
  kind: 'transfer',
  transferId: uuidV7(Date.now()),
  currency,
  legs: own,
});

async function serve(
  t: ExecutionContext,
  nowMs: number,
  database: () => Promise<Kysely<unknown>> = async () => db,
) {
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  registerBooksRoutes(http.app as never, { database, timeZone, dailyLimitMinor: 1, clock: () => nowMs });
  await http.open();
  t.teardown(() => http.close(100));
  return async (date: string, token = operatorToken) => {
    const answer = await fetch(`http://127.0.0.1:${http.address().port}/pay/money/journal?date=${date}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    return { answer, text: await answer.text() };
  };
}

/** A reader of its own: lines by CRLF, no field of ours needs quotes. */
function read(text: string) {
  const [header, ...rows] = text.split('\r\n');
  const names = header!.split(',');
  if (rows.pop() !== '') throw new Error('the last line has no end');
  return rows.map((row) => {
    const fields = row.split(',');
    if (fields.length !== names.length) throw new Error(`not as many fields as the header: ${row}`);
    return Object.fromEntries(names.map((name, index) => [name, fields[index]!]));
  });
}

const signed = ({ side, amount_minor: amount }: Record<string, string>) =>
  (side === 'DEBIT' ? -1 : 1) * Number(amount);

function sumsBy(rows: readonly Record<string, string>[], name: string): Record<string, number> {
  const sums: Record<string, number> = {};
  for (const row of rows) sums[row[name]!] = (sums[row[name]!] ?? 0) + signed(row);
  return sums;
}

/** By how much the running balances of accounts have changed within a day, from the entries before and after it. */
async function changeOfBalances(day: string): Promise<Record<string, number>> {
  const { fromMs, toMs } = days.rangeOf(day)!;
  const upTo = (ms: number) => sql`COALESCE((
    SELECT e.balance_minor FROM ledger_entry e WHERE e.account_no = a.account_no AND e.booked_at < ${new Date(ms)}
    ORDER BY e.version DESC LIMIT 1), 0)`;
  const { rows } = await sql<{ id: string; change: number | string }>`
    SELECT a.account_id AS id, ${upTo(toMs)} - ${upTo(fromMs)} AS \`change\` FROM ledger_account a`.execute(
    db,
  );
  const changes: Record<string, number> = {};
  for (const { id, change } of rows) {
    const name = /^(house:\w+):/.exec(id)?.[1] ?? id;
    if (Number(change) !== 0) changes[name] = (changes[name] ?? 0) + Number(change);
  }
  return changes;
}

test.serial(
  'the journal of a day sums to zero per currency, and to what the balances changed by',
  async (t) => {
    const [alice, bob, carol] = [await someone(), await someone(), await someone('USD')];
    const { fromMs, toMs } = days.rangeOf('2026-03-05')!;
    const bank = house('bank', 'KRW');
    const late = transfer(legs(alice, bob, 7_000));
    await bookAt(fromMs - 1, transfer(legs(bank, alice, 50_000)));
    // Of one moment and more than a page, so that pages break within it.
    await bookAt(fromMs, ...Array.from({ length: 240 }, (_, n) => transfer(legs(alice, bob, n + 1, 1))));
    for (let n = 0; n < 10; n++)
      await bookAt(
        fromMs + minute,
        ...Array.from({ length: 240 }, () => transfer(legs(bob, alice, 1, 2))),
        transfer(legs(house('bank', 'USD'), carol, 100 + n), 'USD'),
      );
    await bookAt(toMs - 1, late);
    await bookAt(toMs, { kind: 'correct', transferId: uuidV7(Date.now()), corrects: late.transferId });

    const ask = await serve(t, toMs + 10 * minute);
    const { answer, text } = await ask('2026-03-05');
    t.is(answer.status, 200);
    t.is(answer.headers.get('content-type'), 'text/csv; charset=utf-8; header=present');
    t.is(answer.headers.get('content-disposition'), 'attachment; filename="journal-2026-03-05.csv"');
    const rows = read(text);
    t.is(rows.length, 2 * (240 * 2 + 10 * (240 * 2 + 1) + 1));
    t.deepEqual(sumsBy(rows, 'currency'), { KRW: 0, USD: 0 });
    t.deepEqual(sumsBy(rows, 'account'), await changeOfBalances('2026-03-05'));
    t.is(
      new Set(rows.map((row) => [row.transfer_id, row.leg, row.side].join())).size,
      rows.length,
      'none twice',
    );
    const times = rows.map((row) => row.booked_at!);
    t.deepEqual(times, times.toSorted());
    t.is(times.at(-1), new Date(toMs - 1).toISOString());

    const next = read((await ask('2026-03-06')).text);
    t.deepEqual(
      next.map(({ corrects, account, side, reason }) => ({ corrects, account, side, reason })),
      [
        { corrects: late.transferId, account: bob, side: 'DEBIT', reason: 'correction' },
        { corrects: late.transferId, account: alice, side: 'CREDIT', reason: 'correction' },
      ],
    );
    t.deepEqual(read((await ask('2026-03-01')).text), [], 'a day without entries is a header');
    t.deepEqual(await audit(db), []);
  },
);

test.serial(
  'a day that is not over, or only just, is told up to what nothing can come before any more',
  async (t) => {
    const [alice, bob] = [await someone(), await someone()];
    const { fromMs, toMs } = days.rangeOf('2026-04-01')!;
    await bookAt(fromMs, transfer(legs(house('bank', 'KRW'), alice, 1_000)));
    await bookAt(toMs - minute, transfer(legs(alice, bob, 10)));
    const at = async (nowMs: number) => {
      const { answer, text } = await (await serve(t, nowMs))('2026-04-01');
      return [answer.headers.get('content-disposition')!.slice(22, -1), read(text).length];
    };
    t.deepEqual(await at(fromMs + minute), ['journal-2026-04-01-so-far.csv', 0]);
    t.deepEqual(await at(fromMs + 6 * minute), ['journal-2026-04-01-so-far.csv', 2]);
    t.deepEqual(await at(toMs + minute), ['journal-2026-04-01-so-far.csv', 2]);
    t.deepEqual(await at(toMs + 5 * minute), ['journal-2026-04-01.csv', 4]);
  },
);

test.serial('refused: no day, a day to come, a member, and a database that is away', async (t) => {
  const nowMs = Date.parse('2026-04-01T12:00:00Z');
  const ask = await serve(t, nowMs);
  for (const date of ['2026-02-30', '2026-04-02', 'today', ''])
    t.is((await ask(date)).answer.status, 422, date);
  for (const role of ['customer', 'merchant', 'service'] as const)
    t.is((await ask('2026-04-01', await tokenOf(role, 'x'))).answer.status, 403);
  const away = await serve(t, nowMs, async () => databaseAway());
  const { answer, text } = await away('2026-04-01');
  t.is(answer.status, 503);
  t.is(JSON.parse(text).error.code, 'MUSTER_DATABASE_DOWN');
});

test.serial('a transfer that lacks an entry breaks the file off instead of leaving it out', async (t) => {
  const [alice, bob] = [await someone(), await someone()];
  const { fromMs, toMs } = days.rangeOf('2026-05-01')!;
  await bookAt(fromMs, transfer(legs(house('bank', 'KRW'), alice, 1_000)), transfer(legs(alice, bob, 1)));
  await sql`DROP TRIGGER ledger_entry_kept`.execute(db);
  await sql`
    DELETE e FROM ledger_entry e JOIN ledger_account a USING (account_no) WHERE a.account_id = ${bob}`.execute(
    db,
  );
  const pages = journal(async () => db, { fromMs, toMs });
  await t.throwsAsync(
    async () => {
      for await (const _ of pages);
    },
    { code: 'MUSTER_BOOKS_BROKEN' },
  );
  const ask = await serve(t, toMs + 10 * minute);
  t.is((await ask('2026-05-01')).answer.status, 500);
});

test.serial('a page reads as many rows as it tells, whatever else is in the books', async (t) => {
  const { fromMs, toMs } = days.rangeOf('2026-03-05')!;
  const span = { fromMs: fromMs + minute, toMs };
  const legsOfDay = 10 * 481 + 1;
  const read = await rowsRead(db, async (connection) => {
    for await (const _ of journal(async () => connection, span));
  });
  // The leg, two accounts, two entries; and the first legs of a page that have the time of the last of the one before.
  t.true(read < legsOfDay * 12, `${read} rows for ${legsOfDay} legs`);
});

test('the newest transfers have both sides of each leg, by pages, and each sums to zero', async (t) => {
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  registerBooksRoutes(http.app as never, { database: async () => db, timeZone, dailyLimitMinor: 1 });
  await http.open();
  t.teardown(() => http.close(100));
  const ask = async (query: string, token = operatorToken) => {
    const url = `http://127.0.0.1:${http.address().port}/pay/money/transfers?${query}`;
    const answer = await fetch(url, { headers: { authorization: `Bearer ${token}` } });
    // biome-ignore lint/suspicious/noExplicitAny: an answer of a route
    return { status: answer.status, json: (await answer.json()) as any };
  };
  const [alice, bob] = [await someone(), await someone()];
  // Others book beside this test: these are the newest of all for a long time.
  const later = (n: number) => uuidV7(Date.now() + 10 ** 9 + n);
  const ids = [later(1), later(2), later(3)];
  await bookAt(Date.now(), { ...transfer(legs(house('bank', 'KRW'), alice, 900)), transferId: ids[0]! });
  await bookAt(Date.now(), { ...transfer(legs(alice, bob, 300, 200)), transferId: ids[1]! });
  await bookAt(Date.now(), { kind: 'correct', transferId: ids[2]!, corrects: ids[1]! });

  const first = (await ask('limit=2')).json;
  t.deepEqual(
    first.transfers.map(({ transferId }: { transferId: string }) => transferId),
    [ids[2], ids[1]],
    'a page holds whole transfers',
  );
  t.is(first.transfers[0].corrects, ids[1]);
  t.like(first.transfers[1], {
    currency: 'KRW',
    entries: [
      { account: alice, amountMinor: -300, reason: 'transfer' },
      { account: bob, amountMinor: 300 },
      { account: alice, amountMinor: -200 },
      { account: bob, amountMinor: 200 },
    ],
  });
  const [increase] = (await ask(`limit=1&before=${first.next}`)).json.transfers;
  t.like(increase, { transferId: ids[0], entries: [{ account: 'house:bank', amountMinor: -900 }] });
  for (const { entries } of [...first.transfers, increase]) {
    const sum = entries.reduce(
      (all: number, { amountMinor }: { amountMinor: number }) => all + amountMinor,
      0,
    );
    t.is(sum, 0);
  }
  t.is((await ask('', await tokenOf('customer', 'alice'))).status, 403);
});
