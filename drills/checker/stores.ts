/** What the stores of truth say, asked with statements of our own: rows of MySQL, and the ranking in Redis. */
import { inflateSync } from 'node:zlib';
import mysql from 'mysql2/promise';
import { createClient } from 'redis';
import { orderPayWithinSeconds } from '../../catalog/contract.ts';
import { type DatabaseName, platformDatabases } from '../../catalog/tables.ts';
import type { FirmbankingRow } from './banking.ts';
import type { DeliveryRows } from './delivery.ts';
import { deliveryRows } from './delivery-rows.ts';
import type { MemberRow } from './members.ts';
import type { LedgerRows } from './money.ts';
import { paymentRows } from './payment-rows.ts';
import type { PaymentRows } from './payments.ts';
import { type Ask, sagaRows, uuid } from './saga-rows.ts';
import type { SagaRows } from './sagas.ts';
import { settlementRows } from './settlement-rows.ts';
import type { SettlementRows } from './settlements.ts';
import type { Snapshot } from './snapshots.ts';
import { NotChecked } from './verdict.ts';

/** Rows about one coupon. Ids are text, users the bytes of their ids in hexadecimal digits: they are compared, not shown. */
export interface CouponRows {
  readonly stock: number;
  /** The counter that guards the stock. */
  readonly issued: number;
  readonly requests: readonly {
    readonly id: string;
    readonly user: string;
    readonly status: string;
    /** Null of a decided one: it has a coupon. */
    readonly reason: string | null;
  }[];
  /** Coupons that people hold. */
  readonly held: readonly { readonly id: string; readonly requestId: string; readonly user: string }[];
  /** Texts of records that are still to be published. */
  readonly unpublished: readonly string[];
  /** State of the event that tells systems outside, by the id of the coupon that somebody holds. */
  readonly told: ReadonlyMap<string, string>;
}

/** Rows of orders since a moment, and of some products. */
export interface OrderRows {
  readonly orders: readonly {
    readonly id: string;
    readonly status: string;
    readonly amountMinor: number;
    readonly items: readonly { readonly productId: string; readonly quantity: number }[];
  }[];
  readonly payments: readonly {
    readonly id: string;
    readonly orderId: string;
    readonly amountMinor: number;
  }[];
  readonly stock: ReadonlyMap<string, number>;
  /** Orders whose time to be paid came to its end since then, and which wait all the same. */
  readonly overdue: readonly string[];
  /** Events that tell systems outside of payments. */
  readonly events: readonly { readonly id: string; readonly orderId: string; readonly state: string }[];
  /** Texts of records that are still to be published, and of timers that are overdue. */
  readonly unpublished: readonly string[];
  /** How often each product was sold, says the ranking. */
  readonly ranked: ReadonlyMap<string, number>;
}

/** Everything rejects with NotChecked when a store does not answer. */
export interface Stores {
  /** The database's clock, as it writes it. */
  now(): Promise<string>;
  coupon(couponId: string): Promise<CouponRows>;
  /** @param since what `now` said before the run */
  orders(since: string, productIds: readonly string[]): Promise<OrderRows>;
  /** The books, with entries since then. */
  ledger(since: string): Promise<LedgerRows>;
  /** Sums over all accounts at one moment, by currency. */
  snapshot(): Promise<readonly Snapshot[]>;
  /** What is carried out step by step, and what has moved since then and an hour before. */
  sagas(since: string): Promise<SagaRows>;
  /** Payments and refunds of an hour before that on, and what settlement has of them. */
  payments(since: string): Promise<PaymentRows>;
  /** Orders of these dishes, with what became of them, and the riders of these districts. */
  delivery(of: {
    readonly itemIds: readonly string[];
    readonly districts: readonly string[];
  }): Promise<DeliveryRows>;
  /** All members, with their accounts. */
  members(since: string): Promise<readonly MemberRow[]>;
  /** Firm bankings that were under way since then, and those of ten minutes before. */
  firmbankings(since: string): Promise<readonly FirmbankingRow[]>;
  /** Settlements of the last two days, with what other stores say of them. */
  settlements(): Promise<SettlementRows>;
  /** With which there is a contract. */
  banks(): Promise<readonly string[]>;
  /** Rows of any outbox since then that ought to be published, by database, table and id; the first of each. */
  overdue(since: string): Promise<readonly string[]>;
  /** Stores that refuse a write. */
  refusing(): Promise<readonly string[]>;
  close(): Promise<void>;
}

/** A record and a timer may be so late before they are overdue. */
const overdueSeconds = 15;
/** An order may wait so much longer for its end than for its payment. */
const expiresWithinSeconds = 60;
const answersWithinMs = 30_000;

