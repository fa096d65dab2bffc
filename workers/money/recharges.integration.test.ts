/** Recharges through the real banking and a bank of its own, on a real MySQL or MariaDB (MYSQL_*). */
import test, { type ExecutionContext } from 'ava';
import { sql } from 'kysely';
import { tokenOf } from '../http/testing.ts';
import { eventually } from '../kafka/testing.ts';
import { openWorld, startPay, type World, won } from '../pay.fixture.ts';
import { countOf } from '../store/database.fixture.ts';
import { closeLeftAccounts } from './accounts.ts';
import { audit } from './books.fixture.ts';

let world: World;

test.before(async () => {
  world = await openWorld('recharges');
});
test.after.always(() => world?.end());

/** A member with so much at the bank. */
async function setUp(t: ExecutionContext, { depositMinor = 100_000 } = {}) {
  const pay = await startPay(t, world);
  const alice = await pay.member('alice', { depositMinor });
  const find = async (id: string) => (await alice.me('GET', `/money/recharges/${id}`)).json;
  return {
    ...pay,
    ...alice,
    find,
    work: pay.recharge,
    ask: (amountMinor: number, key?: string) =>
      alice.me('POST', '/money/recharges', { accountId: alice.accountId, amount: won(amountMinor) }, key),
    until: (id: string, wanted: object, aLookMs?: number) => pay.until(() => find(id), wanted, aLookMs),
  };
}

test.serial(
  'a recharge is accepted at once, taken at the bank, booked once, and told with nothing personal',
  async (t) => {
    const { me, as, ask, find, work, sendToBanks, until, tell, balance, atBank, db, memberId, accountId } =
      await setUp(t);
    const asked = await ask(30_000, 'once');
    t.is(asked.status, 202);
    const { rechargeId } = asked.json;
    t.deepEqual(await ask(30_000, 'once'), asked);
    t.like(await ask(30_001, 'once'), { status: 409, code: 'MUSTER_IDEMPOTENCY_KEY_REUSED' });
    t.like(await find(rechargeId), { state: 'REQUESTED', accountId, amount: won(30_000) });
    const bob = as(await tokenOf('customer', 'bob'));
    t.like(await bob('GET', `/money/recharges/${rechargeId}`), {
      status: 404,
      code: 'MUSTER_RECHARGE_UNKNOWN',
    });

    work();
    await until(rechargeId, { state: 'AT_BANK' });
    sendToBanks();
    const events = await countOf(db, 'muster_outbox');
    await eventually('the event has told it', async () => {
      await tell();
      return (await find(rechargeId)).state === 'DONE';
    });
    await tell();
    t.like(await balance(), { balance: won(30_000) });
    t.is(await atBank(), 70_000);
    t.is((await me('GET', '/money/recharges?limit=1')).json.recharges[0].rechargeId, rechargeId);
    const { json } = await me('GET', `/money/accounts/${encodeURIComponent(memberId)}/history`);
    t.like(json.entries, [
      { amountMinor: 30_000, reason: 'recharge', transferId: (await find(rechargeId)).transferId },
    ]);
    t.is(await countOf(db, 'muster_outbox'), events + 1);
    const { rows } = await sql<{
      value: Buffer;
    }>`SELECT value FROM muster_outbox ORDER BY id DESC LIMIT 1`.execute(db);
    t.like(JSON.parse(rows[0]!.value.toString()), { rechargeId, state: 'DONE', amount: won(30_000) });
    t.notRegex(rows[0]!.value.toString(), /alice|example|220/);
    t.deepEqual(await audit(db), []);
  },
);

test.serial(
  'without an event banking is asked by the id; a bank’s refusal ends it, and nothing is booked',
  async (t) => {
    const { ask, work, sendToBanks, until, balance } = await setUp(t, { depositMinor: 5_000 });
    const { rechargeId } = (await ask(5_001)).json;
    const first = work();
    await until(rechargeId, { state: 'AT_BANK' });
    await first.stop();
    sendToBanks();
    work();
    const failed = await until(rechargeId, { state: 'FAILED' });
    t.regex(String(failed.reason), /^[A-Z_]+$/);
    t.like(await balance(), { balance: won(0) });
  },
);

