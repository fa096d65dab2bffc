/** What settlement promises, checked in its database and in those of payment, banking and money, by questions of its own. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { uuidOfBytes } from '../base/ids.ts';
import { agreement, endedLook, type SideRow, sideOf } from '../platform/agreement.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { dateAt, freshRows } from '../store/fresh.ts';
import { overdueSagas } from '../store/overdue.ts';
import { openStates } from './settlement.ts';

export const settlementChecks: ChecksOf<'settlement'> = {
  'slips-settled': (deps, { limitMs }) => slipsSettled(deps, limitMs),

  'settlements-run': ({ database }, { limitMs }) => {
    return async () => evidenceOf(await overdueRuns(await database('settlement'), limitMs));
  },

  'settlements-ended': ({ database }, { limitMs }) => {
    const asked = {
      table: 'settlement_line',
      id: 'line_id',
      waitsFor: 'waits_for',
      open: openStates,
    };
    return async () =>
      evidenceOf(await overdueSagas(await database('settlement'), { ...asked, limitMs, most: mostBroken }));
  },

  'settlements-add-up': ({ database }) => sumsLook(database),

  'settlements-paid': ({ database }, { limitMs }) => payoutsLook(database, limitMs),
};

/** A slip as payment has it, or settlement's copy. */
interface Slip {
  readonly id: Buffer;
  readonly kind: 'PAID' | 'REFUNDED';
  readonly merchant: string;
  readonly amount: number | string;
  readonly currency: string;
  /** When it was booked. */
  readonly key: Date;
}
const saying = (rows: readonly Slip[]): readonly SideRow<Date>[] =>
  rows.map(({ id, key, kind, merchant, amount, currency }) => ({
    id,
    key,
    says: `${kind} ${merchant} ${amount} ${currency}`,
  }));

/** Slips of payment that are DONE, and those of settlement. */
function slipsSettled({ database }: CheckDeps, limitMs: number): Check {
  const done = async (which: RawBuilder<unknown>) => {
    const { rows } = await sql<Slip>`
      SELECT slip_id AS id, IF(kind = 'PAYMENT', 'PAID', 'REFUNDED') AS kind, merchant, amount_minor AS amount, currency,
        decided_at AS \`key\`
      FROM slip WHERE state = 'DONE' AND ${which}`.execute(await database('payment'));
    return saying(rows);
  };
  const taken = async (which: RawBuilder<unknown>) => {
    const { rows } = await sql<Slip>`
      SELECT event_id AS id, kind, merchant, amount_minor AS amount, currency, at AS \`key\`
      FROM settlement_slip WHERE ${which}`.execute(await database('settlement'));
    return saying(rows);
  };
  const by = (column: string) => (ids: readonly Buffer[]) =>
    sql`${sql.ref(column)} IN (${sql.join([...ids])})`;
  return agreement('slips', limitMs, [
    sideOf(freshRows('decided_at', dateAt), done, by('slip_id')),
    sideOf(freshRows('at', dateAt), taken, by('event_id')),
  ]);
}

/** The schedule waits so long for slips that are on their way. */
const graceMs = 300_000;

/** Periods that ought to be closed, and closed ones that are not summed up. */
async function overdueRuns(
  db: Kysely<unknown>,
  limitMs: number,
): Promise<readonly { readonly id: string; readonly sinceMs: number }[]> {
  const before = (ms: number) => sql`UTC_TIMESTAMP(3) - INTERVAL ${ms * 1_000} MICROSECOND`;
  const { rows } = await sql<{ no: number; since: Date }>`
    SELECT open_no AS no, ends_at AS since FROM settlement_clock WHERE ends_at < ${before(graceMs + limitMs)}
    UNION ALL
    SELECT run_no, started_at FROM settlement_run WHERE due_at IS NOT NULL AND started_at < ${before(limitMs)}
    LIMIT ${mostBroken}`.execute(db);
  return rows.map(({ no, since }) => ({ id: String(no), sinceMs: new Date(since).getTime() + limitMs }));
}

/** How many of the newest runs are looked at again, and how often: it reads all slips of a period. */
const newestRuns = 7;
const againMs = 3_600_000;

/** Compares the slips of a period with its settlements: a run a look, new ones first, and whatever was wrong until it is right. */
function sumsLook(database: CheckDeps['database']): Check {
  /** When, by run. */
  const looked = new Map<number, number>();
  const wrong = new Map<number, readonly { readonly id: string }[]>();
  return async () => {
    const db = await database('settlement');
    const { rows } = await sql<{ no: number }>`
      SELECT run_no AS no FROM settlement_run WHERE due_at IS NULL
      ORDER BY run_no DESC LIMIT ${newestRuns}`.execute(db);
    const runs = rows.map(({ no }) => no).toSorted((a, b) => a - b);
    const nowMs = Date.now();
    const next = runs.find((no) => !looked.has(no)) ?? runs.find((no) => nowMs - looked.get(no)! >= againMs);
    for (const no of new Set([...wrong.keys(), ...(next === undefined ? [] : [next])])) {
      looked.set(no, nowMs);
      const odd = await unequal(db, no);
      if (odd.length === 0) wrong.delete(no);
      else wrong.set(no, odd);
    }
    return evidenceOf([...wrong.values()].flat());
  };
}

