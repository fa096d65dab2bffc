/** Periods and their runs in SQL: a period is closed once, and its slips are summed up, some merchants at a time. */
import { type Kysely, sql, type Transaction } from 'kysely';
import { bytesOfUuid, uuidV7 } from '../base/ids.ts';
import { databaseNowMs, nextDueInMs, transaction } from '../store/database.ts';
import { isDue, unlessAhead } from '../store/due.ts';
import { type OnceCall, once } from '../store/once.ts';
import { carryInto, lineKey, nothingLeft, takeCarried } from './carried.ts';
import { type Band, firstState, isOpen, netOf, sumsOf } from './settlement.ts';
import { type Clock, lockClock } from './slips.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

/** A slip of the last moment of a period may be on its way for so long and is still settled in it. */
export const graceMs = 300_000;
/** Merchants whose slips are summed in one transaction: it ends well within the deadline of a statement. */
const merchantsAtOnce = 50;

export interface RunFound {
  readonly runNo: number;
  readonly startedBy: string;
  readonly startedAtMs: number;
  /** Undefined: its lines are being made. */
  readonly summedAtMs: number | undefined;
  readonly lines: readonly {
    readonly state: string;
    readonly currency: string;
    readonly count: number;
    readonly netMinor: number;
    readonly commissionMinor: number;
  }[];
}

export type RunStore = ReturnType<typeof runStore>;

export function runStore({
  database,
  nextDayMs,
  clock,
}: {
  database(): Promise<Db>;
  /** When the day after that of a moment begins, UTC ms. */
  nextDayMs(ms: number): number;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}) {
  const nowMs = async (db: Db | Trx) => clock?.() ?? databaseNowMs(db);
  const within = async <T>(work: (trx: Trx, now: number) => Promise<T>): Promise<T> =>
    transaction(await database(), async (trx) => work(trx, await nowMs(trx)));

  /** Closes the open period; resolves to its run, undefined when it has no slips: then there is nothing to run. */
  async function close(trx: Trx, { openNo }: Clock, by: string, now: number): Promise<number | undefined> {
    const { rows } = await sql<{ found: number }>`
      SELECT EXISTS (SELECT 1 FROM settlement_slip WHERE period_no = ${openNo}) AS found`.execute(trx);
    await sql`
      UPDATE settlement_clock SET open_no = open_no + 1, ends_at = ${new Date(nextDayMs(now))}
      WHERE id = 1`.execute(trx);
    if (rows[0]!.found === 0) return undefined;
    const at = new Date(now);
    await sql`
      INSERT INTO settlement_run (run_no, started_by, started_at, summed_to, due_at)
      VALUES (${openNo}, ${by}, ${at}, '', ${at})`.execute(trx);
    return openNo;
  }

  /** In how many ms the open period is to be closed, at a look without locks. */
  async function closesInMs(db: Db): Promise<number> {
    const { rows } = await sql<{ ends_at: Date | null }>`
      SELECT ends_at FROM settlement_clock WHERE id = 1`.execute(db);
    return (rows[0]!.ends_at?.getTime() ?? 0) + graceMs - (await nowMs(db));
  }

  return {
    /** In how many ms there is something to close or to sum up. */
    async nextInMs(): Promise<number> {
      const db = await database();
      const inMs = unlessAhead(await nextDueInMs(db, 'settlement_run', clock?.()));
      return Math.min(await closesInMs(db), inMs);
    },

    /** Closes the open period if its time has come. */
    async closeDue(): Promise<void> {
      if ((await closesInMs(await database())) > 0) return;
      await within(async (trx, now) => {
        const open = await lockClock(trx, 'alone');
        if (open.endsAtMs + graceMs <= now) await close(trx, open, 'schedule', now);
      });
    },

    /**
     * Closes the open period now; resolves to its run. While the last run is still being summed, and when nothing has come
     * since, it is that one: who starts twice at once has one run. Undefined: there is nothing to settle, and never was.
     */
    start: (by: string, call: OnceCall): Promise<number | undefined> =>
      within((trx, now) =>
        once(
          trx,
          call,
          async () => {
            const open = await lockClock(trx, 'alone');
            const { rows } = await sql<{ run_no: number; summed_at: Date | null }>`
              SELECT run_no, summed_at FROM settlement_run ORDER BY run_no DESC LIMIT 1`.execute(trx);
            const [last] = rows;
            if (last !== undefined && last.summed_at === null) return last.run_no;
            return (await close(trx, open, by, now)) ?? last?.run_no;
          },
          (runNo) => runNo !== undefined,
        ),
      ),

    /** Takes runs that are not summed; who dies leaves them to the next when the lease ends. */
    claim: (most: number, leaseMs: number): Promise<readonly number[]> =>
      within(async (trx, now) => {
        const { rows } = await sql<{ run_no: number }>`
          SELECT run_no FROM settlement_run WHERE ${isDue('due_at', now)}
          ORDER BY due_at LIMIT ${most} FOR UPDATE SKIP LOCKED`.execute(trx);
        if (rows.length === 0) return [];
        const runs = rows.map(({ run_no }) => run_no);
        await sql`
          UPDATE settlement_run SET due_at = ${new Date(now + leaseMs)}
          WHERE run_no IN (${sql.join(runs)})`.execute(trx);
        return runs;
      }),

    /** Makes the lines of the next merchants of a run; resolves to whether there may be more. Two at once do it one after the other. */
    sumNext: (runNo: number): Promise<boolean> =>
      within(async (trx, now) => {
        const { rows } = await sql<{ summed_to: string; summed_at: Date | null }>`
          SELECT summed_to, summed_at FROM settlement_run WHERE run_no = ${runNo} FOR UPDATE`.execute(trx);
        const [run] = rows;
        if (run === undefined || run.summed_at !== null) return false;
        const merchants = await nextMerchants(trx, runNo, run.summed_to);
        const last = merchants.at(-1);
        const at = new Date(now);
        if (last === undefined) {
          await sql`
            UPDATE settlement_run SET due_at = NULL, summed_at = ${at} WHERE run_no = ${runNo}`.execute(trx);
          return false;
        }
        await makeLines(trx, runNo, { merchants, after: run.summed_to, now });
        await sql`
          UPDATE settlement_run SET summed_to = ${last}, due_at = ${at} WHERE run_no = ${runNo}`.execute(trx);
        return true;
      }),

    /** The newest runs, and what became of their lines. */
    async list(limit: number): Promise<readonly RunFound[]> {
      const db = await database();
      const runs = await sql<{
        run_no: number;
        started_by: string;
        started_at: Date;
        summed_at: Date | null;
      }>`
        SELECT run_no, started_by, started_at, summed_at FROM settlement_run
        ORDER BY run_no DESC LIMIT ${limit}`.execute(db);
      if (runs.rows.length === 0) return [];
      const lines = await sql<{
        run_no: number;
        state: string;
        currency: string;
        n: number | string;
        net: number | string;
        commission: number | string;
      }>`
        SELECT run_no, state, currency, COUNT(*) AS n, SUM(net_minor) AS net, SUM(commission_minor) AS commission
        FROM settlement_line WHERE run_no IN (${sql.join(runs.rows.map(({ run_no }) => run_no))})
        GROUP BY run_no, state, currency ORDER BY run_no, state, currency`.execute(db);
      return runs.rows.map(({ run_no: runNo, started_by: startedBy, started_at, summed_at }) => ({
        runNo,
        startedBy,
        startedAtMs: started_at.getTime(),
        summedAtMs: summed_at?.getTime(),
        lines: lines.rows
          .filter((line) => line.run_no === runNo)
          .map(({ state, currency, n, net, commission }) => ({
            state,
            currency,
            count: Number(n),
            netMinor: Number(net),
            commissionMinor: Number(commission),
          })),
      }));
    },
  };
}

