/** Accounts follow members: on a real MySQL or MariaDB (MYSQL_*) and a real Kafka (KAFKA_BROKERS). */
import { randomBytes, randomUUID } from 'node:crypto';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import { Registry } from 'prom-client';
import type { MemberEvent } from '../../catalog/events/membership.ts';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { uuidV7 } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { createTopics, eventually, readTopic, testKafka, testLog, uniqueName } from '../kafka/testing.ts';
import { createMember, type MembershipTables, saveMember } from '../membership/store.ts';
import { brokenNow, checksFrom } from '../platform/checks.fixture.ts';
import { rowsRead, scratchDatabase } from '../store/database.fixture.ts';
import { outboxStore } from '../store/outbox.ts';
import { startOutboxRelay } from '../store/relay.ts';
import { closeLeftAccounts, followMember, setAccount, sumsByDistrict } from './accounts.ts';
import { audit } from './books.fixture.ts';
import { houseAccounts } from './house.ts';
import { startFollowing } from './member-consumer.ts';
import { bookAll } from './postings.ts';
import { moneyChecks } from './promises.ts';
import { findAccount, ledgerStore } from './store.ts';

const bank = houseAccounts(0)('bank', 'KRW');
const pseudonymKey = randomBytes(32);

let db: Kysely<unknown>;
let drop: (() => Promise<void>) | undefined;

test.before(async () => {
  ({ db, drop } = await scratchDatabase('money_members', 'money'));
});
test.after.always(() => drop?.());
test.beforeEach((t) => t.timeout(120_000));

const someone = () => pseudonym(pseudonymKey, randomUUID());

const event = (member: string, version: number, differences: Partial<MemberEvent> = {}): MemberEvent => ({
  member,
  type: 'PERSON',
  district: 'Gangnam-gu',
  state: 'ACTIVE',
  version,
  changedAt: new Date().toISOString(),
  ...differences,
});

async function move(from: string, to: string, amountMinor: number): Promise<string> {
  const transferId = uuidV7(Date.now());
  const legs = [{ from, to, amountMinor, reason: 'transfer' }];
  const [outcome] = await bookAll(
    ledgerStore(async () => db),
    [
      {
        operation: { kind: 'transfer', transferId, currency: 'KRW', legs },
        once: { scope: 'money:test', key: transferId, body: '' },
      },
    ],
    Date.now,
  );
  return outcome!.ok ? 'booked' : outcome!.refusal.code;
}

const stateOf = async (account: string) => (await findAccount(db, account))?.state;

test.serial('in any order and any number of times the account ends as the newest event says', async (t) => {
  const states = ['ACTIVE', 'SUSPENDED', 'ACTIVE', 'SUSPENDED'] as const;
  const events = (member: string) =>
    states.map((state, index) => event(member, index + 1, { state, district: `district ${index + 1}` }));
  for (const order of [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2, 3, 3, 0], [3]]) {
    const member = someone();
    for (const index of order) await followMember(db, events(member)[index]!);
    t.is(await stateOf(member), 'SUSPENDED', `${order}`);
    const { rows } = await sql`
      SELECT version, district FROM money_member WHERE account_id = ${member}`.execute(db);
    t.deepEqual(rows, [{ version: 4, district: 'district 4' }]);
  }
  // As two workers do that both believe the partition to be theirs.
  const member = someone();
  const outcomes = await Promise.all(
    [...events(member), ...events(member)].map((each) => followMember(db, each)),
  );
  t.is(await stateOf(member), 'SUSPENDED');
  t.true(outcomes.includes('FOLLOWED') && outcomes.includes('KNOWN'));
  const { rows } = await sql`SELECT 1 FROM ledger_account WHERE account_id = ${member}`.execute(db);
  t.is(rows.length, 1);
});

