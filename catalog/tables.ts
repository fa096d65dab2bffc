/**
 * Every table of our databases, and how long its rows are kept. A row goes when it is older than that by its time column;
 * a table without a rule keeps its rows or loses them by itself, and says why.
 */

/**
 * Our databases. `shop` is MYSQL_DATABASE, the others lie beside it as MYSQL_DATABASE_<name>: no service reads another's
 * tables. `platform`: has the tables of workers/store, for services that do things once or publish.
 */
export const databases = {
  shop: { platform: true },
  /** The data platform's. */
  analytics: { platform: false },
  money: { platform: true },
  membership: { platform: true },
  banking: { platform: true },
  remittance: { platform: true },
  payment: { platform: true },
  settlement: { platform: true },
  delivery: { platform: true },
} as const;
export type DatabaseName = keyof typeof databases;

/** Those with an outbox, timers and an event log. */
export const platformDatabases = (Object.keys(databases) as DatabaseName[]).filter(
  (name) => databases[name].platform,
);

export interface RetentionRule {
  /** DATETIME(3) in UTC. An index begins with it, or with the column of `only` and then it. */
  readonly timeColumn: string;
  readonly days: number;
  /** Only rows with these values; all rows when unset. */
  readonly only?: { readonly column: string; readonly values: readonly string[] };
}

export interface Table {
  readonly name: string;
  readonly database: DatabaseName;
  readonly rules: readonly RetentionRule[];
  /** Its rows name files by this column (a UUID); the worker that keeps those deletes both. */
  readonly fileKey?: string;
  readonly why: string;
}

/** Longer than any record can come again: topics keep 5 days, and a replay of dead letters 14. */
const past = { anyReplay: 30, aDispute: 90, aYear: 365, fiveYears: 1_827 };
/** What the books rest on: ten years cover the longest term that a merchant in Korea has for its commercial books. */
const booksDays = 3_653;

/** Of the platform, in each database that has them. */
function platformTables(database: DatabaseName): readonly Table[] {
  return [
    {
      name: 'muster_event',
      database,
      rules: [
        {
          timeColumn: 'published_at',
          days: past.aDispute,
          only: { column: 'state', values: ['COMPLETED'] },
        },
        {
          timeColumn: 'published_at',
          days: past.aYear,
          only: { column: 'state', values: ['DEAD_LETTER'] },
        },
      ],
      why: 'Proof that a system outside was told, and the guard against telling it twice. What is still under way stays.',
    },
    {
      name: 'muster_event_failure',
      database,
      rules: [{ timeColumn: 'started_at', days: past.aYear }],
      why: 'As long as its event at most; an attempt is never older than the event.',
    },
    {
      name: 'muster_once',
      database,
      rules: [{ timeColumn: 'made_at', days: past.anyReplay }],
      why: 'A repeat comes within minutes from a client, within the retention of its topic from Kafka.',
    },
    {
      name: 'muster_outbox',
      database,
      rules: [],
      why: 'A row goes when Kafka has acked it.',
    },
    {
      name: 'muster_outbox_due',
      database,
      rules: [],
      why: 'A row goes when Kafka has acked it; a timer stays until its time has come.',
    },
    {
      name: 'muster_outbox_shard',
      database,
      rules: [],
      why: 'Locks: always the same rows.',
    },
    {
      name: 'muster_write_probe',
      database,
      rules: [],
      why: 'One row.',
    },
    migrations(database),
  ];
}

const migrations = (database: DatabaseName): Table => ({
  name: 'muster_migration',
  database,
  rules: [],
  why: 'A row per migration.',
});

