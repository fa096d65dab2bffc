/** Banking over HTTP on a real MySQL or MariaDB (MYSQL_*), with banks outside that are processes of their own. */
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import { bytesOfUuid } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { createOutgoing } from '../http/outgoing.ts';
import { findThere } from '../http/said.ts';
import { callerOf, operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { eventually, testLog } from '../kafka/testing.ts';
import { countOf, scratchDatabase } from '../store/database.fixture.ts';
import { sendWith, serveMembership, spawnBanks, spawnSender } from './banking.fixture.ts';
import { createBanks, type StatementPage } from './banks.ts';
import { keptMs, leaverStore } from './leavers.ts';
import { askMembership } from './members.ts';
import { reconcile, reconcileDaily } from './reconciliation.ts';
import { requestStore } from './requests.ts';
import { registerBankingRoutes } from './routes.ts';
import { accountStore } from './store.ts';

let scratch: Awaited<ReturnType<typeof scratchDatabase>>;
let db: Kysely<unknown>;
let banks: Awaited<ReturnType<typeof spawnBanks>>;
let run = 0;
const token = 'token-of-a-service';
const pseudonymKey = Buffer.alloc(32, 7);

test.before(async () => {
  scratch = await scratchDatabase('banking', 'banking');
  db = scratch.db;
  banks = await spawnBanks();
});
test.after.always(async () => {
  await banks?.end();
  await scratch?.drop();
});

/** Banking as a server, with a bank of its own that has a contract and two accounts of the house in order. */
async function setUp(t: ExecutionContext, contract: object = {}) {
  const bank = `bank-${++run}`;
  const membership = await serveMembership(token);
  const registry = createRegistry();
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry });
  const stores = { database: async () => db, timeZone: 'Asia/Seoul' };
  registerBankingRoutes(http.app as never, {
    accounts: accountStore(stores),
    requests: requestStore(stores),
    banks: createBanks({ baseUrl: banks.url(), timeoutMs: 2_000, registry }),
    standingOf: askMembership({ baseUrl: membership.baseUrl, token, registry }),
    database: stores.database,
    pseudonymKey,
    onAccepted() {},
  });
  await http.open();
  t.teardown(async () => {
    await http.close(100);
    membership.close();
  });
  const as = callerOf(http, '/pay/banking');
  const staff = as(operatorToken);
  const won = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
  const agreed = {
    state: 'ACTIVE',
    expiresAt: '2100-01-01T00:00:00Z',
    fee: won(300),
    callLimitMinor: 1_000_000,
    dayLimitMinor: 10_000_000,
    ...contract,
  };
  const setContract = (more: object = {}) => staff('PUT', `/contracts/${bank}`, { ...agreed, ...more });
  await setContract();
  async function ofTheHouse(accountNumber: string, depositMinor = 0): Promise<string> {
    await banks.setAccount(bank, accountNumber, { depositMinor });
    const answer = await staff('POST', '/accounts', { ofTheHouse: true, bank, accountNumber });
    if (answer.status !== 201) throw new Error(JSON.stringify(answer.json));
    return answer.json.accountId;
  }
  const fromAccountId = await ofTheHouse('110-111-0001', 100_000);
  const toAccountId = await ofTheHouse('110-111-0002');
  async function ask(amountMinor: number): Promise<string> {
    const answer = await staff('POST', '/firmbankings', {
      fromAccountId,
      toAccountId,
      amount: won(amountMinor),
    });
    if (answer.status !== 202) throw new Error(JSON.stringify(answer.json));
    return answer.json.firmbankingId;
  }
  const find = async (id: string) => (await staff('GET', `/firmbankings/${id}`)).json;
  /** A sender that works until the test ends. */
  function send(options: { timeoutMs?: number; clock?: () => number } = {}) {
    const sender = sendWith(
      db,
      { banksUrl: banks.url(), timeoutMs: options.timeoutMs ?? 2_000 },
      options.clock,
    );
    t.teardown(sender.stop);
    return sender;
  }
  /** What is told of it once it is in that state. */
  async function until(id: string, state: string) {
    await eventually(`${id} is ${state}`, async () => (await find(id)).state === state);
    return find(id);
  }
  return {
    bank,
    baseUrl: `http://127.0.0.1:${http.address().port}`,
    membership,
    as,
    staff,
    won,
    setContract,
    fromAccountId,
    toAccountId,
    ask,
    find,
    send,
    until,
  };
}

const later = (ms: number) => () => Date.now() + ms;

