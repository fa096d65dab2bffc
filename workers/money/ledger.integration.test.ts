/** The ledger on a real MySQL or MariaDB (MYSQL_*), against a model, with many writers, and with connections cut. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { type Kysely, sql } from 'kysely';
import type { DatabaseSettings } from '../base/config.ts';
import { isNotNow } from '../base/errors.ts';
import { uuidV7 } from '../base/ids.ts';
import { cuttingRelay, rowsRead, scratchDatabase } from '../store/database.fixture.ts';
import { openDatabase, transaction } from '../store/database.ts';
import { groupCommit } from '../store/group-commit.ts';
import { once } from '../store/once.ts';
import { setAccount } from './accounts.ts';
import { audit, snapshot } from './books.fixture.ts';
import { houseAccounts } from './house.ts';
import type { Operation } from './ledger.ts';
import { bookAll, type LedgerCall, type LedgerOutcome } from './postings.ts';
import { findAccount, history, ledgerStore } from './store.ts';

let db: Kysely<unknown>;
let settings: DatabaseSettings;
let drop: (() => Promise<void>) | undefined;
let run = 0;

test.before(async () => {
  ({ db, settings, drop } = await scratchDatabase('ledger', 'money'));
});
test.after.always(() => drop?.());

const bank = houseAccounts(0)('bank', 'KRW');
const id = () => uuidV7(Date.now());
const codeOf = (outcome: LedgerOutcome) => (outcome.ok ? 'ok' : outcome.refusal.code.replace('MUSTER_', ''));

/** Calls with keys of their own unless one is given; the body of a call is its operation without new ids. */
function called(operation: Operation, key = `key-${++run}`, scope = 'money:test'): LedgerCall {
  const { transferId: _, ...asked } = operation as Operation & { transferId?: string };
  return { operation, once: { scope, key, body: JSON.stringify(asked) } };
}
const book = (...calls: readonly LedgerCall[]) =>
  bookAll(
    ledgerStore(async () => db),
    calls,
    Date.now,
  );

const send = (from: string, to: string, amountMinor: number): Operation => ({
  kind: 'transfer',
  transferId: id(),
  currency: 'KRW',
  legs: [{ from, to, amountMinor, reason: 'transfer' }],
});

/** Members with an account each, and so much in it. */
async function membersWith(count: number, amountMinor: number): Promise<readonly string[]> {
  const names = Array.from({ length: count }, () => `u_${String(++run).padStart(8, '0')}`);
  for (const name of names) await setAccount(db, name, { currency: 'KRW', state: 'OPEN' });
  if (amountMinor > 0) await book(...names.map((name) => called(send(bank, name, amountMinor))));
  return names;
}
const balanceOf = async (name: string) => (await findAccount(db, name))!.balanceMinor;

test.serial('a transfer moves money once, however often it is asked for', async (t) => {
  const [a, b] = (await membersWith(2, 100)) as [string, string];
  const first = called(send(a, b, 30), 'once');
  const [told] = await book(first);
  const [again] = await book(called(send(a, b, 30), 'once'));
  t.deepEqual(again, { ...told!, repeated: true }, 'the id of the first');
  t.deepEqual([await balanceOf(a), await balanceOf(b)], [70, 130]);
  t.deepEqual((await book(called(send(a, b, 31), 'once'))).map(codeOf), ['IDEMPOTENCY_KEY_REUSED']);
  t.deepEqual(
    (await book(called(send(a, b, 30), 'once', 'money:other'))).map(codeOf),
    ['ok'],
    'another caller’s key',
  );
  t.deepEqual(await audit(db), []);
});

test.serial('while the first is under way the same key is refused, to be sent again', async (t) => {
  const [a, b] = (await membersWith(2, 100)) as [string, string];
  const call = called(send(a, b, 30), 'in flight');
  const begun = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const first = transaction(db, (trx) =>
    once(trx, call.once, async () => {
      begun.resolve();
      await goOn.promise;
      throw new Error('it fails');
    }),
  );
  await begun.promise;
  t.deepEqual((await book(call)).map(codeOf), ['IDEMPOTENCY_KEY_IN_USE']);
  goOn.resolve();
  await t.throwsAsync(first, { message: 'it fails' });
  t.deepEqual((await book(call)).map(codeOf), ['ok'], 'what failed has not used the key up');
  t.is(await balanceOf(b), 130);
});

test.serial('a refusal changes nothing and uses no key up', async (t) => {
  const [a, b] = (await membersWith(2, 0)) as [string, string];
  const call = called(send(a, b, 10), 'short at first');
  t.deepEqual((await book(call)).map(codeOf), ['MONEY_SHORT']);
  await book(called(send(bank, a, 10)));
  t.deepEqual((await book(call)).map(codeOf), ['ok']);
  t.deepEqual([await balanceOf(a), await balanceOf(b)], [0, 10]);
});

