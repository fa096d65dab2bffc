/** Judges what the topics of orders and products say against what the people who paid were told. Pure. */
import { topics } from '../../catalog/topics.ts';
import type { SeenRecord } from './reading.ts';
import { type Finding, found } from './verdict.ts';
import { bodyOf, nameOf, showing, traceIdOf } from './wire.ts';

export const paidTopics = [
  topics.orderCompleted.name,
  topics.orderConfirmed.name,
  topics.externalEvents.name,
] as const;

/** An order as its customer saw it. */
export interface PlacedOrder {
  readonly orderId: string;
  readonly items: readonly { readonly productId: string; readonly quantity: number }[];
  /** `paid`: 200; `refused`: 4xx; `failed`: never a final answer. */
  readonly outcome: 'paid' | 'refused' | 'failed';
  /** Of a paid one. */
  readonly paymentId?: string;
  /** When its payment was first sent, and when it was answered, UTC ms: of a paid one. */
  readonly paySentAtMs?: number;
  readonly paidAtMs?: number;
}

/** A product whose price was changed by hand again and again, and how often that was answered with 200. */
export interface ChangedProduct {
  readonly productId: string;
  readonly changes: number;
}

export interface EventInputs {
  readonly orders: readonly PlacedOrder[];
  readonly changed: readonly ChangedProduct[];
  /** Must not appear on any topic. */
  readonly personal: readonly string[];
}

/** @param recordsOf everything on a topic since the run began; each partition's in order of offsets */
export function checkOrderEvents(
  { orders, changed, personal }: EventInputs,
  recordsOf: (topic: string) => readonly SeenRecord[],
): { readonly findings: readonly Finding[]; readonly repeats: number } {
  const findings: Finding[] = [];
  let repeats = 0;
  const paid = new Map(orders.filter(({ outcome }) => outcome === 'paid').map((one) => [one.orderId, one]));

  for (const topic of paidTopics) {
    const told = new Map<string, { readonly record: SeenRecord; readonly payments: Set<string> }>();
    for (const record of recordsOf(topic)) {
      const { orderId, paymentId = '' } = (bodyOf(record) ?? {}) as Partial<PlacedOrder>;
      // Others use these topics too: coupons tell systems outside, and foreign producers anything.
      if (orderId === undefined) continue;
      const known = told.get(orderId);
      if (known?.payments.has(paymentId)) repeats += 1;
      if (known === undefined) told.set(orderId, { record, payments: new Set([paymentId]) });
      else known.payments.add(paymentId);
    }
    for (const { orderId, paymentId } of paid.values()) {
      const known = told.get(orderId);
      if (known === undefined) findings.push(found('untold', orderId, `paid, and not on ${topic}`));
      else if ([...known.payments].some((one) => one !== '' && one !== paymentId))
        findings.push(
          found('doubled', orderId, `${topic} tells of another payment`, traceIdOf(known.record)),
        );
    }
    const first = [...told].flatMap(([orderId, { record }]) => {
      const order = paid.get(orderId);
      return order === undefined ? [] : [{ order, record }];
    });
    findings.push(...checkPayments(topic, first));
  }

  const ofProducts = recordsOf(topics.productEvents.name);
  const versions = checkProducts(changed, ofProducts);
  findings.push(...versions.findings);
  repeats += versions.repeats;

  for (const topic of [...paidTopics, topics.productEvents.name]) {
    const shown = showing(recordsOf(topic), personal);
    if (shown !== undefined)
      findings.push(found('personal-data', topic, 'a record shows personal data', traceIdOf(shown)));
  }
  return { findings, repeats };
}

/** On topics that are keyed by customer a payment that was answered before the customer sent another comes before it. */
function checkPayments(
  topic: string,
  told: readonly { readonly order: PlacedOrder; readonly record: SeenRecord }[],
): readonly Finding[] {
  const findings: Finding[] = [];
  for (const own of Map.groupBy(told, ({ record }) => String(record.key)).values()) {
    let before: (typeof own)[number] | undefined;
    for (const one of own) {
      const { order, record } = one;
      if (before !== undefined && before.record.partition !== record.partition) {
        const detail = `on another partition of ${topic} than order ${before.order.orderId} of the same customer`;
        findings.push(found('order', order.orderId, detail, traceIdOf(record)));
      } else if (before !== undefined && order.paidAtMs! < before.order.paySentAtMs!) {
        const detail = `paid before order ${before.order.orderId} of the same customer was, and told after it on ${topic}`;
        findings.push(found('order', order.orderId, detail, traceIdOf(record)));
      }
      if (before === undefined || order.paySentAtMs! > before.order.paySentAtMs!) before = one;
    }
  }
  return findings;
}

/** A product's versions grow by one from 1 on; every change that was answered has one. */
function checkProducts(changed: readonly ChangedProduct[], records: readonly SeenRecord[]) {
  const findings: Finding[] = [];
  let repeats = 0;
  const versions = new Map(changed.map(({ productId }) => [productId, 0]));
  const wrong = new Set<string>();
  for (const record of records) {
    const { productId, version } = (bodyOf(record) ?? {}) as { productId?: string; version?: number };
    const last = versions.get(productId ?? '');
    if (productId === undefined || version === undefined || last === undefined || wrong.has(productId))
      continue;
    if (version <= last) repeats += 1;
    else if (version === last + 1) versions.set(productId, version);
    else {
      wrong.add(productId);
      const detail = `version ${version} follows version ${last}, at ${nameOf(record)}`;
      findings.push(found('order', productId, detail, traceIdOf(record)));
    }
  }
  for (const { productId, changes } of changed) {
    const told = versions.get(productId)!;
    if (told < changes + 1 && !wrong.has(productId))
      findings.push(found('untold', productId, `${changes + 1} changes were answered, ${told} were told`));
  }
  return { findings, repeats };
}
