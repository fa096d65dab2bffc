/** The workers of food delivery as they are, over HTTP and on a real MySQL or MariaDB (MYSQL_*); Kafka is in memory. */
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import { type Kysely, sql } from 'kysely';
import type { DeliveryOrderEvent } from '../../catalog/events/delivery.ts';
import { bytesOfUuid, uuidV7 } from '../base/ids.ts';
import { startDelivery } from '../delivery.fixture.ts';
import { callerOf, tokenOf } from '../http/testing.ts';
import { eventually } from '../kafka/testing.ts';
import { brokenNow, checksFrom } from '../platform/checks.fixture.ts';
import { noise } from '../platform/pictures.fixture.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { notificationStore } from './notifications.ts';
import { deliveryChecks } from './promises.ts';

let db: Kysely<unknown>;
let close: () => Promise<void> = async () => {};
let delivery: Awaited<ReturnType<typeof startDelivery>>;
let as: ReturnType<typeof callerOf>;
const seenLines: { readonly eventId: string }[] = [];

test.before(async (t) => {
  t.timeout(60_000);
  const scratch = await scratchDatabase('delivery_workers', 'delivery');
  db = scratch.db;
  delivery = await startDelivery(
    db,
    (error) => t.fail(error.message),
    (line) => seenLines.push(line),
  );
  as = callerOf(delivery.http, '/delivery');
  close = async () => {
    await delivery.close();
    await scratch.drop();
  };
});
test.after.always(() => close());
test.beforeEach((t) => t.timeout(120_000));

let run = 0;
async function people(stock: number) {
  run += 1;
  const [customer, owner, rider] = await Promise.all(
    (['customer', 'owner', 'rider'] as const).map(async (role) => as(await tokenOf(role, `${role}-${run}`))),
  );
  const district = `Gangnam-gu 역삼 ${run}`;
  const shop = await owner!('POST', '/shops', { name: 'Noodles' });
  const price = { amountMinor: 9_000, currency: 'KRW' };
  const { shopId } = shop.json;
  const item = await owner!('POST', `/shops/${shopId}/items`, { name: 'Udon', price, stock });
  return { customer: customer!, owner: owner!, rider: rider!, district, shopId, itemId: item.json.itemId };
}
type People = Awaited<ReturnType<typeof people>>;

async function order({ customer, itemId, district }: People): Promise<string> {
  const placed = await customer('POST', '/orders', { itemId, quantity: 1, district });
  return placed.json.orderId;
}
const serve = async ({ owner }: People, orderId: string) => {
  for (const step of ['accept', 'cook', 'call']) await owner('POST', `/orders/${orderId}/${step}`, {});
};
const stateOf = async ({ customer }: People, orderId: string): Promise<string> =>
  (await customer('GET', `/orders/${orderId}`)).json.state;
const until = async (who: People, orderId: string, state: string) =>
  eventually(`the order is ${state}`, async () => (await stateOf(who, orderId)) === state);

test.serial(
  'an order goes from its customer over owner and rider back, a second after its rider has it, and each is told in order',
  async (t) => {
    const all = await people(5);
    const { customer, owner, rider, district, shopId } = all;
    t.is((await rider('PUT', '/riders/me', { district, state: 'FREE' })).status, 204);
    const menu = await customer('GET', `/shops/${shopId}/menu`);
    t.is(menu.json.items[0].stock, 5);
    const orderId = await order(all);
    await serve(all, orderId);
    await until(all, orderId, 'DELIVERED');
    const { rows } = await sql<{ state: string; at: Date }>`
      SELECT state, changed_at AS at FROM delivery_change WHERE state IN ('ASSIGNED', 'DELIVERED') ORDER BY version`.execute(
      db,
    );
    t.true(rows[1]!.at.getTime() - rows[0]!.at.getTime() >= 1_000, 'not early');
    const told = async (who: typeof customer) =>
      (await who('GET', '/notifications')).json.notifications.map(({ state }: { state: string }) => state);
    await eventually('all are told', async () => (await told(customer)).length === 6);
    t.deepEqual(await told(customer), ['PLACED', 'ACCEPTED', 'COOKING', 'CALLED', 'ASSIGNED', 'DELIVERED']);
    t.deepEqual(await told(owner), ['PLACED', 'ASSIGNED', 'DELIVERED']);
    t.deepEqual(await told(rider), ['ASSIGNED', 'DELIVERED']);
    await eventually('all are logged', () => seenLines.length >= 11);
    t.is(new Set(seenLines.map(({ eventId }) => eventId)).size, 11, 'one log line for each who was told');

    // Everything once more: what was told is not told again.
    const { kafka } = delivery;
    const again = kafka.sent.filter(({ topic }) =>
      ['delivery-order-events', 'delivery-events'].includes(topic),
    );
    await (await kafka.producer('test')).send(again as never);
    const second = await order(all);
    await eventually('all are told', async () => (await told(customer)).length === 7);
    t.is((await told(customer)).at(-1), 'PLACED');
    t.is(await stateOf(all, orderId), 'DELIVERED');
    // Two of the second order, and nothing once more.
    await eventually('all are logged', () => seenLines.length >= 13);
    t.is(seenLines.length, 13);

    // What was shown goes; nobody marks another's.
    const { notifications } = (await customer('GET', '/notifications')).json;
    const nos = notifications.slice(0, 6).map(({ no }: { no: number }) => no);
    await owner('POST', '/notifications/shown', { nos });
    t.is((await told(customer)).length, 7);
    t.is((await customer('POST', '/notifications/shown', { nos })).status, 204);
    t.deepEqual(await told(customer), ['PLACED']);
    t.is((await customer('POST', `/orders/${second}/cancel`, {})).json.state, 'CANCELLED');
    t.is((await customer('GET', `/shops/${shopId}/menu`)).json.items[0].stock, 4);
  },
);

