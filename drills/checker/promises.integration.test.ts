/**
 * A wrong put in on purpose for each promise of the catalog: the check that runs all the time tells it, and the judge of
 * the drills, who shares nothing with it but the catalog, tells it from the same rows and records. Kafka is in memory,
 * as nobody may write to the real topics; database and Redis are real.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import { createClient, type RedisClientType } from 'redis';
import type { PaymentEvent } from '../../catalog/events/payment.ts';
import { allGroups } from '../../catalog/groups.ts';
import { type PromiseName, promises } from '../../catalog/promises.ts';
import type { DatabaseName } from '../../catalog/tables.ts';
import { topics } from '../../catalog/topics.ts';
import { checkout } from '../../environment/paths.ts';
import { bankingChecks } from '../../workers/banking/promises.ts';
import { reconcile } from '../../workers/banking/reconciliation.ts';
import { requestStore as firmbankingStore } from '../../workers/banking/requests.ts';
import { accountStore } from '../../workers/banking/store.ts';
import { bytesOfUuid, uuidV7 } from '../../workers/base/ids.ts';
import { createRegistry } from '../../workers/base/metrics.ts';
import { pseudonym } from '../../workers/base/pseudonym.ts';
import { resultOf } from '../../workers/coupon/events.ts';
import { requestRecord } from '../../workers/coupon/intake.ts';
import { orderings } from '../../workers/coupon/ordering.ts';
import { couponChecks } from '../../workers/coupon/promises.ts';
import { acceptRequests, decideRequests } from '../../workers/coupon/requests.ts';
import { createCoupon, requestStore } from '../../workers/coupon/store.ts';
import type { IncomingRecord } from '../../workers/kafka/kafka.ts';
import { eventRecord, headerText } from '../../workers/kafka/records.ts';
import { testLog, uniqueName } from '../../workers/kafka/testing.ts';
import { membershipChecks } from '../../workers/membership/promises.ts';
import { createMember, type MembershipTables } from '../../workers/membership/store.ts';
import { followMember, setAccount } from '../../workers/money/accounts.ts';
import { readMemberEvent } from '../../workers/money/events.ts';
import { houseAccounts } from '../../workers/money/house.ts';
import { bookAll } from '../../workers/money/postings.ts';
import { moneyChecks } from '../../workers/money/promises.ts';
import { rechargeStore } from '../../workers/money/recharges.ts';
import { ledgerStore } from '../../workers/money/store.ts';
import { payOrders } from '../../workers/order/payments.ts';
import { orderChecks } from '../../workers/order/promises.ts';
import { createProduct, type OrderTables, paymentStore, placeOrders } from '../../workers/order/store.ts';
import { outsideChecks } from '../../workers/outside/promises.ts';
import { paymentChecks } from '../../workers/payment/promises.ts';
import { paymentStore as merchantPayments } from '../../workers/payment/store.ts';
import { brokenNow } from '../../workers/platform/checks.fixture.ts';
import type { Check, CheckDeps } from '../../workers/platform/checks.ts';
import { platformChecks } from '../../workers/platform/promises.ts';
import { createMemoryKafka } from '../../workers/promotion/memory-kafka.fixture.ts';
import { promotionChecks } from '../../workers/promotion/promises.ts';
import { remittanceChecks } from '../../workers/remittance/promises.ts';
import { remittanceStore } from '../../workers/remittance/store.ts';
import { lineStore } from '../../workers/settlement/lines.ts';
import { settlementChecks } from '../../workers/settlement/promises.ts';
import { runStore } from '../../workers/settlement/runs.ts';
import type { Line } from '../../workers/settlement/settlement.ts';
import { slipStore } from '../../workers/settlement/slips.ts';
import { outboxRecords, scratchDatabases } from '../../workers/store/database.fixture.ts';
import { transaction } from '../../workers/store/database.ts';
import { appendOutbox, outboxStore } from '../../workers/store/outbox.ts';
import { startOutboxRelay } from '../../workers/store/relay.ts';
import type { BankTransfer } from './banking.ts';
import { beginCheck, type Told } from './check.ts';
import type { Reader, SeenRecord } from './reading.ts';
import { openStores } from './stores.ts';

// About the server, not about rows that one could put wrong.
const { 'commits-on-both': _, ...ofRows } = platformChecks;

const checks: Partial<Record<PromiseName, (deps: CheckDeps, promise: (typeof promises)[number]) => Check>> = {
  ...ofRows,
  ...couponChecks,
  ...orderChecks,
  ...outsideChecks,
  ...promotionChecks,
  ...moneyChecks,
  ...membershipChecks,
  ...bankingChecks,
  ...remittanceChecks,
  ...paymentChecks,
  ...settlementChecks,
};

interface Wrong {
  /** As docs/promises.md says it. */
  readonly does: string;
  breaks(stage: Stage): Promise<unknown>;
  /** The id that the check tells, and the finding of the judge. */
  told(ids: Ids): { readonly check: string; readonly judge: string };
}

const ofPayment =
  (name: string) =>
  (record: IncomingRecord, { order }: Ids) =>
    record.topic === name && headerText(record, 'ce_id')!.startsWith(order);