test.serial(
  'a member registers an account, sees only their own and only its last four, and closes it',
  async (t) => {
    const { bank, membership, as, staff } = await setUp(t);
    const alice = `alice@example.org ${++run}`;
    membership.states.set(alice, 'ACTIVE');
    await banks.setAccount(bank, '220-555-98765432');
    const me = as(await tokenOf('customer', alice));
    const made = await me('POST', '/accounts', { bank, accountNumber: '220-555-98765432' });
    t.is(made.status, 201);
    const { accounts } = (await me('GET', '/accounts')).json;
    t.like(accounts, [
      { accountId: made.json.accountId, bank, accountNumber: '****5432', currency: 'KRW', state: 'OPEN' },
    ]);
    t.deepEqual(
      (await staff('GET', `/accounts?memberId=${encodeURIComponent(alice)}`)).json.accounts,
      accounts,
    );
    t.like(await staff('POST', '/accounts', { memberId: alice, bank, accountNumber: '220-555-98765432' }), {
      status: 409,
      code: 'MUSTER_BANK_ACCOUNT_REGISTERED',
    });

    const bob = as(await tokenOf('customer', 'bob'));
    t.like(await bob('GET', `/accounts?memberId=${encodeURIComponent(alice)}`), { status: 403 });
    const service = as(await tokenOf('service', 'pay'));
    t.deepEqual((await service('GET', `/accounts?memberId=${pseudonym(pseudonymKey, alice)}`)).json, {
      accounts,
    });
    const close = `/accounts/${made.json.accountId}/close`;
    t.like(await bob('POST', close), { status: 404, code: 'MUSTER_BANK_ACCOUNT_UNKNOWN' });
    t.like(await bob('GET', `/accounts/${made.json.accountId}/history`), { status: 404 });
    t.like(await me('POST', close, undefined, 'close'), { status: 200, json: { state: 'CLOSED' } });
    t.like(await me('POST', close, undefined, 'close'), { status: 200 }, 'the same again');
    const { changes } = (await me('GET', `/accounts/${made.json.accountId}/history`)).json;
    t.deepEqual(
      changes.map(({ became }: { became: { state: string } }) => became.state),
      ['OPEN', 'CLOSED'],
    );
    t.notRegex(JSON.stringify(changes), /alice|98765432/);
    t.is(
      (await me('POST', '/accounts', { bank, accountNumber: '220-555-98765432' })).status,
      201,
      'it is free again',
    );
  },
);

test.serial(
  'who is not in good standing, and what is not in order at the bank, is refused with the reason',
  async (t) => {
    const { bank, membership, staff } = await setUp(t);
    for (const state of ['ACTIVE', 'SUSPENDED', 'CLOSED']) membership.states.set(state, state);
    await banks.setAccount(bank, '330-1', { state: 'FROZEN' });
    await banks.setAccount(bank, '330-2', { state: 'CLOSED' });
    await banks.setAccount(bank, '330-3');
    const register = async (memberId: string, accountNumber: string, more: object = {}) => {
      const { status, code, json } = await staff('POST', '/accounts', {
        memberId,
        bank,
        accountNumber,
        ...more,
      });
      return `${status} ${code} ${json.error?.details?.[0]?.reason ?? ''}`.trim();
    };
    t.is(await register('nobody', '330-3'), '404 MUSTER_MEMBER_UNKNOWN');
    t.is(await register('SUSPENDED', '330-3'), '409 MUSTER_MEMBER_NOT_ACTIVE is SUSPENDED');
    t.is(await register('CLOSED', '330-3'), '409 MUSTER_MEMBER_NOT_ACTIVE is CLOSED');
    t.is(await register('ACTIVE', '330-1'), '409 MUSTER_BANK_ACCOUNT_REFUSED is FROZEN at the bank');
    t.is(await register('ACTIVE', '330-2'), '409 MUSTER_BANK_ACCOUNT_REFUSED is CLOSED at the bank');
    t.is(await register('ACTIVE', '330-9'), '409 MUSTER_BANK_ACCOUNT_REFUSED is UNKNOWN at the bank');
    t.is(
      await register('ACTIVE', '330-3', { bank: 'no-such-bank' }),
      '409 MUSTER_CONTRACT_INVALID CONTRACT_MISSING',
    );
    t.deepEqual((await staff('GET', '/accounts?memberId=ACTIVE')).json.accounts, []);
  },
);

test.serial(
  'while membership or the bank is away it is 503 and nothing is registered; the same again then is',
  async (t) => {
    const { bank, membership, staff } = await setUp(t);
    const memberId = `m-${++run}`;
    membership.states.set(memberId, 'ACTIVE');
    await banks.setAccount(bank, '440-1');
    const body = { memberId, bank, accountNumber: '440-1' };
    membership.broken = true;
    t.like(await staff('POST', '/accounts', body, 'again'), { status: 503, code: 'MUSTER_MEMBERSHIP_AWAY' });
    membership.broken = false;
    await banks.behave(bank, { mode: 'down' });
    t.like(await staff('POST', '/accounts', body, 'again'), { status: 503, code: 'MUSTER_BANK_AWAY' });
    t.deepEqual((await staff('GET', `/accounts?memberId=${memberId}`)).json.accounts, []);
    await banks.behave(bank, { mode: 'ok' });
    const made = await staff('POST', '/accounts', body, 'again');
    t.is(made.status, 201);

    membership.broken = true;
    const asked = membership.asked;
    t.deepEqual(await staff('POST', '/accounts', body, 'again'), made, 'a repeat asks nobody');
    t.is(membership.asked, asked);
    t.like(await staff('POST', '/accounts', { ...body, accountNumber: '440-2' }, 'again'), {
      status: 409,
      code: 'MUSTER_IDEMPOTENCY_KEY_REUSED',
    });
  },
);