test.serial('an older event neither opens an account again nor brings a district back', async (t) => {
  const member = someone();
  await followMember(db, event(member, 1));
  await followMember(db, event(member, 2, { state: 'CLOSED' }));
  t.is(await stateOf(member), 'CLOSED');
  t.is(await followMember(db, event(member, 1)), 'KNOWN');
  t.is(await followMember(db, event(member, 2)), 'KNOWN');
  t.is(await stateOf(member), 'CLOSED');
  const unheard = someone();
  await followMember(db, event(unheard, 7, { state: 'CLOSED' }));
  t.is(await stateOf(unheard), undefined, 'who was gone when we first heard of them needs none');
});

test.serial(
  'who leaves money behind: nobody can use it, staff pays it out, then the account closes',
  async (t) => {
    const [leaver, other] = [someone(), someone()];
    for (const member of [leaver, other]) await followMember(db, event(member, 1));
    t.is(await move(bank, leaver, 500), 'booked');
    const before = await closeLeftAccounts(db);
    await followMember(db, event(leaver, 2, { state: 'CLOSED' }));
    t.is(await stateOf(leaver), 'SUSPENDED');
    t.is(await move(leaver, other, 1), 'MUSTER_ACCOUNT_NOT_OPEN');
    t.is(await move(other, leaver, 1), 'MUSTER_ACCOUNT_NOT_OPEN');
    t.is(await closeLeftAccounts(db), before + 1);
    t.is(await stateOf(leaver), 'SUSPENDED');
    t.like(await setAccount(db, leaver, { currency: 'KRW', state: 'OPEN' }), { ok: true });
    t.is(await move(leaver, bank, 500), 'booked');
    t.is(await closeLeftAccounts(db), before);
    t.is(await stateOf(leaver), 'CLOSED');
    const looked = await rowsRead(db, closeLeftAccounts);
    for (let n = 0; n < 60; n++) {
      const one = someone();
      await followMember(db, event(one, 1));
      await followMember(db, event(one, 2, { state: 'CLOSED' }));
      t.is(await stateOf(one), 'CLOSED');
    }
    await sql`ANALYZE TABLE money_member`.execute(db);
    const lookedAgain = await rowsRead(db, closeLeftAccounts);
    t.true(
      lookedAgain <= looked + 5,
      `${looked} rows, then ${lookedAgain}: who has left with nothing is not looked at again`,
    );
    t.deepEqual(await audit(db), []);
  },
);

test.serial('staff sets the state of accounts without a member, not of a member’s', async (t) => {
  const [member, none] = [someone(), someone()];
  await followMember(db, event(member, 1));
  for (const state of ['SUSPENDED', 'CLOSED'] as const)
    t.like(await setAccount(db, member, { currency: 'KRW', state }), {
      refusal: { status: 409, code: 'MUSTER_ACCOUNT_FOLLOWS_MEMBER' },
    });
  t.like(await setAccount(db, member, { currency: 'KRW', state: 'OPEN' }), { ok: true });
  t.is(await stateOf(member), 'OPEN');
  for (const state of ['OPEN', 'SUSPENDED', 'OPEN'] as const)
    t.like(await setAccount(db, none, { currency: 'KRW', state }), { ok: true });
  // Opened by staff in another currency before membership told of it.
  const early = someone();
  await setAccount(db, early, { currency: 'USD', state: 'SUSPENDED' });
  await followMember(db, event(early, 1));
  t.like(await findAccount(db, early), { state: 'OPEN', currency: 'USD' });
});