test.serial(
  'an account of ours is nobody’s to recharge from: that would make money out of nothing',
  async (t) => {
    const { bank, staff, me, work, sendToBanks, until, balance, find } = await setUp(t);
    // Members know its id: it is the other side of all that they have recharged so far.
    const { contracts } = (await staff('GET', '/banking/contracts')).json;
    const { corporateAccountId } = contracts.find((each: { bank: string }) => each.bank === bank);
    await world.banks.setAccount(bank, '110-0002');
    const next = await staff('POST', '/banking/accounts', {
      ofTheHouse: true,
      bank,
      accountNumber: '110-0002',
    });
    const accountId: string = next.json.accountId;
    t.is((await staff('PUT', `/banking/contracts/${bank}/corporate-account`, { accountId })).status, 200);
    const asked = await me('POST', '/money/recharges', {
      accountId: corporateAccountId,
      amount: won(10_000),
    });
    t.is(asked.status, 202);
    const { rechargeId } = asked.json;
    work();
    sendToBanks();
    t.like(await until(rechargeId, { state: 'FAILED' }), { reason: 'BANK_ACCOUNT_UNKNOWN' });
    t.like(await balance(), { balance: won(0) });
    t.is((await find(rechargeId)).firmbankingId, undefined);
    t.is(await world.banks.balance(bank, '110-0002'), 0);
  },
);

test.serial('answers of banking are lost, and it is away: each recharge is taken once', async (t) => {
  const { ask, work, sendToBanks, until, balance, atBank, way, find } = await setUp(t);
  way.isDown = true;
  const { rechargeId } = (await ask(10_000)).json;
  const first = work();
  await until(rechargeId, { state: 'ASKING' });
  await first.stop();
  way.isDown = false;
  way.loses = 2;
  sendToBanks();
  work();
  await until(rechargeId, { state: 'DONE' });
  t.true(way.calls >= 4);
  t.like(await balance(), { balance: won(10_000) });
  t.is(await atBank(), 90_000);
  t.is((await find(rechargeId)).reason, undefined);
});

test.serial('killed between the call and the commit: the next asks under the same id', async (t) => {
  const { ask, work, sendToBanks, until, balance, atBank, firmbankings, recharges, jump } = await setUp(t);
  const { rechargeId } = (await ask(10_000)).json;
  const claimed = (await recharges.claim(100, 20_000)).filter(({ one }) => one.rechargeId === rechargeId);
  t.is(claimed.length, 1);
  t.is((await firmbankings.ask(claimed[0]!.one)).kind, 'ACCEPTED');
  // It writes nothing down.
  t.deepEqual(await recharges.claim(100, 20_000), [], 'nobody else is at it until its lease ends');
  sendToBanks();
  jump(21_000);
  work();
  await until(rechargeId, { state: 'DONE' });
  t.like(await balance(), { balance: won(10_000) });
  t.is(await atBank(), 90_000);
});

test.serial('the clock of the database is set back by a day: nothing waits for a day', async (t) => {
  const { ask, work, sendToBanks, until, balance, recharges, firmbankings, jump } = await setUp(t);
  jump(86_400_000);
  const { rechargeId } = (await ask(10_000)).json;
  const claimed = (await recharges.claim(100, 20_000)).filter(({ one }) => one.rechargeId === rechargeId);
  t.is((await firmbankings.ask(claimed[0]!.one)).kind, 'ACCEPTED');
  // Whoever claimed it dies.
  jump(-86_400_000);
  sendToBanks();
  work();
  await until(rechargeId, { state: 'DONE' });
  t.like(await balance(), { balance: won(10_000) });
});

test.serial(
  'a bank that is down is told as what they wait for, and then each is carried out once',
  async (t) => {
    const { bank, ask, work, sendToBanks, until, me, jump, balance, atBank } = await setUp(t);
    await world.banks.behave(bank, { mode: 'down' });
    const ids: string[] = await Promise.all(
      Array.from({ length: 20 }, async () => (await ask(1_000)).json.rechargeId),
    );
    work();
    for (const id of ids) await until(id, { state: 'AT_BANK' });
    sendToBanks();
    await eventually('they say so', async () => {
      jump(1_000);
      const { json } = await me('GET', '/money/recharges');
      return json.recharges.some(({ reason }: { reason?: string }) => reason === 'BANK_DOWN');
    });
    await world.banks.behave(bank, { mode: 'ok' });
    for (const id of ids) await until(id, { state: 'DONE', reason: undefined }, 5_000);
    t.like(await balance(), { balance: won(20_000) });
    t.is(await atBank(), 80_000);
  },
);

