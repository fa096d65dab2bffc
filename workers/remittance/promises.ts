/** What remittances promise, checked in their database and in those of money and banking, by questions of its own. */
import { type RawBuilder, sql } from 'kysely';
import { uuidOfBytes } from '../base/ids.ts';
import { endedLook } from '../platform/agreement.ts';
import {
  type Check,
  type CheckDeps,
  type ChecksOf,
  evidenceOf,
  mostBroken,
  together,
} from '../platform/checks.ts';
import { openStates } from '../platform/move.ts';
import { overdueSagas } from '../store/overdue.ts';

export const remittanceChecks: ChecksOf<'remittance'> = {
  'remittances-decided': ({ database }, { limitMs }) => {
    const asked = { table: 'remittance', id: 'remittance_id', waitsFor: 'waits_for', open: openStates };
    return async () =>
      evidenceOf(await overdueSagas(await database('remittance'), { ...asked, limitMs, most: mostBroken }));
  },
  'remittances-booked': (deps, { limitMs }) => together(endsLook(deps, limitMs), payoutsLook(deps, limitMs)),
};

interface Ended {
  readonly id: string;
  readonly endedAt: Date;
  readonly isDone: boolean;
  readonly sender: string;
  /** Null: a bank account. */
  readonly receiver: string | null;
  readonly amountMinor: number;
  readonly feeMinor: number;
  readonly currency: string;
  readonly transfer: Buffer | null;
  readonly hold: Buffer | null;
  readonly feeHold: Buffer | null;
  readonly firmbanking: Buffer | null;
}

/** What remittances that have ended say, against the books and the bank: DONE has moved it, of FAILED nothing is left. */
const endsLook = ({ database }: CheckDeps, limitMs: number): Check =>
  endedLook<Ended>('remittances', limitMs, {
    idColumn: 'remittance_id',
    endColumn: 'decided_at',
    async read(which) {
      const { rows } = await sql<
        Omit<Ended, 'id' | 'isDone' | 'amountMinor' | 'feeMinor'> & {
          readonly id: Buffer;
          readonly state: string;
          readonly amount: number | string;
          readonly fee: number | string;
        }
      >`
        SELECT remittance_id AS id, decided_at AS endedAt, state, sender, receiver, amount_minor AS amount, fee_minor AS fee,
          currency, transfer_id AS \`transfer\`, hold_id AS hold, fee_hold_id AS feeHold, firmbanking_id AS firmbanking
        FROM remittance WHERE state IN ('DONE', 'FAILED') AND ${which}`.execute(await database('remittance'));
      return rows.map(({ id, state, amount, fee, ...row }) => ({
        ...row,
        id: uuidOfBytes(id),
        isDone: state === 'DONE',
        amountMinor: Number(amount),
        feeMinor: Number(fee),
      }));
    },
    async wrongOf(rows) {
      const [money, banking] = [await database('money'), await database('banking')];
      const transfers = await saidOf(
        rows.map(({ transfer }) => transfer),
        (ids) =>
          sql<Said>`
            SELECT t.transfer_id AS id, CONCAT_WS(' ', a.account_id, SUBSTRING_INDEX(b.account_id, '/', 1),
              t.amount_minor, t.currency) AS says
            FROM ledger_transfer AS t JOIN ledger_account AS a ON a.account_no = t.from_no
            JOIN ledger_account AS b ON b.account_no = t.to_no WHERE t.transfer_id IN (${ids})`.execute(
            money,
          ),
      );
      const holds = await saidOf(
        rows.flatMap(({ hold, feeHold }) => [hold, feeHold]),
        (ids) =>
          sql<Said>`
            SELECT hold_id AS id, CONCAT_WS(' ', state, amount_minor) AS says FROM ledger_hold
            WHERE hold_id IN (${ids})`.execute(money),
      );
      const payouts = await saidOf(
        rows.map(({ firmbanking }) => firmbanking),
        (ids) =>
          sql<Said>`
            SELECT firmbanking_id AS id, CONCAT_WS(' ', state, to_owner, amount_minor, currency) AS says FROM firmbanking
            WHERE firmbanking_id IN (${ids})`.execute(banking),
      );
      return rows
        .filter((row) => {
          const { isDone, sender, receiver, amountMinor, feeMinor, currency } = row;
          const isOut = receiver === null;
          const to = receiver ?? `house:bank:${currency}`;
          /** Of what there has to be when it is DONE; else nothing that was begun may have been carried out. */
          const are = (of: Buffer | null, said: ReadonlyMap<string, string>, must: string, undone: string) =>
            isDone ? said.get(hex(of)) === must : of === null || said.get(hex(of)) === undone;
          const paid = `${sender} ${amountMinor} ${currency}`;
          const isBooked = isDone
            ? transfers.get(hex(row.transfer)) === `${sender} ${to} ${amountMinor} ${currency}`
            : row.transfer === null;
          const isFreed =
            (isDone && !isOut) ||
            (are(row.hold, holds, `POSTED ${amountMinor}`, `RELEASED ${amountMinor}`) &&
              ((isDone && feeMinor === 0) ||
                are(row.feeHold, holds, `POSTED ${feeMinor}`, `RELEASED ${feeMinor}`)));
          const isPaid =
            (isDone && !isOut) || are(row.firmbanking, payouts, `EXECUTED ${paid}`, `REJECTED ${paid}`);
          return !(isBooked && isFreed && isPaid);
        })
        .map(({ id }) => id);
    },
  });

/** What banks have paid out for us to accounts of members: a remittance or a settlement has asked for it. */
const payoutsLook = ({ database }: CheckDeps, limitMs: number): Check =>
  endedLook('payouts', limitMs, {
    idColumn: 'firmbanking_id',
    endColumn: 'decided_at',
    async read(which) {
      const { rows } = await sql<{ id: Buffer; endedAt: Date }>`
        SELECT firmbanking_id AS id, decided_at AS endedAt FROM firmbanking
        WHERE state = 'EXECUTED' AND from_owner = 'house' AND to_owner <> 'house' AND ${which}`.execute(
        await database('banking'),
      );
      return rows.map(({ id, endedAt }) => ({ id: uuidOfBytes(id), endedAt, own: id }));
    },
    async wrongOf(rows) {
      const named = new Set<string>();
      for (const [name, from] of [
        // What has failed is looked at above.
        ['remittance', sql`remittance WHERE TRUE`],
        ['settlement', sql`settlement_line WHERE state <> 'STOPPED'`],
      ] as const) {
        const found = await sql<{ id: Buffer }>`
          SELECT firmbanking_id AS id FROM ${from} AND firmbanking_id IN (${sql.join(rows.map(({ own }) => own))})`.execute(
          await database(name),
        );
        for (const { id } of found.rows) named.add(uuidOfBytes(id));
      }
      return rows.flatMap(({ id }) => (named.has(id) ? [] : [id]));
    },
  });

const hex = (id: Buffer | null) => id?.toString('hex') ?? '';

interface Said {
  readonly id: Buffer;
  readonly says: string;
}

/** What is said of these ids where they are known, by their hex. */
async function saidOf(
  ids: readonly (Buffer | null)[],
  ask: (ids: RawBuilder<unknown>) => Promise<{ readonly rows: readonly Said[] }>,
): Promise<ReadonlyMap<string, string>> {
  const known = ids.flatMap((id) => id ?? []);
  if (known.length === 0) return new Map();
  const { rows } = await ask(sql.join(known));
  return new Map(rows.map(({ id, says }) => [hex(id), says]));
}
