/** What payments promise, checked in their database and in money's books by questions of their own. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7Floor } from '../base/ids.ts';
import { agreement, type SideRow, sideOf } from '../platform/agreement.ts';
import { type Check, type CheckDeps, type ChecksOf, evidenceOf, mostBroken } from '../platform/checks.ts';
import { behind, dateAt, freshRows } from '../store/fresh.ts';
import { overdueSagas } from '../store/overdue.ts';

export const paymentChecks: ChecksOf<'payment'> = {
  'payments-decided': ({ database }, { limitMs }) => {
    const open = ['TRANSFER', 'RECHARGE', 'RECHARGING'];
    const asked = { table: 'slip', id: 'slip_id', waitsFor: 'waits_for', open };
    return async () =>
      evidenceOf(await overdueSagas(await database('payment'), { ...asked, limitMs, most: mostBroken }));
  },
  'refunds-covered': (deps) => refundsCovered(deps),
  'payments-booked': (deps, { limitMs }) => paymentsBooked(deps, limitMs),
};

/**
 * Looks again at each payment that has been refunded since the last look, and at what was wrong: what was given back, by its
 * slips and not by the sum that is kept, is not above what was paid.
 */
function refundsCovered({ database }: CheckDeps): Check {
  const refunds = freshRows('decided_at', dateAt);
  let wrong: ReadonlyMap<string, number> = new Map();
  return async () => {
    const db = await database('payment');
    const nowMs = Date.now();
    const { rows } = await sql<{ payment_id: Buffer; at: Date }>`
      SELECT payment_id, decided_at AS at FROM slip
      WHERE state = 'DONE' AND kind = 'REFUND' AND ${refunds.next(nowMs, 'and later')}`.execute(db);
    const ids = [...new Set([...rows.map(({ payment_id: id }) => uuidOfBytes(id)), ...wrong.keys()])].map(
      bytesOfUuid,
    );
    const found = ids.length === 0 ? [] : await overRefunded(db, ids);
    wrong = new Map(found.map((id) => [id, wrong.get(id) ?? nowMs]));
    // Decided a moment ago may commit a moment later: the last minute is looked at again.
    const keys = rows.map(({ at }) => at);
    if (refunds.looked(keys, nowMs - 60_000)) throw behind('refunds');
    return evidenceOf([...wrong].map(([id, sinceMs]) => ({ id, sinceMs })));
  };
}

async function overRefunded(db: Kysely<unknown>, ids: readonly Buffer[]): Promise<readonly string[]> {
  const { rows } = await sql<{ id: Buffer }>`
    SELECT refund.payment_id AS id FROM slip AS refund
    LEFT JOIN slip AS payment ON payment.slip_id = refund.payment_id AND payment.state = 'DONE'
      AND payment.kind = 'PAYMENT'
    WHERE refund.payment_id IN (${sql.join([...ids])}) AND refund.kind = 'REFUND' AND refund.state <> 'FAILED'
    GROUP BY refund.payment_id, payment.amount_minor
    HAVING SUM(refund.amount_minor) > COALESCE(payment.amount_minor, 0) LIMIT ${mostBroken}`.execute(db);
  return rows.map(({ id }) => uuidOfBytes(id));
}

/** Before each UUID v7 that is made from that moment on. */
const firstId = (ms: number) => bytesOfUuid(uuidV7Floor(ms));

/** What a slip says, or the books, of a transfer. */
interface Moved<Key> {
  readonly id: Buffer;
  readonly member: string;
  readonly amount: number | string;
  readonly currency: string;
  readonly kind: 'PAYMENT' | 'REFUND';
  readonly key: Key;
}
const saying = <Key>(rows: readonly Moved<Key>[]): readonly SideRow<Key>[] =>
  rows.map(({ id, key, kind, member, amount, currency }) => ({
    id,
    key,
    says: `${kind} ${member} ${amount} ${currency}`,
  }));
const transfers = (ids: readonly Buffer[]) => sql`transfer_id IN (${sql.join([...ids])})`;

/** Slips that are DONE, and what money has booked between members and house:merchants. */
function paymentsBooked({ database }: CheckDeps, limitMs: number): Check {
  const said = async (which: RawBuilder<unknown>) => {
    const { rows } = await sql<Moved<Date>>`
      SELECT transfer_id AS id, customer AS member, amount_minor AS amount, currency, kind, decided_at AS \`key\` FROM slip
      WHERE state = 'DONE' AND ${which}`.execute(await database('payment'));
    return saying(rows);
  };
  const booked = async (which: RawBuilder<unknown>) => {
    const { rows } = await sql<Moved<Buffer>>`
      SELECT t.transfer_id AS id, IF(t.reason = 'payment', a.account_id, b.account_id) AS member,
        t.amount_minor AS amount, t.currency, UPPER(t.reason) AS kind, t.transfer_id AS \`key\`
      FROM (SELECT transfer_id, from_no, to_no, amount_minor, currency, reason FROM ledger_transfer
        WHERE reason IN ('payment', 'refund') AND ${which}) AS t
      STRAIGHT_JOIN ledger_account AS a ON a.account_no = t.from_no
      STRAIGHT_JOIN ledger_account AS b ON b.account_no = t.to_no`.execute(await database('money'));
    return saying(rows);
  };
  return agreement('payments', limitMs, [
    sideOf(freshRows('decided_at', dateAt), said, transfers),
    // Its id begins with when it was made, and there is no index on when it was booked.
    sideOf(freshRows('transfer_id', firstId), booked, transfers),
  ]);
}