test.serial(
  'suspended before anybody was asked: nothing is taken; afterwards what is taken is theirs',
  async (t) => {
    const { ask, work, sendToBanks, until, follow, balance, atBank } = await setUp(t);
    const early = (await ask(10_000)).json.rechargeId;
    await follow('SUSPENDED');
    t.like(await ask(10_000), { status: 409, code: 'MUSTER_ACCOUNT_NOT_OPEN' });
    const working = work();
    t.like(await until(early, { state: 'FAILED' }), { reason: 'ACCOUNT_NOT_OPEN' });
    t.is(await atBank(), 100_000);
    await follow('ACTIVE');
    const late = (await ask(20_000)).json.rechargeId;
    await until(late, { state: 'AT_BANK' });
    await working.stop();
    await follow('SUSPENDED');
    sendToBanks();
    work();
    await until(late, { state: 'DONE' });
    t.like(await balance(), { balance: won(20_000), state: 'SUSPENDED' });
  },
);

test.serial(
  'whoever leaves while money is on its way keeps an account for it, until it is empty',
  async (t) => {
    const { ask, work, sendToBanks, until, follow, balance, db, staff, memberId, path } = await setUp(t);
    const { rechargeId } = (await ask(10_000)).json;
    const working = work();
    await until(rechargeId, { state: 'AT_BANK' });
    await working.stop();
    await follow('CLOSED');
    t.like(await balance(), { state: 'SUSPENDED' }, 'not closed, although it is empty');
    t.like(await staff('PUT', path, { state: 'CLOSED' }), { status: 409, code: 'MUSTER_ACCOUNT_NOT_EMPTY' });
    t.is(await closeLeftAccounts(db), 1);
    sendToBanks();
    work();
    await until(rechargeId, { state: 'DONE' });
    t.like(await balance(), { balance: won(10_000), state: 'SUSPENDED' });
    await staff('PUT', path, { state: 'OPEN' });
    await staff('POST', '/money/decreases', { memberId, amount: won(10_000) });
    t.is(await closeLeftAccounts(db), 0);
    t.like(await balance(), { state: 'CLOSED' });
  },
);

test.serial(
  'another member’s bank account, or one of nobody, is refused by banking, and that is the end',
  async (t) => {
    const { ask, work, until, member, accountId, atBank } = await setUp(t);
    const { me: her } = await member('eve');
    const theft = await her('POST', '/money/recharges', { accountId, amount: won(10_000) });
    work();
    await eventually('it is refused', async () => {
      const { json } = await her('GET', `/money/recharges/${theft.json.rechargeId}`);
      return json.state === 'FAILED' && json.reason === 'BANK_ACCOUNT_UNKNOWN';
    });
    t.is(await atBank(), 100_000);
    const { rechargeId } = (await ask(2_000_000)).json;
    t.like(await until(rechargeId, { state: 'FAILED' }), { reason: 'LIMIT_CALL' });
  },
);

test.serial('a booking that the books refuse leaves it undecided, and is tried again', async (t) => {
  const { ask, work, sendToBanks, until, db, account, balance } = await setUp(t);
  const { rechargeId } = (await ask(10_000)).json;
  const working = work();
  await until(rechargeId, { state: 'AT_BANK' });
  await working.stop();
  await sql`UPDATE ledger_account SET state = 'CLOSED' WHERE account_id = ${account}`.execute(db);
  sendToBanks();
  const again = work();
  await until(rechargeId, { state: 'AT_BANK', reason: 'BOOKING_REFUSED' });
  await again.stop();
  await sql`UPDATE ledger_account SET state = 'OPEN' WHERE account_id = ${account}`.execute(db);
  work();
  await until(rechargeId, { state: 'DONE' });
  t.like(await balance(), { balance: won(10_000) });
  t.deepEqual(await audit(db), []);
});
