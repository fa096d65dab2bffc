import test from 'ava';
import fc from 'fast-check';
import {
  changeProduct,
  decidePayments,
  type Order,
  type PaymentRequest,
  type PaymentState,
  type ProductChange,
  priceOrder,
} from './order.ts';

const krw = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });

function order(orderId: string, lines: Record<string, number>, more: Partial<Order> = {}): Order {
  const list = Object.entries(lines).map(([productId, quantity]) => ({
    productId,
    quantity,
    unitAmountMinor: 100,
  }));
  const total = krw(list.reduce((sum, { quantity }) => sum + quantity * 100, 0));
  return { orderId, user: 'u_1', status: 'PENDING', lines: list, total, ...more };
}

function request(orderId: string, key: string, more: Partial<PaymentRequest> = {}): PaymentRequest {
  return {
    orderId,
    amount: krw(100),
    paymentId: `payment of ${key}`,
    ...more,
  };
}

function state(orders: readonly Order[], stock: Record<string, number>): PaymentState {
  return {
    orders: new Map(orders.map((one) => [one.orderId, one])),
    stock: new Map(Object.entries(stock)),
  };
}

const codesOf = ({ answers }: ReturnType<typeof decidePayments>) =>
  answers.map((answer) => (answer.ok ? 'PAID' : answer.refusal.code));

test('an order costs the sum of its lines; a product listed twice becomes one line', (t) => {
  const prices = new Map([
    ['mug', krw(12_000)],
    ['pen', krw(500)],
  ]);
  const priced = priceOrder(
    [
      { productId: 'mug', quantity: 1 },
      { productId: 'pen', quantity: 3 },
      { productId: 'mug', quantity: 2 },
    ],
    prices,
  );
  t.deepEqual(priced, {
    ok: true,
    lines: [
      { productId: 'mug', quantity: 3, unitAmountMinor: 12_000 },
      { productId: 'pen', quantity: 3, unitAmountMinor: 500 },
    ],
    total: krw(37_500),
  });
});

test('an order with unknown products, two currencies or an amount beyond counting is refused', (t) => {
  const prices = new Map([
    ['mug', krw(12_000)],
    ['cup', { amountMinor: 950, currency: 'USD' }],
    ['yacht', krw(Number.MAX_SAFE_INTEGER)],
  ]);
  const codeOf = (...productIds: string[]) => {
    const priced = priceOrder(
      productIds.map((productId) => ({ productId, quantity: 2 })),
      prices,
    );
    return priced.ok ? 'ok' : [priced.refusal.code, priced.refusal.details?.[0]?.field];
  };
  t.deepEqual(codeOf('mug', 'nothing'), ['MUSTER_PRODUCT_UNKNOWN', 'items.1.productId']);
  t.deepEqual(codeOf('mug', 'cup'), ['MUSTER_CURRENCIES_DIFFER', 'items']);
  t.deepEqual(codeOf('yacht'), ['MUSTER_ORDER_TOO_LARGE', 'items']);
});

test('an order is paid once, by whichever request comes first', (t) => {
  const known = state([order('a', { mug: 1 }), order('b', { mug: 1 }, { status: 'COMPLETED' })], { mug: 9 });
  const decision = decidePayments(known, [request('a', 'k1'), request('a', 'k2'), request('b', 'k3')]);
  t.deepEqual(codesOf(decision), ['PAID', 'MUSTER_ORDER_ALREADY_PAID', 'MUSTER_ORDER_ALREADY_PAID']);
  t.deepEqual(decision.answers[0], { ok: true, paymentId: 'payment of k1' });
  t.deepEqual([...decision.stock], [['mug', 8]]);
});

test('an order that has expired is not paid', (t) => {
  const known = state([order('a', { mug: 1 }, { status: 'EXPIRED' })], { mug: 9 });
  const decision = decidePayments(known, [request('a', 'k1')]);
  t.deepEqual(codesOf(decision), ['MUSTER_ORDER_EXPIRED']);
  t.is(decision.stock.size, 0);
});

test('a change of a product tells what changed; a currency, a stock below zero and one beyond counting are refused', (t) => {
  const mug = { productId: 'mug', name: 'Mug', price: krw(100), stock: 5 };
  const changed = (change: ProductChange) => {
    const after = changeProduct(mug, change);
    return after.ok
      ? [after.product.price.amountMinor, after.product.stock, ...after.events]
      : after.refusal.code;
  };
  t.deepEqual(changed({}), [100, 5]);
  t.deepEqual(changed({ price: krw(100), addStock: 0 }), [100, 5]);
  t.deepEqual(changed({ price: krw(90), addStock: -5 }), [90, 0, 'PRICE_CHANGED', 'STOCK_CHANGED']);
  t.is(changed({ price: { amountMinor: 100, currency: 'USD' } }), 'MUSTER_CURRENCIES_DIFFER');
  t.is(changed({ addStock: -6 }), 'MUSTER_STOCK_TOO_LOW');
  t.deepEqual(changed({ addStock: 4_294_967_290 }), [100, 4_294_967_295, 'STOCK_CHANGED']);
  t.is(changed({ addStock: 4_294_967_291 }), 'MUSTER_STOCK_TOO_HIGH');
});

