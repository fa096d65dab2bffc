import test from 'ava';
import { checkOrders, type OrderClaims, type OrdersTold } from './orders.ts';
import { seen } from './seen.fixture.ts';
import type { OrderRows } from './stores.ts';

/** Two orders are paid, the third is in doubt: its customer never got an answer, and the store has completed it. */
const quantities = { o1: 1, o2: 2, o3: 4 } as const;
const items = (id: keyof typeof quantities) => [{ productId: 'p1', quantity: quantities[id] }];
const told: OrdersTold = {
  orders: [
    { orderId: 'o1', items: items('o1'), outcome: 'paid', paymentId: 'pay-o1', paySentAtMs: 1, paidAtMs: 2 },
    { orderId: 'o2', items: items('o2'), outcome: 'paid', paymentId: 'pay-o2', paySentAtMs: 3, paidAtMs: 4 },
    { orderId: 'o3', items: items('o3'), outcome: 'failed' },
  ],
  failed: 0,
  productIds: ['p1', 'p2'],
  stock: 100,
  changed: [],
};
const ids = ['o1', 'o2', 'o3'] as const;
const rows: OrderRows = {
  orders: ids.map((id) => ({ id, status: 'COMPLETED', amountMinor: 500, items: items(id) })),
  payments: ids.map((orderId) => ({ id: `pay-${orderId}`, orderId, amountMinor: 500 })),
  stock: new Map([
    ['p1', 93],
    ['p2', 100],
  ]),
  events: ids.map((orderId) => ({ id: `pay-${orderId}`, orderId, state: 'COMPLETED' })),
  overdue: [],
  unpublished: [],
  ranked: new Map([
    ['p1', 7],
    ['p2', 0],
  ]),
};
const claims: OrderClaims = {
  orders: new Map(ids.map((id) => [id, { status: 'COMPLETED', paymentId: `pay-${id}` }])),
  stock: rows.stock,
  ranked: new Map([['p1', 7]]),
  received: new Map(ids.map((id) => [id, 1])),
};
const onTopic = (topic: string) =>
  topic === 'product-events'
    ? []
    : ['o1', 'o2'].map((orderId, offset) =>
        seen({ topic, key: 'user:u_1', offset, value: { orderId, paymentId: `pay-${orderId}` } }),
      );
const named = (
  wrong: {
    readonly told?: Partial<OrdersTold>;
    readonly rows?: Partial<OrderRows>;
    readonly claims?: Partial<OrderClaims>;
  },
  recordsOf = onTopic,
) =>
  checkOrders(
    {
      told: { ...told, ...wrong.told },
      rows: { ...rows, ...wrong.rows },
      claims: { ...claims, ...wrong.claims },
      personal: ['person-'],
    },
    recordsOf,
  ).findings.map(({ kind, id }) => `${kind} ${id}`);
/** Rows with those of one order changed. */
const but = <Row extends object>(list: readonly Row[], index: number, change: Partial<Row>): Row[] =>
  list.map((row, at) => (at === index ? { ...row, ...change } : row));

test('orders whose customers, store, topics, ranking and webhooks agree are well', (t) => {
  t.deepEqual(named({}), []);
});

test('an order in doubt counts as what the store says, and switches no sum off', (t) => {
  const pending = but(rows.orders, 2, { status: 'PENDING' });
  t.deepEqual(named({ rows: { orders: pending } }), ['ledger p1', 'wrong p1']);
  const less = {
    stock: new Map([...rows.stock, ['p1', 97]]),
    ranked: new Map([...rows.ranked, ['p1', 3]]),
  };
  const said = { stock: less.stock, ranked: less.ranked };
  t.deepEqual(named({ rows: { orders: pending, ...less }, claims: said }), []);
});

test('stock that is off by one is named, in the store and in what the API says of it', (t) => {
  const stock = new Map([...rows.stock, ['p1', 92]]);
  t.deepEqual(named({ rows: { stock }, claims: { stock } }), ['ledger p1']);
  t.deepEqual(named({ claims: { stock } }), ['wrong p1']);
});