/** @param variables of the environment: MYSQL_* and REDIS_* */
export function openStores(
  variables: Readonly<Record<string, string>>,
  rankingKey = 'ranking:products',
): Stores {
  const pool = mysql.createPool({
    host: variables.MYSQL_HOST!,
    port: Number(variables.MYSQL_PORT),
    user: variables.MYSQL_USER!,
    password: variables.MYSQL_PASSWORD!,
    database: variables.MYSQL_DATABASE!,
    connectionLimit: 1,
    connectTimeout: 5_000,
    dateStrings: true,
    // Sums and counters come as text otherwise, or lose digits.
    supportBigNumbers: true,
  });

  async function rows<Row>(sql: string, values: readonly unknown[] = []): Promise<readonly Row[]> {
    try {
      const [answer] = await pool.query({ sql, values: [...values], timeout: answersWithinMs });
      return answer as unknown as readonly Row[];
    } catch (error) {
      throw new NotChecked('mysql', `MySQL did not answer: ${(error as Error).message}`);
    }
  }

  /** Several questions of one view of the data. */
  async function inOneView<Answer>(work: (ask: typeof rows) => Promise<Answer>): Promise<Answer> {
    // One connection: nobody asks in between.
    await rows('START TRANSACTION WITH CONSISTENT SNAPSHOT');
    try {
      return await work(rows);
    } finally {
      await rows('ROLLBACK').catch(() => undefined);
    }
  }

  async function unpublished(): Promise<readonly string[]> {
    const outbox = await rows<{ text: Buffer | null }>('SELECT value AS text FROM muster_outbox');
    const due = await rows<{ text: Buffer }>(
      `SELECT records AS text FROM muster_outbox_due
       WHERE due_at IS NULL OR take_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND`,
      [overdueSeconds],
    );
    return [...outbox, ...due].map(({ text }) => inflated(text));
  }

  /** A database of ours beside the shop's. */
  const schemaOf = (name: DatabaseName) =>
    `\`${variables.MYSQL_DATABASE!}${name === 'shop' ? '' : `_${name}`}\``;

  async function askRedis<Answer>(
    work: (redis: ReturnType<typeof createClient>) => Promise<Answer>,
  ): Promise<Answer> {
    const redis = createClient({
      socket: {
        host: variables.REDIS_HOST!,
        port: Number(variables.REDIS_PORT),
        connectTimeout: 5_000,
        reconnectStrategy: false,
      },
      ...(variables.REDIS_PASSWORD === undefined ? {} : { password: variables.REDIS_PASSWORD }),
    });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      return await work(redis as ReturnType<typeof createClient>);
    } catch (error) {
      throw new NotChecked('redis', `Redis did not answer: ${(error as Error).message}`);
    } finally {
      redis.destroy();
    }
  }

  async function ranked(productIds: readonly string[]): Promise<ReadonlyMap<string, number>> {
    const scores =
      productIds.length === 0 ? [] : await askRedis((redis) => redis.zmScore(rankingKey, [...productIds]));
    return new Map(productIds.map((id, index) => [id, scores[index] ?? 0]));
  }

  return {
    async now() {
      const [row] = await rows<{ now: string }>('SELECT UTC_TIMESTAMP(3) AS now');
      return row!.now;
    },
    async coupon(couponId) {
      const [coupon] = await rows<{ stock: number; issued: number }>(
        'SELECT stock, issued FROM coupon WHERE coupon_id = ?',
        [couponId],
      );
      if (coupon === undefined) throw new NotChecked(couponId, 'the store knows no such coupon');
      const requests = await rows<{ id: string; user: string; status: string; reason: string | null }>(
        'SELECT HEX(request_id) AS id, HEX(user_id) AS user, status, reason FROM coupon_request WHERE coupon_id = ?',
        [couponId],
      );
      const held = await rows<{ id: string; requestId: string; user: string }>(
        `SELECT HEX(coupon_history_id) AS id, HEX(request_id) AS requestId, HEX(user_id) AS user
         FROM coupon_history WHERE coupon_id = ?`,
        [couponId],
      );
      const told = await rows<{ id: string; state: string }>(
        `SELECT event_id AS id, state FROM muster_event WHERE subject = ? AND type = 'CouponIssued'`,
        [couponId],
      );
      return {
        ...coupon,
        requests: requests.map((row) => ({ ...row, id: uuid(row.id) })),
        held: held.map((row) => ({ ...row, id: uuid(row.id), requestId: uuid(row.requestId) })),
        unpublished: await unpublished(),
        told: new Map(told.map(({ id, state }) => [id, state])),
      };
    },
    async orders(since, productIds) {
      const orders = await rows<{ id: string; status: string; amountMinor: number; lines: string }>(
        `SELECT order_id AS id, status, amount_minor AS amountMinor, order_lines AS \`lines\`
         FROM shop_order WHERE created_at >= ?`,
        [since],
      );
      const payments = await rows<{ id: string; orderId: string; amountMinor: number }>(
        `SELECT payment_id AS id, order_id AS orderId, amount_minor AS amountMinor
         FROM shop_payment WHERE paid_at >= ?`,
        [since],
      );
      const products = await rows<{ id: string; stock: number }>(
        'SELECT product_id AS id, stock FROM shop_product WHERE product_id IN (?)',
        [productIds.length === 0 ? [''] : productIds],
      );
      const overdue = await rows<{ id: string }>(
        `SELECT order_id AS id FROM shop_order WHERE status = 'PENDING'
           AND created_at >= ? - INTERVAL ? SECOND AND created_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND`,
        [since, orderPayWithinSeconds, orderPayWithinSeconds + expiresWithinSeconds],
      );
      // What happened is dated by another clock than the database's.
      const events = await rows<{ id: string; orderId: string; state: string }>(
        `SELECT event_id AS id, subject AS orderId, state FROM muster_event
         WHERE type = 'PaymentCompleted' AND published_at >= ? - INTERVAL 5 MINUTE`,
        [since],
      );
      return {
        orders: orders.map(({ lines, ...row }) => ({ ...row, items: JSON.parse(lines) })),
        payments,
        stock: new Map(products.map(({ id, stock }) => [id, stock])),
        overdue: overdue.map(({ id }) => id),
        events,
        unpublished: await unpublished(),
        ranked: await ranked(productIds),
      };
    },
    ledger: (since) => inOneView((ask) => ledgerRows(ask, schemaOf('money'), since)),
    async snapshot() {
      // One statement: what it reads is of one moment.
      type Sums = { readonly [Name in keyof Snapshot]: string };
      const sums = await rows<Sums>(
        `SELECT currency, SUM(balance_minor) AS balancesMinor, SUM(held_minor) AS heldMinor,
           SUM(may_overdraw = 0 AND balance_minor < held_minor) AS overdrawn,
           (SELECT COALESCE(SUM(h.amount_minor), 0) FROM ${schemaOf('money')}.ledger_hold h
            WHERE h.state = 'OPEN' AND h.currency = a.currency) AS openHoldsMinor
         FROM ${schemaOf('money')}.ledger_account a GROUP BY currency`,
      );
      return sums.map(({ currency, ...sum }) => ({
        currency,
        balancesMinor: Number(sum.balancesMinor),
        heldMinor: Number(sum.heldMinor),
        openHoldsMinor: Number(sum.openHoldsMinor),
        overdrawn: Number(sum.overdrawn),
      }));
    },
    sagas: (since) => inOneView((ask) => sagaRows(ask, schemaOf, since)),
    payments: (since) => inOneView((ask) => paymentRows(ask, schemaOf, since)),
    delivery: (of) => inOneView((ask) => deliveryRows(ask, schemaOf, of)),
    async members(since) {
      type Flags = { readonly isNew: number; readonly hasMoney: number };
      const all = await rows<Omit<MemberRow, keyof Flags> & Flags>(
        `SELECT m.pseudonym, m.state, m.version, m.told_at >= ? AS isNew, a.state AS account,
           COALESCE(a.balance_minor <> 0 OR a.held_minor <> 0 OR EXISTS (
             SELECT 1 FROM ${schemaOf('money')}.recharge r
             WHERE r.account_id = m.pseudonym AND r.state NOT IN ('DONE', 'FAILED')), 0) AS hasMoney
         FROM ${schemaOf('membership')}.member m
         LEFT JOIN ${schemaOf('money')}.ledger_account a ON a.account_id = m.pseudonym`,
        [since],
      );
      return all.map((row) => ({ ...row, isNew: row.isNew === 1, hasMoney: row.hasMoney === 1 }));
    },
    async firmbankings(since) {
      const schema = schemaOf('banking');
      const found = await rows<Omit<FirmbankingRow, 'isNew'> & { isNew: number }>(
        `SELECT HEX(f.firmbanking_id) AS id, f.bank, f.state, f.decided_at IS NULL OR f.decided_at >= ? AS isNew, f.decided_by AS decidedBy, f.amount_minor AS amountMinor,
           f.currency, a.account_number AS fromNumber, b.bank AS toBank, b.account_number AS toNumber
         FROM ${schema}.firmbanking f
         JOIN ${schema}.bank_account a ON a.account_id = f.from_id
         JOIN ${schema}.bank_account b ON b.account_id = f.to_id
         WHERE f.decided_at IS NULL OR f.decided_at >= ? - INTERVAL 10 MINUTE`,
        [since, since],
      );
      return found.map((row) => ({ ...row, id: uuid(row.id), isNew: row.isNew === 1 }));
    },
    settlements: () => inOneView((ask) => settlementRows(ask, schemaOf)),
    async banks() {
      const found = await rows<{ bank: string }>(`SELECT bank FROM ${schemaOf('banking')}.bank_contract`);
      return found.map(({ bank }) => bank);
    },
    async overdue(since) {
      const found = await Promise.all(
        platformDatabases.map(async (name) => {
          const records = await rows<{ id: string }>(
            `SELECT CONCAT('muster_outbox ', shard, '-', id) AS id FROM ${schemaOf(name)}.muster_outbox
             WHERE created_at >= ? AND created_at < UTC_TIMESTAMP(3) - INTERVAL ? SECOND LIMIT 10`,
            [since, overdueSeconds],
          );
          const due = await rows<{ id: string }>(
            `SELECT CONCAT('muster_outbox_due ', id) AS id FROM ${schemaOf(name)}.muster_outbox_due
             WHERE COALESCE(due_at, created_at) >= ?
               AND COALESCE(due_at, created_at) < UTC_TIMESTAMP(3) - INTERVAL ? SECOND LIMIT 10`,
            [since, overdueSeconds],
          );
          return [...records, ...due].map(({ id }) => `${name} ${id}`);
        }),
      );
      return found.flat();
    },
    async refusing() {
      const writes = {
        mysql: () =>
          rows(
            `INSERT INTO muster_write_probe (id, written_at) VALUES (1, UTC_TIMESTAMP(3))
             ON DUPLICATE KEY UPDATE written_at = VALUES(written_at)`,
          ),
        redis: () => askRedis((redis) => redis.set('muster:checker:write-probe', '1', { EX: 3_600 })),
      };
      const refused = await Promise.all(
        Object.entries(writes).map(async ([store, write]) =>
          write().then(
            () => [],
            () => [store],
          ),
        ),
      );
      return refused.flat();
    },
    close: () => pool.end(),
  };
}

