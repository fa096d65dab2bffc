/** On a real MySQL or MariaDB: MYSQL_HOST, MYSQL_PORT, MYSQL_USER, MYSQL_PASSWORD, MYSQL_DATABASE. */
import { spawn } from 'node:child_process';
import { once as onceEvent } from 'node:events';
import { fileURLToPath } from 'node:url';
import test from 'ava';
import fc from 'fast-check';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { DatabaseSettings } from '../base/config.ts';
import { isNotNow } from '../base/errors.ts';
import { countOf, scratchDatabase } from './database.fixture.ts';
import { transaction } from './database.ts';
import { type OnceCall, once, onceAll, onceRows } from './once.ts';
import { appendOutbox } from './outbox.ts';

let db: Kysely<unknown>;
let settings: DatabaseSettings;
let drop: () => Promise<void>;

test.before(async () => {
  ({ db, settings, drop } = await scratchDatabase('once'));
});
test.after.always(() => drop?.());
test.beforeEach(() => clear());

async function clear(): Promise<void> {
  for (const table of ['muster_once', 'muster_outbox', 'test_effect'])
    await sql`DELETE FROM ${sql.table(table)}`.execute(db);
}

const effect = (trx: Transaction<unknown>, id: string) =>
  sql`INSERT INTO test_effect (id, n) VALUES (${id}, 1) ON DUPLICATE KEY UPDATE n = n + 1`.execute(trx);

let answers = 0;
const handle = (
  key: string,
  body: string,
  options: { readonly scope?: string; readonly fails?: boolean } = {},
) =>
  transaction(db, (trx) =>
    once(trx, { scope: options.scope ?? 'test', key, body }, async () => {
      await effect(trx, `${options.scope ?? ''}${key}`);
      await appendOutbox(trx, [{ topic: 'out', key: 'k', value: key }]);
      if (options.fails) throw new Error('effect failed');
      return { answer: ++answers };
    }),
  );

const counts = async () => ({
  kept: await countOf(db, 'muster_once'),
  outbox: await countOf(db, 'muster_outbox'),
  effects: await countOf(db, 'test_effect'),
});

test.serial(
  'effect, answer and outbox row commit together; a repeat has no effect and the same answer',
  async (t) => {
    const first = await handle('m-1', 'hello');
    t.deepEqual(await handle('m-1', 'hello'), first);
    t.deepEqual(await counts(), { kept: 1, outbox: 1, effects: 1 });
  },
);

test.serial('an effect that fails leaves nothing behind, and its key is not used up', async (t) => {
  await t.throwsAsync(handle('m-1', 'hello', { fails: true }), { message: 'effect failed' });
  t.deepEqual(await counts(), { kept: 0, outbox: 0, effects: 0 });
  await t.notThrowsAsync(handle('m-1', 'other'));
});

test.serial(
  'the same key with another body is an error and no repeat; in another scope it is another key',
  async (t) => {
    const first = await handle('m-1', 'hello');
    const error = await t.throwsAsync(handle('m-1', 'other'), { code: 'MUSTER_IDEMPOTENCY_KEY_REUSED' });
    t.false(isNotNow(error), 'the same again fails again');
    t.notDeepEqual(await handle('m-1', 'other', { scope: 'test:u_2' }), first);
    t.deepEqual(await counts(), { kept: 2, outbox: 2, effects: 2 });
  },
);

test.serial('keys are told apart byte by byte: case, trailing spaces and accents count', async (t) => {
  for (const key of ['a', 'A', 'a ', '\u00e1', 'a\u0301']) await handle(key, key);
  t.is(await countOf(db, 'muster_once'), 5);
  await t.throwsAsync(handle('x'.repeat(256), ''), { code: 'MUSTER_IDEMPOTENCY_KEY' });
});

test.serial(
  'while the first is being handled the same key is refused at once, to be sent again',
  async (t) => {
    const begun = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const first = transaction(db, (trx) =>
      once(trx, { scope: 'test', key: 'm-1', body: 'hello' }, async () => {
        begun.resolve();
        await goOn.promise;
        return 'done';
      }),
    );
    await begun.promise;
    const error = await t.throwsAsync(handle('m-1', 'hello'), { code: 'MUSTER_IDEMPOTENCY_KEY_IN_USE' });
    t.true(isNotNow(error));
    goOn.resolve();
    t.is(await first, 'done');
    t.is((await handle('m-1', 'hello')) as unknown, 'done');
  },
);

test.serial('a process killed before the commit leaves nothing, killed after it everything', async (t) => {
  const fixture = fileURLToPath(new URL('./database.fixture.ts', import.meta.url));
  for (const [moment, n] of [
    ['before', 0],
    ['after', 1],
  ] as const) {
    const env = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));
    const child = spawn(process.execPath, [fixture, moment], { env: { PATH: process.env.PATH, ...env } });
    const [, signal] = await onceEvent(child, 'close');
    t.is(signal, 'SIGKILL');
    t.deepEqual(await counts(), { kept: n, outbox: n, effects: n }, moment);
  }
});

test.serial(
  'of twenty at once with one key one has the effect, and whoever gets an answer gets that one',
  async (t) => {
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => handle('m-1', 'hello')));
    const told = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value.answer] : []));
    t.is(new Set(told).size, 1);
    for (const one of results) if (one.status === 'rejected') t.true(isNotNow(one.reason));
    t.deepEqual(await counts(), { kept: 1, outbox: 1, effects: 1 });
  },
);

