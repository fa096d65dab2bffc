/** Reads what came out of the promotion pipeline, until it is right or will not get right any more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { IncomingRecord, Kafka } from '../../workers/platform/kafka.ts';
import { checkPromotion, type PromotionInputs } from './promotion.ts';
import type { Finding, Verdict } from './verdict.ts';

const outputTopics = {
  enriched: topics.purchaseEnriched.name,
  promotion: topics.promotion.name,
  purchaseLetters: topics.purchaseDlq.name,
  actLetters: topics.promoBehaviorDlq.name,
} as const;

/** Where the output topics end now: what comes later belongs to the run. */
export type OutputMark = ReadonlyMap<string, ReadonlyMap<number, number>>;

export async function markOutputs(kafka: Kafka): Promise<OutputMark> {
  const marks = new Map<string, ReadonlyMap<number, number>>();
  for (const topic of Object.values(outputTopics)) {
    const offsets = await kafka.admin.offsets(topic);
    marks.set(topic, new Map(offsets.map(({ partition, high }) => [partition, high])));
  }
  return marks;
}

/**
 * Judges a run. While something is still lost, wrong or untold it reads on, for `patienceMs` at most: corrections and
 * retries take their time, and only what stays is a finding.
 */
export async function judgePromotion(
  kafka: Kafka,
  since: OutputMark,
  inputs: PromotionInputs,
  options: { readonly patienceMs: number; readonly signal?: AbortSignal },
): Promise<Verdict> {
  const read = followTopics(kafka, since);
  const untilMs = Date.now() + options.patienceMs;
  for (;;) {
    const records = await read();
    const verdict = checkPromotion(inputs, {
      enriched: records(outputTopics.enriched),
      promotion: records(outputTopics.promotion),
      deadLetters: [...records(outputTopics.purchaseLetters), ...records(outputTopics.actLetters)],
    });
    if (verdict.findings.length === 0) return verdict;
    if (Date.now() > untilMs || options.signal?.aborted === true)
      return { ...verdict, findings: [...verdict.findings, ...(await beyond(kafka, verdict.findings))] };
    await sleep(1_000);
  }
}

/** Reads on from where it was at each call; all records so far by topic. */
function followTopics(kafka: Kafka, since: OutputMark) {
  const seen = new Map<string, IncomingRecord[]>();
  const positions = new Map([...since].map(([topic, marks]) => [topic, new Map(marks)]));
  return async () => {
    for (const [topic, position] of positions) {
      const list = seen.get(topic) ?? [];
      seen.set(topic, list);
      for (const { partition, high } of await kafka.admin.offsets(topic)) {
        for await (const chunk of kafka.read(topic, partition, position.get(partition) ?? 0, high)) {
          list.push(...chunk);
          position.set(partition, (chunk.at(-1)?.offset ?? 0) + 1);
        }
      }
    }
    return (topic: string) => seen.get(topic) ?? [];
  };
}

/** Of what is lost: what lies below the committed offsets, so that nobody will ever come back to it. */
async function beyond(kafka: Kafka, findings: readonly Finding[]): Promise<readonly Finding[]> {
  const lost = new Set(findings.filter(({ kind }) => kind === 'lost').map(({ id }) => id));
  if (lost.size === 0) return [];
  const found: Finding[] = [];
  const topic = topics.purchase.name;
  const committed = await kafka.admin.committed(groups.promotionJoin.id, topic);
  for (const { partition, low } of await kafka.admin.offsets(topic))
    for await (const chunk of kafka.read(topic, partition, low, committed.get(partition) ?? 0))
      for (const { value, offset } of chunk) {
        const text = String(value);
        for (const id of lost)
          if (text.includes(`"${id}"`))
            found.push({
              kind: 'committed-beyond',
              id,
              detail: `its record ${topic}-${partition}-${offset} is committed`,
            });
      }
  return found;
}