const wrongs: Partial<Record<PromiseName, Wrong>> = {
  'stores-take-writes': {
    does: 'a trigger refuses writes',
    breaks: ({ shop }) =>
      sql`
        CREATE TRIGGER refuses BEFORE UPDATE ON muster_write_probe FOR EACH ROW
        SIGNAL SQLSTATE '45000' SET MYSQL_ERRNO = 1290, MESSAGE_TEXT = 'read-only'`.execute(shop),
    told: () => ({ check: 'mysql', judge: 'wrong mysql' }),
  },
  'outbox-published': {
    does: 'a record in the outbox of `money`, and nobody publishes it',
    async breaks({ of }) {
      await transaction(of('money'), (trx) => appendOutbox(trx, [{ topic: 'out', key: null, value: 'v' }]));
      await sql`UPDATE muster_outbox SET shard = 0, created_at = created_at - INTERVAL 2 MINUTE`.execute(
        of('money'),
      );
    },
    told: () => ({ check: 'money 0-1 out', judge: 'untold money muster_outbox 0-1' }),
  },
  'timers-fired': {
    does: 'a timer that was due two minutes ago is still there',
    breaks: ({ shop, ids }) =>
      sql`
        UPDATE muster_outbox_due SET due_at = UTC_TIMESTAMP(3) - INTERVAL 2 MINUTE,
          take_at = UTC_TIMESTAMP(3) - INTERVAL 2 MINUTE WHERE id = ${ids.timer}`.execute(shop),
    told: ({ timer }) => ({ check: `shop due-${timer}`, judge: `untold shop muster_outbox_due ${timer}` }),
  },
  'coupon-requests-decided': {
    does: 'a decided request is PENDING again',
    breaks: ({ shop, ids }) =>
      sql`
        UPDATE coupon_request SET status = 'PENDING', reason = NULL, decided_at = NULL
        WHERE request_id = ${bytesOfUuid(ids.refused)}`.execute(shop),
    told: ({ refused }) => ({ check: refused, judge: `lost ${refused}` }),
  },
  'coupon-stock-kept': {
    does: 'the counter of a coupon is one too high',
    breaks: ({ shop }) => sql`UPDATE coupon SET issued = issued + 1, stock = stock + 1`.execute(shop),
    told: ({ coupon }) => ({ check: coupon, judge: `ledger ${coupon}` }),
  },
  'coupon-success-held': {
    does: 'the coupon of a winner is deleted, and not counted any more',
    async breaks({ shop, ids }) {
      await sql`DELETE FROM coupon_history WHERE request_id = ${bytesOfUuid(ids.won)}`.execute(shop);
      await sql`UPDATE coupon SET issued = issued - 1`.execute(shop);
    },
    told: ({ won }) => ({ check: won, judge: `ledger ${won}` }),
  },
  'coupon-outcomes-told': {
    does: 'the result of a request is not published',
    breaks: async ({ hide, ids }) =>
      hide(({ topic, headers }) => topic === topics.couponResults.name && headers.ce_id === ids.refused),
    told: ({ refused }) => ({ check: refused, judge: `untold ${refused}` }),
  },
  'orders-paid-once': {
    does: 'a payment of another amount than its order',
    breaks: ({ shop }) => sql`UPDATE shop_payment SET amount_minor = 1`.execute(shop),
    told: ({ order }) => ({ check: order, judge: `ledger ${order}` }),
  },
  'orders-told': {
    does: '`order-confirmed` of a payment is not published',
    breaks: async ({ hide, ids }) => hide((record) => ofPayment(topics.orderConfirmed.name)(record, ids)),
    told: ({ order }) => ({ check: `${order}-confirmed`, judge: `untold ${order}` }),
  },
  'orders-expired': {
    does: 'an order of 40 minutes ago that nobody has paid, and its timer is gone',
    async breaks({ shop, ids }) {
      await sql`DELETE FROM muster_outbox_due`.execute(shop);
      await sql`
        UPDATE shop_order SET created_at = created_at - INTERVAL 40 MINUTE
        WHERE order_id = ${ids.unpaid}`.execute(shop);
    },
    told: ({ unpaid }) => ({ check: unpaid, judge: `lost ${unpaid}` }),
  },
  'stock-conserved': {
    does: 'the stock of a product is one too high',
    breaks: ({ shop }) => sql`UPDATE shop_product SET stock = stock + 1`.execute(shop),
    told: ({ product }) => ({ check: product, judge: `ledger ${product}` }),
  },
  'ranking-is-sum': {
    does: 'a product is ranked with one more than was sold',
    breaks: ({ redis, rankingKey, ids }) => redis.zIncrBy(rankingKey, 1, ids.product),
    told: ({ product }) => ({ check: product, judge: `wrong ${product}` }),
  },
  'outside-events-ended': {
    does: 'the webhook of a payment is FAILED, and nobody tries it again',
    breaks: ({ shop, ids }) =>
      sql`UPDATE muster_event SET state = 'FAILED' WHERE event_id = ${ids.payment}`.execute(shop),
    told: ({ payment, order }) => ({ check: payment, judge: `untold ${order}` }),
  },
  'purchases-answered': {
    does: 'the answer to a purchase is not published',
    breaks: async ({ hide }) => hide(({ topic }) => topic === topics.purchaseEnriched.name),
    told: ({ purchase, answer }) => ({ check: answer, judge: `lost ${purchase}` }),
  },
  'ledger-sums-to-zero': {
    does: 'a balance is one too high',
    breaks: ({ of, ids }) =>
      sql`UPDATE ledger_account SET balance_minor = balance_minor + 1 WHERE account_id = ${ids.account}`.execute(
        of('money'),
      ),
    told: () => ({ check: 'KRW', judge: 'ledger KRW' }),
  },
  'ledger-entries-linked': {
    does: 'without its trigger, an entry in the middle of an account is changed',
    async breaks({ of, ids }) {
      await sql`DROP TRIGGER ledger_entry_unchanged`.execute(of('money'));
      await sql`
        UPDATE ledger_entry SET amount_minor = amount_minor + 1
        WHERE transfer_id = ${bytesOfUuid(ids.transfer)} AND amount_minor < 0`.execute(of('money'));
    },
    told: ({ transfer }) => ({ check: transfer, judge: `ledger ${transfer}` }),
  },
  'ledger-accounts-true': {
    does: 'an account holds an amount, and no hold says so',
    breaks: ({ of, ids }) =>
      sql`UPDATE ledger_account SET held_minor = 3 WHERE account_id = ${ids.account}`.execute(of('money')),
    told: ({ account }) => ({ check: account, judge: `ledger ${account}` }),
  },
  'members-told': {
    does: 'the event of a new member is not published',
    breaks: async ({ hide }) => hide(({ topic }) => topic === topics.memberEvents.name),
    told: ({ member }) => ({ check: `${member}-1`, judge: `untold ${member}-1` }),
  },
  'members-have-accounts': {
    does: 'the account of a member is suspended, and the member is not',
    breaks: ({ of, ids }) =>
      sql`UPDATE ledger_account SET state = 'SUSPENDED' WHERE account_id = ${ids.member}`.execute(
        of('money'),
      ),
    told: ({ member }) => ({ check: member, judge: `wrong ${member}` }),
  },
  'recharges-decided': {
    does: 'a recharge is with its bank, and nobody asks',
    breaks: ({ of, ids }) =>
      sql`
        UPDATE recharge SET state = 'AT_BANK', transfer_id = NULL, decided_at = NULL, due_at = requested_at
        WHERE recharge_id = ${bytesOfUuid(ids.recharge)}`.execute(of('money')),
    told: ({ recharge }) => ({ check: recharge, judge: `lost ${recharge}` }),
  },
  'recharges-booked': {
    does: 'a recharge is FAILED, and the bank has taken the money',
    breaks: ({ of, ids }) =>
      sql`
        UPDATE recharge SET state = 'FAILED', transfer_id = NULL
        WHERE recharge_id = ${bytesOfUuid(ids.recharge)}`.execute(of('money')),
    told: ({ taken }) => ({ check: taken, judge: `ledger ${taken}` }),
  },
  'remittances-decided': {
    does: 'a remittance has not ended, and nobody carries it on',
    breaks: ({ of, ids }) =>
      sql`
        UPDATE remittance SET state = 'TRANSFER', decided_at = NULL, due_at = requested_at
        WHERE remittance_id = ${bytesOfUuid(ids.remittance)}`.execute(of('remittance')),
    told: ({ remittance }) => ({ check: remittance, judge: `lost ${remittance}` }),
  },
  'remittances-booked': {
    does: 'a remittance is of one more than its transfer in the books',
    breaks: ({ of, ids }) =>
      sql`
        UPDATE remittance SET amount_minor = amount_minor + 1
        WHERE remittance_id = ${bytesOfUuid(ids.remittance)}`.execute(of('remittance')),
    told: ({ remittance }) => ({ check: remittance, judge: `wrong ${remittance}` }),
  },
  'payments-decided': {
    does: 'a refund has not ended, and nobody carries it on',
    breaks: ({ of, ids }) =>
      sql`
        UPDATE slip SET state = 'TRANSFER', transfer_id = NULL, decided_at = NULL, due_at = requested_at
        WHERE slip_id = ${bytesOfUuid(ids.refund)}`.execute(of('payment')),
    told: ({ refund }) => ({ check: refund, judge: `lost ${refund}` }),
  },
  'refunds-covered': {
    does: 'a refund is one more than its payment was',
    breaks: ({ of, ids }) =>
      sql`UPDATE slip SET amount_minor = 111 WHERE slip_id = ${bytesOfUuid(ids.refund)}`.execute(
        of('payment'),
      ),
    told: ({ paid }) => ({ check: paid, judge: `ledger ${paid}` }),
  },
  'payments-booked': {
    does: 'a payment is of another amount than its transfer in the books',
    breaks: ({ of, ids }) =>
      sql`UPDATE slip SET amount_minor = 111 WHERE slip_id = ${bytesOfUuid(ids.paid)}`.execute(of('payment')),
    told: ({ paid, paidBy }) => ({ check: paidBy, judge: `wrong ${paid}` }),
  },
  'slips-settled': {
    does: 'a slip of settlement is of one more than its payment',
    breaks: ({ of, ids }) =>
      sql`
        UPDATE settlement_slip SET amount_minor = amount_minor + 1 WHERE event_id = ${bytesOfUuid(ids.paid)}`.execute(
        of('settlement'),
      ),
    told: ({ paid }) => ({ check: paid, judge: `wrong ${paid}` }),
  },
  'settlements-run': {
    does: 'a run is not summed up, and nobody goes on with it',
    breaks: ({ of }) =>
      sql`
        UPDATE settlement_run SET summed_at = NULL, due_at = started_at, started_at = started_at - INTERVAL 1 HOUR`.execute(
        of('settlement'),
      ),
    told: ({ settlementRun }) => ({ check: settlementRun, judge: `lost ${settlementRun}` }),
  },
  'settlements-ended': {
    does: 'a settlement is to be paid out, and nobody does it',
    breaks: ({ of }) =>
      sql`UPDATE settlement_line SET state = 'PAYOUT', due_at = made_at, ended_at = NULL`.execute(
        of('settlement'),
      ),
    told: ({ settlement }) => ({ check: settlement, judge: `lost ${settlement}` }),
  },
  'settlements-add-up': {
    does: 'a slip of a settlement is not there any more',
    breaks: ({ of }) => sql`DELETE FROM settlement_slip WHERE kind = 'REFUNDED'`.execute(of('settlement')),
    told: ({ settlement, settlementRun, merchant }) => ({
      check: `${settlementRun} ${merchant}`,
      judge: `ledger ${settlement}`,
    }),
  },
  'settlements-paid': {
    does: 'a settlement says of another transfer that it booked it',
    breaks: ({ of, ids }) =>
      sql`UPDATE settlement_line SET transfer_id = ${bytesOfUuid(ids.transfer)}`.execute(of('settlement')),
    told: ({ settlement }) => ({ check: settlement, judge: `wrong ${settlement}` }),
  },
  'firmbanking-decided': {
    does: 'a firm banking is in doubt, and nobody asks the bank',
    breaks: ({ of, ids }) =>
      sql`
        UPDATE firmbanking SET state = 'IN_DOUBT', decided_by = NULL, decided_at = NULL, due_at = requested_at
        WHERE firmbanking_id = ${bytesOfUuid(ids.firmbanking)}`.execute(of('banking')),
    told: ({ firmbanking }) => ({ check: firmbanking, judge: `lost ${firmbanking}` }),
  },
  'bank-books-equal': {
    does: 'a firm banking that the bank has executed is REJECTED here',
    async breaks({ of, ids, books }) {
      await sql`
        UPDATE firmbanking SET state = 'REJECTED' WHERE firmbanking_id = ${bytesOfUuid(ids.firmbanking)}`.execute(
        of('banking'),
      );
      await reconcile(of('banking'), statementOf(books), 'hana');
    },
    told: ({ firmbanking }) => ({ check: firmbanking, judge: `ledger ${firmbanking}` }),
  },
};

