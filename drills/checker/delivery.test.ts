import test from 'ava';
import { checkDelivery, type DeliveryRows, type DeliveryTold } from './delivery.ts';
import type { SeenRecord } from './reading.ts';
import { seen } from './seen.fixture.ts';

const [customer, owner, rider] = ['u_customer', 'u_owner', 'u_rider'];
const way = [
  ['place', 'PLACED', 'customer owner', 0],
  ['accept', 'ACCEPTED', 'customer', 10],
  ['cook', 'COOKING', 'customer', 20],
  ['call', 'CALLED', 'customer', 30],
  ['dispatch', 'ASSIGNED', 'customer owner rider', 40],
  ['deliver', 'DELIVERED', 'customer owner rider', 1_040],
] as const;
const people: Readonly<Record<string, string>> = { customer, owner, rider };

/** An order that was delivered, and one that was cancelled. */
const rows: DeliveryRows = {
  stock: new Map([['noodles', 98]]),
  orders: [
    {
      ...{ id: 'a', customer, owner, itemId: 'noodles', quantity: 2, paidMinor: 20, refundedMinor: 0 },
      ...{ district: 'east', state: 'DELIVERED', version: 6, hasPhoto: false },
    },
    {
      ...{ id: 'b', customer, owner, itemId: 'noodles', quantity: 1, paidMinor: 10, refundedMinor: 10 },
      ...{ district: 'east', state: 'CANCELLED', version: 2, hasPhoto: false },
    },
  ],
  changes: [
    ...way.map(([step, state, , atMs], index) => ({ orderId: 'a', version: index + 1, step, state, atMs })),
    { orderId: 'b', version: 1, step: 'place', state: 'PLACED', atMs: 5 },
    { orderId: 'b', version: 2, step: 'cancel', state: 'CANCELLED', atMs: 6 },
  ],
  notifications: [
    ...way.flatMap(([, state, roles], index) =>
      roles
        .split(' ')
        .map((role) => ({ orderId: 'a', version: index + 1, role, person: people[role]!, state })),
    ),
    ...['PLACED', 'CANCELLED'].flatMap((state, index) =>
      ['customer', 'owner'].map((role) => ({
        ...{ orderId: 'b', version: index + 1, role, person: people[role]!, state },
      })),
    ),
  ],
  riders: [{ rider, district: 'east', state: 'FREE' }],
};

const ordered: Pick<
  DeliveryTold['orders'][number],
  'customer' | 'itemId' | 'district' | 'owes' | 'outcome' | 'confirmed'
> = {
  ...{ customer: 'alice', itemId: 'noodles', district: 'east', owes: 'accepted', outcome: 'accepted' },
  confirmed: false,
};
const told: DeliveryTold = {
  orders: [
    {
      ...{ ...ordered, ids: ['a', 'a'], quantity: 2, end: 'DELIVERED', version: 6 },
      steps: [{ step: 'cook', state: 'COOKING', version: 3 }],
    },
    { ...ordered, ids: ['b'], quantity: 1, end: 'CANCELLED', version: 2, steps: [] },
  ],
  dishes: [{ itemId: 'noodles', priceMinor: 10, stock: 100, added: 0, mayBeAdded: 0 }],
  riders: [{ district: 'east' }],
  shown: [
    {
      ...{ role: 'customer', subject: 'alice' },
      seen: rows.changes.map(({ orderId, version, state }) => ({ orderId, version, state })),
    },
  ],
};

const published = ({ changes, notifications }: DeliveryRows) => ({
  'delivery-order-events': changes.map(({ orderId, version }) => ({
    eventId: `${orderId}-${version}`,
    orderId,
    version,
  })),
  'delivery-events': [{ eventId: 'a-5-succeeded', orderId: 'a', version: 5 }],
  'delivery-log-events': notifications.map(({ orderId, version, role }) => ({
    eventId: `${orderId}-${version}-${role}`,
  })),
});
type Published = Readonly<Record<string, readonly object[]>>;
const judge = (
  differences: Partial<DeliveryRows> = {},
  heard: Partial<DeliveryTold> = {},
  topics: Published = {},
) => {
  const all = { ...rows, ...differences };
  const on: Published = { ...published(all), ...topics };
  const of = (topic: string): readonly SeenRecord[] =>
    (on[topic] ?? []).map((value, offset) => seen({ topic, offset, value }));
  return checkDelivery({ ...told, ...heard }, all, of, ['alice']);
};
const findings = (...given: Parameters<typeof judge>) =>
  judge(...given).findings.map(({ kind, id }) => `${kind} ${id}`);
