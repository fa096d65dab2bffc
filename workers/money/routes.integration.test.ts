/** Members' money over HTTP on a real MySQL or MariaDB (MYSQL_*). */
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { callerOf, operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { databaseAway, scratchDatabase } from '../store/database.fixture.ts';
import { followMember } from './accounts.ts';
import { audit } from './books.fixture.ts';
import { registerMoneyRoutes } from './routes.ts';

const pseudonymKey = Buffer.alloc(32, 7);
let db: Kysely<unknown>;
let drop: (() => Promise<void>) | undefined;
let run = 0;

test.before(async () => {
  ({ db, drop } = await scratchDatabase('money', 'money'));
});
test.after.always(() => drop?.());

async function serve(t: ExecutionContext, database: () => Promise<Kysely<unknown>> = async () => db) {
  const registry = createRegistry();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry });
  registerMoneyRoutes(http.app as never, { database, pseudonymKey, registry });
  await http.open();
  t.teardown(() => http.close(100));
  const as = callerOf(http, '/pay/money');
  const staff = as(operatorToken);
  const won = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
  /** A member with an account and so much in it. */
  async function member(name: string, amountMinor = 0) {
    const memberId = `${name}@example.org ${++run}`;
    await staff('PUT', `/accounts/${encodeURIComponent(memberId)}`, { state: 'OPEN' });
    if (amountMinor > 0) await staff('POST', '/increases', { memberId, amount: won(amountMinor) });
    const path = `/accounts/${encodeURIComponent(memberId)}`;
    return { memberId, path, call: as(await tokenOf('customer', memberId)) };
  }
  return { as, staff, won, member };
}

test.serial('money comes in, goes from member to member and out, and each sees their own side', async (t) => {
  const { staff, won, member } = await serve(t);
  const [alice, bob] = [await member('alice', 10_000), await member('bob')];
  const sent = await alice.call('POST', '/transfers', { to: bob.memberId, amount: won(3_000) });
  t.is(sent.status, 201);
  t.is((await staff('POST', '/decreases', { memberId: bob.memberId, amount: won(1_000) })).status, 201);
  t.deepEqual((await alice.call('GET', alice.path)).json, {
    balance: won(7_000),
    available: won(7_000),
    state: 'OPEN',
  });
  const { json } = await bob.call('GET', `${bob.path}/history?limit=1`);
  t.like(json.entries[0], {
    amountMinor: -1_000,
    balanceMinor: 2_000,
    other: 'house:bank',
    reason: 'decrease',
  });
  const { json: older } = await bob.call('GET', `${bob.path}/history?before=${json.next}`);
  t.like(older.entries[0], { amountMinor: 3_000, transferId: sent.json.transferId, reason: 'transfer' });
  t.is(older.next, undefined);
  t.notRegex(JSON.stringify([json, older, sent.json]), /alice|bob|example/);
  const stored = await sql`SELECT * FROM ledger_account`.execute(db);
  t.notRegex(JSON.stringify(stored.rows), /alice|bob|example/, 'nor has the ledger a name');
  t.deepEqual(await audit(db), []);
});

test.serial(
  'a member sees and spends only what is theirs; a merchant of the same name is somebody else',
  async (t) => {
    const { as, won, member } = await serve(t);
    const [alice, bob] = [await member('alice', 1_000), await member('bob')];
    t.like(await bob.call('GET', alice.path), { status: 404, code: 'MUSTER_ACCOUNT_UNKNOWN' });
    t.like(await bob.call('GET', `${alice.path}/history`), { status: 404 });
    const theft = { from: alice.memberId, to: bob.memberId, amount: won(1) };
    t.like(await bob.call('POST', '/transfers', theft), { status: 403, code: 'MUSTER_FORBIDDEN' });
    const shop = as(await tokenOf('merchant', bob.memberId));
    t.like(await shop('GET', bob.path), { status: 404, code: 'MUSTER_ACCOUNT_UNKNOWN' });
    const { from: _, ...own } = { ...theft, to: alice.memberId };
    t.like(await shop('POST', '/transfers', own), { status: 404, code: 'MUSTER_ACCOUNT_UNKNOWN' });
    t.like(await shop('POST', '/transfers', theft), { status: 403, code: 'MUSTER_FORBIDDEN' });
    for (const [method, path, body] of [
      ['POST', '/increases', { memberId: bob.memberId, amount: won(1) }],
      ['POST', '/decreases', { memberId: alice.memberId, amount: won(1) }],
      ['POST', '/holds', theft],
      ['PUT', alice.path, { state: 'CLOSED' }],
    ] as const)
      t.like(await bob.call(method, path, body), { status: 403 }, `${method} ${path}`);
  },
);

