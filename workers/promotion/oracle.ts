/**
 * The requirement, word for word, as slow as it likes: a purchase is affected when the same user acted on a promotion in
 * the 5 minutes before it, both ends included, by event time. Shares nothing with the join; tests and drills compare
 * the join's last words with it.
 */
import type { PromotionTouch } from '../../catalog/events/promotion.ts';

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
  readonly promotions: readonly PromotionTouch[];
}

/** What the last version of every enriched purchase must say. Of purchases with one id the first counts. */
export function oracle(
  purchases: readonly OraclePurchase[],
  acts: readonly OracleAct[],
): Map<string, OracleAnswer> {
  const answers = new Map<string, OracleAnswer>();
  for (const purchase of purchases) {
    if (answers.has(purchase.purchaseId)) continue;
    const seen = new Set<string>();
    const touches: PromotionTouch[] = [];
    for (const act of acts) {
      if (act.userId !== purchase.userId) continue;
      const msBefore = Date.parse(purchase.purchasedAt) - Date.parse(act.actedAt);
      if (msBefore < 0 || msBefore > 5 * 60 * 1000) continue;
      const same = JSON.stringify([act.promotionId, act.action, msBefore]);
      if (seen.has(same)) continue;
      seen.add(same);
      touches.push({ promotionId: act.promotionId, action: act.action, secondsBefore: msBefore / 1000 });
    }
    touches.sort(
      (a, b) =>
        a.secondsBefore - b.secondsBefore ||
        (a.promotionId < b.promotionId ? -1 : a.promotionId > b.promotionId ? 1 : 0) ||
        (a.action < b.action ? -1 : 1),
    );
    answers.set(purchase.purchaseId, { affect: touches.length > 0 ? 1 : 0, promotions: touches });
  }
  return answers;
}