test.serial(
  'the money of a district is that of who live there now, by one look at their accounts',
  async (t) => {
    const [here, there] = [`here ${randomUUID()}`, `there ${randomUUID()}`];
    const [a, b, shop] = [someone(), someone(), someone()];
    await followMember(db, event(a, 1, { district: here }));
    await followMember(db, event(b, 1, { district: here }));
    await followMember(db, event(shop, 1, { district: here, type: 'MERCHANT' }));
    for (const [member, amount] of [
      [a, 100],
      [b, 20],
      [shop, 3],
    ] as const)
      await move(bank, member, amount);
    const persons = { district: here, type: 'PERSON', currency: 'KRW' } as const;
    t.deepEqual(await sumsByDistrict(db, here), [
      { ...persons, members: 2, balanceMinor: 120 },
      { ...persons, type: 'MERCHANT', members: 1, balanceMinor: 3 },
    ]);
    await followMember(db, event(b, 2, { district: there }));
    await move(a, b, 50);
    await followMember(db, event(a, 2, { district: here, state: 'CLOSED' }));
    t.like((await sumsByDistrict(db, here))[0], { members: 0, balanceMinor: 50 });
    t.like(await sumsByDistrict(db, there), [{ members: 1, balanceMinor: 70 }]);
    t.deepEqual(await sumsByDistrict(db, `nowhere ${randomUUID()}`), []);
    t.true((await sumsByDistrict(db, undefined)).length >= 3);

    // Many who live elsewhere cost nothing.
    await sql`
    INSERT INTO money_member (account_id, account_no, type, district, state, version, changed_at)
    SELECT CONCAT('x-', seq), seq, 'PERSON', 'elsewhere', 'ACTIVE', 1, UTC_TIMESTAMP(3) FROM seq_1_to_5000`.execute(
      db,
    );
    await sql`ANALYZE TABLE money_member`.execute(db);
    const rows = await rowsRead(db, (connection) => sumsByDistrict(connection, here));
    t.true(rows < 50, `${rows} rows read`);
    await sql`DELETE FROM money_member WHERE district = 'elsewhere'`.execute(db);
  },
);

/** Membership with a relay of its own onto a topic of this test, and money that follows it. */
async function scene(t: ExecutionContext) {
  const name = uniqueName('members');
  const made = await createTopics([
    { name, partitions: 3 },
    { name: `${name}.dlq`, partitions: 1 },
  ]);
  const kafka = testKafka();
  const producer = await kafka.producer('test');
  const scratch = await scratchDatabase('members_of_money', 'membership');
  const members = scratch.db as unknown as Kysely<MembershipTables>;
  const failures: Error[] = [];
  const stops: (() => Promise<unknown>)[] = [];
  t.teardown(async () => {
    for (const stop of stops.toReversed()) await stop();
    await kafka.close();
    await made.remove();
    await scratch.drop();
  });
  return {
    name,
    kafka,
    producer,
    members,
    failures,
    join: async () => {
      const joined = await createMember(
        members,
        {
          type: 'PERSON',
          name: 'Kim',
          email: `${randomUUID()}@example.org`,
          address: '1',
          district: 'Mapo-gu',
          password: 'kept',
        },
        { scope: 'membership:test', key: randomUUID(), body: '' },
        { pseudonymKey, nowMs: Date.now() },
      );
      if (!joined.ok) throw new Error(joined.refusal.code);
      return joined.memberId;
    },
    save: (memberId: string, state: 'ACTIVE' | 'SUSPENDED' | 'CLOSED') =>
      saveMember(members, memberId, { state }, 'staff', Date.now()),
    relay() {
      const relay = startOutboxRelay({
        store: outboxStore(scratch.db),
        database: 'membership',
        producer: {
          send: (records) => producer.send(records.map((record) => ({ ...record, topic: name }) as never)),
        },
        registry: createRegistry(),
        log: testLog,
        pollMs: 50,
      });
      stops.push(relay.stop);
    },
    async follow() {
      const started = await startFollowing(
        { ...groups.moneyMembers, id: `${name}-money`, topics: [{ ...topics.memberEvents, name }] },
        {
          database: async () => db,
          kafka,
          log: testLog,
          metrics: new Registry(),
          fail: (error) => failures.push(error),
        },
      );
      stops.push(started.stop);
    },
  };
}

test.serial(
  'members that committed while nobody published have accounts as soon as somebody does',
  async (t) => {
    const at = await scene(t);
    const ids = await Promise.all(Array.from({ length: 20 }, at.join));
    await at.save(ids[0]!, 'SUSPENDED');
    await at.save(ids[1]!, 'SUSPENDED');
    await at.save(ids[1]!, 'ACTIVE');
    await at.save(ids[2]!, 'CLOSED');
    // Here the process that has decided all this died.
    await at.follow();
    at.relay();
    const accounts = ids.map((id) => pseudonym(pseudonymKey, id));
    const states = () => Promise.all(accounts.map(stateOf));
    const wanted = ['SUSPENDED', 'OPEN', 'CLOSED', ...Array.from({ length: 17 }, () => 'OPEN')];
    await eventually(
      'all accounts are there',
      async () => JSON.stringify(await states()) === JSON.stringify(wanted),
      60_000,
    );
    t.deepEqual(at.failures, []);
  },
);