async function unequal(db: Kysely<unknown>, runNo: number): Promise<readonly { readonly id: string }[]> {
  const { rows } = await sql<{ merchant: string }>`
    SELECT merchant FROM (
      SELECT merchant, currency, SUM(IF(kind = 'PAID', amount_minor, 0)) AS paid,
        SUM(IF(kind = 'REFUNDED', amount_minor, 0)) AS refunded
      FROM settlement_slip WHERE period_no = ${runNo} GROUP BY merchant, currency
      UNION ALL
      SELECT merchant, currency, -paid_minor, -refunded_minor FROM settlement_line WHERE run_no = ${runNo}
    ) AS side
    GROUP BY merchant, currency HAVING SUM(paid) <> 0 OR SUM(refunded) <> 0 OR COUNT(*) <> 2
    LIMIT ${mostBroken}`.execute(db);
  return rows.map(({ merchant }) => ({ id: `${runNo} ${merchant}` }));
}

interface Settled {
  readonly id: string;
  readonly endedAt: Date;
  readonly merchant: string;
  readonly netMinor: number;
  readonly commissionMinor: number;
  readonly firmbankingId: Buffer | null;
  readonly transferId: Buffer | null;
  readonly commissionTransferId: Buffer | null;
}

/** Compares settlements that are DONE with what the bank has executed and with what is booked. */
const payoutsLook = (database: CheckDeps['database'], limitMs: number): Check =>
  endedLook('settlements', limitMs, {
    idColumn: 'line_id',
    endColumn: 'ended_at',
    read: async (which) => settled(await database('settlement'), which),
    async wrongOf(lines) {
      const paid = await paidOut(await database('banking'), lines);
      const booked = await bookedOf(await database('money'), lines);
      return lines
        .filter((line) => {
          const isPaid =
            line.netMinor === 0 || paid.get(hex(line.firmbankingId)) === `${line.merchant} ${line.netMinor}`;
          const isBooked =
            (line.netMinor === 0 || booked.get(hex(line.transferId)) === `merchants bank ${line.netMinor}`) &&
            (line.commissionMinor === 0 ||
              booked.get(hex(line.commissionTransferId)) ===
                (line.commissionMinor > 0
                  ? `merchants commission ${line.commissionMinor}`
                  : `commission merchants ${-line.commissionMinor}`));
          return !(isPaid && isBooked);
        })
        .map(({ id }) => id);
    },
  });

const hex = (id: Buffer | null) => id?.toString('hex') ?? '';

async function settled(db: Kysely<unknown>, which: RawBuilder<unknown>): Promise<readonly Settled[]> {
  const { rows } = await sql<{
    id: Buffer;
    ended_at: Date;
    merchant: string;
    net: number | string;
    commission: number | string;
    firmbanking: Buffer | null;
    transfer: Buffer | null;
    earning: Buffer | null;
  }>`
    SELECT line_id AS id, ended_at, merchant, net_minor AS net, commission_minor + carried_commission_minor AS commission,
      firmbanking_id AS firmbanking, transfer_id AS transfer, commission_transfer_id AS earning
    FROM settlement_line WHERE state = 'DONE' AND ${which}`.execute(db);
  return rows.map((row) => ({
    id: uuidOfBytes(row.id),
    endedAt: row.ended_at,
    merchant: row.merchant,
    netMinor: Number(row.net),
    commissionMinor: Number(row.commission),
    firmbankingId: row.firmbanking,
    transferId: row.transfer,
    commissionTransferId: row.earning,
  }));
}

/** What banks have executed from us, by id: to whom, and how much. */
async function paidOut(db: Kysely<unknown>, lines: readonly Settled[]): Promise<ReadonlyMap<string, string>> {
  const ids = lines.flatMap(({ firmbankingId }) => firmbankingId ?? []);
  if (ids.length === 0) return new Map();
  const { rows } = await sql<{ id: Buffer; owner: string; amount: number | string }>`
    SELECT firmbanking_id AS id, to_owner AS owner, amount_minor AS amount FROM firmbanking
    WHERE firmbanking_id IN (${sql.join(ids)}) AND state = 'EXECUTED' AND from_owner = 'house'`.execute(db);
  return new Map(rows.map(({ id, owner, amount }) => [hex(id), `${owner} ${Number(amount)}`]));
}

/** What is booked between accounts of ours, by id: from which to which, and how much. */
async function bookedOf(
  db: Kysely<unknown>,
  lines: readonly Settled[],
): Promise<ReadonlyMap<string, string>> {
  const ids = lines.flatMap((line) => [line.transferId ?? [], line.commissionTransferId ?? []].flat());
  if (ids.length === 0) return new Map();
  const { rows } = await sql<{ id: Buffer; giver: string; taker: string; amount: number | string }>`
    SELECT t.transfer_id AS id, g.account_id AS giver, k.account_id AS taker, t.amount_minor AS amount
    FROM ledger_transfer AS t JOIN ledger_account AS g ON g.account_no = t.from_no
    JOIN ledger_account AS k ON k.account_no = t.to_no
    WHERE t.transfer_id IN (${sql.join(ids)})`.execute(db);
  const nameOf = (account: string) => account.split(':')[1] ?? account;
  return new Map(
    rows.map((row) => [hex(row.id), `${nameOf(row.giver)} ${nameOf(row.taker)} ${Number(row.amount)}`]),
  );
}