const pseudonymKey = Buffer.alloc(32, 7);
const run = 'run';
const amount = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
type Stage = Awaited<ReturnType<typeof open>>;
type Ids = Stage['ids'];

/**
 * Everything in order: a coupon that is sold out, an order that is paid and one that waits, a purchase, a transfer, a member, and
 * what is carried out step by step.
 */
async function open(t: ExecutionContext, name: string) {
  const scratch = await scratchDatabases(name);
  const { of } = scratch;
  const shop = of('shop');
  const rankingKey = uniqueName('ranking');
  const redisAt = {
    REDIS_HOST: process.env.REDIS_HOST ?? '127.0.0.1',
    REDIS_PORT: process.env.REDIS_PORT ?? '6379',
    ...(process.env.REDIS_PASSWORD ? { REDIS_PASSWORD: process.env.REDIS_PASSWORD } : {}),
  };
  const redis = createClient({
    socket: { host: redisAt.REDIS_HOST, port: Number(redisAt.REDIS_PORT) },
    ...(redisAt.REDIS_PASSWORD === undefined ? {} : { password: redisAt.REDIS_PASSWORD }),
  }) as RedisClientType;
  await redis.connect();

  const memory = createMemoryKafka();
  const hidden: ((record: IncomingRecord) => boolean)[] = [];
  const kafka = {
    admin: memory.admin,
    async *read(...asked: Parameters<typeof memory.read>) {
      for await (const records of memory.read(...asked))
        yield records.filter((record) => !hidden.some((hides) => hides(record)));
    },
  };

  const stores = openStores(
    {
      ...Object.fromEntries(Object.entries(scratch.settings).map(([key, value]) => [key, String(value)])),
      ...redisAt,
    },
    rankingKey,
  );
  t.teardown(async () => {
    await redis.del(rankingKey);
    redis.destroy();
    await scratch.drop();
  });

  const books: BankTransfer[] = [];
  const anHourAgo = await sql<{ at: string }>`
    SELECT CAST(UTC_TIMESTAMP(3) - INTERVAL 1 HOUR AS CHAR) AS at`.execute(shop);
  const ended = new AbortController();
  t.teardown(() => ended.abort());
  const check = await beginCheck(
    {
      subjects: ['promotion', 'coupons', 'orders', 'money'],
      variables: {},
      run,
      personal: ['person'],
      signal: ended.signal,
    },
    {
      reader: readerOf(kafka),
      stores: { ...stores, now: async () => anHourAgo.rows[0]!.at },
      claims: async (orderIds) => ({
        orders: new Map(
          (
            await sql<{ id: string; status: string; paymentId: string }>`
              SELECT order_id AS id, status, payment_id AS paymentId
              FROM shop_order JOIN shop_payment USING (order_id)`.execute(shop)
          ).rows.map(({ id, ...claim }) => [id, claim]),
        ),
        received: new Map(orderIds.map((id) => [id, 1])),
        stock: new Map(
          (
            await sql<{ id: string; stock: number }>`
              SELECT product_id AS id, stock FROM shop_product`.execute(shop)
          ).rows.map(({ id, stock }) => [id, stock]),
        ),
        ranked: new Map(
          (await redis.zRangeWithScores(rankingKey, 0, -1)).map(({ value, score }) => [value, score]),
        ),
      }),
      received: async () => new Map(),
      balances: async (members) => {
        const { rows } = await sql<{ id: string; balance: number }>`
          SELECT account_id AS id, balance_minor AS balance FROM ledger_account`.execute(of('money'));
        const balanceOf = new Map(rows.map(({ id, balance }) => [id, balance]));
        return new Map(members.map((one) => [one, balanceOf.get(pseudonym(pseudonymKey, one))!]));
      },
      bankBooks: async () => books,
      atBanks: async () => ({ accounts: new Map(), sumMinor: 0 }),
      // Wrongs of the log store: workers/logging/logging.integration.test.ts and logs.test.ts.
      logs: () => Promise.reject(new Error('nobody logs here')),
    },
  );

  const producer = await memory.producer('facts');
  const coupons = await sellOut(shop, producer.send);
  const orders = await sell(shop);
  await redis.zAdd(rankingKey, { value: orders.ids.product, score: orders.quantity });
  const purchase = { id: `${run}-p1`, userId: 'person-1' };
  const answer = `${pseudonym(pseudonymKey, purchase.userId)}:${purchase.id}`;
  await producer.send([
    eventRecord({
      topic: topics.purchase.name,
      key: purchase.userId,
      type: 'Purchase',
      source: '/muster/promotion-api',
      id: purchase.id,
      timeMs: Date.now(),
      data: { purchaseId: purchase.id, userId: purchase.userId },
    }),
    {
      topic: topics.purchaseEnriched.name,
      key: answer,
      value: JSON.stringify({ purchaseId: purchase.id, version: 1, promotion_affect: 0, promotions: [] }),
    },
  ]);
  const money = await sendMoney(of('money'));
  const { unpaid } = orders.ids;
  const member = await newMember(of('membership'));
  const firmbanking = await moveMoney(of('banking'), books);
  const bought = await payMerchant(of);
  const settled = await settle(of, books);
  for (const name of ['shop', 'membership', 'banking', 'payment'] as const) {
    const relay = startOutboxRelay({
      store: outboxStore(of(name)),
      database: name,
      producer,
      registry: createRegistry(),
      log: testLog,
      pollMs: 5,
    });
    for (;;) {
      const { rows } = await sql`SELECT 1 FROM muster_outbox LIMIT 1`.execute(of(name));
      if (rows.length === 0) break;
    }
    await relay.stop();
  }
  for await (const records of everything(memory, topics.memberEvents.name))
    for (const record of records) await followMember(of('money'), readMemberEvent(record));
  const sagas = await carryOut(of, books, member);
  await sql`UPDATE muster_event SET state = 'COMPLETED'`.execute(shop);
  const timers = await sql<{ id: number }>`
    SELECT MAX(id) AS id FROM muster_outbox_due WHERE due_at IS NOT NULL`.execute(shop);

  const deps = {
    database: async (database: DatabaseName = 'shop') => of(database),
    redis: async () => ({
      set: (key: string, value: string, options: { EX: number }) =>
        redis.set(`${rankingKey}:${key}`, value, options),
      zScan: (_key: string, ...rest: [string, object]) => redis.zScan(rankingKey, ...rest),
      zmScore: (_key: string, ids: string[]) => redis.zmScore(rankingKey, ids),
    }),
    kafka,
    pseudonymKey,
    payWithinMs: 1_800_000,
  } as unknown as CheckDeps;
  const told: Told = {
    promotion: {
      messages: [
        {
          message: {
            id: purchase.id,
            userId: purchase.userId,
            eventTimeMs: Date.now(),
            purchase: { purchaseId: purchase.id },
          },
          way: 'api',
          outcome: 'acked',
        },
      ],
      personal: [],
    },
    coupons: [coupons.told],
    orders: orders.told,
    money: money.told,
  };
  return {
    shop,
    of,
    redis,
    rankingKey,
    books,
    hide: (hides: (record: IncomingRecord) => boolean) => void hidden.push(hides),
    ids: {
      ...coupons.ids,
      ...orders.ids,
      unpaid,
      ...money.ids,
      member,
      firmbanking,
      ...sagas,
      ...bought,
      ...settled,
      purchase: purchase.id,
      answer,
      timer: timers.rows[0]!.id,
    },
    /** As if all limits were over. */
    running: new Map(
      promises.flatMap((promise) => {
        const make = checks[promise.name];
        return make === undefined ? [] : [[promise.name, make(deps, { ...promise, limitMs: 0 })] as const];
      }),
    ),
    judged: async () => {
      const verdicts = await check.judge(told, { patienceMs: 0, disturbed: false });
      return verdicts.flatMap(({ findings }) => findings.map(({ kind, id }) => `${kind} ${id}`));
    },
  };
}