test.serial('whose order it is not sees nothing of it and moves nothing, whatever the role', async (t) => {
  const [all, others] = [await people(5), await people(5)];
  const orderId = await order(all);
  for (const stranger of [others.customer, others.owner, others.rider])
    t.is((await stranger('GET', `/orders/${orderId}`)).code, 'MUSTER_DELIVERY_ORDER_UNKNOWN');
  t.is((await others.owner('POST', `/orders/${orderId}/accept`, {})).code, 'MUSTER_DELIVERY_ORDER_UNKNOWN');
  t.is(
    (await others.customer('POST', `/orders/${orderId}/cancel`, {})).code,
    'MUSTER_DELIVERY_ORDER_UNKNOWN',
  );
  t.is((await all.customer('POST', `/orders/${orderId}/accept`, {})).code, 'MUSTER_FORBIDDEN');
  t.is((await all.owner('POST', `/orders/${orderId}/cancel`, {})).code, 'MUSTER_FORBIDDEN');
  const item = { name: 'x', price: { amountMinor: 1, currency: 'KRW' }, stock: 1 };
  t.is((await others.owner('POST', `/shops/${all.shopId}/items`, item)).code, 'MUSTER_SHOP_UNKNOWN');
  t.is(
    (await others.owner('POST', `/items/${all.itemId}/stock`, { quantity: 1 })).code,
    'MUSTER_ITEM_UNKNOWN',
  );
  t.is((await all.owner('POST', `/shops/${all.shopId}/items`, { ...item, stock: -1 })).status, 422);
  t.deepEqual((await others.customer('GET', '/orders')).json.orders, []);
  t.is((await all.customer('GET', '/orders')).json.orders[0].orderId, orderId);
  const staff = as(await tokenOf('operator', 'o'));
  t.is((await staff('GET', `/orders/${orderId}`)).json.state, 'PLACED');
});

