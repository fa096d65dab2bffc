/** What promotions promise, checked on the topics alone, without the join's own reading of them. */
import { topics } from '../../catalog/topics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { headerText } from '../kafka/records.ts';
import { arrived } from '../platform/arrived.ts';
import type { Check, CheckDeps, ChecksOf } from '../platform/checks.ts';

/** Our own ways in: what they put on the topic is in the words of the catalog. */
const waysIn = new Set(['/muster/promotion-api', '/muster/promotion-log']);
/** A purchase that comes again in this time is not answered again (the join's state, and more). */
const repeatedMs = 20 * 60_000;

export const promotionChecks: ChecksOf<'promotion'> = {
  'purchases-answered': (deps, { limitMs }) => purchasesAnswered(deps, limitMs),
};

interface PurchaseTopics {
  readonly purchase: string;
  readonly answers: string;
  readonly deadLetters: string;
}

/** Each purchase that came in by our own ways has its answer, or is a dead letter, which others tell of. */
export function purchasesAnswered(
  { kafka, pseudonymKey }: Pick<CheckDeps, 'kafka' | 'pseudonymKey'>,
  limitMs: number,
  on: PurchaseTopics = {
    purchase: topics.purchase.name,
    answers: topics.purchaseEnriched.name,
    deadLetters: topics.purchaseDlq.name,
  },
): Check {
  const purchaseId = (record: IncomingRecord) => {
    if (!waysIn.has(headerText(record, 'ce_source') ?? '')) return undefined;
    try {
      const purchase = JSON.parse(String(record.value)) as { userId: string; purchaseId: string };
      return `${pseudonym(pseudonymKey, purchase.userId)}:${purchase.purchaseId}`;
    } catch {
      return undefined;
    }
  };
  return arrived({
    kafka,
    limitMs,
    aheadMs: repeatedMs,
    topics: [on.answers, on.deadLetters],
    idOf: (record) => (record.topic === on.answers ? String(record.key) : purchaseId(record)),
    async expected(fromMs, toMs) {
      const from = await kafka.admin.offsetsAt(on.purchase, fromMs);
      const to = await kafka.admin.offsetsAt(on.purchase, toMs);
      const ids: string[] = [];
      for (const [partition, offset] of from)
        for await (const records of kafka.read(on.purchase, partition, offset, to.get(partition) ?? offset))
          for (const record of records) ids.push(purchaseId(record) ?? '');
      return ids.filter((id) => id !== '');
    },
  });
}