test.serial('the books cannot be changed, and no account overdrawn, by any statement', async (t) => {
  const [a, b] = (await membersWith(2, 50)) as [string, string];
  await book(called(send(a, b, 10)));
  for (const statement of [
    sql`UPDATE ledger_entry SET amount_minor = amount_minor + 1`,
    sql`DELETE FROM ledger_entry`,
    sql`UPDATE ledger_transfer SET amount_minor = amount_minor + 1`,
    sql`DELETE FROM ledger_transfer`,
    sql`UPDATE ledger_account SET balance_minor = -1 WHERE account_id = ${a}`,
    sql`UPDATE ledger_account SET held_minor = balance_minor + 1 WHERE account_id = ${a}`,
  ])
    await t.throwsAsync(statement.execute(db), {
      message: /never changed|never deleted|ledger_account_covered/,
    });
  t.deepEqual(await audit(db), []);
});

test.serial('the auditor notices what is wrong', async (t) => {
  const [a] = (await membersWith(1, 50)) as [string];
  t.deepEqual(await audit(db), []);
  await sql`UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE account_id = ${a}`.execute(db);
  t.is((await audit(db)).length, 2);
  await sql`UPDATE ledger_account SET balance_minor = balance_minor - 1, held_minor = 5 WHERE account_id = ${a}`.execute(
    db,
  );
  t.deepEqual(await audit(db), [`what is held is not the sum of the open holds: ${a}`]);
  await sql`UPDATE ledger_account SET held_minor = 0 WHERE account_id = ${a}`.execute(db);
});

test.serial('a hundred operations cost as many statements as one', async (t) => {
  const names = await membersWith(100, 1_000);
  const cost = async (count: number) => {
    const pool = openDatabase({ settings, connections: 1 });
    const questions = async () =>
      Number(
        (await sql<{ Value: string }>`SHOW SESSION STATUS LIKE 'Questions'`.execute(pool)).rows[0]!.Value,
      );
    const before = await questions();
    const calls = names.slice(0, count).map((name, n) => called(send(name, names[(n + 1) % 100]!, 1)));
    const outcomes = await bookAll(
      ledgerStore(async () => pool),
      calls,
      Date.now,
    );
    const after = await questions();
    await pool.destroy();
    t.true(outcomes.every(({ ok }) => ok));
    return after - before - 1;
  };
  t.is(await cost(100), await cost(1));
});

// ---- against a model

/** What the books ought to say, by the simplest means. */
class Model {
  readonly balance = new Map<string, number>();
  readonly holds: { readonly from: string; readonly to: string; readonly amount: number; open: boolean }[] =
    [];
  readonly moved: { readonly from: string; readonly to: string; readonly amount: number; back: boolean }[] =
    [];

  held(name: string): number {
    return this.holds.reduce((sum, { from, amount, open }) => sum + (open && from === name ? amount : 0), 0);
  }
  canGive(name: string, amount: number, freed = 0): boolean {
    return name === bank || this.balance.get(name)! - this.held(name) + freed >= amount;
  }
  move(from: string, to: string, amount: number): void {
    this.balance.set(from, this.balance.get(from)! - amount);
    this.balance.set(to, this.balance.get(to)! + amount);
    this.moved.push({ from, to, amount, back: false });
  }
}

const who = fc.nat(3);
const step = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      from: who,
      to: who,
      amount: fc.integer({ min: 0, max: 150 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('hold' as const),
      from: who,
      to: who,
      amount: fc.integer({ min: 0, max: 150 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('post' as const),
      which: fc.nat(5),
      amount: fc.integer({ min: 1, max: 150 }),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('release' as const), which: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('correct' as const), which: fc.nat(8) }) },
);