test.serial(
  'the rider’s word counts at its version, all riders busy is told, and a refund goes its way',
  async (t) => {
    const all = await people(5);
    const { customer, owner, rider, district, shopId } = all;
    const orderId = await order(all);
    await serve(all, orderId);
    await until(all, orderId, 'DELIVERY_FAILED');
    await rider('PUT', '/riders/me', { district, state: 'FREE' });
    t.is((await customer('POST', `/orders/${orderId}/call-again`, {})).json.state, 'CALLED');
    // Held there: the clock is to leave this one to the rider.
    await eventually('a rider has it', async () => {
      const { numAffectedRows } = await sql`
        UPDATE delivery_order SET due_at = due_at + INTERVAL 1 HOUR WHERE state = 'ASSIGNED'`.execute(db);
      return numAffectedRows === 1n;
    });
    const { version } = (await rider('GET', `/orders/${orderId}`)).json;
    t.is((await rider('POST', `/orders/${orderId}/deliver`, {})).status, 422, 'which version is missing');
    t.is(
      (await rider('POST', `/orders/${orderId}/deliver`, { version: version - 1 })).code,
      'MUSTER_ORDER_CHANGED',
    );
    t.is((await rider('POST', `/orders/${orderId}/deliver`, { version })).json.state, 'DELIVERED');
    const form = new FormData();
    form.append('file', new Blob([new Uint8Array(await noise(8, 8).png().toBuffer())]), 'dish.png');
    const sent = await customer('POST', `/orders/${orderId}/photos`, form);
    t.is(sent.status, 201);
    const complaint = { wanted: 'REFUND', complaint: 'cold', photoId: sent.json.photoId };
    t.is(
      (await customer('POST', `/orders/${orderId}/refund-request`, complaint)).json.state,
      'REFUND_REQUESTED',
    );
    t.is((await owner('GET', `/orders/${orderId}`)).json.complaint, 'cold');
    t.is((await rider('GET', `/orders/${orderId}`)).json.complaint, undefined);
    t.is((await owner('POST', `/orders/${orderId}/reject`, {})).status, 422, 'a reason is missing');
    t.is((await owner('POST', `/orders/${orderId}/approve`, {})).json.state, 'REFUND_APPROVED');
    t.is((await owner('POST', `/orders/${orderId}/approve`, {})).code, 'MUSTER_STEP_IMPOSSIBLE');
    const { refunded, paid } = (await customer('GET', `/orders/${orderId}`)).json;
    t.deepEqual(refunded, paid);
    t.is((await customer('GET', `/shops/${shopId}/menu`)).json.items[0].stock, 5);
  },
);

