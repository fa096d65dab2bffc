/** Slips, the merchants that they are of, and rates of commission, in SQL. */
import { type Kysely, sql, type Transaction } from 'kysely';
import type { MemberEvent } from '../../catalog/events/membership.ts';
import type { PaymentEvent } from '../../catalog/events/payment.ts';
import { MusterError } from '../base/errors.ts';
import { bytesOfUuid, hexOfUuid, uuidOfBytes } from '../base/ids.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { followMerchants, statesOfMerchants } from '../platform/merchants.ts';
import { databaseNowMs, transaction } from '../store/database.ts';
import { type OnceCall, once } from '../store/once.ts';
import { type Rate, rateAt } from './settlement.ts';

type Db = Kysely<unknown>;
type Trx = Transaction<unknown>;

export interface Clock {
  /** The period that is open. */
  readonly openNo: number;
  readonly endsAtMs: number;
}

/** In place of a merchant: the rate of those without one of their own. */
export const anyMerchant = '*';

/** The open period, locked: shared by who adds slips, alone for who closes it or changes a rate. */
export async function lockClock(trx: Trx, how: 'shared' | 'alone'): Promise<Clock> {
  const { rows } = await sql<{ open_no: number; ends_at: Date | null }>`
    SELECT open_no, ends_at FROM settlement_clock WHERE id = 1
    ${how === 'alone' ? sql`FOR UPDATE` : sql`LOCK IN SHARE MODE`}`.execute(trx);
  return { openNo: rows[0]!.open_no, endsAtMs: rows[0]!.ends_at?.getTime() ?? 0 };
}

export type SlipStore = ReturnType<typeof slipStore>;

export function slipStore({
  database,
  clock,
}: {
  database(): Promise<Db>;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}) {
  const within = async <T>(work: (trx: Trx) => Promise<T>): Promise<T> => transaction(await database(), work);
  const nowMs = async (trx: Trx) => clock?.() ?? databaseNowMs(trx);

  return {
    /**
     * Adds slips, each once, in one transaction. A slip is settled in the period that is open
     * when it comes (one of the next in the next), and has the rate that was in force when its payment was booked.
     */
    take: (events: readonly PaymentEvent[]): Promise<void> =>
      within(async (trx) => {
        const { openNo, endsAtMs } = await lockClock(trx, 'shared');
        const rates = await ratesOf(
          trx,
          events.map(({ merchantId }) => merchantId),
        );
        const inForce = (merchant: string, at: string) => rateFor(rates, merchant, Date.parse(at));
        const refunded = await ratesOfRefunded(trx, events, inForce);
        const rows = events.map(({ eventId, paymentId, merchantId, kind, amount, at }) => [
          ...[
            hexOfUuid(eventId),
            hexOfUuid(paymentId),
            merchantId,
            kind,
            amount.amountMinor,
            amount.currency,
          ],
          ...[at.slice(0, 23).replace('T', ' '), Date.parse(at) < endsAtMs ? openNo : openNo + 1],
          (kind === 'REFUNDED' ? refunded.get(paymentId) : undefined) ?? inForce(merchantId, at),
        ]);
        await sql`
          INSERT INTO settlement_slip
            (event_id, payment_id, merchant, kind, amount_minor, currency, at, period_no, rate_basis_points)
          SELECT UNHEX(event_id), UNHEX(payment_id), merchant, kind, amount_minor, currency, at, period_no, rate
          FROM JSON_TABLE(${JSON.stringify(rows)}, '$[*]' COLUMNS (
            event_id CHAR(32) PATH '$[0]', payment_id CHAR(32) PATH '$[1]', merchant VARCHAR(40) PATH '$[2]',
            kind VARCHAR(8) PATH '$[3]', amount_minor BIGINT PATH '$[4]', currency CHAR(3) PATH '$[5]',
            at DATETIME(3) PATH '$[6]', period_no INT UNSIGNED PATH '$[7]', rate INT UNSIGNED PATH '$[8]')) AS slip
          ON DUPLICATE KEY UPDATE event_id = settlement_slip.event_id`.execute(trx);
      }),

    /** Takes on the states of merchants, unless something newer is known. */
    follow: async (events: readonly MemberEvent[]): Promise<void> =>
      followMerchants(await database(), 'settlement_merchant', events),

    /** The state of a merchant; undefined: membership has told of none. */
    stateOf: async (merchant: string): Promise<MemberEvent['state'] | undefined> =>
      (await statesOfMerchants(await database(), 'settlement_merchant', [merchant])).get(merchant),

    /** Makes a rate the one of all merchants without one of their own, from now on, if it is not that already. */
    setDefaultRate: (rateBasisPoints: number): Promise<void> =>
      within(async (trx) => {
        await lockClock(trx, 'alone');
        const now = await nowMs(trx);
        const known = (await ratesOf(trx, [])).get(anyMerchant) ?? [];
        if (rateAt(known, now + 1) === rateBasisPoints) return;
        // The first one holds for all time.
        const fromMs = known.length === 0 ? 0 : now + 1;
        await saveRate(trx, anyMerchant, { fromMs, rateBasisPoints }, 'environment', now);
      }),

    /** Sets the rate of a merchant from a moment on (undefined: from now on). */
    setRate: (
      merchant: string,
      rate: { readonly rateBasisPoints: number; readonly fromMs: number | undefined },
      by: string,
      call: OnceCall,
    ) =>
      within((trx) =>
        once(
          trx,
          call,
          async (): Promise<{ readonly ok: true; readonly fromMs: number } | Refused> => {
            await lockClock(trx, 'alone');
            const now = await nowMs(trx);
            const fromMs = rate.fromMs ?? now + 1;
            if (fromMs <= now)
              return refuse(422, 'MUSTER_COMMISSION_PAST', 'slips of before keep their rate', [
                { field: 'from', reason: 'is in the past' },
              ]);
            await saveRate(trx, merchant, { fromMs, rateBasisPoints: rate.rateBasisPoints }, by, now);
            return { ok: true, fromMs };
          },
          ({ ok }) => ok,
        ),
      ),

    /** The rates of a merchant, oldest first; before its first one it has those of `anyMerchant`. */
    async rates(merchant: string): Promise<ReadonlyMap<string, readonly Rate[]>> {
      return ratesOf(await database(), [merchant]);
    },
  };
}

