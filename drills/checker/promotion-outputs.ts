/** Judges the promotion pipeline when its run is over, until it is right or will not get right any more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import type { CommitWatch, Watch } from './commits.ts';
import { checkPromotion, type PromotionInputs } from './promotion.ts';
import { type Mark, readSince } from './reading.ts';
import type { Verdict } from './verdict.ts';

export const promotionWatch: Watch = {
  topics: [
    topics.purchase,
    topics.promoBehavior,
    topics.purchaseByUser,
    topics.purchaseEnriched,
    topics.promotion,
    topics.purchaseDlq,
    topics.promoBehaviorDlq,
  ].map(({ name }) => name),
  groups: [groups.promotionJoin],
};

/**
 * Judges a run. While something is still lost, wrong or untold it reads on, for `patienceMs` at most: corrections and
 * retries take their time, and only what stays is a finding.
 */
export async function judgePromotion(
  kafka: Kafka,
  since: Mark,
  commits: CommitWatch,
  inputs: PromotionInputs,
  options: { readonly patienceMs: number; readonly signal?: AbortSignal },
): Promise<Verdict> {
  const read = readSince(kafka, since);
  const untilMs = Date.now() + options.patienceMs;
  for (;;) {
    const notes = await commits.notes();
    const of = await read();
    const verdict = checkPromotion(inputs, {
      purchases: of(topics.purchase.name),
      movedPurchases: of(topics.purchaseByUser.name),
      acts: of(topics.promoBehavior.name),
      enriched: of(topics.purchaseEnriched.name),
      promotion: of(topics.promotion.name),
      deadLetters: [...of(topics.purchaseDlq.name), ...of(topics.promoBehaviorDlq.name)],
      commits: notes,
    });
    const isOver = Date.now() > untilMs || options.signal?.aborted === true;
    if (verdict.findings.length === 0 || isOver) return verdict;
    await sleep(1_000);
  }
}
