/** Judges orders that people have placed and paid: the orders themselves, their events, stock, ranking and webhooks. */
import { setTimeout as sleep } from 'node:timers/promises';
import { topics } from '../../catalog/topics.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { type ChangedProduct, checkOrderEvents, type PlacedOrder, paidTopics } from './order-events.ts';
import { type Mark, type RecordsOf, readSince } from './reading.ts';
import type { Finding, Verdict } from './verdict.ts';

/** What is to be marked before the run. */
export const orderTopics: readonly string[] = [...paidTopics, topics.productEvents.name];

/** What people who ordered and paid say. */
export interface OrdersTold {
  /** All that were placed. */
  readonly orders: readonly PlacedOrder[];
  /** Neither placed nor refused, as far as their customers know. */
  readonly failed: number;
  readonly productIds: readonly string[];
  /** What was sold of each product by the paid orders. */
  readonly sold: ReadonlyMap<string, number>;
}

export interface OrderInputs extends OrdersTold {
  readonly changed: readonly ChangedProduct[];
  /** Of each product when the run began. */
  readonly stock: number;
  /** Where the API and the receiver of webhooks are. */
  readonly variables: Readonly<Record<string, string>>;
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
  const { orders, sold, variables } = inputs;
  const apiUrl = variables.MUSTER_API_URL!;
  const outsideUrl = variables.MUSTER_OUTSIDE_WORLD_URL;
  const paid = orders.filter(({ outcome }) => outcome === 'paid');
  const inDoubt = orders.length - paid.length + inputs.failed;
  const findings: Finding[] = [];

  await eachAtOnce(paid, async ({ orderId, paymentId }) => {
    const order = await get(`${apiUrl}/orders/${orderId}`, variables.MUSTER_API_TOKEN!);
    if (order?.status !== 'COMPLETED' || order.paymentId !== paymentId)
      findings.push({
        kind: 'lost',
        id: orderId,
        detail: `answered as paid by ${paymentId}, and is ${order?.status} by ${order?.paymentId}`,
      });
  });

  const events = checkOrderEvents(inputs, recordsOf);
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
    for (const id of inputs.productIds) {
      const expected = inputs.stock - (sold.get(id) ?? 0);
      if (left.get(id) !== expected)
        findings.push({ kind: 'ledger', id, detail: `stock is ${left.get(id)}, must be ${expected}` });
    }
    const ranking = ((await get(`${apiUrl}/ranking/products?limit=1000`)) ?? {}) as {
      products?: { productId: string; quantity: number }[];
    };
    const ranked = new Map(ranking.products?.map(({ productId, quantity }) => [productId, quantity]));
    for (const [id, quantity] of sold)
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