test.serial('a leap second is no moment that we could keep: it is refused', async (t) => {
  const { setContract, staff } = await setUp(t);
  const leap = '2016-12-31T23:59:60Z';
  t.like(await setContract({ expiresAt: leap }), { status: 422, code: 'MUSTER_VALIDATION' });
  t.like(await staff('GET', `/fees?from=${leap}&to=${leap}`), { status: 422, code: 'MUSTER_VALIDATION' });
  t.is((await setContract({ expiresAt: '2100-12-31T23:59:59.999+09:00' })).status, 200);
});

test.serial('who has registered hundreds of accounts sees the newest', async (t) => {
  const { bank, membership, as } = await setUp(t);
  const memberId = `nina ${++run}`;
  membership.states.set(memberId, 'ACTIVE');
  await sql`
    INSERT INTO bank_account (account_id, owner, bank, account_number, currency, state, registered_at)
    SELECT UNHEX(LPAD(HEX(seq), 32, '0')), ${pseudonym(pseudonymKey, memberId)}, ${bank}, CONCAT('330-', seq), 'KRW', 'PAYEE',
      UTC_TIMESTAMP(3) FROM seq_1_to_200`.execute(db);
  await banks.setAccount(bank, '330-9999');
  const me = as(await tokenOf('customer', memberId));
  const { accountId } = (await me('POST', '/accounts', { bank, accountNumber: '330-9999' })).json;
  const { accounts } = (await me('GET', '/accounts')).json;
  t.is(accounts.length, 200);
  t.like(accounts.at(-1), { accountId, accountNumber: '****9999' });
});

test.serial(
  'who has left keeps no account: it is closed 90 days later, and somebody else may have it',
  async (t) => {
    const { bank, membership, as } = await setUp(t);
    const owner = async () => {
      const memberId = `leaver ${++run}`;
      membership.states.set(memberId, 'ACTIVE');
      return { me: as(await tokenOf('customer', memberId)), account: pseudonym(pseudonymKey, memberId) };
    };
    const [gone, stays] = [await owner(), await owner()];
    const register = async ({ me }: typeof gone, accountNumber: string, more: object = {}) => {
      await banks.setAccount(bank, accountNumber);
      return (await me('POST', '/accounts', { bank, accountNumber, ...more })).status;
    };
    t.deepEqual(
      [await register(gone, '770-1'), await register(gone, '770-2', { isPayee: true })],
      [201, 201],
    );
    t.is(await register(stays, '770-3'), 201);
    let aheadMs = 0;
    const clock = () => Date.now() + aheadMs;
    const leavers = leaverStore({ database: async () => db, timeZone: 'Asia/Seoul', clock });
    const left = [{ owner: gone.account, leftAtMs: clock() }];
    await leavers.left(left);
    await leavers.left(left);
    const states = async ({ me }: typeof gone) =>
      (await me('GET', '/accounts')).json.accounts.map(({ state }: { state: string }) => state);
    aheadMs = keptMs - 60_000;
    t.false(await leavers.closeDue());
    t.deepEqual(await states(gone), ['OPEN', 'PAYEE'], 'what they are owed can be paid out');
    t.is(await register(stays, '770-1'), 409);
    aheadMs = keptMs + 60_000;
    t.false(await leavers.closeDue());
    t.deepEqual([await states(gone), await states(stays)], [['CLOSED', 'CLOSED'], ['OPEN']]);
    const { accountId } = (await gone.me('GET', '/accounts')).json.accounts[0];
    const { changes } = (await gone.me('GET', `/accounts/${accountId}/history`)).json;
    t.like(changes.at(-1), { became: { state: 'CLOSED' }, changedBy: 'banking:left' });
    t.is(await register(stays, '770-1'), 201);
    t.is(await countOf(db, 'bank_leaver'), 0);
  },
);