/** One of a list, changed. */
const but = <Item>(list: readonly Item[], index: number, change: object) =>
  list.map((one, at) => (at === index ? { ...one, ...change } : one));

test('orders that went their way are found in order, also when it is told again', (t) => {
  t.deepEqual(findings(), []);
  const on = published(rows)['delivery-order-events'];
  const again = judge({}, {}, { 'delivery-order-events': [...on, on[0]!] });
  t.deepEqual([again.findings.length, again.repeats, again.acked], [0, 1, 2]);
});

test('orders that are not there, are others, or that nobody placed', (t) => {
  const unknown = { ...ordered, ids: ['c'], quantity: 1, end: undefined, version: 0, steps: [] };
  t.deepEqual(findings({}, { orders: [...told.orders, unknown] }), ['lost c']);
  t.deepEqual(findings({}, { orders: [...told.orders, { ...unknown, ids: [], outcome: 'failed' }] }), []);
  t.true(findings({}, { orders: told.orders.slice(0, 1) }).includes('from-nowhere b'));
  const inDoubt = { ...told.orders[1]!, ids: [], outcome: 'failed', end: undefined } as const;
  t.deepEqual(findings({}, { orders: [told.orders[0]!, inDoubt] }), []);
  t.true(findings({}, { orders: but(told.orders, 0, { ids: ['a', 'b'] }) }).includes('doubled a'));
  t.true(findings({}, { orders: but(told.orders, 1, { owes: 'refused' }) }).includes('wrong b'));
  t.true(findings({}, { orders: but(told.orders, 0, { outcome: 'refused' }) }).includes('wrong a'));
  t.true(findings({ orders: but(rows.orders, 0, { customer: 'u_other' }) }).includes('wrong b'));
  t.true(findings({ orders: but(rows.orders, 0, { paidMinor: 19 }) }).includes('ledger a'));
  t.true(findings({}, { orders: but(told.orders, 0, { end: 'CANCELLED' }) }).includes('wrong a'));
});

test('an order that goes no further, and one that its people could not end', (t) => {
  const changes = rows.changes.filter(({ version, orderId }) => orderId === 'b' || version < 6);
  const notifications = rows.notifications.filter(({ version, orderId }) => orderId === 'b' || version < 6);
  const orders = but(rows.orders, 0, { state: 'ASSIGNED', version: 5 });
  const waiting = { orders: but(told.orders, 0, { end: undefined }), shown: [] };
  t.deepEqual(findings({ changes, notifications, orders }, waiting), ['untold a', 'lost a']);
});

test('steps that there are not, that are missing, that are early', (t) => {
  const stepped = (index: number, change: object) => findings({ changes: but(rows.changes, index, change) });
  t.true(stepped(5, { atMs: 1_039 }).includes('wrong a'));
  const confirmed = { orders: but(told.orders, 0, { confirmed: true }) };
  t.deepEqual(findings({ changes: but(rows.changes, 5, { atMs: 1_039 }) }, confirmed), []);
  t.true(stepped(1, { state: 'COOKING' }).includes('wrong a'));
  t.true(stepped(2, { version: 4 }).includes('order a'));
  t.true(findings({ orders: but(rows.orders, 0, { version: 7 }) }).includes('wrong a'));
  const asked = (step: object) => ({ orders: but(told.orders, 0, { steps: [step] }) });
  t.deepEqual(findings({}, asked({ step: 'cancel', state: 'CANCELLED', version: 3 })), ['lost a-3']);
  t.deepEqual(findings({}, asked({ step: 'cook', state: 'COOKING', version: 3, owes: 'refused' })), [
    'wrong a-3',
  ]);
});

test('a refund that was asked for without a photo', (t) => {
  const refund = { orderId: 'a', version: 7, step: 'requestRefund', state: 'REFUND_REQUESTED', atMs: 2_000 };
  const found = (hasPhoto: boolean) =>
    judge({
      changes: [...rows.changes.slice(0, 6), refund, ...rows.changes.slice(6)],
      orders: but(rows.orders, 0, { state: 'REFUND_REQUESTED', version: 7, hasPhoto }),
    }).findings.filter(({ detail }) => detail.includes('photo')).length;
  t.is(found(true), 0);
  t.is(found(false), 1);
});