/** The judge's reader over topics in memory; groups have committed all. */
function readerOf(kafka: Pick<CheckDeps['kafka'], 'admin' | 'read'>): Reader {
  const ends: Reader['ends'] = async (names) =>
    new Map(
      await Promise.all(
        names.map(async (topic) => {
          const offsets = await kafka.admin.offsets(topic);
          return [topic, new Map(offsets.map(({ partition, high }) => [partition, high]))] as const;
        }),
      ),
    );
  return {
    ends,
    committed: (id) => ends(allGroups.find((group) => group.id === id)!.topics.map(({ name }) => name)),
    since: (mark) => async () => {
      const seen = new Map<string, SeenRecord[]>();
      for (const [topic, own] of await ends([...mark.keys()]))
        for (const [partition, end] of own)
          for await (const records of kafka.read(topic, partition, mark.get(topic)!.get(partition)!, end))
            seen.set(topic, [...(seen.get(topic) ?? []), ...records.map(asSeen)]);
      return (topic) => seen.get(topic) ?? [];
    },
    async close() {},
  };
}

const asSeen = ({ headers, key, value, ...place }: IncomingRecord): SeenRecord => ({
  ...place,
  key: key === null ? null : Buffer.from(key),
  value: value === null ? null : Buffer.from(value),
  headers: Object.fromEntries(
    Object.entries(headers).map(([name, content]) => [name, Buffer.from(String(content))]),
  ),
});

