/** People who order and pay, at a rate or as fast as they go; every order's end is accounted for. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { codeOf, type OnInsisted, openClient, type Percentiles, percentiles } from './client.ts';
import { seededRandom, zipf } from './generate.ts';
import { keepPace } from './pace.ts';

export interface OrdersOptions {
  /** For example http://127.0.0.1:8080 */
  readonly apiUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  /** Orders a second; unset: as fast as `connections` go. */
  readonly rate?: number;
  /** Unset: until `signal`. */
  readonly durationMs?: number;
  /** People at the same time, when there is no rate; requests under way at most. Default 64. */
  readonly connections?: number;
  /** Products made for this run, some sold more than others. Default 20. */
  readonly products?: number;
  /** Stock of each. Default: more than can be sold. */
  readonly stock?: number;
  /** Makes the customers' ids, from as many customers as `users`. Default `shopper-<time>`. */
  readonly userPrefix?: string;
  readonly users?: number;
  /** How long a request is tried again after 503 or a broken connection. Default 60,000. */
  readonly retryForMs?: number;
  /** Latencies count from here on: what comes before warms up. Default 0. */
  readonly warmUpMs?: number;
  readonly seed?: number;
  /** Keep every order for the report. */
  readonly record?: boolean;
  /** About once a second. */
  onProgress?(progress: OrdersProgress): void;
  readonly onInsisted?: OnInsisted;
  /** Nobody new comes after it; what has begun goes on to its end. */
  readonly closing?: AbortSignal | undefined;
  readonly signal?: AbortSignal;
}

export interface OrdersProgress {
  readonly elapsedMs: number;
  readonly paid: number;
  readonly refused: number;
  readonly failed: number;
}

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
  /** Tries that it took. */
  readonly tries: number;
}

export interface OrdersReport extends OrdersProgress {
  readonly seconds: number;
  /** Paid orders a second after the warm-up. */
  readonly paidPerSecond: number;
  /** From sending (the first try) to the answer, ms. */
  readonly placeMs: Percentiles | undefined;
  readonly payMs: Percentiles | undefined;
  /** Codes of refusals and of failed tries, with how often. */
  readonly problems: Readonly<Record<string, number>>;
  /** What was sold of each product by the paid orders. */
  readonly sold: ReadonlyMap<string, number>;
  readonly productIds: readonly string[];
  /** Empty unless asked for by `record`. */
  readonly orders: readonly PlacedOrder[];
}