async function nextMerchants(trx: Trx, runNo: number, after: string): Promise<readonly string[]> {
  const { rows } = await sql<{ merchant: string }>`
    SELECT DISTINCT merchant FROM settlement_slip
    WHERE period_no = ${runNo} AND merchant > ${after} ORDER BY merchant LIMIT ${merchantsAtOnce}`.execute(
    trx,
  );
  return rows.map(({ merchant }) => merchant);
}

interface Making {
  readonly merchants: readonly string[];
  /** These are all merchants of the period after this one, up to the last of them. */
  readonly after: string;
  readonly now: number;
}

/** Sums are the database's, over an index; what is left to decide is a row or two a merchant. */
async function makeLines(trx: Trx, runNo: number, { merchants, after, now }: Making): Promise<void> {
  const { rows } = await sql<{
    merchant: string;
    currency: string;
    rate: number;
    paid: string | number;
    refunded: string | number;
  }>`
    SELECT merchant, currency, rate_basis_points AS rate, SUM(IF(kind = 'PAID', amount_minor, 0)) AS paid,
      SUM(IF(kind = 'REFUNDED', amount_minor, 0)) AS refunded
    FROM settlement_slip FORCE INDEX (settlement_slip_sums)
    WHERE period_no = ${runNo} AND merchant > ${after} AND merchant <= ${merchants.at(-1)!}
    GROUP BY merchant, currency, rate_basis_points`.execute(trx);
  const bands = Map.groupBy(rows, ({ merchant, currency }) => lineKey(merchant, currency));
  const left = await takeCarried(trx, merchants);
  const at = new Date(now);
  const lines = [...bands.values()].map((each) => {
    const { merchant, currency } = each[0]!;
    const sums = sumsOf(
      each.map(
        ({ rate, paid, refunded }): Band => ({
          rateBasisPoints: rate,
          paidMinor: BigInt(paid),
          refundedMinor: BigInt(refunded),
        }),
      ),
    );
    const { ids, ...carried } = left.get(lineKey(merchant, currency)) ?? nothingLeft;
    const netMinor = netOf(sums, carried);
    const state = firstState(netMinor, sums.commissionMinor + carried.commissionMinor);
    return { lineId: uuidV7(now), merchant, currency, sums, carried, netMinor, state, ids };
  });
  await sql`
    INSERT INTO settlement_line (line_id, run_no, merchant, currency, paid_minor, refunded_minor, commission_minor,
      carried_minor, carried_commission_minor, net_minor, state, attempt, tries, claim, due_at, made_at, counts_from, ended_at)
    VALUES ${sql.join(
      lines.map(
        ({ lineId, merchant, currency, sums, carried, netMinor, state }) =>
          sql`(${bytesOfUuid(lineId)}, ${runNo}, ${merchant}, ${currency}, ${sums.paidMinor}, ${sums.refundedMinor},
            ${sums.commissionMinor}, ${carried.minor}, ${carried.commissionMinor}, ${netMinor}, ${state}, 1, 0, 0,
            ${isOpen({ state }) ? at : null}, ${at}, ${at}, ${isOpen({ state }) ? null : at})`,
      ),
    )}`.execute(trx);
  for (const { ids, lineId } of lines) await carryInto(trx, ids, lineId);
}