const saveRate = (trx: Trx, merchant: string, { fromMs, rateBasisPoints }: Rate, by: string, now: number) =>
  sql`
    INSERT INTO settlement_commission (merchant, from_at, rate_basis_points, set_by, set_at)
    VALUES (${merchant}, ${new Date(fromMs)}, ${rateBasisPoints}, ${by}, ${new Date(now)})
    ON DUPLICATE KEY UPDATE rate_basis_points = VALUES(rate_basis_points), set_by = VALUES(set_by),
      set_at = VALUES(set_at)`.execute(trx);

/** Of these merchants and of `anyMerchant`. */
async function ratesOf(
  db: Db | Trx,
  merchants: readonly string[],
): Promise<ReadonlyMap<string, readonly Rate[]>> {
  const { rows } = await sql<{ merchant: string; from_at: Date; rate_basis_points: number }>`
    SELECT merchant, from_at, rate_basis_points FROM settlement_commission
    WHERE merchant IN (${sql.join([anyMerchant, ...new Set(merchants)])}) ORDER BY merchant, from_at`.execute(
    db,
  );
  const rates = new Map<string, Rate[]>();
  for (const { merchant, from_at, rate_basis_points: rateBasisPoints } of rows) {
    const known = rates.get(merchant) ?? [];
    rates.set(merchant, [...known, { fromMs: from_at.getTime(), rateBasisPoints }]);
  }
  return rates;
}

function rateFor(rates: ReadonlyMap<string, readonly Rate[]>, merchant: string, ms: number): number {
  const rate = rateAt(rates.get(merchant) ?? [], ms) ?? rateAt(rates.get(anyMerchant) ?? [], ms);
  if (rate === undefined)
    throw new MusterError('MUSTER_COMMISSION_UNSET', 'there is no rate of commission yet');
  return rate;
}

/**
 * Rates of the payments of refunds, as far as they have come: as their slips have them, whatever has become of rates and clocks
 * since; of those that come together with their refunds, the rate in force when they were booked.
 */
async function ratesOfRefunded(
  trx: Trx,
  events: readonly PaymentEvent[],
  inForce: (merchant: string, at: string) => number,
): Promise<ReadonlyMap<string, number>> {
  const wanted = new Set(events.flatMap(({ kind, paymentId }) => (kind === 'REFUNDED' ? [paymentId] : [])));
  if (wanted.size === 0) return new Map();
  const { rows } = await sql<{ id: Buffer; rate: number }>`
    SELECT payment_id AS id, rate_basis_points AS rate FROM settlement_slip
    WHERE kind = 'PAID' AND payment_id IN (${sql.join([...wanted].map(bytesOfUuid))})`.execute(trx);
  const coming = events.filter(({ kind, paymentId }) => kind === 'PAID' && wanted.has(paymentId));
  return new Map([
    ...coming.map(({ paymentId, merchantId, at }) => [paymentId, inForce(merchantId, at)] as const),
    ...rows.map(({ id, rate }) => [uuidOfBytes(id), rate] as const),
  ]);
}