test.serial(
  'a merchant of membership has an account like anybody, and staff sees the money of a district',
  async (t) => {
    const { as, staff, won, member } = await serve(t);
    const alice = await member('alice', 1_000);
    const shopId = `shop ${++run}`;
    await followMember(db, {
      member: pseudonym(pseudonymKey, shopId),
      type: 'MERCHANT',
      district: 'Gangnam-gu',
      state: 'ACTIVE',
      version: 1,
      changedAt: new Date().toISOString(),
    });
    t.is((await alice.call('POST', '/transfers', { to: shopId, amount: won(300) })).status, 201);
    const shop = as(await tokenOf('merchant', shopId));
    t.is((await shop('POST', '/transfers', { to: alice.memberId, amount: won(100) })).status, 201);
    t.like((await shop('GET', `/accounts/${encodeURIComponent(shopId)}`)).json, { balance: won(200) });
    t.like(await shop('GET', alice.path), { status: 404 });
    const { json } = await staff('GET', '/districts?district=Gangnam-gu');
    t.deepEqual(json.districts, [
      { district: 'Gangnam-gu', type: 'MERCHANT', members: 1, balance: won(200) },
    ]);
    t.like(await alice.call('GET', '/districts'), { status: 403 });
    t.like(await staff('PUT', `/accounts/${encodeURIComponent(shopId)}`, { state: 'SUSPENDED' }), {
      status: 409,
      code: 'MUSTER_ACCOUNT_FOLLOWS_MEMBER',
    });
  },
);

test.serial('what is no request is refused with the field, and nothing moves', async (t) => {
  const { staff, won, member } = await serve(t);
  const [alice, bob] = [await member('alice', 100), await member('bob')];
  const to = bob.memberId;
  const codes: (string | undefined)[] = [];
  for (const amount of [
    won(-1),
    won(0.5),
    won(2 ** 53),
    { amountMinor: '1', currency: 'KRW' },
    { amountMinor: 1, currency: 'XQQ' },
    { amountMinor: 1 },
  ])
    codes.push((await alice.call('POST', '/transfers', { to, amount })).code);
  t.deepEqual(
    codes,
    Array.from({ length: 6 }, () => 'MUSTER_VALIDATION'),
  );
  const refusals = [
    await alice.call('POST', '/transfers', { to, amount: won(0) }),
    await alice.call('POST', '/transfers', { to: alice.memberId, amount: won(1) }),
    await alice.call('POST', '/transfers', { to: 'nobody', amount: won(1) }),
    await alice.call('POST', '/transfers', { to, amount: { amountMinor: 1, currency: 'USD' } }),
    await alice.call('POST', '/transfers', { to, amount: won(101) }),
    await alice.call('POST', '/transfers', { to, amount: won(1) }, ''),
    await staff('POST', `/transfers/${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}/correction`),
    await staff('POST', `/holds/${'0'.repeat(8)}-0000-0000-0000-${'0'.repeat(12)}/release`),
  ];
  t.deepEqual(
    refusals.map(({ status, code }) => `${status} ${code}`),
    [
      '422 MUSTER_AMOUNT_INVALID',
      '422 MUSTER_SAME_ACCOUNT',
      '404 MUSTER_ACCOUNT_UNKNOWN',
      '422 MUSTER_CURRENCIES_DIFFER',
      '409 MUSTER_MONEY_SHORT',
      '422 MUSTER_VALIDATION',
      '404 MUSTER_TRANSFER_UNKNOWN',
      '404 MUSTER_HOLD_UNKNOWN',
    ],
  );
  t.like((await alice.call('GET', alice.path)).json, { balance: won(100) });
});

test.serial(
  'a suspended or closed account neither gets nor gives; an account with money cannot be closed',
  async (t) => {
    const { staff, won, member } = await serve(t);
    const [alice, bob] = [await member('alice', 100), await member('bob')];
    const there = () => alice.call('POST', '/transfers', { to: bob.memberId, amount: won(1) });
    const back = () => bob.call('POST', '/transfers', { to: alice.memberId, amount: won(1) });
    t.like(await staff('PUT', alice.path, { state: 'CLOSED' }), {
      status: 409,
      code: 'MUSTER_ACCOUNT_NOT_EMPTY',
    });
    for (const state of ['SUSPENDED', 'CLOSED'] as const) {
      t.is((await staff('PUT', bob.path, { state })).status, 200);
      t.like(await there(), { status: 409, code: 'MUSTER_ACCOUNT_NOT_OPEN' }, state);
      t.like(await back(), { status: 409, code: 'MUSTER_ACCOUNT_NOT_OPEN' }, state);
    }
    t.like(await staff('PUT', bob.path, { state: 'OPEN' }), { status: 409 }, 'closed for good');
    t.like(await staff('PUT', alice.path, { state: 'OPEN', currency: 'USD' }), { status: 409 });
  },
);