test.serial('whatever is asked, alone or together, the books say what a model says', async (t) => {
  t.timeout(300_000);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.array(step, { minLength: 1, maxLength: 6 }), { maxLength: 12 }),
      async (groups) => {
        const names = [...(await membersWith(3, 100)), bank];
        const model = new Model();
        for (const name of names) model.balance.set(name, name === bank ? await balanceOf(bank) : 100);
        const holdIds: string[] = [];
        const transferIds: string[] = [];
        for (const group of groups) {
          const expected: boolean[] = [];
          const calls: LedgerCall[] = [];
          const [holdsBefore, movedBefore] = [holdIds.length, transferIds.length];
          const done = (ok: boolean, operation: Operation) => {
            expected.push(ok);
            calls.push(called(operation));
          };
          for (const one of group) {
            if (one.kind === 'send' || one.kind === 'hold') {
              const [from, to] = [names[one.from]!, names[one.to]!];
              const ok = one.amount > 0 && from !== to && model.canGive(from, one.amount);
              if (one.kind === 'send') {
                const operation = send(from, to, one.amount);
                done(ok, operation);
                if (!ok) continue;
                model.move(from, to, one.amount);
                transferIds.push((operation as { transferId: string }).transferId);
              } else {
                const holdId = id();
                const leg = { from, to, amountMinor: one.amount, reason: 'transfer' };
                done(ok, { kind: 'hold', holdId, currency: 'KRW', leg });
                if (!ok) continue;
                model.holds.push({ from, to, amount: one.amount, open: true });
                holdIds.push(holdId);
              }
            } else if (one.kind === 'correct') {
              // Of an earlier group: its answer is known only then.
              const moved = one.which < movedBefore ? model.moved[one.which] : undefined;
              const transferId = id();
              const ok = moved !== undefined && !moved.back && model.canGive(moved.to, moved.amount);
              done(ok, {
                kind: 'correct',
                transferId,
                corrects: moved === undefined ? id() : transferIds[one.which]!,
              });
              if (!ok) continue;
              model.move(moved.to, moved.from, moved.amount);
              moved.back = true;
              transferIds.push(transferId);
            } else {
              const hold = one.which < holdsBefore ? model.holds[one.which] : undefined;
              const holdId = hold === undefined ? id() : holdIds[one.which]!;
              if (one.kind === 'release') {
                done(hold?.open === true, { kind: 'release', holdId });
                if (hold !== undefined) hold.open = false;
                continue;
              }
              const transferId = id();
              const ok = hold?.open === true && one.amount <= hold.amount;
              done(ok, { kind: 'post', transferId, holdId, amountMinor: one.amount });
              if (!ok) continue;
              hold.open = false;
              model.move(hold.from, hold.to, one.amount);
              transferIds.push(transferId);
            }
          }
          const outcomes = await book(...calls);
          t.deepEqual(
            outcomes.map(({ ok }) => ok),
            expected,
            outcomes.map(codeOf).join(' '),
          );
          for (const name of names) {
            const account = (await findAccount(db, name))!;
            t.is(account.balanceMinor, model.balance.get(name)!);
            if (name !== bank) t.is(account.heldMinor, model.held(name));
          }
        }
        // The bank is everybody's: what was held on it here ends here.
        for (const [n, { from, open }] of model.holds.entries())
          if (open && from === bank) await book(called({ kind: 'release', holdId: holdIds[n]! }));
      },
    ),
    { numRuns: 25 },
  );
  t.deepEqual(await audit(db), []);
});

// ---- many at once

/** Two processes on one database, each with its own group commit. */
function twoLedgers(at: DatabaseSettings) {
  const pools = [0, 1].map(() => openDatabase({ settings: at, connections: 2, acquireTimeoutMs: 1_000 }));
  const ledgers = pools.map((pool) =>
    groupCommit(
      (calls: readonly LedgerCall[]) =>
        bookAll(
          ledgerStore(async () => pool),
          calls,
          Date.now,
        ),
      { most: 40, waiting: 10_000 },
    ),
  );
  return {
    call: (n: number, call: LedgerCall) => ledgers[n % 2]!(call),
    end: () => Promise.all(pools.map((pool) => pool.destroy())),
  };
}

test.serial(
  'of many that spend the same money at the same time as many succeed as there is money',
  async (t) => {
    const [rich, ...poor] = (await membersWith(11, 0)) as [string, ...string[]];
    await book(called(send(bank, rich, 100)));
    const { call, end } = twoLedgers(settings);
    const outcomes = await Promise.all(
      Array.from({ length: 500 }, (_, n) => call(n, called(send(rich, poor[n % 10]!, 1)))),
    );
    await end();
    t.is(outcomes.filter(({ ok }) => ok).length, 100);
    t.true(outcomes.every((outcome) => outcome.ok || outcome.refusal.code === 'MUSTER_MONEY_SHORT'));
    t.is(await balanceOf(rich), 0);
    t.deepEqual(await audit(db), []);
  },
);