test.serial(
  'what is no event of a member is put aside; a plain producer’s is taken; the others go on',
  async (t) => {
    const at = await scene(t);
    await at.follow();
    const [plain, last] = [someone(), someone()];
    const bad = [
      '{"member":',
      JSON.stringify({ ...event(someone(), 1), member: 'kim@example.org' }),
      JSON.stringify({ ...event(someone(), 1), version: 2 ** 32 }),
      JSON.stringify({ ...event(someone(), 0) }),
      JSON.stringify({ ...event(someone(), 1), name: 'Kim' }),
      JSON.stringify({ ...event(someone(), 1), changedAt: '2026-13-99T99:99:99.999Z' }),
      JSON.stringify({ ...event(someone(), 1), district: 'half \ud800' }),
    ];
    await at.producer.send([
      ...bad.map((value) => ({ topic: at.name, key: 'x', value, partition: 0 })),
      { topic: at.name, key: null, value: null, partition: 0 },
      // Without headers, under a key of its own.
      { topic: at.name, key: 'whatever', value: JSON.stringify(event(plain, 1)), partition: 0 },
      { topic: at.name, key: null, value: JSON.stringify(event(last, 1)), partition: 0 },
    ]);
    await eventually('the last has an account', async () => (await stateOf(last)) === 'OPEN', 60_000);
    t.is(await stateOf(plain), 'OPEN');
    await eventually(
      'the others are put aside',
      async () => (await readTopic(at.kafka, `${at.name}.dlq`)).length >= bad.length + 1,
    );
    const letters = await readTopic(at.kafka, `${at.name}.dlq`);
    t.is(letters.length, bad.length + 1);
    for (const { headers } of letters) t.notRegex(String(headers['muster-error-reason']), /kim/i);
    t.deepEqual(at.failures, []);
  },
);

test.serial('members-have-accounts tells the account that does not follow, and no other', async (t) => {
  const at = await scene(t);
  const ids = await Promise.all(Array.from({ length: 4 }, at.join));
  const accounts = ids.map((id) => pseudonym(pseudonymKey, id));
  for (const account of accounts) await followMember(db, event(account, 1));
  const own = async (name?: string) =>
    name === 'membership' ? (at.members as unknown as Kysely<unknown>) : db;
  const checks = checksFrom(moneyChecks, ['members-have-accounts'], { database: own });
  const found = () => brokenNow(checks);
  t.deepEqual(await found(), {}, 'just now told of: not yet judged');
  const long = (ago: number) =>
    sql`UPDATE member SET told_at = UTC_TIMESTAMP(3) - INTERVAL ${ago} SECOND`.execute(at.members);
  await long(3_600);
  t.deepEqual(await found(), {});
  const set = (index: number, state: string) =>
    sql`UPDATE ledger_account SET state = ${state} WHERE account_id = ${accounts[index]}`.execute(db);
  await set(1, 'SUSPENDED');
  t.deepEqual(await found(), { 'members-have-accounts': [accounts[1]] });
  await set(1, 'OPEN');
  t.deepEqual(await found(), {});
  // Committed, and its event is lost.
  const lost = await at.join();
  await at.save(ids[2]!, 'SUSPENDED');
  t.deepEqual(await found(), {});
  await long(65);
  const { 'members-have-accounts': two } = await found();
  t.deepEqual(new Set(two), new Set([accounts[2], pseudonym(pseudonymKey, lost)]));
  await followMember(db, event(pseudonym(pseudonymKey, lost), 1));
  await followMember(db, event(accounts[2]!, 2, { state: 'SUSPENDED' }));
  t.deepEqual(await found(), {});
});