test('an unknown order, another amount and another currency are refused, and the order can be paid', (t) => {
  const known = state([order('a', { mug: 1 })], { mug: 1 });
  const decision = decidePayments(known, [
    request('nothing', 'k1'),
    request('a', 'k1', { amount: krw(99) }),
    request('a', 'k1', { amount: { amountMinor: 100, currency: 'USD' } }),
    request('a', 'k1'),
  ]);
  t.deepEqual(codesOf(decision), [
    'MUSTER_ORDER_UNKNOWN',
    'MUSTER_AMOUNT_MISMATCH',
    'MUSTER_AMOUNT_MISMATCH',
    'PAID',
  ]);
});

test('an order that the stock does not suffice for fails whole and for good, and names the product', (t) => {
  const known = state([order('a', { mug: 2, pen: 3 }), order('b', { mug: 1 })], { mug: 5, pen: 2 });
  const amount = krw(500);
  const decision = decidePayments(known, [
    request('a', 'k1', { amount }),
    request('a', 'k1', { amount }),
    request('a', 'k2', { amount }),
    request('b', 'k3'),
  ]);
  t.deepEqual(codesOf(decision), [
    'MUSTER_OUT_OF_STOCK',
    'MUSTER_OUT_OF_STOCK',
    'MUSTER_OUT_OF_STOCK',
    'PAID',
  ]);
  t.deepEqual(
    decision.failed.map(({ order: { orderId }, productId }) => [orderId, productId]),
    [['a', 'pen']],
  );
  t.deepEqual([...decision.stock], [['mug', 4]], 'the mugs of the failed order are still there');
});

const products = ['mug', 'pen', 'cup'];
const anOrder = fc
  .dictionary(fc.constantFrom(...products), fc.integer({ min: 1, max: 4 }), { minKeys: 1 })
  .chain((lines) => fc.constantFrom('u_1', 'u_2').map((user) => ({ lines, user })));
const aRequest = fc.record({
  order: fc.nat({ max: 12 }),
  key: fc.constantFrom('k1', 'k2', 'k3', 'k4', 'k5'),
  wrongAmount: fc.boolean(),
});

test('whatever is asked in whatever batches: stock never negative, paid at most once, payments = totals of paid orders', (t) => {
  fc.assert(
    fc.property(
      fc.array(anOrder, { maxLength: 10 }),
      fc.dictionary(fc.constantFrom(...products), fc.nat({ max: 8 })),
      fc.array(fc.array(aRequest, { maxLength: 12 }), { maxLength: 5 }),
      (drawn, stock, batches) => {
        // What a database would hold, carried from batch to batch as the store does.
        const orders = new Map(
          drawn.map(({ lines, user }, index) => [`o${index}`, order(`o${index}`, lines, { user })]),
        );
        const initial = new Map(Object.entries(stock));
        const left = new Map(initial);
        const payments: { orderId: string; amountMinor: number }[] = [];
        let ids = 0;
        for (const batch of batches) {
          const requests = batch.map(({ order: index, key, wrongAmount }) => {
            const total = orders.get(`o${index}`)?.total ?? krw(1);
            const amount = wrongAmount ? krw(total.amountMinor + 1) : total;
            return request(`o${index}`, key, { amount, paymentId: `p${ids++}` });
          });
          const decision = decidePayments({ orders, stock: left }, requests);
          t.is(decision.answers.length, requests.length);
          for (const { order: before, productId } of decision.failed) {
            t.is(before.status, 'PENDING');
            orders.set(before.orderId, { ...before, status: 'FAILED', failedProductId: productId });
          }
          for (const { order: before, request: by } of decision.paid) {
            t.is(orders.get(before.orderId)!.status, 'PENDING', 'a settled order was paid');
            orders.set(before.orderId, { ...before, status: 'COMPLETED' });
            payments.push({ orderId: before.orderId, amountMinor: by.amount.amountMinor });
          }
          for (const [productId, now] of decision.stock) left.set(productId, now);
        }
        const completed = [...orders.values()].filter(({ status }) => status === 'COMPLETED');
        const sum = (numbers: readonly number[]) => numbers.reduce((total, one) => total + one, 0);
        t.is(
          sum(payments.map(({ amountMinor }) => amountMinor)),
          sum(completed.map(({ total }) => total.amountMinor)),
        );
        t.is(
          new Set(payments.map(({ orderId }) => orderId)).size,
          payments.length,
          'an order was paid twice',
        );
        for (const productId of products) {
          const sold = sum(
            completed.flatMap(({ lines }) =>
              lines.filter((line) => line.productId === productId).map(({ quantity }) => quantity),
            ),
          );
          t.is((initial.get(productId) ?? 0) - sold, left.get(productId) ?? 0);
          t.true((left.get(productId) ?? 0) >= 0, 'stock is negative');
        }
      },
    ),
    { numRuns: 300 },
  );
});