test.serial(
  'however its number is spelled an account has one owner at a time; a payee anybody may name',
  async (t) => {
    const { bank, membership, as } = await setUp(t);
    async function member() {
      const memberId = `owner ${++run}`;
      membership.states.set(memberId, 'ACTIVE');
      const me = as(await tokenOf('customer', memberId));
      const register = (accountNumber: string, more: object = {}) =>
        me('POST', '/accounts', { bank, accountNumber, ...more });
      return { me, register };
    }
    const [one, other] = [await member(), await member()];
    // A bank that reads numbers without their hyphens and with zeros before them.
    for (const spelling of ['550-7-1', '55071', '055071']) await banks.setAccount(bank, spelling);
    const first = await one.register(' ５５０－７ – 1 ');
    t.is(first.status, 201);
    for (const spelling of ['550-7-1', '55071', '055071', '５５０７１', '5 5 0 7 1'])
      t.like(
        await other.register(spelling),
        { status: 409, code: 'MUSTER_BANK_ACCOUNT_REGISTERED' },
        spelling,
      );
    t.is((await other.register('55071', { isPayee: true })).status, 201);
    const both = await Promise.all([one.register('055071'), other.register('55071')]);
    t.deepEqual(
      both.map(({ status }) => status),
      [409, 409],
    );
    t.is((await one.me('POST', `/accounts/${first.json.accountId}/close`)).status, 200);
    const again = await Promise.all([one.register('055071'), other.register('55071')]);
    t.deepEqual(again.map(({ status }) => status).toSorted(), [201, 409]);
    t.like(await one.register('550_7'), { status: 422, code: 'MUSTER_VALIDATION' });
    t.like(await one.register('1'.repeat(35)), { status: 422, code: 'MUSTER_VALIDATION' });
  },
);

test.serial('an account of ours is no member’s, however its number is written', async (t) => {
  const { bank, membership, as, staff } = await setUp(t);
  const memberId = `mallory ${++run}`;
  membership.states.set(memberId, 'ACTIVE');
  const me = as(await tokenOf('customer', memberId));
  for (const accountNumber of ['1101110001', '110-1110001']) {
    // A bank that reads numbers without their hyphens.
    await banks.setAccount(bank, accountNumber);
    for (const how of [{}, { isPayee: true }])
      t.like(await me('POST', '/accounts', { bank, accountNumber, ...how }), {
        status: 409,
        code: 'MUSTER_BANK_ACCOUNT_REGISTERED',
      });
  }
  // Nor one that somebody was quicker to register than we were.
  await banks.setAccount(bank, '2201');
  t.is((await me('POST', '/accounts', { bank, accountNumber: '2201' })).status, 201);
  await banks.setAccount(bank, '220-1');
  t.like(await staff('POST', '/accounts', { ofTheHouse: true, bank, accountNumber: '220-1' }), {
    status: 409,
    code: 'MUSTER_BANK_ACCOUNT_REGISTERED',
  });
});

test.serial(
  'money of a member moves between their account, or one that they pay to, and our corporate one, by a service that names them',
  async (t) => {
    const { bank, membership, as, staff, won, toAccountId: oursId, send, until } = await setUp(t);
    const memberId = `erin ${++run}`;
    membership.states.set(memberId, 'ACTIVE');
    await banks.setAccount(bank, '660-1', { depositMinor: 50_000 });
    await banks.setAccount(bank, '660-2');
    const me = as(await tokenOf('customer', memberId));
    const [service, elsewhere] = [as(await tokenOf('service', 'pay')), as(await tokenOf('service', 'pay-2'))];
    const register = async (body: object) =>
      (await me('POST', '/accounts', { bank, ...body })).json.accountId;
    const fromAccountId = await register({ accountNumber: '660-1' });
    const payeeId = await register({ accountNumber: '660-2', isPayee: true });
    t.truthy(await register({ accountNumber: '660-2', isPayee: true }), 'others may name it, too');
    const { accounts } = (await me('GET', '/accounts')).json;
    t.deepEqual(
      accounts.map(({ state }: { state: string }) => state),
      ['OPEN', 'PAYEE', 'PAYEE'],
    );
    const owner = pseudonym(pseudonymKey, memberId);
    const take = { fromAccountId, owner, amount: won(30_000) };
    t.like(await service('POST', '/firmbankings', take, 'early'), {
      code: 'MUSTER_CORPORATE_ACCOUNT_MISSING',
    });
    const corporate = `/contracts/${bank}/corporate-account`;
    t.like(await staff('PUT', corporate, { accountId: fromAccountId }), {
      code: 'MUSTER_BANK_ACCOUNT_UNKNOWN',
    });
    t.is((await staff('PUT', corporate, { accountId: oursId })).status, 200);
    const { contracts } = (await staff('GET', '/contracts')).json;
    t.is(contracts.find((one: { bank: string }) => one.bank === bank).corporateAccountId, oursId);

    t.like(
      await service('POST', '/firmbankings', take, 'early'),
      { code: 'MUSTER_CORPORATE_ACCOUNT_MISSING' },
      'what was refused to a service under a key stays refused: a late twin of it cannot be accepted',
    );
    const { owner: _, ...unnamed } = take;
    t.like(await service('POST', '/firmbankings', unnamed), { code: 'MUSTER_OWNER_UNNAMED' });
    t.like(await staff('POST', '/firmbankings', unnamed), { code: 'MUSTER_OWNER_UNNAMED' });
    t.like(await staff('POST', '/firmbankings', take), { status: 403 });
    t.like(await service('POST', '/firmbankings', { ...take, owner: pseudonym(pseudonymKey, 'another') }), {
      status: 404,
      code: 'MUSTER_BANK_ACCOUNT_UNKNOWN',
    });
    t.like(await service('POST', '/firmbankings', { ...take, fromAccountId: payeeId }), {
      code: 'MUSTER_BANK_ACCOUNT_PAYEE',
    });
    const taken = await service('POST', '/firmbankings', take, 'take');
    t.deepEqual(await elsewhere('POST', '/firmbankings', take, 'take'), taken, 'also from another process');
    send();
    await until(taken.json.firmbankingId, 'EXECUTED');
    const paid = await service('POST', '/firmbankings', { toAccountId: payeeId, owner, amount: won(10_000) });
    await until(paid.json.firmbankingId, 'EXECUTED');
    const theirs = await me('GET', '/firmbankings');
    t.is(theirs.json.firmbankings.length, 2);
    const known = await service('GET', `/firmbankings?memberId=${owner}`);
    t.deepEqual(known, theirs, 'a service knows a pseudonym');
    t.is(await banks.balance(bank, '660-1'), 20_000);
    t.is(await banks.balance(bank, '660-2'), 10_000);
    t.is(await banks.balance(bank, '110-111-0002'), 20_000);
  },
);

