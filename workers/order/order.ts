/** What an order costs and what becomes of its payment: pure decisions, everything passed in, nothing asked for. */
import type { Money } from '../base/money.ts';
import { type Refused, refuse } from '../base/refusal.ts';

export interface Product {
  readonly productId: string;
  readonly name: string;
  readonly price: Money;
  readonly stock: number;
}

export interface OrderLine {
  readonly productId: string;
  readonly quantity: number;
  /** Price of one when the order was placed: a later change does not touch the order. */
  readonly unitAmountMinor: number;
}

export type Priced =
  | { readonly ok: true; readonly lines: readonly OrderLine[]; readonly total: Money }
  | Refused;

/**
 * Prices an order by the products as they are now. A product that is listed twice becomes one line. Stock is not looked
 * at: it is taken when the order is paid.
 */
export function priceOrder(
  items: readonly { readonly productId: string; readonly quantity: number }[],
  prices: ReadonlyMap<string, Money>,
): Priced {
  const unknown = items.flatMap(({ productId }, index) =>
    prices.has(productId) ? [] : [{ field: `items.${index}.productId`, reason: 'there is no such product' }],
  );
  if (unknown.length > 0)
    return refuse(422, 'MUSTER_PRODUCT_UNKNOWN', 'the order names products that do not exist', unknown);
  const quantities = new Map<string, number>();
  for (const { productId, quantity } of items)
    quantities.set(productId, (quantities.get(productId) ?? 0) + quantity);
  const currency = prices.get(items[0]!.productId)!.currency;
  const lines: OrderLine[] = [];
  let total = 0;
  for (const [productId, quantity] of quantities) {
    const price = prices.get(productId)!;
    if (price.currency !== currency)
      return refuse(422, 'MUSTER_CURRENCIES_DIFFER', 'an order has one currency; place one order for each', [
        { field: 'items', reason: `${currency} and ${price.currency}` },
      ]);
    lines.push({ productId, quantity, unitAmountMinor: price.amountMinor });
    // Each factor is exact, so a product or sum beyond 2^53 shows as unsafe before it is wrong.
    total += price.amountMinor * quantity;
    if (!Number.isSafeInteger(total) || quantity > maxQuantity)
      return refuse(422, 'MUSTER_ORDER_TOO_LARGE', 'the order is too large', [
        { field: 'items', reason: 'quantity or amount is beyond what can be counted' },
      ]);
  }
  return { ok: true, lines, total: { amountMinor: total, currency } };
}

const maxQuantity = 1_000_000;

export interface ProductChange {
  readonly price?: Money;
  readonly addStock?: number;
}

export type ChangedProduct =
  | {
      readonly ok: true;
      readonly product: Product;
      readonly events: readonly ('PRICE_CHANGED' | 'STOCK_CHANGED')[];
    }
  | Refused;

/** A product after a change of price and stock by hand, with an event for each that changes. */
export function changeProduct(
  { productId, name, price, stock }: Product,
  change: ProductChange,
): ChangedProduct {
  if (change.price !== undefined && change.price.currency !== price.currency)
    // Because orders that wait for their payment have it.
    return refuse(422, 'MUSTER_CURRENCIES_DIFFER', 'a product keeps its currency', [
      { field: 'price.currency', reason: 'is not that of the product' },
    ]);
  const after: Product = {
    productId,
    name,
    price: change.price ?? price,
    stock: stock + (change.addStock ?? 0),
  };
  if (after.stock < 0)
    return refuse(409, 'MUSTER_STOCK_TOO_LOW', 'there is less in stock than is to be taken', [
      { field: 'addStock', reason: `there are ${stock}` },
    ]);
  if (after.stock > maxStock)
    return refuse(409, 'MUSTER_STOCK_TOO_HIGH', 'that would be more than can be counted', [
      { field: 'addStock', reason: `there are ${stock}, and at most ${maxStock} can be counted` },
    ]);
  return {
    ok: true,
    product: after,
    events: [
      ...(after.price.amountMinor === price.amountMinor ? [] : (['PRICE_CHANGED'] as const)),
      ...(after.stock === stock ? [] : (['STOCK_CHANGED'] as const)),
    ],
  };
}