test.serial(
  'what is held is posted or released once; a transfer is taken back once, however many ask',
  async (t) => {
    const { staff, won, member } = await serve(t);
    const [alice, bob] = [await member('alice', 100), await member('bob')];
    const body = { from: alice.memberId, to: bob.memberId, amount: won(80) };
    const { holdId } = (await staff('POST', '/holds', body)).json;
    t.like((await alice.call('GET', alice.path)).json, { balance: won(100), available: won(20) });
    t.like(await alice.call('POST', '/transfers', { to: bob.memberId, amount: won(21) }), {
      code: 'MUSTER_MONEY_SHORT',
    });
    const ends = await Promise.all(
      Array.from({ length: 10 }, (_, n) =>
        n % 2 === 0
          ? staff('POST', `/holds/${holdId}/post`, { amountMinor: 50 })
          : staff('POST', `/holds/${holdId}/release`),
      ),
    );
    t.is(ends.filter(({ status }) => status < 300).length, 1);
    t.is(ends.filter(({ code }) => code === 'MUSTER_HOLD_ENDED').length, 9);

    const { transferId } = (await alice.call('POST', '/transfers', { to: bob.memberId, amount: won(20) }))
      .json;
    const before = (await alice.call('GET', alice.path)).json.balance.amountMinor;
    const taken = await Promise.all(
      Array.from({ length: 20 }, () => staff('POST', `/transfers/${transferId}/correction`)),
    );
    t.is(taken.filter(({ status }) => status === 201).length, 1);
    t.is(taken.filter(({ code }) => code === 'MUSTER_TRANSFER_CORRECTED').length, 19);
    t.is((await alice.call('GET', alice.path)).json.balance.amountMinor, before + 20);
    t.deepEqual(await audit(db), []);
  },
);

test.serial(
  'the same request under the same key has one effect and one answer, also when many come at once',
  async (t) => {
    const { won, member } = await serve(t);
    const [alice, bob] = [await member('alice', 100), await member('bob')];
    const ask = (amount: number) =>
      alice.call('POST', '/transfers', { to: bob.memberId, amount: won(amount) }, 'same');
    const answers = await Promise.all(Array.from({ length: 30 }, () => ask(10)));
    const good = answers.filter(({ status }) => status === 201);
    t.true(good.length > 0);
    t.is(new Set(good.map(({ json }) => json.transferId)).size, 1);
    for (const { status, code } of answers) if (status !== 201) t.is(code, 'MUSTER_IDEMPOTENCY_KEY_IN_USE');
    t.deepEqual(await ask(10), good[0]);
    t.like(await ask(11), { status: 409, code: 'MUSTER_IDEMPOTENCY_KEY_REUSED' });
    t.like((await alice.call('GET', alice.path)).json, { balance: won(90) });
    const ofBob = await bob.call('POST', '/transfers', { to: alice.memberId, amount: won(10) }, 'same');
    t.is(ofBob.status, 201, 'a key is its caller’s own');
    t.not(ofBob.json.transferId, good[0]!.json.transferId);
    t.like((await alice.call('GET', alice.path)).json, { balance: won(100) });
  },
);

test.serial(
  'while the database is away the answer says that nobody knows, and to send the same again',
  async (t) => {
    const away = databaseAway();
    t.teardown(() => away.destroy());
    const { staff, won } = await serve(t, async () => away);
    const answer = await staff('POST', '/increases', { memberId: 'x', amount: won(1) });
    t.like(answer, { status: 503, code: 'MUSTER_DATABASE_DOWN' });
    t.regex(answer.json.error.message, /same Idempotency-Key/);
  },
);

test.serial(
  'a service pays what a merchant is owed into our account and back; nobody else reaches an account of ours',
  async (t) => {
    const { as, staff, won, member } = await serve(t);
    const alice = await member('alice', 1_000);
    const account = pseudonym(pseudonymKey, alice.memberId);
    const service = as(await tokenOf('service', 'pay'));
    const move = (from: string, to: string, call = service) =>
      call('POST', '/transfers', { from, to, amount: won(100) });
    t.is((await move(account, 'house:merchants')).status, 201);
    t.is((await move(account, 'house:merchants')).status, 201);
    t.is((await move('house:merchants', account)).status, 201);
    t.is((await move('house:merchants', 'house:commission')).status, 201);
    const entries = (await alice.call('GET', `${alice.path}/history`)).json.entries;
    t.deepEqual(
      entries.slice(0, 2).map(({ other, reason }: Record<string, string>) => [other, reason]),
      [
        ['house:merchants', 'refund'],
        ['house:merchants', 'payment'],
      ],
    );
    t.like(await move(account, 'house:bank'), { status: 404, code: 'MUSTER_ACCOUNT_UNKNOWN' });
    t.like(await move('house:bank', account), { status: 404, code: 'MUSTER_ACCOUNT_UNKNOWN' });
    t.like(await move(alice.memberId, 'house:merchants', staff), { code: 'MUSTER_ACCOUNT_UNKNOWN' });
    t.like(await move(alice.memberId, 'house:merchants', alice.call), { code: 'MUSTER_ACCOUNT_UNKNOWN' });
    t.like((await alice.call('GET', alice.path)).json, { balance: won(900) });
    t.deepEqual(await audit(db), []);
  },
);