test.serial(
  'a firm banking is accepted at once, carried out, told with nothing personal, and its fee counted',
  async (t) => {
    const { bank, membership, as, staff, won, fromAccountId, send, until } = await setUp(t);
    const memberId = `carol@example.org ${++run}`;
    membership.states.set(memberId, 'ACTIVE');
    await banks.setAccount(bank, '550-777-12345678');
    const me = as(await tokenOf('customer', memberId));
    const { accountId } = (await me('POST', '/accounts', { bank, accountNumber: '550-777-12345678' })).json;
    const wish = { fromAccountId, toAccountId: accountId, amount: won(7_000) };
    t.like(
      await me('POST', '/firmbankings', wish),
      { status: 403 },
      'members do not ask banks by themselves',
    );
    const events = await countOf(db, 'muster_outbox');
    const service = as(await tokenOf('service', 'pay'));
    const asked = await service('POST', '/firmbankings', wish, 'once');
    t.is(asked.status, 202);
    const { firmbankingId } = asked.json;
    t.like((await me('GET', `/firmbankings/${firmbankingId}`)).json, {
      state: 'REQUESTED',
      amount: won(7_000),
    });
    send();
    t.like(await until(firmbankingId, 'EXECUTED'), { fee: won(300) });
    t.deepEqual((await service('POST', '/firmbankings', wish, 'once')).json, { firmbankingId });
    t.like(await service('POST', '/firmbankings', { ...wish, amount: won(7_001) }, 'once'), {
      status: 409,
      code: 'MUSTER_IDEMPOTENCY_KEY_REUSED',
    });
    t.is(await banks.balance(bank, '550-777-12345678'), 7_000);

    t.is(await countOf(db, 'muster_outbox'), events + 1);
    const { rows } = await sql<{ value: Buffer }>`
    SELECT value FROM muster_outbox ORDER BY id DESC LIMIT 1`.execute(db);
    const event = rows[0]!.value.toString();
    t.like(JSON.parse(event), {
      firmbankingId,
      state: 'EXECUTED',
      amount: won(7_000),
      from: { owner: 'house' },
    });
    t.notRegex(event, /carol|12345678/);

    const mine = (await me('GET', '/firmbankings')).json.firmbankings;
    t.like(mine, [{ firmbankingId, state: 'EXECUTED' }]);
    const other = as(await tokenOf('customer', 'somebody'));
    t.like(await other('GET', `/firmbankings/${firmbankingId}`), { status: 404 });
    t.deepEqual((await other('GET', '/firmbankings')).json.firmbankings, []);
    const period = 'from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z';
    const { fees } = (await staff('GET', `/fees?${period}`)).json;
    t.deepEqual(
      fees.filter((each: { bank: string }) => each.bank === bank),
      [{ bank, calls: 1, fees: won(300) }],
    );
    t.is((await staff('GET', '/fees?from=2020-01-01T00:00:00Z&to=2020-02-01T00:00:00Z')).json.fees.length, 0);
  },
);

test.serial('the answer is lost: the bank is asked by the id, and has executed it once', async (t) => {
  const { bank, ask, send, until } = await setUp(t);
  await banks.behave(bank, { mode: 'lose-answer', first: 1 });
  send();
  const id = await ask(500);
  const { history } = await until(id, 'EXECUTED');
  t.deepEqual(
    history.map(({ state, called, outcome }: Record<string, string>) => [state, called, outcome]),
    [
      ['REQUESTED', undefined, undefined],
      ['SENT', undefined, undefined],
      ['IN_DOUBT', 'SEND', 'network'],
      ['IN_DOUBT', undefined, undefined],
      ['EXECUTED', 'ASK', '2xx'],
    ],
  );
  t.is(await banks.balance(bank, '110-111-0002'), 500);
  t.deepEqual(
    (await banks.statement(bank)).map(({ transferId }) => transferId),
    [id],
  );
});

