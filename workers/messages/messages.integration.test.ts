/** queue_log on a real MySQL or MariaDB (MYSQL_*): what is produced and handled once, and what became of it. */
import { randomUUID } from 'node:crypto';
import test from 'ava';
import { type Kysely, sql, type Transaction } from 'kysely';
import { topics } from '../../catalog/topics.ts';
import { createRegistry } from '../base/metrics.ts';
import { callerOf, operatorToken, startTestHttp, tokenOf } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import { countOf, rowsRead, scratchDatabases } from '../store/database.fixture.ts';
import { transaction } from '../store/database.ts';
import { appendOutbox } from '../store/outbox.ts';
import { findMessage, type Handled, handleOnce, type Message } from '../store/queue-log.ts';
import { registerMessageRoute } from './worker.ts';

type Scratch = Awaited<ReturnType<typeof scratchDatabases>>;
let scratch: Scratch;
type Db = Kysely<unknown>;
let db: Db;

test.before(async () => {
  scratch = await scratchDatabases('messages');
  db = scratch.of('shop');
});
test.after.always(() => scratch?.drop());
test.beforeEach((t) => t.timeout(120_000));

const record = (topic: string, id: string, value: string) => ({
  topic,
  key: 'k',
  value,
  headers: { ce_id: id, ce_type: 'Test', ce_time: '2026-03-05T00:00:00.000Z' },
});
const produce = (database: Kysely<unknown>, ...records: ReturnType<typeof record>[]) =>
  transaction(database, (trx) => appendOutbox(trx, records));
const came = (topic: string, id: string, body: string): Message => ({
  topic,
  id,
  body: Buffer.from(body),
  createdAtMs: Date.parse('2026-03-05T00:00:00.000Z'),
});
const usually = { status: 'success', result: 'FOLLOWED' } as const;

/** Handles a message: its effect is a row of muster_write_probe that counts. Resolves to how often that was done. */
async function handle(
  database: Kysely<unknown>,
  group: string,
  message: Message,
  handled: Handled = usually,
  before: (trx: Transaction<unknown>) => Promise<void> = async () => {},
): Promise<number> {
  let effects = 0;
  await transaction(database, async (trx) => {
    await handleOnce(
      trx,
      { group, message, usually },
      async () => {
        effects += 1;
        return handled;
      },
      (done) => done,
    );
    await before(trx);
  });
  return effects;
}

const find = (id: string) => findMessage(db, scratch.settings.MYSQL_DATABASE, id);
const memberEvents = topics.memberEvents.name;
const firmbankingEvents = topics.firmbankingEvents.name;

test.serial(
  'a message waits in the outbox, is on its topic, and is handled, each in its own database',
  async (t) => {
    const id = `${randomUUID()}-decided`;
    const [banking, money, remittance, settlement] = (
      ['banking', 'money', 'remittance', 'settlement'] as const
    ).map(scratch.of) as [Db, Db, Db, Db];
    t.deepEqual(await find(id), []);
    await produce(banking, record(firmbankingEvents, id, '{}'));
    const groups = ['money-recharges', 'remittance-ends', 'settlement-ends'];
    t.like((await find(id))[0], { status: 'waiting', producedBy: 'banking', awaits: groups, handledBy: [] });
    await sql`DELETE FROM muster_outbox`.execute(banking);
    t.like((await find(id))[0], { status: 'processing', producedBy: 'banking', awaits: groups });

    const message = came(firmbankingEvents, id, '{}');
    t.is(
      await handle(remittance, 'remittance-ends', message, { status: 'success', result: 'PASSED_OVER' }),
      1,
    );
    t.is(await handle(settlement, 'settlement-ends', message), 1);
    t.like((await find(id))[0], { status: 'processing', awaits: ['money-recharges'] });
    t.is(await handle(money, 'money-recharges', message, { status: 'failure', result: 'FAILED' }), 1);
    const [log, ...others] = await find(id);
    t.deepEqual(others, []);
    t.like(log, {
      topic: firmbankingEvents,
      messageId: id,
      status: 'done',
      processedStatus: 'failure',
      producedBy: 'banking',
      awaits: [],
    });
    t.deepEqual(
      log!.handledBy
        .map(({ group, database, processedStatus, result }) =>
          [group, database, processedStatus, result].join(),
        )
        .toSorted(),
      [
        'money-recharges,money,failure,FAILED',
        'remittance-ends,remittance,success,PASSED_OVER',
        'settlement-ends,settlement,success,FOLLOWED',
      ],
    );
    t.true(log!.createdTimestamp <= log!.processedTimestamp!);

    // The table of the requirements, with their names.
    const { rows } = await sql`
    SELECT message_id, status, created_timestamp, processed_timestamp IS NOT NULL AS was_processed, processed_status
    FROM queue_log WHERE message_id = ${Buffer.from(id)}`.execute(money);
    t.deepEqual(rows, [
      {
        message_id: Buffer.from(id),
        status: 'done',
        created_timestamp: new Date('2026-03-05T00:00:00.000Z'),
        was_processed: 1,
        processed_status: 'failure',
      },
    ] as never);
  },
);

test.serial(
  'of many that were decided together each waits in the outbox, until it is on its topic',
  async (t) => {
    const remittance = scratch.of('remittance');
    const ids = Array.from({ length: 300 }, () => `${randomUUID()}-decided`);
    const long = JSON.stringify({ text: 'x'.repeat(200) });
    await produce(remittance, ...ids.map((id) => record('remittance-events', id, long)));
    for (const id of [ids[0]!, ids[150]!, ids.at(-1)!])
      t.like((await find(id))[0], { status: 'waiting', producedBy: 'remittance' });
    await sql`DELETE FROM muster_outbox`.execute(remittance);
    t.like((await find(ids[150]!))[0], { status: 'done' });
  },
);