type Send = Awaited<ReturnType<ReturnType<typeof createMemoryKafka>['producer']>>['send'];

/** Two people ask for the one coupon that there is. */
async function sellOut(shop: Kysely<unknown>, send: Send) {
  const store = requestStore(async () => shop);
  const coupon = await createCoupon(shop, { name: 'c', stock: 1 });
  const requests = ['person-a', 'person-b'].map((userId) => ({
    requestId: uuidV7(Date.now()),
    userId,
    couponId: coupon,
    traceparent: undefined,
  }));
  const records = requests.map((request) => requestRecord(request, orderings.user));
  const { id } = await acceptRequests(store, requests, records);
  await send(records);
  await sql`DELETE FROM muster_outbox_due WHERE id = ${id}`.execute(shop);
  const decided = await decideRequests(store, requests, ({ couponHistoryId, couponId }) => ({
    topic: topics.externalEvents.name,
    key: null,
    value: '{}',
    headers: { ce_id: couponHistoryId!, ce_type: 'CouponIssued', ce_subject: couponId },
  }));
  const results = decided.map((one) => resultOf(one, pseudonymKey));
  await send(
    results.map((result) =>
      eventRecord({
        topic: topics.couponResults.name,
        key: orderings.user.resultKey(result),
        type: 'CouponResult',
        source: '/muster/coupon-issue',
        id: result.requestId,
        timeMs: Date.parse(result.decidedAt),
        data: result,
      }),
    ),
  );
  const idOf = (outcome: string) => results.find((result) => result.outcome === outcome)!.requestId;
  return {
    ids: { coupon, won: idOf('SUCCESS'), refused: idOf('FAILED') },
    told: {
      couponId: coupon,
      stock: 1,
      issued: 1,
      requestIds: results.map(({ requestId }) => requestId),
      outcomeOf: new Map(results.map(({ requestId, reason }) => [requestId, reason ?? 'SUCCESS'])),
      failed: 0,
      notAcknowledged: 0,
      usersTwice: 0,
    },
  };
}

