/**
 * What the join owes for each input record before it may commit past it: for a purchase an answer, its move to its user's
 * partition or a dead letter; for a purchase and the acts that it stands on, once all of them are committed, the right
 * answer. Pure.
 */
import { topics } from '../../catalog/topics.ts';
import type { Place, Work } from './commits.ts';
import type { OracleAnswer } from './oracle.ts';
import type { SeenRecord } from './reading.ts';
import { bodyOf, headerOf, nameOf, traceIdOf } from './wire.ts';

export interface PromotionRecords {
  readonly purchases: readonly SeenRecord[];
  readonly movedPurchases: readonly SeenRecord[];
  readonly acts: readonly SeenRecord[];
  readonly deadLetters: readonly SeenRecord[];
}

/** A purchase whose right answer is known. */
export interface KnownPurchase {
  readonly id: string;
  readonly userId: string;
  readonly purchasedMs: number;
  readonly truth: OracleAnswer;
}

export interface WorkInputs {
  /** What purchase ids of this run begin with. */
  readonly run: string;
  /** Texts of this run that cannot be understood. */
  readonly poison: ReadonlySet<string>;
  readonly known: readonly KnownPurchase[];
  /** Records on `purchase_enriched` that answer a purchase, and those of them that say the truth. */
  answersTo(id: string): readonly SeenRecord[];
  rightAnswersTo(id: string, truth: OracleAnswer): readonly SeenRecord[];
}

export function promotionWork(inputs: WorkInputs, records: PromotionRecords): readonly Work[] {
  const letters = Map.groupBy(records.deadLetters, (record) => headerOf(record, 'muster-source'));
  const idIn = new RegExp(`"(${inputs.run}-[a-z]\\d+)"`);
  const purchaseIdOf = ({ value }: SeenRecord) => idIn.exec(String(value))?.[1];
  const moved = Map.groupBy(records.movedPurchases, purchaseIdOf);
  const work: Work[] = [];
  const owe = (id: string, record: SeenRecord, effects: readonly SeenRecord[]) =>
    work.push({
      id,
      inputs: [placeOf(record)],
      effects: [...effects, ...(letters.get(nameOf(record)) ?? [])].map(placeOf),
      traceId: traceIdOf(record),
    });

  for (const record of [...records.purchases, ...records.acts])
    if (inputs.poison.has(String(record.value))) owe(nameOf(record), record, []);
  for (const record of [...records.purchases, ...records.movedPurchases]) {
    const id = purchaseIdOf(record);
    if (id === undefined || inputs.poison.has(String(record.value))) continue;
    const isMoved = record.topic === topics.purchaseByUser.name;
    owe(id, record, [...inputs.answersTo(id), ...(isMoved ? [] : (moved.get(id) ?? []))]);
  }

  // Keyed by their user they lie where they are joined; acts in another notation are not looked for.
  const keyed = new Map<string, SeenRecord>();
  for (const record of records.purchases) {
    const id = purchaseIdOf(record);
    if (id !== undefined && record.key !== null && !keyed.has(id)) keyed.set(id, record);
  }
  const acts = new Map<string, SeenRecord>();
  for (const record of records.acts) {
    const act = record.key === null ? undefined : actOf(record);
    if (act !== undefined && !acts.has(act)) acts.set(act, record);
  }
  for (const { id, userId, purchasedMs, truth } of inputs.known) {
    const own = keyed.get(id);
    if (truth.affect === 0 || own === undefined) continue;
    const standsOn = truth.promotions.map(({ promotionId, action, secondsBefore }) =>
      acts.get(actKey(userId, promotionId, action, purchasedMs - Math.round(secondsBefore * 1_000))),
    );
    if (standsOn.includes(undefined)) continue;
    const right = inputs.rightAnswersTo(id, truth);
    // A wrong last word is a finding of its own.
    if (right.length === 0) continue;
    work.push({
      id,
      inputs: [own, ...(standsOn as SeenRecord[])].map(placeOf),
      effects: right.map(placeOf),
      traceId: traceIdOf(right[0]!),
    });
  }
  return work;
}

const placeOf = ({ topic, partition, offset }: SeenRecord): Place => ({ topic, partition, offset });
const actKey = (userId: string, promotionId: string, action: string, actedMs: number) =>
  JSON.stringify([userId, promotionId, action, actedMs]);

/** The act that a record in standard form tells of. */
function actOf(record: SeenRecord): string | undefined {
  const { userId, promotionId, action, actedAt } = (bodyOf(record) ?? {}) as Record<string, string>;
  return actKey(userId!, promotionId!, action!, Date.parse(actedAt!));
}
