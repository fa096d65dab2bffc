/**
 * A shop's day over the HTTP API: products, orders that are paid (and some that are not), a rush for coupons, clients
 * that wait for their outcome. Makes every counter of commerce move. By hand, for pictures of dashboards:
 * `node test/shop.fixture.ts <api url> <seconds> <token>`.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

export interface ShopReport {
  readonly orders: number;
  readonly paid: number;
  readonly couponRequests: number;
  readonly pushed: number;
  /** Status -> how often, of answers that were not expected. */
  readonly refused: Readonly<Record<string, number>>;
}

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}

/** Runs until `durationMs` is over or `signal` fires. What goes wrong is counted, never thrown, once the shop is open. */
export async function openShop(options: {
  readonly apiUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  readonly durationMs: number;
  /** Customers a second. */
  readonly rate: number;
  readonly signal?: AbortSignal;
}): Promise<ShopReport> {
  const { apiUrl, durationMs, rate } = options;
  const authorization = `Bearer ${options.token}`;
  const run = randomUUID().slice(0, 8);
  const refused: Record<string, number> = {};
  let [orders, paid, couponRequests, pushed] = [0, 0, 0, 0];
  const closing = AbortSignal.any([
    AbortSignal.timeout(durationMs),
    ...(options.signal === undefined ? [] : [options.signal]),
  ]);

  const call = async (
    path: string,
    body: unknown,
    expected: readonly number[],
    headers: Record<string, string> = {},
  ): Promise<Answer | undefined> => {
    try {
      const response = await fetch(`${apiUrl}${path}`, {
        method: 'POST',
        headers: { authorization, 'content-type': 'application/json', ...headers },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(30_000),
      });
      const answer = { status: response.status, body: (await response.json()) as Answer['body'] };
      if (expected.includes(answer.status)) return answer;
      refused[answer.status] = (refused[answer.status] ?? 0) + 1;
    } catch {
      refused.failed = (refused.failed ?? 0) + 1;
    }
    return undefined;
  };
  const needed = async (path: string, body: unknown, field: string): Promise<string> => {
    const answer = await call(path, body, [201]);
    if (answer === undefined) throw new Error(`the shop cannot open: POST ${path} is refused`);
    return String(answer.body[field]);
  };

  const price = { amountMinor: 12_000, currency: 'KRW' };
  const products = await Promise.all(
    ['tea', 'cup', 'pot'].map((name) =>
      needed('/products', { name: `${name} ${run}`, price, stock: 100_000 }, 'productId'),
    ),
  );
  const customers = (rate * durationMs) / 1000;
  const [rush, past] = await Promise.all([
    // Fewer than are wanted, so that some come too late.
    needed('/coupons', { name: `rush ${run}`, stock: Math.ceil(customers * 0.4) }, 'couponId'),
    needed(
      '/coupons',
      { name: `over ${run}`, stock: 10, validUntil: new Date(Date.now() - 60_000).toISOString() },
      'couponId',
    ),
  ]);

  const listeners: Promise<void>[] = [];
  /** One customer in eight waits for the outcome, and goes after ten seconds. Resolves when it would be told. */
  const listen = async (userId: string): Promise<void> => {
    const signal = AbortSignal.any([closing, AbortSignal.timeout(10_000)]);
    const response = await fetch(`${apiUrl}/coupons/events?userId=${userId}`, {
      signal,
      headers: { authorization },
    }).catch(() => undefined);
    const read = async () => {
      for await (const chunk of (response?.body ?? []) as unknown as AsyncIterable<Uint8Array>)
        pushed += Buffer.from(chunk).toString().split('event: coupon-outcome').length - 1;
    };
    // It ends by the signal.
    listeners.push(read().catch(() => undefined));
  };

  const customer = async (number: number): Promise<void> => {
    const userId = `shop-${run}-${number}`;
    if (number % 8 === 0) await listen(userId);
    // One in ten asks twice, one in fifteen for what is over.
    couponRequests += 1;
    await call('/coupons/issue', { userId, couponId: number % 15 === 7 ? past : rush }, [202]);
    if (number % 10 === 3) {
      couponRequests += 1;
      await call('/coupons/issue', { userId, couponId: rush }, [202]);
    }
    if (number % 2 === 1) return;
    const items = [{ productId: products[number % products.length], quantity: 1 + (number % 3) }];
    const order = await call('/orders', { userId, items }, [201]);
    if (order === undefined) return;
    orders += 1;
    const total = order.body.totalAmount as { amountMinor: number; currency: string };
    // One in twelve offers too little, and is refused.
    const amount = number % 12 === 4 ? { ...total, amountMinor: total.amountMinor - 1 } : total;
    const payment = await call(
      `/orders/${order.body.orderId}/pay`,
      { paymentInfo: { method: 'card', amount } },
      [200, 409, 422],
      { 'idempotency-key': `${run}-${number}` },
    );
    if (payment?.status === 200) paid += 1;
  };
  const underWay: Promise<void>[] = [];
  for (let number = 0; !closing.aborted; number += 1) {
    underWay.push(customer(number));
    await sleep(1000 / rate, undefined, { signal: closing }).catch(() => undefined);
  }
  await Promise.all([...underWay, ...listeners]);
  return { orders, paid, couponRequests, pushed, refused };
}

if (import.meta.main) {
  const [apiUrl = 'http://127.0.0.1:19080', seconds = '600', token = ''] = process.argv.slice(2);
  const report = await openShop({ apiUrl, token, durationMs: Number(seconds) * 1000, rate: 4 });
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
