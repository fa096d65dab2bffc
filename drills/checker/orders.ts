/** Judges orders that people have placed and paid: the orders themselves, their events, stock, ranking and webhooks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { topics } from '../../catalog/topics.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import type { OrdersReport } from '../../workers/traffic/orders.ts';
import { type ChangedProduct, checkOrderEvents, paidTopics } from './order-events.ts';
import { type Mark, type RecordsOf, readSince } from './reading.ts';
import type { Finding, Verdict } from './verdict.ts';

/** What is to be marked before the run. */
export const orderTopics: readonly string[] = [...paidTopics, topics.productEvents.name];

export interface OrderInputs {
  readonly report: OrdersReport;
  readonly changed: readonly ChangedProduct[];
  /** Of each product when the run began. */
  readonly stock: number;
  readonly apiUrl: string;
  readonly token: string;
  /** The receiver of webhooks; unset: what it got is not known. */
  readonly outsideUrl?: string;
  /** Must not appear on any topic. */
  readonly personal: readonly string[];
}

/** Looks again while something is missing, for `patienceMs` at most. */
export async function judgeOrders(
  kafka: Kafka,
  since: Mark,
  inputs: OrderInputs,
  options: { readonly patienceMs: number; readonly signal: AbortSignal },
): Promise<Verdict> {
  const read = readSince(kafka, since);
  const untilMs = Date.now() + options.patienceMs;
  for (;;) {
    const verdict = await check(inputs, await read());
    if (verdict.findings.length === 0 || Date.now() > untilMs || options.signal.aborted) return verdict;
    await sleep(2_000);
  }
}

async function check(inputs: OrderInputs, recordsOf: RecordsOf): Promise<Verdict> {
  const { report, apiUrl, outsideUrl } = inputs;
  const paid = report.orders.filter(({ outcome }) => outcome === 'paid');
  const inDoubt = report.orders.length - paid.length + report.failed;
  const findings: Finding[] = [];

  await eachAtOnce(paid, async ({ orderId, paymentId }) => {
    const order = await get(`${apiUrl}/orders/${orderId}`, inputs.token);
    if (order?.status !== 'COMPLETED' || order.paymentId !== paymentId)
      findings.push({
        kind: 'lost',
        id: orderId,
        detail: `answered as paid by ${paymentId}, and is ${order?.status} by ${order?.paymentId}`,
      });
  });

  const events = checkOrderEvents({ ...inputs, orders: report.orders }, recordsOf);
  findings.push(...events.findings);

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
  return { subject: 'orders', acked: paid.length, inDoubt, repeats: events.repeats, findings };
}

async function get(url: string, token?: string): Promise<Record<string, unknown> | undefined> {
  try {
    const response = await fetch(url, {
      signal: AbortSignal.timeout(10_000),
      ...(token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } }),
    });
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