export const unknownProduct = refuse(404, 'MUSTER_PRODUCT_UNKNOWN', 'there is no such product');

/** What the column holds. */
const maxStock = 4_294_967_295;

export type OrderStatus = 'PENDING' | 'COMPLETED' | 'FAILED' | 'EXPIRED';

export interface Order {
  readonly orderId: string;
  /** Pseudonym of the customer. */
  readonly user: string;
  readonly status: OrderStatus;
  readonly lines: readonly OrderLine[];
  readonly total: Money;
  /** Set when status is FAILED: the product that was short. */
  readonly failedProductId?: string;
}

export interface PaymentRequest {
  readonly orderId: string;
  readonly amount: Money;
  /** The id that the payment gets if it is accepted. */
  readonly paymentId: string;
}

/** What the store knows of everything that the requests name. */
export interface PaymentState {
  readonly orders: ReadonlyMap<string, Order>;
  readonly stock: ReadonlyMap<string, number>;
}

export type PaymentAnswer = { readonly ok: true; readonly paymentId: string } | Refused;

export interface PaymentDecision {
  /** One per request, in the order of the requests. */
  readonly answers: readonly PaymentAnswer[];
  /** Requests that paid their order, in the order in which they did. */
  readonly paid: readonly { readonly request: PaymentRequest; readonly order: Order }[];
  /** Orders that fail because the named product is short. */
  readonly failed: readonly { readonly order: Order; readonly productId: string }[];
  /** New stock of the products that the paid orders take from. */
  readonly stock: ReadonlyMap<string, number>;
}

/**
 * Decides requests one after the other, each on what the ones before it left. An order is paid whole or not at all, at
 * most once, and never beyond the stock; one that the stock does not suffice for fails for good and says why. Repeats do
 * not come here: they have their answer (workers/store/once.ts).
 */
export function decidePayments(state: PaymentState, requests: readonly PaymentRequest[]): PaymentDecision {
  const orders = new Map(state.orders);
  const left = new Map(state.stock);
  const taken = new Map<string, number>();
  const paid: { request: PaymentRequest; order: Order }[] = [];
  const failed: { order: Order; productId: string }[] = [];

  const answers = requests.map((request): PaymentAnswer => {
    const order = orders.get(request.orderId);
    if (order === undefined) return unknownOrder;
    if (order.status === 'COMPLETED')
      return refuse(
        409,
        'MUSTER_ORDER_ALREADY_PAID',
        'the order is paid already, under another Idempotency-Key',
      );
    if (order.status === 'FAILED') return outOfStock(order.failedProductId!);
    if (order.status === 'EXPIRED')
      return refuse(409, 'MUSTER_ORDER_EXPIRED', 'the order was not paid in time: place a new one');
    const { total } = order;
    if (request.amount.amountMinor !== total.amountMinor || request.amount.currency !== total.currency)
      return refuse(422, 'MUSTER_AMOUNT_MISMATCH', 'the amount is not the total of the order', [
        { field: 'paymentInfo.amount', reason: `must be ${total.amountMinor} ${total.currency}` },
      ]);
    const short = order.lines.find(({ productId, quantity }) => (left.get(productId) ?? 0) < quantity);
    if (short !== undefined) {
      const { productId } = short;
      orders.set(order.orderId, { ...order, status: 'FAILED', failedProductId: productId });
      failed.push({ order, productId });
      return outOfStock(productId);
    }
    for (const { productId, quantity } of order.lines) {
      const stock = left.get(productId)! - quantity;
      left.set(productId, stock);
      taken.set(productId, stock);
    }
    orders.set(order.orderId, { ...order, status: 'COMPLETED' });
    paid.push({ request, order });
    return { ok: true, paymentId: request.paymentId };
  });
  return { answers, paid, failed, stock: taken };
}

function outOfStock(productId: string): PaymentAnswer {
  return refuse(409, 'MUSTER_OUT_OF_STOCK', 'the order failed: there is not enough of a product', [
    { field: 'items', reason: `not enough of product ${productId}` },
  ]);
}

export const unknownOrder = refuse(404, 'MUSTER_ORDER_UNKNOWN', 'there is no such order');
