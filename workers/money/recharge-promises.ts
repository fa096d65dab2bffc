/** What recharges promise, checked in the databases of money and banking by questions of their own. */
import { type RawBuilder, sql } from 'kysely';
import { agreement, type SideRow, sideOf } from '../platform/agreement.ts';
import { type Check, type CheckDeps, evidenceOf, mostBroken } from '../platform/checks.ts';
import { dateAt, freshRows } from '../store/fresh.ts';
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

/** What a bank took, or what was booked, of a firm banking. */
interface Moved {
  readonly id: Buffer;
  readonly account: string;
  readonly amount: number | string;
  readonly currency: string;
  readonly key: Date;
}
const saying = (rows: readonly Moved[]): readonly SideRow<Date>[] =>
  rows.map(({ id, key, account, amount, currency }) => ({
    id,
    key,
    says: `${account} ${amount} ${currency}`,
  }));
const firmbankings = (ids: readonly Buffer[]) => sql`firmbanking_id IN (${sql.join([...ids])})`;

/** What banks have taken from members, and what is booked for them. */
export const rechargesBooked = ({ database }: CheckDeps, limitMs: number): Check => {
  /** From members, to accounts of ours. */
  const taken = async (which: RawBuilder<unknown>) => {
    const { rows } = await sql<Moved>`
      SELECT firmbanking_id AS id, from_owner AS account, amount_minor AS amount, currency, decided_at AS \`key\`
      FROM firmbanking
      WHERE state = 'EXECUTED' AND to_owner = 'house' AND from_owner <> 'house' AND ${which}`.execute(
      await database('banking'),
    );
    return saying(rows);
  };
  /** As the books have it, not as the recharge says. */
  const booked = async (which: RawBuilder<unknown>) => {
    const { rows } = await sql<Moved>`
      SELECT r.firmbanking_id AS id, a.account_id AS account, t.amount_minor AS amount, t.currency, r.decided_at AS \`key\`
      FROM (SELECT firmbanking_id, transfer_id, decided_at FROM recharge WHERE state = 'DONE' AND ${which}) AS r
      STRAIGHT_JOIN ledger_transfer AS t ON t.transfer_id = r.transfer_id
      STRAIGHT_JOIN ledger_account AS a ON a.account_no = t.to_no`.execute(await database('money'));
    return saying(rows);
  };
  const byTime = () => freshRows('decided_at', dateAt);
  return agreement('recharges', limitMs, [
    sideOf(byTime(), taken, firmbankings),
    sideOf(byTime(), booked, firmbankings),
  ]);
};
