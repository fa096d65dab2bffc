/** What lines below zero have left for other lines of their merchants, in SQL. */
import { sql, type Transaction } from 'kysely';
import { bytesOfUuid, uuidOfBytes } from '../base/ids.ts';
import type { Carried } from './settlement.ts';

type Trx = Transaction<unknown>;

export const lineKey = (merchant: string, currency: string) => `${merchant} ${currency}`;

export type Left = Carried & { readonly ids: readonly string[] };

/** By merchant and currency; locked. */
export async function takeCarried(
  trx: Trx,
  merchants: readonly string[],
): Promise<ReadonlyMap<string, Left>> {
  const { rows } = await sql<{
    line_id: Buffer;
    merchant: string;
    currency: string;
    minor: number | string;
    commission: number | string;
  }>`
    SELECT line_id, merchant, currency, paid_minor - refunded_minor + carried_minor AS minor,
      commission_minor + carried_commission_minor AS commission
    FROM settlement_line FORCE INDEX (settlement_line_left)
    WHERE state = 'CARRIED' AND carried_into IS NULL AND merchant IN (${sql.join(merchants)}) FOR UPDATE`.execute(
    trx,
  );
  const left = new Map<string, Left>();
  for (const { line_id, merchant, currency, minor, commission } of rows) {
    const { ids, ...before } = left.get(lineKey(merchant, currency)) ?? nothingLeft;
    left.set(lineKey(merchant, currency), {
      minor: before.minor + BigInt(minor),
      commissionMinor: before.commissionMinor + BigInt(commission),
      ids: [...ids, uuidOfBytes(line_id)],
    });
  }
  return left;
}

export const nothingLeft: Left = { minor: 0n, commissionMinor: 0n, ids: [] };

/** They are taken on by that line. */
export async function carryInto(trx: Trx, ids: readonly string[], lineId: string): Promise<void> {
  if (ids.length === 0) return;
  await sql`
    UPDATE settlement_line SET carried_into = ${bytesOfUuid(lineId)}
    WHERE line_id IN (${sql.join(ids.map(bytesOfUuid))})`.execute(trx);
}
