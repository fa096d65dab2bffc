/**
 * The requirement, word for word, as slow as it likes: a purchase is affected when the same user acted on a promotion in
 * the 5 minutes before it, both ends included, by event time. It is the judges' own: no production code imports it.
 */

export interface OraclePurchase {
  readonly purchaseId: string;
  readonly userId: string;
  /** ISO-8601 UTC. */
  readonly purchasedAt: string;
}

export interface OracleAct {
  readonly userId: string;
  readonly promotionId: string;
  readonly action: 'click' | 'view';
  /** ISO-8601 UTC. */
  readonly actedAt: string;
}

export interface OracleAnswer {
  readonly affect: 0 | 1;
  /** All acts in the window without repetitions, the nearest first; ties by promotion id, then action. */
  readonly promotions: readonly {
    readonly promotionId: string;
    readonly action: 'click' | 'view';
    readonly secondsBefore: number;
  }[];
}

const windowMs = 5 * 60 * 1_000;

/** What the last version of every enriched purchase must say. Of purchases with one id the first counts. */
export function oracle(
  purchases: readonly OraclePurchase[],
  acts: readonly OracleAct[],
): Map<string, OracleAnswer> {
  const answers = new Map<string, OracleAnswer>();
  for (const { purchaseId, userId, purchasedAt } of purchases) {
    if (answers.has(purchaseId)) continue;
    const touches = acts.flatMap((act) => {
      const msBefore = Date.parse(purchasedAt) - Date.parse(act.actedAt);
      if (act.userId !== userId || msBefore < 0 || msBefore > windowMs) return [];
      return [{ promotionId: act.promotionId, action: act.action, secondsBefore: msBefore / 1_000 }];
    });
    const different = new Map(touches.map((touch) => [JSON.stringify(Object.values(touch)), touch]));
    const promotions = [...different.values()].sort(
      (a, b) =>
        a.secondsBefore - b.secondsBefore ||
        compare(a.promotionId, b.promotionId) ||
        compare(a.action, b.action),
    );
    answers.set(purchaseId, { affect: promotions.length > 0 ? 1 : 0, promotions });
  }
  return answers;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
