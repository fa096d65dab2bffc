/** Merchants as membership tells of them: a list of its own for each capability that must know who is in good standing. */
import { type Kysely, sql, type Transaction } from 'kysely';
import type { MemberEvent } from '../../catalog/events/membership.ts';

/** A table with the columns `merchant`, `state` and `version`. */
type MerchantTable = 'payment_merchant' | 'settlement_merchant';

/** Takes on the states of merchants, unless something newer is known; who is none is passed over. */
export async function followMerchants(
  db: Kysely<unknown>,
  table: MerchantTable,
  events: readonly MemberEvent[],
): Promise<void> {
  const rows = events
    .filter(({ type }) => type === 'MERCHANT')
    .map(({ member, state, version }) => sql`(${member}, ${state}, ${version})`);
  if (rows.length === 0) return;
  const [known, knownState, knownVersion] = [
    sql.table(table),
    sql.ref(`${table}.state`),
    sql.ref(`${table}.version`),
  ];
  // The version last: what stands before it in the list compares with the old one.
  await sql`
    INSERT INTO ${known} (merchant, state, version) VALUES ${sql.join(rows)}
    ON DUPLICATE KEY UPDATE state = IF(VALUES(version) > ${knownVersion}, VALUES(state), ${knownState}),
      version = GREATEST(VALUES(version), ${knownVersion})`.execute(db);
}

/** The states of merchants, those that membership has told of. */
export async function statesOfMerchants(
  db: Kysely<unknown> | Transaction<unknown>,
  table: MerchantTable,
  merchants: readonly string[],
): Promise<ReadonlyMap<string, MemberEvent['state']>> {
  const { rows } = await sql<{ merchant: string; state: MemberEvent['state'] }>`
    SELECT merchant, state FROM ${sql.table(table)} WHERE merchant IN (${sql.join(merchants)})`.execute(db);
  return new Map(rows.map(({ merchant, state }) => [merchant, state]));
}