/** One order is paid, another one waits for its payment. */
async function sell(db: Kysely<unknown>) {
  const shop = db as Kysely<OrderTables>;
  const nowMs = Date.now();
  const quantity = 2;
  const stock = 100;
  const { productId: product } = await createProduct(
    shop,
    { name: 'Mug', price: amount(1_000), stock },
    undefined,
    nowMs,
  );
  const items = [{ productId: product, quantity }];
  const placed = await placeOrders(
    shop,
    [
      { user: 'u_1', items },
      { user: 'u_2', items },
    ],
    nowMs,
    1_800_000,
  );
  const [order, unpaid] = placed.map((one) => (one.ok ? one.order.orderId : '')) as [string, string];
  const payment = uuidV7(nowMs);
  const call = {
    orderId: order,
    idempotencyKey: order,
    requestHash: order,
    amount: amount(1_000 * quantity),
    paymentId: payment,
    method: 'card',
    cardLast4: undefined,
    traceparent: undefined,
  };
  await payOrders(
    paymentStore(async () => shop),
    [call],
    nowMs,
  );
  return {
    quantity,
    ids: { product, order, unpaid, payment },
    told: {
      orders: [
        {
          orderId: order,
          items,
          outcome: 'paid' as const,
          paymentId: payment,
          paySentAtMs: nowMs,
          paidAtMs: nowMs + 1,
        },
      ],
      failed: 0,
      productIds: [product],
      stock,
      changed: [],
    },
  };
}

/** A transfer between accounts, old enough to be judged: its id. */
async function book(
  db: Kysely<unknown>,
  leg: { readonly from: string; readonly to: string; readonly amountMinor: number },
  reason = 'transfer',
): Promise<string> {
  const transferId = uuidV7(Date.now() - 2_000);
  const legs = [{ ...leg, reason }];
  await bookAll(
    ledgerStore(async () => db),
    [
      {
        operation: { kind: 'transfer', transferId, currency: 'KRW', legs },
        once: { scope: 'money:test', key: transferId, body: '' },
      },
    ],
    Date.now,
  );
  return transferId;
}

/** Two members with money, one of whom sends the other some of it, twice. */
async function sendMoney(db: Kysely<unknown>) {
  const accountOf = (member: string) => pseudonym(pseudonymKey, member);
  const transfer = (from: string, to: string, amountMinor: number) => book(db, { from, to, amountMinor });
  const members = [];
  for (const member of ['person-1', 'person-2']) {
    await setAccount(db, accountOf(member), { currency: 'KRW', state: 'OPEN' });
    const transferId = await transfer(houseAccounts(0)('bank', 'KRW'), accountOf(member), 1_000_000);
    members.push({ member, transferId, amountMinor: 1_000_000 });
  }
  const sent = [];
  for (const amountMinor of [100, 101]) {
    const transferId = await transfer(accountOf('person-1'), accountOf('person-2'), amountMinor);
    sent.push({
      amountMinor,
      from: 'person-1',
      to: 'person-2',
      owes: 'booked' as const,
      outcome: 'booked' as const,
      transferIds: [transferId],
    });
  }
  return {
    ids: { account: accountOf('person-1'), transfer: sent[0]!.transferIds[0]! },
    told: { members, sent },
  };
}

/** A new member: what others know it by. */
async function newMember(db: Kysely<unknown>): Promise<string> {
  const joined = await createMember(
    db as Kysely<MembershipTables>,
    {
      type: 'PERSON',
      name: 'person-m',
      email: 'person-m@example.org',
      address: '1',
      district: 'Mapo-gu',
      password: 'kept',
    },
    { scope: 'membership:test', key: 'm', body: '' },
    { pseudonymKey, nowMs: Date.now() },
  );
  return pseudonym(pseudonymKey, joined.ok ? joined.memberId : '');
}

const statementOf = (entries: readonly BankTransfer[]) => ({
  statement: async () => ({
    entries: entries.map((entry) => ({ ...entry, state: entry.state as 'EXECUTED' | 'REJECTED' })),
  }),
});

/** A firm banking that a bank has executed, in its books too, which were compared. */
async function moveMoney(db: Kysely<unknown>, books: BankTransfer[]): Promise<string> {
  const stores = { database: async () => db, timeZone: 'Asia/Seoul' };
  const accounts = accountStore(stores);
  const firmbankings = firmbankingStore(stores);
  const once = (key: string) => ({ scope: 'banking:test', key, body: '' });
  await accounts.setContract(
    {
      bank: 'hana',
      state: 'ACTIVE',
      expiresAtMs: Date.UTC(2100, 0),
      currency: 'KRW',
      feeMinor: 1,
      callLimitMinor: 100,
      dayLimitMinor: 1_000,
    },
    'operator:test',
    once('contract'),
  );
  const ids: string[] = [];
  for (const accountNumber of ['110-1', '110-2']) {
    const account = { owner: 'house', bank: 'hana', accountNumber, currency: 'KRW' };
    const made = await accounts.registerAccount(account, 'OPEN', 'operator:test', once(accountNumber));
    ids.push(made.ok ? made.accountId : '');
  }
  const wish = { fromId: ids[0]!, toId: ids[1]!, amountMinor: 100, currency: 'KRW' };
  const asked = await firmbankings.accept(wish, once('firmbanking'));
  const firmbankingId = asked.ok ? asked.firmbankingId : '';
  const { claimed } = await firmbankings.claim('hana', { bankDown: false, most: 1, leaseMs: 20_000 });
  await firmbankings.finish(claimed[0]!, { word: { kind: 'EXECUTED' }, outcome: '2xx' });
  books.push({
    transferId: firmbankingId,
    state: 'EXECUTED',
    from: '110-1',
    to: { bank: 'hana', accountNumber: '110-2' },
    amountMinor: 100,
    currency: 'KRW',
  });
  await reconcile(db, statementOf(books), 'hana');
  return firmbankingId;
}