/** Creates products and lets people buy them. Rejects only when the products cannot be created. */
export async function runOrders(options: OrdersOptions): Promise<OrdersReport> {
  const { rate, signal, warmUpMs = 0 } = options;
  const connections = options.connections ?? 64;
  const prefix = options.userPrefix ?? `shopper-${Date.now().toString(36)}`;
  const random = seededRandom(options.seed ?? 1);
  const { apiUrl, token, retryForMs, onInsisted } = options;
  const client = openClient({ apiUrl, token, connections, retryForMs, signal, onInsisted });
  const { insist, problem } = client;
  const orders: PlacedOrder[] = [];
  const sold = new Map<string, number>();
  const counts = { paid: 0, refused: 0, failed: 0 };
  const placeMs: number[] = [];
  const payMs: number[] = [];
  let startMs = performance.now();
  let paidSinceWarm = 0;

  try {
    const productIds: string[] = [];
    for (let index = 0; index < (options.products ?? 20); index++) {
      const made = await insist('/products', {
        // Not after the customers: the beginning of their ids must not be on any topic.
        name: `Product ${index + 1}`,
        price: { amountMinor: 1_000 * (1 + Math.floor(random() * 50)), currency: 'KRW' },
        stock: options.stock ?? 1_000_000_000,
      });
      if (made?.status !== 201) throw new Error(`POST /products answered ${made?.status ?? 'nothing'}`);
      productIds.push(String(made.json.productId));
    }
    const rank = zipf(productIds.length, 1);

    async function buy(): Promise<void> {
      const wanted = new Map<string, number>();
      for (let lines = 1 + Math.floor(random() * 3); lines > 0; lines--)
        wanted.set(productIds[rank(random())]!, 1 + Math.floor(random() * 3));
      const items = [...wanted].map(([productId, quantity]) => ({ productId, quantity }));
      const userId = `${prefix}-${Math.floor(random() * (options.users ?? 1_000))}`;
      const warm = performance.now() - startMs >= warmUpMs;
      const placed = await insist('/orders', { userId, items });
      if (placed?.status !== 201) {
        counts.failed += 1;
        if (placed !== undefined) problem(`POST /orders ${placed.status}`);
        return;
      }
      if (warm) placeMs.push(placed.tookMs);
      const orderId = String(placed.json.orderId);
      const amount = placed.json.totalAmount as { amountMinor: number };
      const paySentAtMs = Date.now();
      const answer = await insist(
        `/orders/${orderId}/pay`,
        { paymentInfo: { method: 'card', amount, card: '4111 1111 1111 1111' } },
        { 'idempotency-key': randomUUID() },
      );
      const outcome = answer === undefined ? 'failed' : answer.status === 200 ? 'paid' : 'refused';
      counts[outcome] += 1;
      if (outcome === 'refused') problem(codeOf(answer!));
      if (outcome === 'paid') {
        for (const { productId, quantity } of items)
          sold.set(productId, (sold.get(productId) ?? 0) + quantity);
        if (warm) {
          payMs.push(answer!.tookMs);
          paidSinceWarm += 1;
        }
      }
      if (options.record !== true) return;
      orders.push({
        orderId,
        items,
        outcome,
        tries: answer?.tries ?? 0,
        ...(outcome === 'paid'
          ? { paymentId: String(answer!.json.paymentId), paySentAtMs, paidAtMs: Date.now() }
          : {}),
      });
    }

    startMs = performance.now();
    const endMs = startMs + (options.durationMs ?? Number.POSITIVE_INFINITY);
    const over = () =>
      signal?.aborted === true || options.closing?.aborted === true || performance.now() >= endMs;
    const progress = () => ({ elapsedMs: Math.round(performance.now() - startMs), ...counts });
    const telling = setInterval(() => options.onProgress?.(progress()), 1_000);
    let steadyEndMs = startMs;
    try {
      steadyEndMs = await keepPace(buy, { rate, connections, over });
    } finally {
      clearInterval(telling);
    }
    const seconds = (steadyEndMs - startMs) / 1_000;
    return {
      ...progress(),
      seconds,
      paidPerSecond: Math.round((paidSinceWarm / Math.max(0.001, seconds - warmUpMs / 1_000)) * 10) / 10,
      placeMs: percentiles(placeMs),
      payMs: percentiles(payMs),
      problems: client.problems,
      sold,
      productIds,
      orders,
    };
  } finally {
    await client.close();
  }
}

/** Waits until the ranking equals what was sold. `equal` is false when it does not within `withinMs`. */
export async function rankingEquals(
  apiUrl: string,
  sold: ReadonlyMap<string, number>,
  options: { readonly withinMs: number; readonly signal: AbortSignal },
): Promise<{ readonly equal: boolean; readonly afterMs: number }> {
  const startMs = performance.now();
  const afterMs = () => Math.round(performance.now() - startMs);
  for (; afterMs() < options.withinMs && !options.signal.aborted; await sleep(100)) {
    const answer = await fetch(`${apiUrl}/ranking/products?limit=1000`).catch(() => undefined);
    if (answer?.ok !== true) continue;
    const { products } = (await answer.json()) as { products: { productId: string; quantity: number }[] };
    const ranked = products.filter(({ productId }) => sold.has(productId));
    if (
      ranked.length === sold.size &&
      ranked.every(({ productId, quantity }) => sold.get(productId) === quantity)
    )
      return { equal: true, afterMs: afterMs() };
  }
  return { equal: false, afterMs: afterMs() };
}