export const tables: readonly Table[] = [
  {
    name: 'coupon',
    database: 'shop',
    rules: [],
    why: 'A row per coupon that was created: some hundreds a year.',
  },
  {
    name: 'coupon_request',
    database: 'shop',
    rules: [
      {
        timeColumn: 'requested_at',
        days: past.aDispute,
        only: { column: 'status', values: ['COMPLETED', 'FAILED', 'NOTIFIED'] },
      },
    ],
    why: 'The outcome can be asked for as long as somebody may dispute it. What is not decided stays: it was accepted.',
  },
  {
    name: 'coupon_history',
    database: 'shop',
    rules: [],
    why: 'Who holds which coupon: without its row a user could get the coupon twice.',
  },
  {
    name: 'coupon_unpublished',
    database: 'shop',
    rules: [],
    why: 'Of an earlier version and empty: the version before this one still looks into it, so it goes with the next.',
  },
  {
    name: 'shop_product',
    database: 'shop',
    rules: [],
    why: 'A row per product: open orders refer to it.',
  },
  {
    name: 'shop_order',
    database: 'shop',
    rules: [
      {
        timeColumn: 'created_at',
        days: past.anyReplay,
        only: { column: 'status', values: ['PENDING', 'FAILED', 'EXPIRED'] },
      },
      { timeColumn: 'created_at', days: booksDays, only: { column: 'status', values: ['COMPLETED'] } },
    ],
    why: 'An order that nobody paid keeps its price no longer than a month; a paid one belongs to the books.',
  },
  {
    name: 'shop_payment',
    database: 'shop',
    rules: [{ timeColumn: 'paid_at', days: booksDays }],
    why: 'Books.',
  },
  {
    name: 'outside_event',
    database: 'shop',
    rules: [{ timeColumn: 'first_seen_at', days: past.aYear }],
    why: 'Of before muster_event, and not written any more.',
  },
  {
    name: 'outside_failed_attempt',
    database: 'shop',
    rules: [{ timeColumn: 'started_at', days: past.aYear }],
    why: 'Of before muster_event_failure, and not written any more.',
  },
  ...platformTables('shop'),
  {
    name: 'sale',
    database: 'analytics',
    rules: [{ timeColumn: 'completed_at', days: booksDays }],
    why: 'Kept as long as the payments it counts.',
  },
  {
    name: 'sale_item',
    database: 'analytics',
    rules: [{ timeColumn: 'completed_at', days: booksDays }],
    why: 'Kept as long as the payments it counts.',
  },
  {
    name: 'product',
    database: 'analytics',
    rules: [],
    why: 'A row per product.',
  },
  migrations('analytics'),
  ...platformTables('money'),
  {
    name: 'ledger_account',
    database: 'money',
    rules: [],
    why: 'A row per account: its balance is the sum of all of its entries.',
  },
  {
    name: 'ledger_transfer',
    database: 'money',
    rules: [],
    why: 'Books, and what their running balances rest on: none can go before a year is closed by opening entries, which nobody can do yet.',
  },
  {
    name: 'ledger_entry',
    database: 'money',
    rules: [],
    why: 'As its transfer.',
  },
  {
    name: 'ledger_hold',
    database: 'money',
    rules: [
      {
        timeColumn: 'ended_at',
        days: past.aYear,
        only: { column: 'state', values: ['POSTED', 'RELEASED'] },
      },
    ],
    why: 'What is still held stays; what has ended is told by its transfer, or moved nothing.',
  },
  {
    name: 'money_member',
    database: 'money',
    rules: [],
    why: 'A row per member who had an account: a pseudonym and a district. An older event that comes again must not count.',
  },
  {
    name: 'recharge',
    database: 'money',
    rules: [
      { timeColumn: 'decided_at', days: booksDays, only: { column: 'state', values: ['DONE', 'FAILED'] } },
    ],
    why: 'Books: what was taken at the bank, and for whom. What has not ended stays: money may be on its way.',
  },
  ...platformTables('membership'),
  {
    name: 'member',
    database: 'membership',
    rules: [{ timeColumn: 'told_at', days: past.fiveYears, only: { column: 'state', values: ['CLOSED'] } }],
    why: 'Who paid whom can be asked for five years after the last payment (Korean act on e-commerce). A closed member has no e-mail and no password left.',
  },
  ...platformTables('remittance'),
  {
    name: 'remittance',
    database: 'remittance',
    rules: [
      { timeColumn: 'decided_at', days: booksDays, only: { column: 'state', values: ['DONE', 'FAILED'] } },
    ],
    why: 'Books: who sent what to whom, by pseudonyms. What has not ended stays: money may be on its way.',
  },
  ...platformTables('payment'),
  {
    name: 'slip',
    database: 'payment',
    rules: [
      { timeColumn: 'decided_at', days: booksDays, only: { column: 'state', values: ['DONE', 'FAILED'] } },
    ],
    why: 'Books: who paid what to whom and was given back, by pseudonyms. What has not ended stays: money may be on its way.',
  },
  {
    name: 'payment_owed',
    database: 'payment',
    rules: [],
    why: 'A row per merchant and currency: what the merchant is still owed, by a pseudonym.',
  },
  {
    name: 'payment_merchant',
    database: 'payment',
    rules: [],
    why: 'A row per merchant: a pseudonym. An older event that comes again must not count.',
  },
  ...platformTables('settlement'),
  {
    name: 'settlement_clock',
    database: 'settlement',
    rules: [],
    why: 'One row.',
  },
  {
    name: 'settlement_slip',
    database: 'settlement',
    rules: [{ timeColumn: 'at', days: past.aYear }],
    why: 'What the sums of settlements were made of, as long as somebody may ask; the books of payments are those of payment.',
  },
  {
    name: 'settlement_merchant',
    database: 'settlement',
    rules: [],
    why: 'A row per merchant: a pseudonym. An older event that comes again must not count.',
  },
  {
    name: 'settlement_commission',
    database: 'settlement',
    rules: [],
    why: 'A row per change of a rate: some thousands a year.',
  },
  {
    name: 'settlement_run',
    database: 'settlement',
    rules: [],
    why: 'A row a day, and what was started by hand.',
  },
  {
    name: 'settlement_line',
    database: 'settlement',
    rules: [{ timeColumn: 'ended_at', days: booksDays, only: { column: 'state', values: ['DONE'] } }],
    why: 'Books: what merchants were paid out. What has not ended, or is below zero and carried on, stays.',
  },
  ...platformTables('delivery'),
  {
    name: 'delivery_shop',
    database: 'delivery',
    rules: [],
    why: 'A row per shop.',
  },
  {
    name: 'delivery_item',
    database: 'delivery',
    rules: [],
    why: 'A row per dish: orders that are called off give its stock back.',
  },
  {
    name: 'delivery_rider',
    database: 'delivery',
    rules: [],
    why: 'A row per rider.',
  },
  {
    name: 'delivery_order',
    database: 'delivery',
    rules: [
      {
        timeColumn: 'changed_at',
        days: past.fiveYears,
        only: {
          column: 'state',
          values: ['DELIVERED', 'CANCELLED', 'REFUND_APPROVED', 'REFUND_REJECTED'],
        },
      },
    ],
    why: 'Who bought what of whom can be asked for five years (Korean act on e-commerce). What has not ended stays: money may have to go back.',
  },
  {
    name: 'delivery_change',
    database: 'delivery',
    rules: [{ timeColumn: 'changed_at', days: past.fiveYears }],
    why: 'What became of an order, as long as the order.',
  },
  {
    name: 'delivery_photo',
    database: 'delivery',
    rules: [{ timeColumn: 'made_at', days: past.aDispute }],
    fileKey: 'photo_id',
    why: 'A photo may show people: it is there as long as its complaint can be disputed, and then its file goes and its row.',
  },
  {
    name: 'delivery_notification',
    database: 'delivery',
    rules: [{ timeColumn: 'made_at', days: past.aDispute }],
    why: 'Whether somebody was told can be asked for as long as they may dispute it. Who has not looked for so long gets no more of it.',
  },
  ...platformTables('banking'),
  {
    name: 'bank_account',
    database: 'banking',
    rules: [{ timeColumn: 'closed_at', days: booksDays, only: { column: 'state', values: ['CLOSED'] } }],
    why: 'What its firm bankings are between: as long as they are kept.',
  },
  {
    name: 'bank_leaver',
    database: 'banking',
    rules: [],
    why: 'A row per member who has left, by a pseudonym: it goes when their bank accounts are closed.',
  },
  {
    name: 'bank_contract',
    database: 'banking',
    rules: [],
    why: 'A row per bank.',
  },
  {
    name: 'bank_corporate_account',
    database: 'banking',
    rules: [],
    why: 'A row per bank.',
  },
  {
    name: 'bank_day',
    database: 'banking',
    rules: [],
    why: 'A row per bank and day.',
  },
  {
    name: 'bank_history',
    database: 'banking',
    rules: [{ timeColumn: 'changed_at', days: booksDays }],
    why: 'Books: under which contract, and for whose account.',
  },
  {
    name: 'firmbanking',
    database: 'banking',
    rules: [
      {
        timeColumn: 'decided_at',
        days: booksDays,
        only: { column: 'state', values: ['EXECUTED', 'REJECTED'] },
      },
    ],
    why: 'Books. What is not decided stays: money may be on its way.',
  },
  {
    name: 'firmbanking_history',
    database: 'banking',
    rules: [{ timeColumn: 'at', days: booksDays }],
    why: 'Which calls there were, and what they cost.',
  },
  {
    name: 'bank_difference',
    database: 'banking',
    rules: [],
    why: 'What the last comparison with a bank found: the next takes its place.',
  },
  {
    name: 'bank_reconciliation',
    database: 'banking',
    rules: [{ timeColumn: 'ended_at', days: past.aYear }],
    why: 'When whose books were compared.',
  },
];