/** A recharge of a member that has ended, and a remittance of the same money to somebody. */
async function carryOut(
  of: (name: DatabaseName) => Kysely<unknown>,
  books: BankTransfer[],
  member: string,
): Promise<{ readonly recharge: string; readonly taken: string; readonly remittance: string }> {
  const once = { scope: 'sagas:test', key: 'k', body: '' };
  const bank = { database: async () => of('banking'), timeZone: 'Asia/Seoul' };
  const own = { owner: member, bank: 'hana', accountNumber: '110-3', currency: 'KRW' };
  const registered = await accountStore(bank).registerAccount(own, 'OPEN', 'operator:test', once);
  const bankAccountId = registered.ok ? registered.accountId : '';
  const { rows: houses } = await sql<{ id: string }>`
    SELECT HEX(account_id) AS id FROM bank_account WHERE account_number = '110-1'`.execute(of('banking'));
  const recharges = rechargeStore({ database: async () => of('money'), houseAccount: houseAccounts(0) });
  const asked = await recharges.accept({ account: member, bankAccountId, ...amount(10) }, once);
  const recharge = asked.ok ? asked.rechargeId : '';
  const [atBank] = await recharges.claim(1, 20_000);

  const firmbankings = firmbankingStore(bank);
  const toId = houses[0]!.id.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
  const taking = await firmbankings.accept(
    { fromId: bankAccountId, toId, owner: member, ...amount(10) },
    { ...once, key: 'taking' },
  );
  const taken = taking.ok ? taking.firmbankingId : '';
  await recharges.finish(atBank!, { kind: 'ACCEPTED', firmbankingId: taken });
  const { claimed } = await firmbankings.claim('hana', { bankDown: false, most: 1, leaseMs: 20_000 });
  await firmbankings.finish(claimed[0]!, { word: { kind: 'EXECUTED' }, outcome: '2xx' });
  books.push({
    transferId: taken,
    state: 'EXECUTED',
    from: '110-3',
    to: { bank: 'hana', accountNumber: '110-1' },
    ...amount(10),
  });
  await reconcile(of('banking'), statementOf(books), 'hana');
  await recharges.told({ id: taken, word: { kind: 'EXECUTED', ...amount(10) } }, endOf(taken));

  const receiver = 'u_receiver';
  await setAccount(of('money'), receiver, { currency: 'KRW', state: 'OPEN' });
  const remittances = remittanceStore({ database: async () => of('remittance') });
  const wish = { sender: member, to: { member: receiver }, feeMinor: 0, rechargeFrom: undefined };
  const { remittanceId } = await remittances.accept({ ...wish, ...amount(10) }, once);
  const [next] = await remittances.claim(1, 20_000);
  const id = await book(of('money'), { from: member, to: receiver, amountMinor: 10 });
  await remittances.finish(next!, { kind: 'OK', id });
  for (const name of ['money', 'banking', 'remittance'] as const)
    await sql`TRUNCATE TABLE muster_outbox`.execute(of(name));
  return { recharge, taken, remittance: remittanceId };
}

/** A customer pays a merchant 110, and gets 10 of it back. */
async function payMerchant(of: (name: DatabaseName) => Kysely<unknown>) {
  const [customer, merchant] = ['u_customer', pseudonym(pseudonymKey, 'merchant-1')];
  const [bank, owed] = [houseAccounts(0)('bank', 'KRW'), houseAccounts(0)('merchants', 'KRW')];
  await setAccount(of('money'), customer, { currency: 'KRW', state: 'OPEN' });
  await book(of('money'), { from: bank, to: customer, amountMinor: 110 });
  const payments = merchantPayments({ database: async () => of('payment') });
  const changedAt = new Date().toISOString();
  const known = { member: merchant, district: 'Jung-gu', state: 'ACTIVE', version: 1, changedAt } as const;
  await payments.follow([{ ...known, type: 'MERCHANT' }]);
  const once = (key: string) => ({ scope: 'payment:test', key, body: '' });
  async function carryOn(from: string, to: string, amountMinor: number, reason: string): Promise<string> {
    const [next] = await payments.claim(1, 20_000);
    const id = await book(of('money'), { from, to, amountMinor }, reason);
    await payments.finish(next!, { kind: 'OK', id });
    return id;
  }
  const wish = { customer, merchant, ...amount(110), rechargeFrom: undefined };
  const asked = await payments.accept(wish, once('payment'));
  const paid = asked.ok ? asked.paymentId : '';
  const paidBy = await carryOn(customer, owed, 110, 'payment');
  const back = await payments.refund({ paymentId: paid, merchant, amount: amount(10) }, once('refund'));
  await carryOn(owed, customer, 10, 'refund');
  return { paid, paidBy, refund: back.ok ? back.refundId : '' };
}