test.serial(
  'a bank that does not answer, answers late, doubled, or by cutting: each once, and never assumed',
  async (t) => {
    const { bank, ask, send, until } = await setUp(t);
    send({ timeoutMs: 300 });
    let sum = 0;
    for (const behaviour of [
      { mode: 'slow', delayMs: 1_500, first: 1 },
      // Asked before it is there: unknown, sent again under the same id; then the first arrives.
      { mode: 'late', delayMs: 1_500, first: 1 },
      { mode: 'cut', first: 2 },
      { mode: 'twice' },
      { mode: 'lose-answer', first: 3 },
    ]) {
      await banks.behave(bank, behaviour);
      const id = await ask(100);
      sum += 100;
      await until(id, 'EXECUTED');
      t.is((await banks.transfer(bank, id)).state, 'EXECUTED', behaviour.mode);
    }
    // The late ones have come by now.
    await eventually('the late ones', async () => (await banks.balance(bank, '110-111-0002')) === sum);
    t.is((await banks.statement(bank)).length, 5);
    t.is(await banks.sum(), 0);
  },
);

test.serial('a bank’s refusal is the end, with its reason, and gives the day’s limit back', async (t) => {
  const { bank, staff, won, fromAccountId, toAccountId, ask, send, until } = await setUp(t, {
    dayLimitMinor: 1_000_000,
  });
  send();
  t.like(await until(await ask(900_000), 'REJECTED'), { reason: 'MONEY_SHORT' });
  await banks.behave(bank, { mode: 'reject', reason: 'NIGHTLY_CLOSING' });
  t.like(await until(await ask(900_000), 'REJECTED'), { reason: 'NIGHTLY_CLOSING' });
  await banks.behave(bank, { mode: 'no-contract' });
  t.like(await until(await ask(1), 'REJECTED'), { reason: 'CONTRACT_ENDED' });
  await banks.behave(bank, { mode: 'ok' });
  const used = async () =>
    (await staff('GET', '/contracts')).json.contracts.find((each: { bank: string }) => each.bank === bank)
      .usedTodayMinor;
  t.is(await used(), 0);
  await until(await ask(50_000), 'EXECUTED');
  t.is(await used(), 50_000);
  const wish = (amountMinor: number) => ({ fromAccountId, toAccountId, amount: won(amountMinor) });
  t.like(await staff('POST', '/firmbankings', wish(1_000_001)), { code: 'MUSTER_LIMIT_CALL' });
  t.like(await staff('POST', '/firmbankings', wish(950_001)), { code: 'MUSTER_LIMIT_DAY' });
  t.is((await staff('POST', '/firmbankings', wish(950_000))).status, 202);
});

test.serial('many at once do not get beyond the limit of a day', async (t) => {
  const { staff, won, fromAccountId, toAccountId } = await setUp(t, { dayLimitMinor: 1_000 });
  const answers = await Promise.all(
    Array.from({ length: 20 }, () =>
      staff('POST', '/firmbankings', { fromAccountId, toAccountId, amount: won(300) }),
    ),
  );
  t.is(answers.filter(({ status }) => status === 202).length, 3);
  t.is(answers.filter(({ code }) => code === 'MUSTER_LIMIT_DAY').length, 17);
});

test.serial(
  'without a valid contract nothing new is accepted, and what was not sent is rejected',
  async (t) => {
    const { bank, staff, as, won, setContract, fromAccountId, toAccountId, ask, send, until } =
      await setUp(t);
    const id = await ask(10);
    await setContract({ expiresAt: '2020-01-01T00:00:00Z' });
    const wish = { fromAccountId, toAccountId, amount: won(1) };
    t.like(await staff('POST', '/firmbankings', wish), { status: 409, code: 'MUSTER_CONTRACT_INVALID' });
    send();
    t.like(await until(id, 'REJECTED'), { reason: 'CONTRACT_EXPIRED' });
    await setContract({ state: 'SUSPENDED' });
    t.like(await staff('POST', '/firmbankings', wish), { status: 409, code: 'MUSTER_CONTRACT_INVALID' });
    await setContract();
    const history = `/contracts/${bank}/history`;
    const { changes } = (await staff('GET', history)).json;
    t.deepEqual(
      changes.map(({ became }: { became: { state: string } }) => became.state),
      ['ACTIVE', 'ACTIVE', 'SUSPENDED', 'ACTIVE'],
    );
    t.is(changes[1].became.expiresAtMs, Date.parse('2020-01-01T00:00:00Z'));
    t.regex(changes[0].changedBy, /^operator:u_/);
    for (const role of ['customer', 'merchant', 'service'] as const)
      t.is((await as(await tokenOf(role, 'x'))('GET', history)).status, 403);
    await staff('POST', `/accounts/${toAccountId}/close`);
    t.like(await staff('POST', '/firmbankings', wish), { status: 409, code: 'MUSTER_BANK_ACCOUNT_CLOSED' });
    t.like(
      await staff('POST', '/firmbankings', { ...wish, toAccountId: '0'.repeat(8) + fromAccountId.slice(8) }),
      {
        status: 404,
        code: 'MUSTER_BANK_ACCOUNT_UNKNOWN',
      },
    );
  },
);

