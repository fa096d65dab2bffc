/** What payments promise, checked in their database and in money's books by questions of their own. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes, uuidV7Floor } from '../base/ids.ts';
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
  const wrong = new Map<string, number>();
  return async () => {
    const db = await database('payment');
    const nowMs = Date.now();
    const { rows } = await sql<{ payment_id: Buffer; at: Date }>`
      SELECT payment_id, decided_at AS at FROM slip
      WHERE state = 'DONE' AND kind = 'REFUND' AND ${refunds.next(nowMs)}`.execute(db);
    const before = new Map(wrong);
    const ids = [...new Set([...rows.map(({ payment_id: id }) => uuidOfBytes(id)), ...before.keys()])].map(
      bytesOfUuid,
    );
    wrong.clear();
    if (ids.length > 0) {
      const found = await sql<{ id: Buffer }>`
        SELECT refund.payment_id AS id FROM slip AS refund
        LEFT JOIN slip AS payment ON payment.slip_id = refund.payment_id AND payment.state = 'DONE'
          AND payment.kind = 'PAYMENT'
        WHERE refund.payment_id IN (${sql.join(ids)}) AND refund.kind = 'REFUND' AND refund.state <> 'FAILED'
        GROUP BY refund.payment_id, payment.amount_minor
        HAVING SUM(refund.amount_minor) > COALESCE(payment.amount_minor, 0) LIMIT ${mostBroken}`.execute(db);
      for (const { id } of found.rows) wrong.set(uuidOfBytes(id), before.get(uuidOfBytes(id)) ?? nowMs);
    }
    // Decided a moment ago may commit a moment later: the last minute is looked at again.
    const keys = rows.map(({ at }) => at);
    if (refunds.looked(keys, nowMs - 60_000)) throw behind('refunds');
    return evidenceOf([...wrong].map(([id, sinceMs]) => ({ id, sinceMs })));
  };
}

/** Before each UUID v7 that is made from that moment on. */
const firstId = (ms: number) => bytesOfUuid(uuidV7Floor(ms));

/** What a slip says, or the books, by the id of the transfer. */
interface Moved {
  readonly id: Buffer;
  readonly member: string;
  readonly amount: number | string;
  readonly currency: string;
  readonly kind: 'PAYMENT' | 'REFUND';
}
interface Said extends Moved {
  readonly at: Date;
}
const asText = ({ member, amount, currency, kind }: Moved) => `${kind} ${member} ${amount} ${currency}`;

/**
 * Compares, in both directions, the slips that are DONE with what money has booked between members and house:merchants: what
 * is as old as the limit, each once, and whatever was wrong until it is right.
 */
function paymentsBooked({ database }: CheckDeps, limitMs: number): Check {
  const decided = freshRows('decided_at', dateAt);
  // Its id begins with when it was made, and there is no index on when it was booked.
  const made = freshRows('transfer_id', firstId);
  const wrong = new Map<string, number>();
  return async () => {
    const [payment, money] = [await database('payment'), await database('money')];
    const nowMs = Date.now();
    const upToMs = nowMs - limitMs;
    const said = await slips(payment, decided.next(upToMs));
    const done = await booked(money, made.next(upToMs));
    const before = new Map(wrong);
    const ids = new Set([...said, ...done].map(({ id }) => uuidOfBytes(id)).concat(...before.keys()));
    wrong.clear();
    if (ids.size > 0) {
      // Of both sides by id: a slip is decided later than its transfer is booked.
      const these = sql`transfer_id IN (${sql.join([...ids].map(bytesOfUuid))})`;
      const [saidOf, doneOf] = [await slips(payment, these), await booked(money, these)].map(
        (rows) => new Map(rows.map((row) => [uuidOfBytes(row.id), asText(row)])),
      );
      for (const id of ids)
        if (saidOf!.get(id) !== doneOf!.get(id) && wrong.size < mostBroken)
          wrong.set(id, before.get(id) ?? nowMs);
    }
    const [saidAt, doneIds] = [said.map(({ at }) => at), done.map(({ id }) => id)];
    const more = [decided.looked(saidAt, upToMs), made.looked(doneIds, upToMs)];
    if (more.includes(true)) throw behind('payments');
    return evidenceOf([...wrong].map(([id, sinceMs]) => ({ id, sinceMs })));
  };
}

async function slips(db: Kysely<unknown>, which: RawBuilder<unknown>): Promise<readonly Said[]> {
  const { rows } = await sql<Said>`
    SELECT transfer_id AS id, customer AS member, amount_minor AS amount, currency, kind, decided_at AS at FROM slip
    WHERE state = 'DONE' AND ${which}`.execute(db);
  return rows;
}

async function booked(db: Kysely<unknown>, which: RawBuilder<unknown>): Promise<readonly Moved[]> {
  const { rows } = await sql<Moved>`
    SELECT t.transfer_id AS id, IF(t.reason = 'payment', a.account_id, b.account_id) AS member,
      t.amount_minor AS amount, t.currency, UPPER(t.reason) AS kind
    FROM (SELECT transfer_id, from_no, to_no, amount_minor, currency, reason FROM ledger_transfer
      WHERE reason IN ('payment', 'refund') AND ${which}) AS t
    STRAIGHT_JOIN ledger_account AS a ON a.account_no = t.from_no
    STRAIGHT_JOIN ledger_account AS b ON b.account_no = t.to_no`.execute(db);
  return rows;
}