/** The merchant of that payment got the rest of it less our 3: at the bank, in the books, and as a settlement. */
async function settle(of: (name: DatabaseName) => Kysely<unknown>, books: BankTransfer[]) {
  const merchant = pseudonym(pseudonymKey, 'merchant-1');
  const database = async () => of('settlement');
  const nextDayMs = (ms: number) => ms + 86_400_000;
  const [slips, runs, lines] = [
    slipStore({ database }),
    runStore({ database, nextDayMs }),
    lineStore({ database, nextDayMs }),
  ];
  const once = (key: string) => ({ scope: 'settlement:test', key, body: '' });
  await slips.setDefaultRate(300);
  await runs.closeDue();
  const told = await outboxRecords(of('payment'));
  await slips.take(
    told
      .filter(({ topic }) => topic === topics.paymentEvents.name)
      .map(({ value }) => JSON.parse(String(value)) as PaymentEvent),
  );
  const runNo = (await runs.start('operator:test', once('run')))!;
  while (await runs.sumNext(runNo));

  const stores = { database: async () => of('banking'), timeZone: 'Asia/Seoul' };
  const [accounts, firmbankings] = [accountStore(stores), firmbankingStore(stores)];
  const [ours] = await accounts.accountsOf('house');
  const theirs = { owner: merchant, bank: 'hana', accountNumber: '220-1', currency: 'KRW' };
  const made = await accounts.registerAccount(theirs, 'OPEN', 'operator:test', once('account'));
  const toId = made.ok ? made.accountId : '';
  const pay = async () => {
    const wish = { fromId: ours!.accountId, toId, amountMinor: 97, currency: 'KRW' };
    const asked = await firmbankings.accept(wish, once('payout'));
    const { claimed } = await firmbankings.claim('hana', { bankDown: false, most: 1, leaseMs: 20_000 });
    await firmbankings.finish(claimed[0]!, { word: { kind: 'EXECUTED' }, outcome: '2xx' });
    const transferId = asked.ok ? asked.firmbankingId : '';
    const sides = { from: '110-1', to: { bank: 'hana', accountNumber: '220-1' } };
    books.push({ transferId, state: 'EXECUTED', ...sides, amountMinor: 97, currency: 'KRW' });
    return transferId;
  };
  const house = houseAccounts(0);
  const move = (to: 'bank' | 'commission', amountMinor: number) =>
    book(of('money'), { from: house('merchants', 'KRW'), to: house(to, 'KRW'), amountMinor }, 'settlement');
  const steps: Partial<Record<Line['state'], () => Promise<string>>> = {
    OWED: async () => toId,
    ACCOUNT: async () => toId,
    PAYOUT: pay,
    BOOK: () => move('bank', 97),
    BOOK_COMMISSION: () => move('commission', 3),
  };
  let settlement = '';
  for (;;) {
    const [line] = await lines.claim(1, 20_000);
    // What waits for the bank's event is not due.
    if (line === undefined && settlement !== '') break;
    if (line === undefined) continue;
    settlement = line.lineId;
    const id = await steps[line.state]!();
    await lines.finish(line, { kind: 'OK', id });
    if (line.state === 'PAYOUT')
      await lines.told(
        { kind: 'ENDED', firmbankingId: id, done: true, reason: undefined, amountMinor: 97 },
        endOf(id),
      );
  }
  await reconcile(of('banking'), statementOf(books), 'hana');
  return { settlement, settlementRun: String(runNo), merchant };
}

/** The message by which a firm banking's end is told. */
const endOf = (id: string) => ({
  ...{ topic: topics.firmbankingEvents.name, id },
  ...{ body: Buffer.alloc(0), createdAtMs: Date.now() },
});

async function* everything(kafka: Pick<CheckDeps['kafka'], 'admin' | 'read'>, topic: string) {
  for (const { partition, low, high } of await kafka.admin.offsets(topic))
    yield* kafka.read(topic, partition, low, high);
}

test.beforeEach((t) => t.timeout(120_000));

test('what is in order is told by nobody', async (t) => {
  const stage = await open(t, 'wrongs_none');
  t.deepEqual(await brokenNow(stage.running), {});
  t.deepEqual(await stage.judged(), []);
});

test('who has left with a recharge under way keeps an account that nobody can use, and that is in order', async (t) => {
  const stage = await open(t, 'wrongs_left');
  const { of, ids } = stage;
  await sql`UPDATE member SET state = 'CLOSED' WHERE pseudonym = ${ids.member}`.execute(of('membership'));
  await sql`UPDATE ledger_account SET state = 'SUSPENDED' WHERE account_id = ${ids.member}`.execute(
    of('money'),
  );
  const judged = async () => (await stage.judged()).filter((one) => one.endsWith(ids.member));
  await wrongs['recharges-decided']!.breaks(stage);
  t.deepEqual(await judged(), []);
});

for (const [when, laterMs] of [
  ['from the moment of the payment on', 0],
  ['a millisecond later', 1],
] as const)
  test(`a rate of commission that was in force ${when}: the judge tells the slips that have another one`, async (t) => {
    const { of, ids, judged } = await open(t, `wrongs_rates_${laterMs}`);
    await sql`
      INSERT INTO settlement_commission (merchant, from_at, rate_basis_points, set_by, set_at)
      SELECT merchant, at + INTERVAL ${laterMs * 1_000} MICROSECOND, 200, 'test', at
      FROM settlement_slip WHERE kind = 'PAID'`.execute(of('settlement'));
    const wrong = [`wrong ${ids.paid}`, `wrong ${ids.refund}`];
    t.deepEqual((await judged()).toSorted(), laterMs === 0 ? wrong.toSorted() : []);
  });

for (const [name, { does, breaks, told }] of Object.entries(wrongs))
  test(`${name}: ${does}; both tell it`, async (t) => {
    const stage = await open(t, `wrongs_${Object.keys(wrongs).indexOf(name)}`);
    await breaks(stage);
    const { check, judge } = told(stage.ids);
    const broken = await brokenNow(stage.running);
    t.deepEqual(broken[name], [check]);
    const findings = await stage.judged();
    t.true(findings.includes(judge), `the judge says: ${findings.join(', ') || 'nothing'}`);
  });

test('each promise has such a wrong, and docs/promises.md says which', async (t) => {
  t.deepEqual(
    promises.map(({ name }) => name).filter((name) => wrongs[name] === undefined),
    // Needs a log store: logging.integration.test.ts, and logs.test.ts for the judge.
    // Food delivery: workers/delivery/workers.integration.test.ts. Two members of MySQL: tools/guard.integration.test.ts.
    ['commits-on-both', 'logs-stored', 'deliveries-ended', 'riders-one-place', 'changes-notified'],
  );
  const docs = await readFile(join(checkout, 'docs/promises.md'), 'utf8');
  const rows = Object.entries(wrongs).map(([name, { does }]) => `| \`${name}\` | ${does} |`);
  t.true(
    rows.every((row) => docs.includes(row)),
    `docs/promises.md needs:\n${rows.join('\n')}`,
  );
});