test.serial(
  'twenty orders of five riders all end while Kafka comes and goes, one notification a change, and all riders are free',
  async (t) => {
    const all = await people(100);
    const { district, customer } = all;
    for (let each = 0; each < 5; each++) {
      const rider = as(await tokenOf('rider', `many-${each}`));
      await rider('PUT', '/riders/me', { district, state: 'FREE' });
    }
    const { memory } = delivery;
    const coming = setInterval(() => {
      memory.failWith = memory.failWith === undefined ? new Error('Kafka is away') : undefined;
    }, 300);
    t.teardown(() => {
      clearInterval(coming);
      memory.failWith = undefined;
    });
    const goThrough = async () => {
      const orderId = await order(all);
      await serve(all, orderId);
      for (;;) {
        const state = await stateOf(all, orderId);
        if (state === 'DELIVERED') return;
        if (state === 'DELIVERY_FAILED') await customer('POST', `/orders/${orderId}/call-again`, {});
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    };
    await Promise.all(Array.from({ length: 20 }, goThrough));
    clearInterval(coming);
    memory.failWith = undefined;
    const counts = async () => {
      const { rows } = await sql<{ changes: number; notified: number; people: number; free: number }>`
      SELECT (SELECT COUNT(*) FROM delivery_change) AS changes,
        (SELECT COUNT(*) FROM delivery_notification WHERE role = 'customer') AS notified,
        (SELECT COUNT(*) FROM delivery_notification) AS people,
        (SELECT COUNT(*) FROM delivery_rider WHERE district = ${district} AND state = 'FREE') AS free`.execute(
        db,
      );
      return rows[0]!;
    };
    await eventually('all are told', async () => {
      const { changes, notified } = await counts();
      return Number(changes) === Number(notified);
    });
    const { changes, people: told, free } = await counts();
    t.is(Number(free), 5);
    await eventually('all are logged', () => seenLines.length >= Number(told));
    t.is(new Set(seenLines.map(({ eventId }) => eventId)).size, Number(told));
    const { rows: behind } = await sql`
    SELECT a.no FROM delivery_notification a JOIN delivery_notification b
    ON b.order_id = a.order_id AND b.role = a.role AND b.version > a.version AND b.no < a.no`.execute(db);
    t.deepEqual(behind, [], 'in the order of versions');
    t.log(`${changes} changes, ${told} notifications`);
  },
);

/** An app of a person: what it has been told, an id with its message each, in order. */
async function openApp(t: ExecutionContext, token: string, lastEventId?: string) {
  const ending = new AbortController();
  const answer = await fetch(
    `http://127.0.0.1:${delivery.http.address().port}/delivery/notifications/events`,
    {
      headers: {
        authorization: `Bearer ${token}`,
        ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
      },
      signal: ending.signal,
    },
  );
  t.teardown(() => ending.abort());
  const told: { readonly id: string; readonly eventId: string; readonly message: string }[] = [];
  let isReady = false;
  void (async () => {
    let text = '';
    for await (const chunk of answer.body!.pipeThrough(new TextDecoderStream())) {
      const blocks = (text + chunk).split('\n\n');
      text = blocks.pop()!;
      for (const block of blocks) {
        isReady ||= block.includes('event: ready');
        const [, eventId, data] = /^id: (\S+)\nevent: notification\ndata: (.*)$/.exec(block) ?? [];
        if (eventId === undefined) continue;
        told.push({ id: eventId.split('.')[0]!, eventId, message: JSON.parse(data!).message });
      }
    }
  })().catch(() => {});
  await eventually('the stream has begun', () => isReady);
  return { told, messages: () => told.map(({ message }) => message), end: () => ending.abort() };
}

test.serial(
  'what people are told is pushed to their apps in order, and told again until one acknowledges it',
  async (t) => {
    const all = await people(5);
    const [customer, owner, rider] = await Promise.all(
      (['customer', 'owner', 'rider'] as const).map((role) => tokenOf(role, `${role}-${run}`)),
    );
    // The same person in another role has apps of that role.
    const [app, cooks, rides, namesake] = await Promise.all(
      [customer!, owner!, rider!, await tokenOf('rider', `customer-${run}`)].map((token) =>
        openApp(t, token),
      ),
    );
    await all.rider('PUT', '/riders/me', { district: all.district, state: 'FREE' });
    const orderId = await order(all);
    await serve(all, orderId);
    await until(all, orderId, 'DELIVERED');
    await eventually(
      'all are told',
      () => app!.told.length >= 6 && cooks!.told.length >= 3 && rides!.told.length >= 2,
    );
    t.deepEqual(app!.messages(), [
      'The order is placed.',
      'The shop has accepted the order.',
      'The order is being cooked.',
      'A rider is being looked for.',
      'A rider has the order.',
      'The order is delivered.',
    ]);
    t.deepEqual(rides!.messages(), ['A rider has the order.', 'The order is delivered.']);
    t.is(cooks!.told.length, 3);
    t.deepEqual(namesake!.told, []);
    const { sent } = delivery.kafka;
    const again = sent.filter(({ topic }) => topic === 'delivery-log-events');
    await (await delivery.kafka.producer('test')).send(again as never);

    const ids = app!.told.map(({ id }) => id);
    const acks = '/notifications/events/acks';
    t.is((await all.owner('POST', acks, { ids })).status, 204, 'of another: nothing happens');
    t.is((await all.customer('POST', acks, { ids: ids.slice(0, 4) })).status, 204);
    t.is((await all.customer('POST', acks, { ids: [`${orderId}-1-clock`] })).status, 422);
    t.is((await all.customer('POST', acks, { memberId: 'somebody else', ids })).status, 403);
    t.deepEqual(app!.messages().length, 6, 'what came again is shown once');
    app!.end();
    const back = await openApp(t, customer!);
    await eventually('it is told again', () => back.told.length >= 2);
    t.deepEqual(back.messages(), ['A rider has the order.', 'The order is delivered.']);
    const listed = (await all.customer('GET', '/notifications')).json.notifications;
    t.is(listed.length, 2, 'what was not shown stays listed');
    back.end();
    // Who says what was seen last has seen what was sent before it.
    const later = await openApp(t, customer!, back.told.at(-1)!.eventId);
    await eventually('all are shown', async () => {
      const { notifications } = (await all.customer('GET', '/notifications')).json;
      return notifications.length === 0;
    });
    t.deepEqual(later.told, []);
  },
);

test.serial(
  'what is promised holds after all that, and each wrong is told with its id and nothing else',
  async (t) => {
    const all = await people(1);
    const names = ['deliveries-ended', 'riders-one-place', 'changes-notified'] as const;
    const checks = checksFrom(deliveryChecks, names, { database: async () => db });
    // As if all of it had been a while ago.
    const longAgo = async () => {
      await sql`UPDATE delivery_change SET changed_at = changed_at - INTERVAL 30 MINUTE`.execute(db);
      await sql`UPDATE delivery_order SET changed_at = changed_at - INTERVAL 30 MINUTE`.execute(db);
    };
    await all.rider('PUT', '/riders/me', { district: all.district, state: 'FREE' });
    const orderId = await order(all);
    await serve(all, orderId);
    await until(all, orderId, 'DELIVERED');
    await eventually('all are told', async () => {
      const { rows } = await sql<{ n: number }>`
      SELECT (SELECT COUNT(*) FROM delivery_change) -
        (SELECT COUNT(*) FROM delivery_notification WHERE role = 'customer') AS n`.execute(db);
      return Number(rows[0]!.n) === 0;
    });
    await longAgo();
    t.deepEqual(await brokenNow(checks), {});
    const at = sql`order_id = ${bytesOfUuid(orderId)}`;
    const { rows } = await sql<{ rider: string }>`SELECT rider FROM delivery_order WHERE ${at}`.execute(db);
    const { rider } = rows[0]!;
    // A change that nobody was told of; the check that has looked at it before does not look again, a new one does.
    await sql`DELETE FROM delivery_notification WHERE ${at} AND version = 2`.execute(db);
    const anew = checksFrom(deliveryChecks, names, { database: async () => db });
    t.deepEqual(await brokenNow(anew), { 'changes-notified': [`${orderId}-2`] });
    await sql`
    INSERT INTO delivery_notification (order_id, version, role, person, state, changed_at, made_at)
    VALUES (${bytesOfUuid(orderId)}, 2, 'customer', 'u', 'ACCEPTED', UTC_TIMESTAMP(3), UTC_TIMESTAMP(3))`.execute(
      db,
    );
    t.deepEqual(await brokenNow(anew), {}, 'until it is right');
    await sql`UPDATE delivery_rider SET state = 'BUSY', ${at} WHERE rider = ${rider}`.execute(db);
    t.deepEqual(await brokenNow(anew), { 'riders-one-place': [rider] });
    // Under way for half an hour, and due only in an hour.
    await sql`
    UPDATE delivery_order SET state = 'ASSIGNED', due_at = UTC_TIMESTAMP(3) + INTERVAL 1 HOUR WHERE ${at}`.execute(
      db,
    );
    t.deepEqual(await brokenNow(anew), { 'deliveries-ended': [orderId] });
  },
);

test.serial(
  'two who notify of the same changes at the same moment tell each once, and log it once',
  async (t) => {
    const person = (name: string) => `u_${name.padEnd(22, '0')}`;
    const at = new Date().toISOString();
    const events = Array.from({ length: 30 }, (_, each): DeliveryOrderEvent => {
      const orderId = uuidV7(Date.now());
      return {
        ...{ eventId: `${orderId}-1`, orderId, version: 1, userId: person('c'), name: 'Udon', quantity: 1 },
        ...{ price: 1, currency: 'KRW', status: 'created', state: 'PLACED', at },
        tells: [
          { role: 'customer', userId: person('c') },
          { role: 'owner', userId: person(`o${each}`) },
        ],
      };
    });
    const notifications = notificationStore({ database: async () => db });
    const backwards = events.toReversed();
    const told = await Promise.all([
      notifications.notify(events),
      notifications.notify(backwards),
      notifications.notify(events),
    ]);
    t.is(
      told.reduce((sum, each) => sum + each, 0),
      60,
    );
    t.is((await notifications.unshown(person('c'), 'customer', 200)).length, 30);
  },
);

test.serial(
  'however changes come together, again and mixed with new ones: each is told once, those of an order in order',
  async (t) => {
    const person = (name: string) => `u_${name.padEnd(22, '0')}`;
    const { notify, unshown } = notificationStore({ database: async () => db });
    let no = 0;
    // How far each batch begins behind the end of the one before, and how many changes it has.
    const batch = fc.record({ back: fc.nat({ max: 4 }), length: fc.integer({ min: 1, max: 6 }) });
    await fc.assert(
      fc.asyncProperty(fc.array(batch, { minLength: 1, maxLength: 6 }), async (batches) => {
        const orderId = uuidV7(Date.now());
        const customer = person(`c${++no}-`);
        const change = (version: number): DeliveryOrderEvent => ({
          ...{
            eventId: `${orderId}-${version}`,
            orderId,
            version,
            userId: customer,
            name: 'Udon',
            quantity: 1,
          },
          ...{ price: 1, currency: 'KRW', status: 'created', state: 'PLACED', at: new Date().toISOString() },
          tells: [
            { role: 'customer', userId: customer },
            { role: 'owner', userId: person('o') },
          ],
        });
        let last = 0;
        let told = 0;
        for (const { back, length } of batches) {
          const first = Math.max(1, last + 1 - back);
          told += await notify(Array.from({ length }, (_, each) => change(first + each)));
          last = Math.max(last, first + length - 1);
        }
        const versions = (await unshown(customer, 'customer', 200)).map(({ version }) => version);
        if (told !== 2 * last || versions.join() !== Array.from({ length: last }, (_, v) => v + 1).join())
          throw new Error(`told ${told} of ${2 * last}: ${versions}`);
      }),
      { numRuns: 40 },
    );
    t.is(await notify([]), 0);
  },
);
