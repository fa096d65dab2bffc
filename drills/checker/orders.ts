/**
 * Judges orders that people have placed and paid: what they and the API say, the store of truth, the events, stock,
 * ranking and webhooks. Pure.
 */
import { topics } from '../../catalog/topics.ts';
import { type ChangedProduct, checkOrderEvents, type PlacedOrder, paidTopics } from './order-events.ts';
import type { RecordsOf } from './reading.ts';
import type { OrderRows } from './stores.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { mentioned } from './wire.ts';

/** What is to be marked before the run. */
export const orderTopics: readonly string[] = [...paidTopics, topics.productEvents.name];

/** What people who ordered and paid say. */
export interface OrdersTold {
  /** All that were placed. */
  readonly orders: readonly PlacedOrder[];
  /** Neither placed and paid nor refused, as far as their customers know. */
  readonly failed: number;
  /** Made for this run: nobody else buys them. */
  readonly productIds: readonly string[];
  /** Of each product when the run began. */
  readonly stock: number;
  readonly changed: readonly ChangedProduct[];
}

/** What the API and the receiver of webhooks say at the end. */
export interface OrderClaims {
  /** Those that the API knows. */
  readonly orders: ReadonlyMap<string, { readonly status: string; readonly paymentId?: string }>;
  readonly stock: ReadonlyMap<string, number>;
  readonly ranked: ReadonlyMap<string, number>;
  /** How often the receiver has done the work of an order's webhook. */
  readonly received: ReadonlyMap<string, number>;
}

/** The most that the API lists of its ranking. */
export const listLimit = 1_000;

export interface OrderInputs {
  readonly told: OrdersTold;
  readonly rows: OrderRows;
  readonly claims: OrderClaims;
  /** Must not appear on any topic. */
  readonly personal: readonly string[];
}

export function checkOrders({ told, rows, claims, personal }: OrderInputs, recordsOf: RecordsOf): Verdict {
  const paid = told.orders.filter(({ outcome }) => outcome === 'paid');
  const events = checkOrderEvents({ ...told, personal }, recordsOf);
  const findings: Finding[] = [...events.findings, ...checkPaid(paid, rows, claims)];

  // The products are this run's, so whatever has sold of them is. What was answered as paid, or may have been, and no other.
  const mayBePaid = new Set(
    told.orders.filter(({ outcome }) => outcome !== 'refused').map(({ orderId }) => orderId),
  );
  const ours = new Set(told.productIds);
  const completed = rows.orders.filter(
    ({ status, items }) => status === 'COMPLETED' && items.some(({ productId }) => ours.has(productId)),
  );
  for (const { id } of completed)
    if (!mayBePaid.has(id)) findings.push(found('from-nowhere', id, 'is COMPLETED, and nobody has paid it'));

  // Summed over the rows: an order that is in doubt counts as what the store says it is.
  const sold = new Map(told.productIds.map((id) => [id, 0]));
  const count = (items: PlacedOrder['items']) => {
    for (const { productId, quantity } of items) sold.set(productId, (sold.get(productId) ?? 0) + quantity);
  };
  const isPaid = new Set(paid.map(({ orderId }) => orderId));
  for (const { items } of paid) count(items);
  for (const { id, items } of completed) if (!isPaid.has(id)) count(items);
  // What is not listed is not above what is; a list that is not full has everything.
  const leastListed = claims.ranked.size < listLimit ? 0 : Math.min(...claims.ranked.values());
  for (const [id, quantity] of sold) {
    const must = told.stock - quantity;
    if (rows.stock.get(id) !== must)
      findings.push(found('ledger', id, `stock is ${rows.stock.get(id)}, must be ${must}`));
    if (rows.ranked.get(id) !== quantity)
      findings.push(found('wrong', id, `ranked with ${rows.ranked.get(id)}, sold ${quantity}`));
    if (claims.stock.get(id) !== rows.stock.get(id))
      findings.push(
        found('wrong', id, `the API says stock ${claims.stock.get(id)}, the store ${rows.stock.get(id)}`),
      );
    const ranked = rows.ranked.get(id) ?? 0;
    const said = claims.ranked.get(id);
    if (said === undefined ? ranked > leastListed : said !== ranked)
      findings.push(found('wrong', id, `the API says ranked with ${said}, Redis ${ranked}`));
  }
  for (const id of mentioned(rows.unpublished, new Set([...mayBePaid, ...told.productIds])))
    findings.push(found('untold', id, 'a record of it was never published, or its timer is overdue'));
  for (const id of rows.overdue)
    findings.push(found('lost', id, 'nobody has paid it in time, and it has not expired'));
  const inDoubt = told.orders.length - paid.length + told.failed;
  return { subject: 'orders', acked: paid.length, inDoubt, repeats: events.repeats, findings };
}

/** Orders that were answered as paid: in the store, by their one payment of their amount, told to systems outside once. */
function checkPaid(paid: readonly PlacedOrder[], rows: OrderRows, claims: OrderClaims): readonly Finding[] {
  const findings: Finding[] = [];
  const orders = new Map(rows.orders.map((row) => [row.id, row]));
  const paymentsOf = Map.groupBy(rows.payments, ({ orderId }) => orderId);
  const eventsOf = Map.groupBy(rows.events, ({ orderId }) => orderId);
  for (const { orderId, paymentId } of paid) {
    const order = orders.get(orderId);
    const payments = paymentsOf.get(orderId) ?? [];
    if (order?.status !== 'COMPLETED')
      findings.push(
        found('lost', orderId, `answered as paid by ${paymentId}, and is ${order?.status ?? 'not there'}`),
      );
    else if (payments.length !== 1 || payments[0]!.id !== paymentId) {
      const detail = `answered as paid by ${paymentId}, and has payments ${payments.map(({ id }) => id).join(', ') || 'none'}`;
      findings.push(found(payments.length > 1 ? 'doubled' : 'lost', orderId, detail));
    } else if (payments[0]!.amountMinor !== order.amountMinor)
      findings.push(
        found('ledger', orderId, `costs ${order.amountMinor}, and ${payments[0]!.amountMinor} were paid`),
      );
    const claim = claims.orders.get(orderId);
    if (claim?.status !== order?.status || claim?.paymentId !== paymentId) {
      const detail = `the API says ${claim?.status} by ${claim?.paymentId}, the store ${order?.status}`;
      findings.push(found('wrong', orderId, detail));
    }
    const events = eventsOf.get(orderId) ?? [];
    if (events.length !== 1 || events[0]!.state !== 'COMPLETED')
      findings.push(
        found(
          events.length > 1 ? 'doubled' : 'untold',
          orderId,
          `its webhook is ${events.map(({ state }) => state).join(', ') || 'not logged'}`,
        ),
      );
    const effects = claims.received.get(orderId) ?? 0;
    if (effects !== 1)
      findings.push(
        found(
          effects > 1 ? 'doubled' : 'untold',
          orderId,
          `the receiver of its webhook has done its work ${effects} times`,
        ),
      );
  }
  return findings;
}