test.serial(
  'a group costs one statement when every key is new and its answers are known beforehand',
  async (t) => {
    const calls = Array.from({ length: 100 }, (_, n) => ({
      scope: 'test',
      key: `k-${n}`,
      body: 'b',
      expected: n,
    }));
    const cost = await db.connection().execute((one) =>
      one.transaction().execute(async (trx) => {
        const questions = async () =>
          Number(
            (await sql<{ Value: string }>`SHOW SESSION STATUS LIKE 'Questions'`.execute(trx)).rows[0]!.Value,
          );
        const before = await questions();
        await onceAll(onceRows(trx), calls, async (first) => first.map(({ expected }) => expected));
        return (await questions()) - before - 1;
      }),
    );
    t.is(cost, 1);
  },
);

/** What a key is to the model. */
type State =
  | { readonly kind: 'free' }
  | { readonly kind: 'held'; readonly by: number }
  | { readonly kind: 'kept'; readonly body: string; readonly answer: number };

const call = fc.record({
  key: fc.constantFrom('a', 'b', 'c'),
  body: fc.constantFrom('x', 'y'),
  /** A refusal is told and not kept. */
  how: fc.constantFrom('made' as const, 'made' as const, 'refused' as const),
});
type Call = typeof call extends fc.Arbitrary<infer C> ? C : never;
const step = fc.oneof(
  {
    weight: 3,
    arbitrary: fc.record({ by: fc.nat(3), calls: fc.array(call, { minLength: 1, maxLength: 4 }) }),
  },
  { weight: 2, arbitrary: fc.record({ by: fc.nat(3), commits: fc.boolean() }) },
);

interface Open {
  readonly trx: Transaction<unknown>;
  readonly end: (commits: boolean) => Promise<void>;
}

async function begin(): Promise<Open> {
  const begun = Promise.withResolvers<Transaction<unknown>>();
  const ended = Promise.withResolvers<void>();
  const whole = db.transaction().execute(async (trx) => {
    begun.resolve(trx);
    await ended.promise;
  });
  return {
    trx: await begun.promise,
    async end(commits) {
      if (commits) ended.resolve();
      else ended.reject(new Error('rolled back'));
      await whole.catch((error: Error) => {
        if (error.message !== 'rolled back') throw error;
      });
    },
  };
}

/** Four transactions at the same time that reserve groups of keys, commit or roll back, in every order. */
test.serial(
  'any interleaving of repeats, other bodies and rollbacks: one effect at most, and stable answers',
  async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 14 }), async (steps) => {
        await clear();
        const model = new Map<string, State>();
        const open = new Map<number, Open>();
        /** What the transactions add when they commit. */
        const pending = new Map<number, Map<string, State>>();
        const stateOf = (key: string): State => model.get(key) ?? { kind: 'free' };
        for (const one of steps) {
          if ('commits' in one) {
            await open.get(one.by)?.end(one.commits);
            open.delete(one.by);
            for (const [key, state] of pending.get(one.by) ?? [])
              model.set(key, one.commits ? state : { kind: 'free' });
            pending.delete(one.by);
            continue;
          }
          // A transaction handles one group, as a request does.
          if (open.has(one.by)) continue;
          const own = await begin();
          open.set(one.by, own);
          const expected = foretell(one.calls, stateOf);
          const told = await run(own.trx, one.calls);
          t.deepEqual(told, expected.told);
          for (const key of expected.after.keys()) model.set(key, { kind: 'held', by: one.by });
          pending.set(one.by, expected.after);
        }
        for (const [by, own] of open) {
          await own.end(true);
          for (const [key, state] of pending.get(by) ?? []) model.set(key, state);
        }
        const { rows } = await sql<{ id: string; n: number }>`SELECT id, n FROM test_effect`.execute(db);
        const kept = [...model].filter(([, state]) => state.kind === 'kept').map(([key]) => key);
        t.deepEqual(rows.map(({ id, n }) => `${id} ${n}`).sort(), kept.map((key) => `${key} 1`).sort());
        t.is(await countOf(db, 'muster_once'), kept.length);
      }),
      { numRuns: 60 },
    );
  },
);

/** Answers are numbers of the effect: `refused` ones are negative. */
let effects = 0;
let foretold = 0;

function foretell(calls: readonly Call[], stateOf: (key: string) => State) {
  const after = new Map<string, State>();
  const first = new Map<string, { readonly body: string; readonly answer: number }>();
  const told = calls.map(({ key, body, how }) => {
    const state = stateOf(key);
    if (state.kind === 'held') return 'MUSTER_IDEMPOTENCY_KEY_IN_USE';
    if (state.kind === 'kept') return state.body === body ? state.answer : 'MUSTER_IDEMPOTENCY_KEY_REUSED';
    const before = first.get(key);
    if (before !== undefined) return before.body === body ? before.answer : 'MUSTER_IDEMPOTENCY_KEY_REUSED';
    foretold += 1;
    const answer = how === 'refused' ? -foretold : foretold;
    first.set(key, { body, answer });
    // Refused or not, the key is held until the transaction ends.
    after.set(key, how === 'refused' ? { kind: 'free' } : { kind: 'kept', body, answer });
    return answer;
  });
  return { told, after };
}

async function run(trx: Transaction<unknown>, calls: readonly Call[]) {
  let next = effects;
  const outcomes = await onceAll<number, OnceCall & Pick<Call, 'how'>>(
    onceRows(trx),
    calls.map((one) => ({ scope: 'model', ...one })),
    async (first) => {
      const made: number[] = [];
      for (const { key, how } of first) {
        next += 1;
        if (how === 'made') await effect(trx, key);
        made.push(how === 'refused' ? -next : next);
      }
      return made;
    },
    (answer) => answer > 0,
  );
  effects = next;
  return outcomes.map((outcome) => ('error' in outcome ? outcome.error.code : outcome.answer));
}