test('notifications that are missing, twice, out of order, for others, or of nothing', (t) => {
  const { notifications } = rows;
  const first = notifications[0]!;
  const noted = (list: DeliveryRows['notifications']) => findings({ notifications: list }, { shown: [] });
  t.true(noted(notifications.slice(1)).includes('untold a-1'));
  t.true(noted([...notifications.slice(0, 2), first, ...notifications.slice(2)]).includes('doubled a-1'));
  t.true(noted([...notifications.slice(1), first]).includes('order a-1'));
  t.true(noted(but(notifications, 0, { person: 'u_other' })).includes('wrong a-1'));
  t.true(noted(but(notifications, 0, { state: 'COOKING' })).includes('wrong a-1'));
  t.true(noted([...notifications, { ...first, version: 9 }]).includes('from-nowhere a-9'));
  t.true(noted([...notifications, { ...first, version: 2, role: 'rider' }]).includes('wrong a-2'));
});

test('what people saw: everything, once, in order, and nothing else', (t) => {
  const all = told.shown[0]!.seen;
  const saw = (list: typeof all) => findings({}, { shown: [{ ...told.shown[0]!, seen: list }] });
  t.deepEqual(saw(all.slice(1)), ['untold a-1']);
  t.deepEqual(saw([...all, all[0]!]), ['doubled a-1']);
  t.deepEqual(saw([all[1]!, all[0]!, ...all.slice(2)]), ['order a-1']);
  t.deepEqual(saw([...all, { orderId: 'b', version: 3, state: 'PLACED' }]), ['from-nowhere b-3']);
});

test('riders who are left behind, gone, or in two places', (t) => {
  t.deepEqual(findings({ riders: [{ rider, district: 'east', state: 'BUSY' }] }), [`lost ${rider}`]);
  t.deepEqual(findings({ riders: [] }), ['lost east']);
  const other = way.map(([step, state, , atMs], index) => ({
    ...{ orderId: 'c', version: index + 1, step, state, atMs: atMs + 500 },
  }));
  const words = way.flatMap(([, state, roles], index) =>
    roles
      .split(' ')
      .map((role) => ({ orderId: 'c', version: index + 1, role, person: people[role]!, state })),
  );
  const found = findings(
    {
      orders: [...rows.orders, { ...rows.orders[0]!, id: 'c' }],
      changes: [...rows.changes, ...other],
      notifications: [...rows.notifications, ...words],
      stock: new Map([['noodles', 96]]),
    },
    { orders: [...told.orders, { ...told.orders[0]!, ids: ['c'], steps: [] }], shown: [] },
  );
  t.deepEqual([...new Set(found)], ['doubled c', 'doubled a']);
});

test('stock and money that are not where the ends say', (t) => {
  t.deepEqual(findings({ stock: new Map([['noodles', 97]]) }), ['ledger noodles']);
  t.deepEqual(
    findings({ stock: new Map([['noodles', 101]]) }, { dishes: but(told.dishes, 0, { mayBeAdded: 3 }) }),
    [],
  );
  t.deepEqual(findings({}, { dishes: but(told.dishes, 0, { added: 3 }) }), ['ledger noodles']);
  t.deepEqual(findings({ orders: but(rows.orders, 1, { refundedMinor: 0 }) }), ['ledger b']);
  t.deepEqual(findings({ orders: but(rows.orders, 0, { refundedMinor: 20 }) }), ['ledger a']);
});

test('topics: what is not told, is told the wrong way round, or names somebody', (t) => {
  const on = published(rows);
  const events = on['delivery-order-events'];
  t.deepEqual(findings({}, {}, { 'delivery-order-events': events.slice(1) }), ['untold a-1']);
  t.deepEqual(findings({}, {}, { 'delivery-order-events': [events[1]!, events[0]!, ...events.slice(2)] }), [
    'order a-1',
  ]);
  t.deepEqual(findings({}, {}, { 'delivery-log-events': on['delivery-log-events'].slice(1) }), [
    'untold a-1-customer',
  ]);
  t.deepEqual(findings({}, {}, { 'delivery-order-events': [...events, {}] }), [
    'wrong delivery-order-events-0-8',
  ]);
  const named = [...on['delivery-log-events'], { eventId: 'x', message: 'alice' }];
  t.deepEqual(findings({}, {}, { 'delivery-log-events': named }), ['personal-data delivery-log-events-0-15']);
});
