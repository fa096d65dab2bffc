/** Judges orders that people have placed and paid: the orders themselves, their events, stock, ranking and webhooks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { topics } from '../../catalog/topics.ts';
import type { Kafka } from '../../workers/platform/kafka.ts';
import type { OrdersReport, PlacedOrder } from '../../workers/traffic/orders.ts';
import { type Finding, traceIdOf, type Verdict } from './verdict.ts';

type Ends = ReadonlyMap<string, ReadonlyMap<number, number>>;

const eventTopics = [topics.orderCompleted.name, topics.orderConfirmed.name, topics.externalEvents.name];

/** Where the topics of orders end now: what comes later belongs to the run. */
export async function markOrders(kafka: Kafka): Promise<Ends> {
  const marks = new Map<string, ReadonlyMap<number, number>>();
  for (const topic of eventTopics) {
    const offsets = await kafka.admin.offsets(topic);
    marks.set(topic, new Map(offsets.map(({ partition, high }) => [partition, high])));
  }
  return marks;
}

export interface OrderInputs {
  readonly report: OrdersReport;
  /** Of each product when the run began. */
  readonly stock: number;
  readonly apiUrl: string;
  /** The receiver of webhooks; unset: what it got is not known. */
  readonly outsideUrl?: string;
  /** Must not appear on any topic. */
  readonly personal: readonly string[];
}

/** Looks again while something is missing, for `patienceMs` at most. */
export async function judgeOrders(
  kafka: Kafka,
  since: Ends,
  inputs: OrderInputs,
  options: { readonly patienceMs: number; readonly signal: AbortSignal },
): Promise<Verdict> {
  const untilMs = Date.now() + options.patienceMs;
  for (;;) {
    const verdict = await check(kafka, since, inputs);
    if (verdict.findings.length === 0 || Date.now() > untilMs || options.signal.aborted) return verdict;
    await sleep(2_000);
  }
}

async function check(kafka: Kafka, since: Ends, inputs: OrderInputs): Promise<Verdict> {
  const { report, apiUrl, outsideUrl } = inputs;
  const paid = report.orders.filter(({ outcome }) => outcome === 'paid');
  const inDoubt = report.orders.length - paid.length + report.failed;
  const findings: Finding[] = [];
  let repeats = 0;

  await eachAtOnce(paid, async ({ orderId, paymentId }) => {
    const order = await get(`${apiUrl}/orders/${orderId}`);
    if (order?.status !== 'COMPLETED' || order.paymentId !== paymentId)
      findings.push({
        kind: 'lost',
        id: orderId,
        detail: `answered as paid by ${paymentId}, and is ${order?.status} by ${order?.paymentId}`,
      });
  });

  for (const topic of eventTopics) {
    const told = new Map<string, Set<string>>();
    for (const { partition, high } of await kafka.admin.offsets(topic))
      for await (const chunk of kafka.read(topic, partition, since.get(topic)?.get(partition) ?? 0, high))
        for (const { key, value, headers } of chunk) {
          const { orderId, paymentId } = JSON.parse(String(value)) as PlacedOrder;
          const payments = told.get(orderId) ?? new Set();
          if (payments.has(paymentId ?? '')) repeats += 1;
          told.set(orderId, payments.add(paymentId ?? ''));
          const text = `${key} ${value} ${Object.values(headers).join(' ')}`;
          const traceId = traceIdOf(headers);
          if (inputs.personal.some((one) => text.includes(one)))
            findings.push({
              kind: 'personal-data',
              id: topic,
              detail: 'a record shows personal data',
              ...(traceId === undefined ? {} : { traceId }),
            });
        }
    for (const { orderId, paymentId } of paid) {
      const payments = told.get(orderId);
      if (payments === undefined)
        findings.push({ kind: 'untold', id: orderId, detail: `paid, and not on ${topic}` });
      else if ([...payments].some((one) => one !== '' && one !== paymentId))
        findings.push({ kind: 'doubled', id: orderId, detail: `${topic} tells of another payment` });
    }
  }

  if (outsideUrl !== undefined)
    await eachAtOnce(paid, async ({ orderId }) => {
      const got = await get(`${outsideUrl}/received?orderId=${orderId}&limit=1`);
      if (got?.effects !== 1)
        findings.push({
          kind: Number(got?.effects ?? 0) > 1 ? 'doubled' : 'untold',
          id: orderId,
          detail: `the receiver of its webhook has done its work ${got?.effects ?? 'unknown'} times`,
        });
    });

  // An order without a final answer may have gone through: then the sums are not known.
  if (inDoubt === 0) {
    const { products = [] } = ((await get(`${apiUrl}/products?limit=500`)) ?? {}) as {
      products?: { productId: string; stock: number }[];
    };
    const left = new Map(products.map(({ productId, stock }) => [productId, stock]));
    for (const id of report.productIds) {
      const expected = inputs.stock - (report.sold.get(id) ?? 0);
      if (left.get(id) !== expected)
        findings.push({ kind: 'ledger', id, detail: `stock is ${left.get(id)}, must be ${expected}` });
    }
    const ranking = ((await get(`${apiUrl}/ranking/products?limit=1000`)) ?? {}) as {
      products?: { productId: string; quantity: number }[];
    };
    const ranked = new Map(ranking.products?.map(({ productId, quantity }) => [productId, quantity]));
    for (const [id, quantity] of report.sold)
      if (ranked.get(id) !== quantity)
        findings.push({ kind: 'wrong', id, detail: `ranked with ${ranked.get(id)}, sold ${quantity}` });
  }
  return { subject: 'orders', acked: paid.length, inDoubt, repeats, findings };
}

async function get(url: string): Promise<Record<string, unknown> | undefined> {
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000) });
    return response.ok ? ((await response.json()) as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

async function eachAtOnce<Item>(
  items: readonly Item[],
  action: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const hand = async () => {
    for (const item of queue) await action(item);
  };
  await Promise.all(Array.from({ length: 16 }, hand));
}