test.serial(
  'two processes and connections cut at any moment: every snapshot sums to zero, nobody is below it, and asking again tells what became of each',
  async (t) => {
    t.timeout(300_000);
    const names = await membersWith(30, 1_000);
    const { at, cut } = await cuttingRelay(t, settings);
    const { call, end } = twoLedgers(at);
    let going = true;
    let cuts = 0;
    const cutting = (async () => {
      for (; going && cuts < 40; cuts++) {
        await sleep(10 + Math.random() * 60);
        cut();
      }
    })();
    let snapshots = 0;
    const watching = (async () => {
      for (; going; snapshots++) {
        const { sum, least } = await snapshot(db);
        t.is(sum, 0);
        t.true(least >= 0);
        await sleep(5);
      }
    })();
    let unavailable = 0;
    /** Asks until there is an answer, as a client does: with the same key, and a new id each time. */
    async function insist(n: number, make: () => Operation): Promise<LedgerOutcome> {
      const key = `cut-${++run}`;
      for (;;)
        try {
          const outcome = await call(n, called(make(), key));
          if (codeOf(outcome) !== 'IDEMPOTENCY_KEY_IN_USE') return outcome;
        } catch (error) {
          if (!isNotNow(error)) throw error;
          unavailable += 1;
          await sleep(10);
        }
    }
    const done: {
      readonly kind: string;
      readonly from: string;
      readonly to: string;
      readonly amount: number;
    }[] = [];
    const told: string[] = [];
    const person = async (n: number) => {
      for (let i = 0; i < 40; i++) {
        const pick = () => names[Math.floor(Math.random() * names.length)]!;
        const [from, to] = [pick(), pick()];
        const amount = 1 + Math.floor(Math.random() * 400);
        const leg = { from, to, amountMinor: amount, reason: 'transfer' };
        if (i % 4 !== 0) {
          const outcome = await insist(n, () => send(from, to, amount));
          if (outcome.ok) done.push({ kind: 'send', from, to, amount });
          if (outcome.ok) told.push(outcome.id);
          continue;
        }
        const holdId = id();
        const held = await insist(n, () => ({ kind: 'hold', holdId, currency: 'KRW', leg }));
        if (!held.ok) continue;
        const ended = await insist(n, () =>
          i % 8 === 0 ? { kind: 'post', transferId: id(), holdId } : { kind: 'release', holdId },
        );
        t.true(ended.ok, codeOf(ended));
        if (ended.ok && i % 8 === 0) {
          done.push({ kind: 'post', from, to, amount });
          told.push(ended.id);
        }
      }
    };
    await Promise.all(Array.from({ length: 16 }, (_, n) => person(n)));
    going = false;
    await Promise.all([cutting, watching]);
    await end();
    t.log(
      `${done.length} transfers over ${cuts} cuts, ${unavailable} answers of "not now", ${snapshots} snapshots`,
    );
    t.true(unavailable > 0, 'nothing was cut');
    t.is(new Set(told).size, told.length, 'each has a transfer of its own');
    const expected = new Map(names.map((name) => [name, 1_000]));
    for (const { from, to, amount } of done) {
      expected.set(from, expected.get(from)! - amount);
      expected.set(to, expected.get(to)! + amount);
    }
    for (const name of names) t.is(await balanceOf(name), expected.get(name)!);
    t.deepEqual(await audit(db), []);
  },
);

// ---- asked

test.serial('a balance and a page of history read what they show, however much was booked', async (t) => {
  t.timeout(120_000);
  const [busy, other] = (await membersWith(2, 0)) as [string, string];
  await book(called(send(bank, busy, 1_000_000)));
  for (let n = 0; n < 40; n++) await book(...Array.from({ length: 250 }, () => called(send(busy, other, 1))));
  await sql`ANALYZE TABLE ledger_entry, ledger_account`.execute(db);
  const asked = {
    balance: (at: Kysely<unknown>) => findAccount(at, busy),
    newest: (at: Kysely<unknown>) => history(at, busy, { before: 4_294_967_295, limit: 50 }),
    oldest: (at: Kysely<unknown>) => history(at, busy, { before: 52, limit: 50 }),
  };
  for (const [name, ask] of Object.entries(asked)) {
    const read = await rowsRead(db, ask);
    t.true(read < 150, `${name}: ${read} rows read`);
  }
  let before = 4_294_967_295;
  const seen: number[] = [];
  for (;;) {
    const page = await history(db, busy, { before, limit: 200 });
    if (page.length === 0) break;
    seen.push(...page.map(({ version }) => version));
    before = page.at(-1)!.version;
  }
  t.is(seen.length, 10_001);
  t.true(
    seen.every((version, index) => version === 10_001 - index),
    'each once, the newest first',
  );
  const [newest] = await history(db, busy, { before: 4_294_967_295, limit: 1 });
  t.like(newest, { amountMinor: -1, balanceMinor: 990_000, other, reason: 'transfer' });
});