test.serial(
  'a bank is down for 150 s: it is called a few times, requests wait and say so, then each is executed once',
  async (t) => {
    const { bank, ask, find, send } = await setUp(t);
    let aheadMs = 0;
    await banks.behave(bank, { mode: 'down' });
    const ids = await Promise.all(Array.from({ length: 30 }, () => ask(10)));
    const sender = send({ clock: () => Date.now() + aheadMs });
    const states = async () => Map.groupBy(await Promise.all(ids.map(find)), ({ state }) => state as string);
    await eventually(
      'all wait',
      async () => (await states()).has('WAITING') && !(await states()).has('REQUESTED'),
    );
    const metrics = await sender.registry.metrics();
    t.true(metrics.includes(`http_client_breaker_open{client="bank-${bank}"} 1`));
    for (; aheadMs < 150_000; aheadMs += 10_000) await new Promise((resolve) => setTimeout(resolve, 60));
    for (const found of (await states()).get('WAITING')!) t.is(found.reason, 'BANK_DOWN');
    t.deepEqual([...(await states()).keys()].toSorted(), ['IN_DOUBT', 'WAITING']);
    const { rows } = await sql<{ n: number }>`
    SELECT COUNT(*) AS n FROM firmbanking_history AS h JOIN firmbanking AS f USING (firmbanking_id)
    WHERE f.bank = ${bank} AND h.called IS NOT NULL AND h.outcome <> 'breaker'`.execute(db);
    t.true(Number(rows[0]!.n) < 60, `${rows[0]!.n} calls of a bank that was down`);

    await banks.behave(bank, { mode: 'ok' });
    await eventually('all are executed', async () => {
      aheadMs += 10_000;
      return (await states()).get('EXECUTED')?.length === 30;
    });
    t.is((await banks.statement(bank)).length, 30);
    t.is(await banks.balance(bank, '110-111-0002'), 300);
  },
);

test.serial('killed between the call and the commit: the bank is asked, and has it once', async (t) => {
  const { bank, ask, find, send, until } = await setUp(t);
  // It works at once and is long in answering: the sender dies meanwhile.
  await banks.behave(bank, { mode: 'slow', delayMs: 60_000 });
  const child = spawnSender({ banksUrl: banks.url(), timeoutMs: 60_000 }, scratch.settings);
  t.teardown(() => child.kill('SIGKILL'));
  const id = await ask(40);
  await eventually('the bank has it', async () => (await banks.transfer(bank, id)).state === 'EXECUTED');
  t.like(await find(id), { state: 'SENT' });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await ended;
  // Its lease has ended.
  send({ clock: later(60_000) });
  const { history } = await until(id, 'EXECUTED');
  t.is(history.filter(({ state }: { state: string }) => state === 'SENT').length, 1, 'sent once');
  t.is(await banks.balance(bank, '110-111-0002'), 40);
});

test.serial(
  'one that was asked for again and again is found by services, and its last steps are shown',
  async (t) => {
    const { bank, ask, baseUrl, find } = await setUp(t);
    const id = await ask(10);
    // A bank that was at it for hours.
    const step = sql`(${bytesOfUuid(id)}, 'IN_DOUBT', ${'R'.repeat(60)}, 'ASK', 'unreadable', UTC_TIMESTAMP(3))`;
    await sql`
    INSERT INTO firmbanking_history (firmbanking_id, state, reason, called, outcome, at)
    VALUES ${sql.join(Array.from({ length: 1_500 }, () => step))}`.execute(db);
    await sql`
    INSERT INTO firmbanking_history (firmbanking_id, state, reason, called, outcome, at)
    VALUES (${bytesOfUuid(id)}, 'WAITING', 'BANK_KNOWS_NONE', 'ASK', '4xx', UTC_TIMESTAMP(3))`.execute(db);
    const service = createOutgoing({
      name: `of-${bank}`,
      baseUrl,
      token: await tokenOf('service', 'pay'),
      timeoutMs: 2_000,
      registry: createRegistry(),
    });
    t.like(await findThere(service, '/pay/banking/firmbankings', id), {
      kind: 'OK',
      body: { state: 'REQUESTED' },
    });
    t.like((await find(id)).history.at(-1), { state: 'WAITING', reason: 'BANK_KNOWS_NONE' });
  },
);