test.serial(
  'produced twice it is one message; with another body it is an error, and nothing of it is kept',
  async (t) => {
    const membership = scratch.of('membership');
    const [id, other] = [randomUUID(), randomUUID()];
    const before = await countOf(membership, 'muster_outbox');
    await produce(membership, record(memberEvents, id, 'a'));
    await produce(membership, record(memberEvents, id, 'a'));
    t.is(await countOf(membership, 'muster_outbox'), before + 1);
    await t.throwsAsync(
      produce(membership, record(memberEvents, other, 'a'), record(memberEvents, id, 'b')),
      {
        code: 'MUSTER_DUPLICATE_ID_OTHER_BODY',
      },
    );
    t.is(await countOf(membership, 'muster_outbox'), before + 1);
    t.deepEqual(await find(other), []);
    // An id is one of a topic; a topic without a queue log is left alone.
    await produce(membership, record(firmbankingEvents, id, 'b'), record('order-completed', id, 'c'));
    t.is(await countOf(membership, 'muster_outbox'), before + 3);
    t.deepEqual((await find(id)).map(({ topic }) => topic).toSorted(), [firmbankingEvents, memberEvents]);
  },
);

test.serial(
  'handled twice it has one effect, also at the same moment; with another body it is an error',
  async (t) => {
    const money = scratch.of('money');
    const message = came(memberEvents, randomUUID(), 'a');
    const fails = async () => {
      throw new Error('the effect is rolled back');
    };
    await t.throwsAsync(handle(money, 'money-members', message, usually, fails));
    t.deepEqual(await find(message.id), [], 'what was rolled back was not handled');
    const outcomes = await Promise.allSettled(
      Array.from({ length: 4 }, () => handle(money, 'money-members', message)),
    );
    for (const one of outcomes)
      if (one.status === 'rejected') t.is(one.reason.code, 'MUSTER_IDEMPOTENCY_KEY_IN_USE');
    const effects = outcomes.map((one) => (one.status === 'fulfilled' ? one.value : 0));
    t.is(
      effects.reduce((sum, n) => sum + n, 0),
      1,
    );
    t.is(await handle(money, 'money-members', message), 0);
    await t.throwsAsync(handle(money, 'money-members', { ...message, body: Buffer.from('b') }), {
      code: 'MUSTER_DUPLICATE_ID_OTHER_BODY',
    });
    t.like((await find(message.id))[0], { status: 'done', processedStatus: 'success' });
    t.is((await find(message.id))[0]!.producedBy, undefined, 'a plain producer’s');
  },
);

test.serial(
  'it costs a statement to produce messages, one to handle each, and one more for what is unusual',
  async (t) => {
    const count = async (work: (trx: Transaction<unknown>) => Promise<unknown>) =>
      transaction(scratch.of('money'), async (trx) => {
        const asked = async () =>
          Number(
            (await sql<{ Value: string }>`SHOW SESSION STATUS LIKE 'Questions'`.execute(trx)).rows[0]!.Value,
          );
        const before = await asked();
        await work(trx);
        return (await asked()) - before - 1;
      });
    const append = (topic: string, records: number) =>
      count((trx) =>
        appendOutbox(
          trx,
          Array.from({ length: records }, () => record(topic, randomUUID(), 'x')),
        ),
      );
    t.is((await append('recharge-events', 1)) - (await append('order-completed', 1)), 1);
    t.is((await append('recharge-events', 50)) - (await append('order-completed', 50)), 1);
    const handling = (result: Handled) =>
      count((trx) =>
        handleOnce(
          trx,
          { group: 'money-members', message: came(memberEvents, randomUUID(), 'a'), usually },
          async () => {},
          () => result,
        ),
      );
    t.is(await handling(usually), 1);
    t.is(await handling({ status: 'success', result: 'KNOWN' }), 2);
  },
);

test.serial('asking reads some rows, however many messages there are', async (t) => {
  const money = scratch.of('money');
  const ids = Array.from({ length: 2_000 }, () => randomUUID());
  await produce(money, ...ids.map((id) => record('recharge-events', id, 'x')));
  await sql`DELETE FROM muster_outbox`.execute(money);
  await sql`ANALYZE TABLE muster_once`.execute(money);
  const rows = await rowsRead(db, (connection) =>
    findMessage(connection, scratch.settings.MYSQL_DATABASE, ids[1_000]!),
  );
  t.true(rows < 150, `${rows} rows`);
});

test.serial('an operator asks what became of a message, nobody else', async (t) => {
  const id = randomUUID();
  await produce(scratch.of('membership'), record(memberEvents, id, '{"secret": 1}'));
  const http = await startTestHttp({ processName: 'pay', log: testLog, registry: createRegistry() });
  registerMessageRoute(http.app as never, {
    database: async () => db,
    shop: scratch.settings.MYSQL_DATABASE,
  });
  await http.open();
  t.teardown(() => http.close(100));
  const as = callerOf(http, '/pay/messages');
  const { status, json } = await as(operatorToken)('GET', `/${id}`);
  t.is(status, 200);
  t.like(json.messages[0], {
    messageId: id,
    topic: memberEvents,
    status: 'waiting',
    producedBy: 'membership',
  });
  t.notRegex(JSON.stringify(json), /secret/);
  t.like(await as(operatorToken)('GET', `/${randomUUID()}`), { status: 404, code: 'MUSTER_MESSAGE_UNKNOWN' });
  for (const role of ['customer', 'merchant', 'service'] as const)
    t.is((await as(await tokenOf(role, 'x'))('GET', `/${id}`)).status, 403);
});
