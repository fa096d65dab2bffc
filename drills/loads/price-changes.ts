/** Products whose price is changed by hand again and again, so that there is an order of product events to look at. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangedProduct } from '../checker/order-events.ts';

const products = 3;
const everyMs = 400;

/** Until `signal`; changes of one product come one after the other. Never rejects. */
export async function changePrices(
  apiUrl: string,
  token: string,
  name: string,
  signal: AbortSignal,
): Promise<readonly ChangedProduct[]> {
  async function call(method: 'POST' | 'PATCH', path: string, body: object) {
    try {
      const response = await fetch(`${apiUrl}${path}`, {
        method,
        headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(10_000),
      });
      const answer = (await response.json()) as { productId: string };
      return response.ok ? answer : undefined;
    } catch {
      return undefined;
    }
  }
  const price = (amountMinor: number) => ({ price: { amountMinor, currency: 'KRW' } });
  async function change(number: number): Promise<readonly ChangedProduct[]> {
    let product: { readonly productId: string } | undefined;
    let changes = 0;
    for (let amount = 1_000; !signal.aborted; amount += 1) {
      if (product === undefined)
        product = await call('POST', '/products', {
          name: `${name} ${number}`,
          stock: 0,
          ...price(amount),
        });
      // Each price is another one: also when it is not known whether the last one got through, this is a change.
      else if ((await call('PATCH', `/products/${product.productId}`, price(amount))) !== undefined)
        changes += 1;
      await sleep(everyMs, undefined, { signal }).catch(() => undefined);
    }
    return product === undefined ? [] : [{ productId: product.productId, changes }];
  }
  const all = await Promise.all(Array.from({ length: products }, (_, number) => change(number)));
  return all.flat();
}