test.serial(
  'two workers at once, and a bank that is killed and started meanwhile: each once, books equal',
  async (t) => {
    const { bank, staff, ask, find, send } = await setUp(t);
    let aheadMs = 0;
    const clock = () => Date.now() + aheadMs;
    send({ clock });
    send({ clock });
    const ids = await Promise.all(Array.from({ length: 40 }, () => ask(10)));
    await banks.kill();
    ids.push(...(await Promise.all(Array.from({ length: 40 }, () => ask(10)))));
    await banks.start();
    await eventually('all are executed', async () => {
      aheadMs += 5_000;
      const found = await Promise.all(ids.map(find));
      return found.every(({ state }) => state === 'EXECUTED');
    });
    t.is((await banks.statement(bank)).length, 80);
    t.is(await banks.balance(bank, '110-111-0002'), 800);
    t.is(await banks.sum(), 0);
    t.like(await staff('POST', '/reconciliations', { bank }), {
      json: { bank, compared: 80, differences: [] },
    });
  },
);

test.serial('books that differ are told by their ids, in both directions', async (t) => {
  const { bank, staff, ask, find, send, until } = await setUp(t);
  send();
  const [same, gone, other] = [await ask(10), await ask(20), await ask(30)];
  for (const id of [same, gone, other]) await until(id, 'EXECUTED');
  await banks.behave(bank, { mode: 'wrong-amount' });
  const wrong = await ask(40);
  await eventually('it is noticed', async () => (await find(wrong)).reason === 'BANK_HAS_ANOTHER');
  const compare = async () => {
    const { json } = await staff('POST', '/reconciliations', { bank });
    return new Map<string, string>(
      json.differences.map(({ transferId, difference }: Record<string, string>) => [transferId, difference]),
    );
  };
  t.is((await compare()).size, 0, 'what is under way may differ yet');
  const bytes = (id: string) => Buffer.from(id.replaceAll('-', ''), 'hex');
  const missing = '01900000-0000-7000-8000-000000000000';
  await sql`
    UPDATE firmbanking SET decided_at = decided_at - INTERVAL 2 SECOND, confirmed_at = confirmed_at - INTERVAL 2 SECOND
    WHERE firmbanking_id = ${bytes(gone)}`.execute(db);
  await sql`UPDATE firmbanking SET firmbanking_id = ${bytes(missing)} WHERE firmbanking_id = ${bytes(gone)}`.execute(
    db,
  );
  await sql`UPDATE firmbanking SET state = 'REJECTED' WHERE firmbanking_id = ${bytes(other)}`.execute(db);
  await sql`
    UPDATE firmbanking SET counts_from = counts_from - INTERVAL 10 MINUTE
    WHERE firmbanking_id = ${bytes(wrong)}`.execute(db);
  t.deepEqual(
    await compare(),
    new Map([
      [gone, 'EXECUTED at the bank, and not known here'],
      [other, 'EXECUTED at the bank, REJECTED here'],
      [wrong, 'EXECUTED at the bank, IN_DOUBT here'],
      [missing, "EXECUTED here, and not in the bank's books"],
    ]),
  );
  await banks.behave(bank, { mode: 'down' });
  t.like(await staff('POST', '/reconciliations', { bank }), { status: 503, code: 'MUSTER_BANK_AWAY' });
  const kept = await sql`SELECT transfer_id FROM bank_difference WHERE bank = ${bank}`.execute(db);
  t.is(kept.rows.length, 4, 'what was found stays until it was looked again');
});

test.serial('a transfer that is twice in a bank’s books is told; endless books are none', async (t) => {
  const { bank, ask, send, until } = await setUp(t);
  send();
  const ids = [await ask(10), await ask(20)];
  for (const id of ids) await until(id, 'EXECUTED');
  const real = createBanks({ baseUrl: banks.url(), timeoutMs: 2_000, registry: createRegistry() });
  const { entries } = (await real.statement(bank, 0, undefined))!;
  const twice = async (_bank: string, _sinceMs: number, after?: string): Promise<StatementPage> =>
    after === undefined ? { entries, next: '1' } : { entries: entries.slice(0, 1) };
  const { differences } = await reconcile(db, { statement: twice }, bank);
  t.deepEqual(differences, [
    { transferId: entries[0]!.transferId, difference: 'EXECUTED more than once at the bank' },
  ]);
  await t.throwsAsync(reconcile(db, { statement: async () => ({ entries, next: '1' }) }, bank), {
    code: 'MUSTER_BANK_AWAY',
  });
  t.like(await reconcile(db, real, bank), { compared: 2, differences: [] });
});

test.serial('a bank that is gone for good keeps nobody from comparing the books of the others', async (t) => {
  const [first, second] = [await setUp(t), await setUp(t)];
  for (const { ask } of [first, second]) await ask(10);
  // In the order in which they are looked at.
  const [gone, other] = [first.bank, second.bank].toSorted() as [string, string];
  const statement = async (bank: string) => (bank === gone ? undefined : { entries: [] });
  await reconcileDaily({ database: async () => db, banks: { statement }, log: testLog }).stop();
  const { rows } = await sql<{ bank: string }>`
    SELECT bank FROM bank_reconciliation WHERE bank IN (${gone}, ${other})`.execute(db);
  t.deepEqual(rows, [{ bank: other }]);
});
