/** What recharges promise, checked in the databases of money and banking by questions of their own. */
import { type Kysely, type RawBuilder, sql } from 'kysely';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import { type Check, type CheckDeps, evidenceOf, mostBroken } from '../platform/checks.ts';
import { behind, dateAt, freshRows } from '../store/fresh.ts';
import { overdueSagas } from '../store/overdue.ts';

export const rechargesDecided = ({ database }: CheckDeps, limitMs: number): Check => {
  const asked = {
    table: 'recharge',
    id: 'recharge_id',
    waitsFor: 'reason',
    open: ['REQUESTED', 'ASKING', 'AT_BANK'],
  };
  return async () =>
    evidenceOf(await overdueSagas(await database('money'), { ...asked, limitMs, most: mostBroken }));
};

/** What a bank took, or what was booked, by the id of the firm banking. */
interface Moved {
  readonly id: string;
  readonly account: string;
  readonly amountMinor: number;
  readonly currency: string;
  readonly at: Date;
}
interface StoredMoved {
  readonly id: Buffer;
  readonly account: string;
  readonly amount: number | string;
  readonly currency: string;
  /** When that ended. */
  readonly at: Date;
}

const movedIn = (rows: readonly StoredMoved[]): readonly Moved[] =>
  rows.map(({ id, amount, ...rest }) => ({ ...rest, id: uuidOfBytes(id), amountMinor: Number(amount) }));

const isSame = (a: Moved, b: Moved | undefined): boolean =>
  b !== undefined && a.account === b.account && a.amountMinor === b.amountMinor && a.currency === b.currency;

/**
 * Compares, in both directions, what banks have taken from members with what is booked for them: what ended as long ago as the
 * limit, each once, and whatever was wrong until it is right. Two databases have no view of one moment, but neither side changes
 * once it is as old as that.
 */
export const rechargesBooked = ({ database }: CheckDeps, limitMs: number): Check => {
  const [freshTaken, freshBooked] = [freshRows('decided_at', dateAt), freshRows('decided_at', dateAt)];
  const wrong = new Map<string, number>();
  return async () => {
    const [banking, money] = [await database('banking'), await database('money')];
    const nowMs = Date.now();
    const upToMs = nowMs - limitMs;
    const takenNow = await taken(banking, freshTaken.next(upToMs));
    const bookedNow = await booked(money, freshBooked.next(upToMs));
    const ids = [...new Set([...takenNow, ...bookedNow].map(({ id }) => id).concat([...wrong.keys()]))];
    const these = idsIn(ids);
    const takenOf = new Map(
      (ids.length === 0 ? [] : await taken(banking, these)).map((one) => [one.id, one]),
    );
    const bookedOf = new Map(
      (ids.length === 0 ? [] : await booked(money, these)).map((one) => [one.id, one]),
    );
    const before = new Map(wrong);
    wrong.clear();
    for (const id of ids) {
      const one = takenOf.get(id) ?? bookedOf.get(id);
      const isRight = one === undefined || (isSame(one, takenOf.get(id)) && isSame(one, bookedOf.get(id)));
      if (!isRight && wrong.size < mostBroken) wrong.set(id, before.get(id) ?? nowMs);
    }
    const [takenAt, bookedAt] = [takenNow, bookedNow].map((rows) => rows.map(({ at }) => at));
    const more = [freshTaken.looked(takenAt!, upToMs), freshBooked.looked(bookedAt!, upToMs)];
    if (more.includes(true)) throw behind('recharges');
    return evidenceOf([...wrong].map(([id, sinceMs]) => ({ id, sinceMs })));
  };
};

const idsIn = (ids: readonly string[]) => sql`firmbanking_id IN (${sql.join(ids.map(bytesOfUuid))})`;

/** From members, to accounts of ours. */
async function taken(banking: Kysely<unknown>, which: RawBuilder<unknown>): Promise<readonly Moved[]> {
  const { rows } = await sql<StoredMoved>`
    SELECT firmbanking_id AS id, from_owner AS account, amount_minor AS amount, currency, decided_at AS at
    FROM firmbanking
    WHERE state = 'EXECUTED' AND to_owner = 'house' AND from_owner <> 'house' AND ${which}`.execute(banking);
  return movedIn(rows);
}

/** As the books have it, not as the recharge says. */
async function booked(money: Kysely<unknown>, which: RawBuilder<unknown>): Promise<readonly Moved[]> {
  const { rows } = await sql<StoredMoved>`
    SELECT r.firmbanking_id AS id, a.account_id AS account, t.amount_minor AS amount, t.currency, r.decided_at AS at
    FROM (SELECT firmbanking_id, transfer_id, decided_at FROM recharge WHERE state = 'DONE' AND ${which}) AS r
    STRAIGHT_JOIN ledger_transfer AS t ON t.transfer_id = r.transfer_id
    STRAIGHT_JOIN ledger_account AS a ON a.account_no = t.to_no`.execute(money);
  return movedIn(rows);
}