/** What was booked is dated by another clock than the database's. */
const sinceThen = 'booked_at >= ? - INTERVAL 5 MINUTE';

/** @param schema of the ledger's database */
async function ledgerRows(ask: Ask, schema: string, since: string): Promise<LedgerRows> {
  type Account = LedgerRows['accounts'][number];
  const accounts = await ask<Account & { entriesMinor: string; openMinor: string }>(
    `SELECT a.account_no AS no, a.account_id AS id, a.currency, a.balance_minor AS balanceMinor,
       a.held_minor AS heldMinor, a.version, COALESCE(e.amount, 0) AS entriesMinor, COALESCE(e.n, 0) AS entries,
       COALESCE(h.amount, 0) AS openMinor
     FROM ${schema}.ledger_account a
     LEFT JOIN (SELECT account_no, SUM(amount_minor) AS amount, COUNT(*) AS n
       FROM ${schema}.ledger_entry GROUP BY account_no) e ON e.account_no = a.account_no
     LEFT JOIN (SELECT from_no, SUM(amount_minor) AS amount
       FROM ${schema}.ledger_hold WHERE state = 'OPEN' GROUP BY from_no) h ON h.from_no = a.account_no`,
  );
  const legs = await ask<LedgerRows['legs'][number]>(
    `SELECT HEX(transfer_id) AS transferId, leg, from_no AS fromNo, from_version AS fromVersion, to_no AS toNo,
       to_version AS toVersion, amount_minor AS amountMinor
     FROM ${schema}.ledger_transfer WHERE ${sinceThen}`,
    [since],
  );
  const entries = await ask<LedgerRows['entries'][number]>(
    `SELECT e.account_no AS no, e.version, HEX(e.transfer_id) AS transferId, e.leg, e.amount_minor AS amountMinor,
       e.balance_minor AS balanceMinor, b.balance_minor AS beforeMinor
     FROM ${schema}.ledger_entry e
     LEFT JOIN ${schema}.ledger_entry b ON b.account_no = e.account_no AND b.version = e.version - 1
     WHERE e.${sinceThen}`,
    [since],
  );
  return {
    accounts: accounts.map((row) => ({
      ...row,
      entriesMinor: Number(row.entriesMinor),
      openMinor: Number(row.openMinor),
    })),
    legs: legs.map((row) => ({ ...row, transferId: uuid(row.transferId) })),
    entries: entries.map((row) => ({ ...row, transferId: uuid(row.transferId) })),
  };
}

/** Long rows are deflated (zlib, which begins with 0x78, as no JSON does). */
const inflated = (bytes: Buffer | null): string => String(bytes?.[0] === 0x78 ? inflateSync(bytes) : bytes);