test('a ranking that is off by one is named, in Redis and in what the API says of it', (t) => {
  const ranked = new Map([...rows.ranked, ['p1', 8]]);
  t.deepEqual(named({ rows: { ranked }, claims: { ranked } }), ['wrong p1']);
  t.deepEqual(named({ claims: { ranked } }), ['wrong p1']);
  t.deepEqual(named({ claims: { ranked: new Map() } }), ['wrong p1']);
});

test('a product that is not among those listed may only be below them', (t) => {
  const full = (least: number) =>
    new Map(Array.from({ length: 1_000 }, (_, at) => [`other-${at}`, least + at] as const));
  t.deepEqual(named({ claims: { ranked: full(7) } }), []);
  t.deepEqual(named({ claims: { ranked: full(6) } }), ['wrong p1']);
});

test('an order that was answered as paid and is not is lost', (t) => {
  const status = but(rows.orders, 0, { status: 'PENDING' });
  t.deepEqual(named({ rows: { orders: status } }), ['lost o1', 'wrong o1']);
  t.deepEqual(named({ rows: { orders: rows.orders.slice(1) } }), ['lost o1', 'wrong o1']);
});

test('a payment that is missing, double, another one or of another amount is named', (t) => {
  t.deepEqual(named({ rows: { payments: rows.payments.slice(1) } }), ['lost o1']);
  t.deepEqual(named({ rows: { payments: but(rows.payments, 0, { id: 'pay-x' }) } }), ['lost o1']);
  const twice = [...rows.payments, { id: 'pay-x', orderId: 'o1', amountMinor: 500 }];
  t.deepEqual(named({ rows: { payments: twice } }), ['doubled o1']);
  t.deepEqual(named({ rows: { payments: but(rows.payments, 0, { amountMinor: 499 }) } }), ['ledger o1']);
});

test('an order of our products that is COMPLETED and nobody paid comes from nowhere', (t) => {
  const orders = [...told.orders.slice(0, 2), { ...told.orders[2]!, outcome: 'refused' as const }];
  t.deepEqual(named({ told: { orders } }), ['from-nowhere o3']);
  const other = { id: 'o9', status: 'COMPLETED', amountMinor: 1, items: [{ productId: 'p9', quantity: 1 }] };
  t.deepEqual(named({ rows: { orders: [...rows.orders, other] } }), []);
});

test('an order that the API tells otherwise than the store is wrong', (t) => {
  const orders = new Map([...claims.orders, ['o2', { status: 'PENDING' }]]);
  t.deepEqual(named({ claims: { orders } }), ['wrong o2']);
});

test('a webhook that was worked on twice or not at all is named', (t) => {
  const received = (times: number) => new Map([...claims.received, ['o2', times]]);
  t.deepEqual(named({ claims: { received: received(2) } }), ['doubled o2']);
  t.deepEqual(named({ claims: { received: received(0) } }), ['untold o2']);
});

test('an event for systems outside that is missing, double or not done is named', (t) => {
  t.deepEqual(named({ rows: { events: rows.events.slice(1) } }), ['untold o1']);
  t.deepEqual(named({ rows: { events: but(rows.events, 0, { state: 'FAILED' }) } }), ['untold o1']);
  const twice = [...rows.events, { id: 'other', orderId: 'o1', state: 'COMPLETED' }];
  t.deepEqual(named({ rows: { events: twice } }), ['doubled o1']);
});

test('an event that is missing on a topic is named', (t) => {
  const without = (topic: string) =>
    onTopic(topic).filter((_, at) => topic !== 'order-confirmed' || at === 0);
  t.deepEqual(named({}, without), ['untold o2']);
});

test('a record of an order that was never published is named', (t) => {
  const orderId = '01890000-0000-7000-8000-000000000002';
  const orders = [...told.orders, { orderId, items: [], outcome: 'failed' as const }];
  const unpublished = [JSON.stringify({ orderId, products: [] })];
  t.deepEqual(named({ told: { orders }, rows: { unpublished } }), [`untold ${orderId}`]);
});
