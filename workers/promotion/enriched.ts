/** An answer of the join -> the records of `purchase_enriched` and `promotion`. Pure. */
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import type { Answer } from './join.ts';

/** Text that JSON shows as it is: printable ASCII without quotation mark and backslash. */
const plain = /^[ !#-[\]-~]*$/;

function quoted(text: string): string {
  return plain.test(text) ? `"${text}"` : JSON.stringify(text);
}

/**
 * The JSON of an EnrichedPurchase (a PromotionLogic when affected: same fields). Written by hand, because it is the
 * hottest string of the system; a test holds it to the schema and to JSON.stringify. `user` is the pseudonym.
 */
export function answerJson({ purchase, version, touches }: Answer, user: string): string {
  let text = `{"purchaseId":${quoted(purchase.purchaseId)},"version":${version},"user":"${user}","productId":${quoted(purchase.productId)}`;
  if (purchase.productName !== undefined) text += `,"productName":${quoted(purchase.productName)}`;
  text += `,"quantity":${purchase.quantity},"price":{"amountMinor":${purchase.amountMinor},"currency":"${purchase.currency}"},"purchasedAt":"${new Date(purchase.purchasedMs).toISOString()}","ageBand":"${purchase.ageBand ?? 'unknown'}"`;
  if (purchase.cardLast4 !== undefined) text += `,"cardLast4":"${purchase.cardLast4}"`;
  text += `,"promotion_affect":${touches.length > 0 ? 1 : 0},"promotions":[`;
  for (let i = 0; i < touches.length; i += 1) {
    const { promotionId, action, secondsBefore } = touches[i]!;
    text += `${i === 0 ? '' : ','}{"promotionId":${quoted(promotionId)},"action":"${action}","secondsBefore":${secondsBefore}}`;
  }
  return `${text}]}`;
}

/** Bytes made once; the producer copies them. */
const constant = {
  specversion: Buffer.from('1.0'),
  source: Buffer.from('/muster/promotion-join'),
  enriched: Buffer.from('EnrichedPurchase'),
  promotion: Buffer.from('PromotionLogic'),
  json: Buffer.from('application/json'),
};

/**
 * One record for `purchase_enriched`, and one for `promotion` when affected; both keyed by `<pseudonym>:<purchase id>`,
 * because two users may have the same foreign purchase id. ce_id is `<key>:<version>` and ce_time the purchase's own
 * time: the same answer always makes the same record.
 */
export function answerRecords(
  answer: Answer,
  user: string,
  traceparents: { readonly enriched: string | undefined; readonly promotion: string | undefined },
): OutgoingRecord[] {
  const { purchase, version, touches } = answer;
  const value = Buffer.from(answerJson(answer, user));
  const key = `${user}:${purchase.purchaseId}`;
  const id = `${key}:${version}`;
  const time = new Date(purchase.purchasedMs).toISOString();
  const record = (topic: string, type: Buffer, traceparent: string | undefined): OutgoingRecord => ({
    topic,
    key,
    value,
    headers: {
      ce_specversion: constant.specversion,
      ce_id: id,
      ce_type: type,
      ce_source: constant.source,
      ce_time: time,
      'content-type': constant.json,
      ...(traceparent === undefined ? undefined : { traceparent }),
    },
  });
  const enriched = record(topics.purchaseEnriched.name, constant.enriched, traceparents.enriched);
  return touches.length === 0
    ? [enriched]
    : [enriched, record(topics.promotion.name, constant.promotion, traceparents.promotion)];
}
