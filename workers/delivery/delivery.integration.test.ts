/** Delivery orders on a real MySQL or MariaDB (MYSQL_*): against a model, in races, and many at once. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import fc from 'fast-check';
import { type Kysely, sql, type Transaction } from 'kysely';
import type { DeliveryEvent } from '../../catalog/events/delivery.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { isNotNow } from '../base/errors.ts';
import { bytesOfUuid, uuidV7 } from '../base/ids.ts';
import { cuttingRelay, outboxRecords, scratchDatabase } from '../store/database.fixture.ts';
import { openDatabase } from '../store/database.ts';
import type { DueRow } from '../store/relay.ts';
import type { State, Wanted } from './machine.ts';
import { leadsTo, possible, steps } from './rules.fixture.ts';
import { shopStore } from './shops.ts';
import { type AskedByPeople, deliveryStore } from './store.ts';

let db: Kysely<unknown>;
let settings: DatabaseSettings;
let drop: (() => Promise<void>) | undefined;
let run = 0;
let nowMs = Date.UTC(2026, 10, 28, 12);

test.before(async () => {
  ({ db, settings, drop } = await scratchDatabase('delivery', 'delivery'));
});
test.after.always(() => drop?.());
test.beforeEach(async (t) => {
  t.timeout(300_000);
  for (const table of ['shop', 'item', 'rider', 'order', 'change', 'photo'])
    await sql`DELETE FROM ${sql.table(`delivery_${table}`)}`.execute(db);
});

/** What was told of deliveries, as it is published. */
const published: DueRow[] = [];
/** Its clock is the test's. */
const on = {
  database: async () => db,
  clock: () => nowMs,
  publish: (row: DueRow) => void published.push(row),
};
const store = { ...shopStore(on), ...deliveryStore(on) };
/** Another process: what is asked of both at once shares no transaction. */
const beside = deliveryStore(on);
const call = (key = `key-${++run}`) => ({ scope: 'delivery:test', key, body: key });
const priceMinor = 9_000;

async function openShop(stock: number) {
  const owner = `u_owner_${++run}`;
  const shopId = await store.openShop(owner, 'Noodles');
  const price = { amountMinor: priceMinor, currency: 'KRW' };
  const added = await store.addItem(owner, shopId, { name: 'Udon', price, stock });
  if (!added.ok) throw new Error(added.refusal.code);
  const { itemId } = added;
  return { owner, shopId, itemId, left: async () => (await store.menu(shopId))[0]!.stock };
}
async function place(
  itemId: string,
  { district = 'mapo', quantity = 1, customer = `u_customer_${++run}` } = {},
) {
  const placed = await store.place({ customer, itemId, quantity, district }, call());
  if (!placed.ok) throw new Error(placed.refusal.code);
  return { orderId: placed.orderId, customer };
}
/** A photo of an order, under the order's own id. */
async function photograph(orderId: string) {
  const id = bytesOfUuid(orderId);
  await sql`
    INSERT IGNORE INTO delivery_photo (photo_id, order_id, made_at, stored_at)
    VALUES (${id}, ${id}, ${new Date(nowMs)}, ${new Date(nowMs)})`.execute(db);
}
const outcome = (answer: { ok: boolean; refusal?: { code: string } }) =>
  answer.ok ? 'ok' : answer.refusal!.code.replace('MUSTER_', '');

/** An order that waits for a rider. */
async function called(shop: { owner: string; itemId: string }, options: Parameters<typeof place>[1] = {}) {
  const placed = await place(shop.itemId, options);
  const owner = { role: 'owner', who: shop.owner } as const;
  for (const step of ['accept', 'cook', 'call'] as const)
    await store.step(placed.orderId, owner, { step }, call());
  return placed;
}
/** What is due of both kinds, so many of each. */
const takeDue = async (most: number, at: Pick<typeof store, 'takeDue'> = store) => [
  ...(await at.takeDue(most, 'calls')),
  ...(await at.takeDue(most, 'ends')),
];
const hear = async (word: DeliveryEvent) => (await store.hear([word]))[0];
/** Does what is due, so many at once; what is told of deliveries is heard at once. */
async function drainDue(most = 1) {
  for (;;) {
    const done = await takeDue(most);
    if (done.length === 0) return;
    const words = done.flatMap(({ told }) => (told === undefined ? [] : [told]));
    for (const heard of await store.hear(words)) equal(heard, 'TAKEN', 'hear');
  }
}

/** What contradicts itself in the database, whatever happened: asked by SQL that shares nothing with the store. */
async function contradictions(stockAtFirst: number): Promise<readonly string[]> {
  const questions = {
    'a busy rider whose order is not under way, or is another rider’s': sql`
      SELECT rider AS id FROM delivery_rider r WHERE state = 'BUSY' AND NOT EXISTS (
        SELECT 1 FROM delivery_order o WHERE o.order_id = r.order_id AND o.rider = r.rider
          AND o.state IN ('ASSIGNED', 'DELIVERING'))`,
    'an order under way without its rider': sql`
      SELECT HEX(order_id) AS id FROM delivery_order o WHERE state IN ('ASSIGNED', 'DELIVERING') AND NOT EXISTS (
        SELECT 1 FROM delivery_rider r WHERE r.order_id = o.order_id)`,
    'an order whose changes are not one a version, ending in its state': sql`
      SELECT HEX(order_id) AS id FROM delivery_order o WHERE version <> (
        SELECT COUNT(*) FROM delivery_change c WHERE c.order_id = o.order_id AND c.version <= o.version)
      OR state <> (SELECT c.state FROM delivery_change c WHERE c.order_id = o.order_id AND c.version = o.version)`,
    'a change later than the one after it': sql`
      SELECT HEX(a.order_id) AS id FROM delivery_change a JOIN delivery_change b
      ON b.order_id = a.order_id AND b.version = a.version + 1 WHERE b.changed_at < a.changed_at`,
    'a price that is not what was paid, or money that is neither here nor back': sql`
      SELECT HEX(order_id) AS id FROM delivery_order WHERE paid_minor <> quantity * ${priceMinor}
      OR refunded_minor <> IF(state IN ('CANCELLED', 'REFUND_APPROVED'), paid_minor, 0)`,
    'stock that was lost or made': sql`
      SELECT stock AS id FROM delivery_item i WHERE stock + (
        SELECT COALESCE(SUM(quantity), 0) FROM delivery_order o
        WHERE o.item_id = i.item_id AND state NOT IN ('CANCELLED', 'REFUND_APPROVED')) <> ${stockAtFirst}`,
  };
  const found: string[] = [];
  for (const [what, question] of Object.entries(questions))
    for (const { id } of (await question.execute(db)).rows as { id: string }[]) found.push(`${what}: ${id}`);
  return found;
}

interface ModelOrder {
  readonly id: string;
  readonly customer: string;
  readonly district: string;
  readonly quantity: number;
  state: State;
  rider: string | undefined;
  wanted: Wanted | undefined;
  dueAtMs: number | undefined;
  deliveredAtMs: number;
}
interface Model {
  stock: number;
  readonly orders: ModelOrder[];
  /** Those that are free, and since when. */
  free: { readonly rider: string; readonly district: string; readonly sinceMs: number }[];
}
interface Real {
  readonly shop: Awaited<ReturnType<typeof openShop>>;
  readonly riders: readonly string[];
  readonly stock: number;
}
type Check = (real: Real, model: Model) => Promise<void>;
class Command implements fc.AsyncCommand<Model, Real> {
  readonly what: string;
  readonly perform: Check;
  constructor(what: string, perform: Check) {
    this.what = what;
    this.perform = perform;
  }
  check = () => true;
  async run(model: Model, real: Real) {
    // A millisecond passes with each, so that who waits longest is always one.
    nowMs += 1;
    await this.perform(real, model);
  }
  toString = () => this.what;
}
const equal = (found: unknown, expected: unknown, what: string) => {
  if (JSON.stringify(found) !== JSON.stringify(expected))
    throw new Error(`${what}: found ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`);
};

const districts = ['mapo', 'jongno'] as const;
const refundWithinMs = 600_000;

/** Some who order in the same moment: it is as if one came after the other. */
const placing = fc
  .array(fc.record({ quantity: fc.integer({ min: 1, max: 4 }), district: fc.constantFrom(...districts) }), {
    minLength: 1,
    maxLength: 3,
  })
  .map(
    (wishes) =>
      new Command(`place ${JSON.stringify(wishes)}`, async ({ shop }, model) => {
        const asked = wishes.map((wish) => ({
          ...{ customer: `u_customer_${++run}`, itemId: shop.itemId, ...wish },
        }));
        const answers = await Promise.all(asked.map((wish) => store.place(wish, call())));
        for (const [index, { customer, quantity, district }] of asked.entries()) {
          const placed = answers[index]!;
          equal(outcome(placed), model.stock >= quantity ? 'ok' : 'OUT_OF_STOCK', 'place');
          if (!placed.ok) continue;
          model.stock -= quantity;
          const state = 'PLACED';
          const more = { rider: undefined, wanted: undefined, dueAtMs: undefined, deliveredAtMs: 0 };
          model.orders.push({ id: placed.orderId, customer, district, quantity, state, ...more });
        }
      }),
  );

/** A step that somebody takes: mostly one that is possible, else any, sometimes by a stranger; and again under its key. */
const wishedStep = fc.record({
  nth: fc.nat(),
  step: fc.constantFrom(...steps.filter((step) => step !== 'dispatch')),
  role: fc.constantFrom('customer', 'owner', 'rider'),
  guided: fc.option(fc.nat(), { freq: 9 }),
  isStranger: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
  // A dish that comes again is delivered and complained about again; refunds are seldom reached.
  wanted: fc.constantFrom('REFUND', 'REFUND', 'REDELIVERY'),
  isPhotographed: fc.integer({ min: 0, max: 9 }).map((n) => n !== 0),
});
type WishedStep = typeof wishedStep extends fc.Arbitrary<infer One> ? One : never;

/** Who asks for what of which order, as it is before anything is asked for. */
function askOf(
  { nth, guided, isStranger, wanted, isPhotographed, ...any }: WishedStep,
  real: Real,
  model: Model,
) {
  const order = model.orders[nth % Math.max(1, model.orders.length)];
  if (order === undefined) return [];
  const mays = possible(order.state);
  const may = guided === null ? undefined : mays[guided % Math.max(1, mays.length)];
  const { step, by: role } = may ?? { step: any.step, by: any.role };
  const own = { customer: order.customer, owner: real.shop.owner, rider: order.rider }[role];
  const who = isStranger ? 'u_stranger' : (own ?? 'u_nobody');
  const photoId = isPhotographed ? order.id : uuidV7(nowMs);
  const asked = { step, wanted, complaint: 'cold', photoId, rejection: 'no' } as AskedByPeople;
  return [{ order, role, who, asked, wanted, isParty: who === own, isPhotographed, once: call() }];
}
type AskOf = ReturnType<typeof askOf>[number];
const ask = ({ order, role, who, asked, once }: AskOf) => store.step(order.id, { role, who }, asked, once);

/** Whether it is what the rules say of the order as it is by then, and what the order is after that. */
function judge({ order, role, asked, wanted, isParty, isPhotographed }: AskOf, answer: string, model: Model) {
  const { step } = asked;
  const leads = leadsTo(order.state, step, role);
  const isLate = step === 'requestRefund' && nowMs > order.deliveredAtMs + refundWithinMs;
  const lacksPhoto = step === 'requestRefund' && !isPhotographed;
  const expected = !isParty
    ? ['DELIVERY_ORDER_UNKNOWN']
    : leads === undefined
      ? ['STEP_IMPOSSIBLE', 'STEP_NOT_YOURS']
      : [isLate ? 'REFUND_TOO_LATE' : lacksPhoto ? 'PHOTO_UNKNOWN' : 'ok'];
  if (!expected.includes(answer))
    throw new Error(`${order.state} ${role} ${step}: ${answer}, not ${expected}`);
  if (answer !== 'ok') return;
  const approved = order.wanted === 'REFUND' ? 'REFUND_APPROVED' : 'REDELIVERY';
  change(model, order, leads!.length === 1 ? leads![0]! : approved);
  if (step === 'requestRefund') order.wanted = wanted;
}

/** Some who ask in the same moment, perhaps for the same order: it is as if one came after the other. */
const stepping = fc.array(wishedStep, { minLength: 1, maxLength: 4 }).map(
  (wished) =>
    new Command(`steps ${JSON.stringify(wished)}`, async (real, model) => {
      const asks = wished.flatMap((one) => askOf(one, real, model));
      for (const { order } of asks) await photograph(order.id);
      const answers = await Promise.all(asks.map(ask));
      for (const [index, one] of asks.entries()) judge(one, outcome(answers[index]!), model);
      const done = asks.filter((_, index) => answers[index]!.ok);
      equal(
        await Promise.all(done.map(ask)),
        answers.filter(({ ok }) => ok),
        'again',
      );
    }),
);

function change(model: Model, order: ModelOrder, state: State) {
  order.state = state;
  if (state === 'CALLED') order.dueAtMs = nowMs;
  if (state === 'CANCELLED' || state === 'REFUND_APPROVED') model.stock += order.quantity;
  if (state !== 'DELIVERED') return;
  order.dueAtMs = undefined;
  order.deliveredAtMs = nowMs;
  model.free.push({ rider: order.rider!, district: order.district, sinceMs: nowMs });
}

/** Who has waited longest is first; of the same millisecond by their names. */
const freeOf = ({ free }: Model, district: string) =>
  free
    .filter((each) => each.district === district)
    .sort((a, b) => a.sinceMs - b.sinceMs || (a.rider < b.rider ? -1 : 1))
    .map(({ rider }) => rider);

/** The clock takes all that is due, the oldest first, so many at once: a rider who is freed by that is for those after them. */
const due = fc.constantFrom(1, 3, 50).map(
  (most) =>
    new Command(`due, ${most} at once`, async (_, model) => {
      await drainDue(most);
      const isDue = ({ dueAtMs }: ModelOrder) => dueAtMs !== undefined && dueAtMs <= nowMs;
      const sooner = (a: ModelOrder, b: ModelOrder) => a.dueAtMs! - b.dueAtMs! || (a.id < b.id ? -1 : 1);
      for (;;) {
        const some = model.orders.filter(isDue).sort(sooner).slice(0, most);
        if (some.length === 0) return;
        const ends = some.filter(({ state }) => state !== 'CALLED');
        for (const order of some.filter(({ state }) => state === 'CALLED')) {
          const [next] = freeOf(model, order.district);
          model.free = model.free.filter(({ rider }) => rider !== next);
          order.state = next === undefined ? 'DELIVERY_FAILED' : 'ASSIGNED';
          order.dueAtMs = next === undefined ? undefined : nowMs + 1_000;
          if (next !== undefined) order.rider = next;
        }
        for (const order of ends) change(model, order, 'DELIVERED');
      }
    }),
);

const passing = fc.constantFrom(1, 400, 999, 1_000, 1_000, 300_000, 600_000).map(
  (ms) =>
    new Command(`${ms} ms pass`, async () => {
      nowMs += ms;
    }),
);

const duty = fc.record({ nth: fc.nat({ max: 3 }), state: fc.constantFrom('FREE', 'OFF') }).map(
  ({ nth, state }) =>
    new Command(`rider ${nth} ${state}`, async ({ riders }, model) => {
      const rider = riders[nth]!;
      const district = districts[nth % 2]!;
      const isBusy = model.orders.some(
        (order) => order.rider === rider && ['ASSIGNED', 'DELIVERING'].includes(order.state),
      );
      equal(outcome(await store.setRider(rider, district, state)), isBusy ? 'RIDER_BUSY' : 'ok', 'duty');
      if (isBusy) return;
      const isFree = model.free.some((each) => each.rider === rider);
      if (state === 'OFF') model.free = model.free.filter((each) => each.rider !== rider);
      else if (!isFree) model.free.push({ rider, district, sinceMs: nowMs });
    }),
);

async function compare(model: Model, { shop, stock }: Real) {
  equal(await shop.left(), model.stock, 'stock');
  for (const { id, state, rider, dueAtMs } of model.orders) {
    const found = (await store.find(id))!;
    equal([found.state, found.rider, found.dueAtMs], [state, rider, dueAtMs], id);
  }
  const { rows: free } = await sql<{ district: string; rider: string }>`
    SELECT district, rider FROM delivery_rider WHERE state = 'FREE' ORDER BY changed_at, rider`.execute(db);
  for (const district of districts)
    equal(
      free.filter((each) => each.district === district).map(({ rider }) => rider),
      freeOf(model, district),
      `free in ${district}`,
    );
  equal(await contradictions(stock), [], 'contradictions');
}

test.serial(
  'whatever people and the clock do, in any order: the store does what the rules say, and nothing else',
  async (t) => {
    const seen = new Set<State>();
    const commands = fc.commands(
      // Many steps and few of the others: an order takes six to be delivered.
      [placing, stepping, stepping, stepping, stepping, due, due, passing, duty],
      { maxCommands: 150, size: 'max' },
    );
    await fc.assert(
      fc.asyncProperty(commands, async (all) => {
        for (const table of ['shop', 'item', 'rider', 'order', 'change'])
          await sql`DELETE FROM ${sql.table(`delivery_${table}`)}`.execute(db);
        const shop = await openShop(12);
        const riders = Array.from({ length: 4 }, () => `u_rider_${++run}`);
        const model: Model = { stock: 12, orders: [], free: [] };
        const real: Real = { shop, riders, stock: 12 };
        const noting = [...all].map((command) => ({
          check: () => true,
          toString: () => String(command),
          async run(now: Model, on: Real) {
            await command.run(now, on);
            for (const { state } of now.orders) seen.add(state);
            await compare(now, on);
          },
        }));
        await fc.asyncModelRun(() => ({ model, real }), noting);
      }),
      { numRuns: 60, seed: 20_261_129, endOnFailure: true },
    );
    t.log(`states seen: ${[...seen].sort().join(' ')}`);
    t.is(seen.size, 13, 'every state was reached');
  },
);

test.serial(
  'the customer cancels while the owner accepts: one of them is told no, and money and stock follow',
  async (t) => {
    const shop = await openShop(200);
    let cancelled = 0;
    // One by one, and groups of the same orders.
    for (const many of [...Array.from({ length: 60 }, () => 1), 20, 20, 100]) {
      const placed = await Promise.all(Array.from({ length: many }, () => place(shop.itemId)));
      const [cancels, accepts] = await Promise.all([
        Promise.all(
          placed.map(({ orderId, customer: who }) =>
            store.step(orderId, { role: 'customer', who }, { step: 'cancel' }, call()),
          ),
        ),
        Promise.all(
          placed
            .toReversed()
            .map(({ orderId }) =>
              beside.step(orderId, { role: 'owner', who: shop.owner }, { step: 'accept' }, call()),
            ),
        ),
      ]);
      for (const [index, accept] of accepts.toReversed().entries()) {
        const told = [cancels[index]!, accept];
        t.deepEqual(told.map(outcome).sort(), ['STEP_IMPOSSIBLE', 'ok']);
        if (told[0]!.ok) cancelled += 1;
      }
    }
    t.is(await shop.left(), cancelled);
    t.log(`${cancelled} of 200 were cancelled`);
    t.deepEqual(await contradictions(200), []);
  },
);

test.serial('of many who order the last ones at once as many get one as there are', async (t) => {
  const shop = await openShop(10);
  const wish = { customer: 'u_customer', itemId: shop.itemId, quantity: 1, district: 'mapo' };
  const told = await Promise.all(
    Array.from({ length: 60 }, (_, each) => (each % 2 === 0 ? store : beside).place(wish, call())),
  );
  t.is(told.filter(({ ok }) => ok).length, 10);
  t.true(told.every((each) => ['ok', 'OUT_OF_STOCK'].includes(outcome(each))));
  t.is(await shop.left(), 0);
});

test.serial('approved twice at once and cancelled besides, what was paid goes back once', async (t) => {
  const shop = await openShop(40);
  const owner = { role: 'owner', who: shop.owner } as const;
  const rider = `u_rider_${++run}`;
  for (let each = 0; each < 40; each++) {
    await store.setRider(rider, 'mapo', 'FREE');
    const { orderId, customer } = await called(shop);
    const me = { role: 'customer', who: customer } as const;
    await drainDue();
    nowMs += 1_000;
    await drainDue();
    await photograph(orderId);
    const complaint = { wanted: 'REFUND', complaint: 'cold', photoId: orderId } as const;
    await store.step(orderId, me, { step: 'requestRefund', ...complaint }, call());
    const told = await Promise.all([
      store.step(orderId, owner, { step: 'approve' }, call()),
      beside.step(orderId, owner, { step: 'approve' }, call()),
      store.step(orderId, owner, { step: 'reject', rejection: 'no' }, call()),
      beside.step(orderId, me, { step: 'cancel' }, call()),
    ]);
    t.is(told.filter(({ ok }) => ok).length, 1);
  }
  t.deepEqual(await contradictions(40), []);
});

test.serial(
  'five look at what is due at once: a rider has one order, and who finds none is told so',
  async (t) => {
    const shop = await openShop(100);
    const riders = Array.from({ length: 10 }, () => `u_rider_${++run}`);
    for (const rider of riders) await store.setRider(rider, 'mapo', 'FREE');
    await store.setRider(`u_rider_${++run}`, 'jongno', 'FREE');
    for (let each = 0; each < 40; each++) await called(shop);
    const nextInMs = async () => [await store.nextInMs('calls'), await store.nextInMs('ends')];
    t.deepEqual(await nextInMs(), [0, Number.POSITIVE_INFINITY]);
    const found = await Promise.all(Array.from({ length: 5 }, () => takeDue(100)));
    for (const { told } of found.flat()) if (told !== undefined) t.is(await hear(told), 'TAKEN');
    await drainDue();
    const states = async () =>
      (
        await sql<{ state: State; n: number }>`
      SELECT CONCAT(state) AS state, COUNT(*) AS n FROM delivery_order GROUP BY state ORDER BY state`.execute(
          db,
        )
      ).rows.map(({ state, n }) => [state, Number(n)]);
    t.deepEqual(await states(), [
      ['ASSIGNED', 10],
      ['DELIVERY_FAILED', 30],
    ]);
    t.deepEqual(await nextInMs(), [Number.POSITIVE_INFINITY, 1_000]);
    t.deepEqual(await contradictions(100), []);
    nowMs += 999;
    t.deepEqual(await takeDue(100), [], 'not a millisecond too early');
    nowMs += 1;
    const taken = (await Promise.all(Array.from({ length: 5 }, () => takeDue(100)))).flat();
    t.deepEqual(
      taken.map((each) => each.outcome),
      Array.from({ length: 10 }, () => 'TOLD_SUCCEEDED'),
      'each is told once',
    );
    const words = taken.map(({ told }) => told!);
    const heard = await Promise.all([...words, ...words].map(hear));
    t.deepEqual(
      [heard.filter((each) => each === 'TAKEN').length, heard.filter((each) => each === 'STALE').length],
      [10, 10],
      'each is delivered once',
    );
    t.deepEqual(await states(), [
      ['DELIVERED', 10],
      ['DELIVERY_FAILED', 30],
    ]);
    const { rows } = await sql<{ n: number }>`
    SELECT COUNT(*) AS n FROM delivery_rider WHERE state = 'FREE' AND order_id IS NULL`.execute(db);
    t.is(Number(rows[0]!.n), 11, 'all riders are free again');
    t.deepEqual(await contradictions(100), []);
  },
);

test.serial(
  'the rider confirms while the clock delivers, and ends work meanwhile: delivered once, and in one place',
  async (t) => {
    const shop = await openShop(60);
    const rider = `u_rider_${++run}`;
    await store.setRider(rider, 'mapo', 'FREE');
    for (let each = 0; each < 60; each++) {
      const { orderId } = await called(shop);
      await drainDue();
      nowMs += 1_000;
      const told = (await takeDue(10))[0]!.told!;
      const [byClock, byRider] = await Promise.all([
        hear(told),
        store.step(orderId, { role: 'rider', who: rider }, { step: 'deliver' }, call()),
        store.setRider(rider, 'mapo', each % 2 === 0 ? 'OFF' : 'FREE'),
      ]);
      t.deepEqual([byClock, byRider.ok], byRider.ok ? ['STALE', true] : ['TAKEN', false]);
      t.is((await store.find(orderId))?.state, 'DELIVERED');
      await store.setRider(rider, 'mapo', 'FREE');
    }
    t.deepEqual(await contradictions(60), []);
  },
);

test.serial('who is free longest is next, and who says again that he is free keeps his place', async (t) => {
  const shop = await openShop(10);
  for (const rider of ['u_b', 'u_c', 'u_a', 'u_b']) {
    nowMs += 1;
    await store.setRider(rider, 'mapo', 'FREE');
  }
  const assigned = async () => {
    nowMs += 1;
    const { orderId } = await called(shop);
    await drainDue();
    return { orderId, rider: (await store.find(orderId))!.rider! };
  };
  const [first, second] = [await assigned(), await assigned()];
  t.deepEqual([first.rider, second.rider], ['u_b', 'u_c']);
  nowMs += 1;
  await store.step(second.orderId, { role: 'rider', who: second.rider }, { step: 'deliver' }, call());
  t.deepEqual([(await assigned()).rider, (await assigned()).rider], ['u_a', 'u_c']);
});

test.serial(
  'a rider who was waited for has the next order from when he was had, and not before',
  async (t) => {
    const shop = await openShop(1);
    const { orderId } = await called(shop);
    const beganAtMs = nowMs;
    // As when he was freed while whoever looks for one waited for his row.
    nowMs += 500;
    await store.setRider('u_a', 'mapo', 'FREE');
    const times = [beganAtMs];
    await deliveryStore({ ...on, clock: () => times.pop() ?? nowMs }).takeDue(10, 'calls');
    t.like(await store.find(orderId), { assignedAtMs: nowMs, dueAtMs: nowMs + 1_000 });
  },
);

test.serial(
  'when the clock is set back a rider delivers all the same, a second after he has the order',
  async (t) => {
    const shop = await openShop(1);
    await store.setRider('u_a', 'mapo', 'FREE');
    nowMs -= 3_600_000;
    const { orderId } = await called(shop);
    await drainDue();
    t.like(await store.find(orderId), { state: 'ASSIGNED', assignedAtMs: nowMs, dueAtMs: nowMs + 1_000 });
    nowMs += 1_000;
    await drainDue();
    t.like(await store.find(orderId), { state: 'DELIVERED' });
    nowMs += 3_600_000;
  },
);

test.serial('when the clock is set back, what is under way does not wait for as long as that', async (t) => {
  const shop = await openShop(2);
  await store.setRider('u_a', 'mapo', 'FREE');
  const first = await called(shop);
  await drainDue();
  const second = await called(shop);
  nowMs -= 3_600_000;
  t.is(await store.nextInMs('ends'), 0);
  // The first brings its rider to the second.
  for (const word of (await store.takeDue(10, 'ends')).map(({ told }) => told!))
    t.is(await hear(word), 'TAKEN');
  t.like(await store.find(first.orderId), { state: 'DELIVERED', deliveredAtMs: nowMs });
  await drainDue();
  t.like(await store.find(second.orderId), {
    state: 'ASSIGNED',
    assignedAtMs: nowMs,
    dueAtMs: nowMs + 1_000,
  });
  nowMs += 999;
  t.deepEqual(await takeDue(10), []);
  nowMs += 1;
  await drainDue();
  t.like(await store.find(second.orderId), { state: 'DELIVERED' });
  nowMs += 3_600_000;
});

test.serial('stock changes by its owner only, once under a key, and never below nothing', async (t) => {
  const shop = await openShop(3);
  const more = call();
  t.is(outcome(await store.addStock(shop.owner, shop.itemId, 5, more)), 'ok');
  t.is(outcome(await store.addStock(shop.owner, shop.itemId, 5, more)), 'ok');
  t.is(await shop.left(), 8);
  t.is(outcome(await store.addStock('u_other', shop.itemId, 5, call())), 'ITEM_UNKNOWN');
  t.is(outcome(await store.addStock(shop.owner, shop.itemId, -9, call())), 'STOCK_INVALID');
  t.is(outcome(await store.addStock(shop.owner, uuidV7(nowMs), 1, call())), 'ITEM_UNKNOWN');
  const price = { amountMinor: 1, currency: 'KRW' };
  const others = await store.addItem('u_other', shop.shopId, { name: 'x', price, stock: 1 });
  t.is(outcome(others), 'SHOP_UNKNOWN');
  t.is(await shop.left(), 8);
  const wish = { customer: 'u_customer', itemId: shop.itemId, district: 'mapo' };
  t.is(outcome(await store.place({ ...wish, quantity: 1_001 }, call())), 'ORDER_TOO_LARGE');
  t.is(outcome(await store.place({ ...wish, quantity: 9 }, call())), 'OUT_OF_STOCK');
  t.is(outcome(await store.place({ ...wish, itemId: uuidV7(nowMs), quantity: 1 }, call())), 'ITEM_UNKNOWN');
});

test.serial(
  'by the database’s own clock, all connections cut again and again: every order ends once, every rider is free',
  async (t) => {
    const { at, cut } = await cuttingRelay(t, settings);
    const far = openDatabase({ settings: at, connections: 12 });
    t.teardown(() => far.destroy());
    const live = deliveryStore({ database: async () => far });
    const shop = await openShop(200);
    // By the clock of all the rest: that of `store` may be hours ahead by now.
    for (let each = 0; each < 20; each++) await live.setRider(`u_rider_${++run}`, 'mapo', 'FREE');
    const cutting = setInterval(cut, 150);
    t.teardown(() => clearInterval(cutting));
    /** Asks until there is an answer, each time under the same key. */
    async function insist<T>(question: () => Promise<T>): Promise<T> {
      for (;;) {
        try {
          return await question();
        } catch (error) {
          if (!isNotNow(error)) throw error;
          await sleep(20);
        }
      }
    }
    let early = 0;
    const until = { isOver: false };
    const looking = Promise.all(
      Array.from({ length: 3 }, async () => {
        while (!until.isOver)
          for (const { told } of await insist(() => takeDue(10, live)))
            if (told !== undefined && (await insist(() => live.hear([told])))[0] === 'TAKEN') {
              const { deliveredAtMs, assignedAtMs } = (await store.find(told.orderId))!;
              if (told.status === 'succeeded' && deliveredAtMs! < assignedAtMs! + 1_000) early += 1;
            }
      }),
    );
    const owner = { role: 'owner', who: shop.owner } as const;
    async function goThrough(each: number): Promise<void> {
      const customer = `u_customer_${++run}`;
      const key = call();
      const wish = { customer, itemId: shop.itemId, quantity: 1, district: 'mapo' };
      const placed = await insist(() => live.place(wish, key));
      if (!placed.ok) throw new Error(placed.refusal.code);
      const { orderId } = placed;
      for (const step of ['accept', 'cook', 'call'] as const) {
        const once = call();
        t.is(outcome(await insist(() => live.step(orderId, owner, { step }, once))), 'ok');
      }
      for (;;) {
        const found = await store.find(orderId);
        const me = { role: 'customer', who: customer } as const;
        if (found?.state === 'DELIVERED') return;
        if (found?.state === 'DELIVERY_FAILED') {
          // One of four gives up, the others call again.
          const step = each % 4 === 0 ? 'cancel' : 'callAgain';
          const once = call();
          t.is(outcome(await insist(() => live.step(orderId, me, { step }, once))), 'ok');
          if (step === 'cancel') return;
        }
        await sleep(50);
      }
    }
    await Promise.all(Array.from({ length: 60 }, (_, each) => goThrough(each)));
    until.isOver = true;
    await looking;
    t.is(early, 0);
    const { rows } = await sql<{ state: string; n: number }>`
    SELECT CONCAT(state) AS state, COUNT(*) AS n FROM delivery_order GROUP BY state ORDER BY state`.execute(
      db,
    );
    t.log(rows.map(({ state, n }) => `${n} ${state}`).join(', '));
    t.true(rows.every(({ state }) => ['CANCELLED', 'DELIVERED'].includes(state)));
    t.is(
      rows.reduce((sum, { n }) => sum + Number(n), 0),
      60,
      'each order is there once',
    );
    const { rows: riders } = await sql<{ state: string }>`SELECT DISTINCT state FROM delivery_rider`.execute(
      db,
    );
    t.deepEqual(riders, [{ state: 'FREE' }]);
    t.deepEqual(await contradictions(200), []);
  },
);

test.serial(
  'an order that always throws holds nobody up, and nor does one whose owner never answers',
  async (t) => {
    const shop = await openShop(10);
    await place(shop.itemId);
    const next = () => {
      nowMs += 1;
      return called(shop);
    };
    const [bad, good, late] = [await next(), await next(), await next()];
    for (let each = 0; each < 3; each++) await store.setRider(`u_rider_${++run}`, 'mapo', 'FREE');
    // The version that its next step would make is there already.
    const block = sql`
    INSERT INTO delivery_change (order_id, version, step, state, changed_at)
    SELECT order_id, version + 1, 'x', 'X', changed_at FROM delivery_order WHERE order_id = ${bytesOfUuid(bad.orderId)}`;
    await block.execute(db);
    nowMs += 1;
    const done = await takeDue(10);
    t.deepEqual(
      done.map(({ orderId, outcome }) => [orderId, outcome]),
      [
        [bad.orderId, 'PUT_OFF'],
        [good.orderId, 'ASSIGNED'],
        [late.orderId, 'ASSIGNED'],
      ],
    );
    t.deepEqual(await takeDue(10), [], 'it waits');
    await sql`DELETE FROM delivery_change WHERE state = 'X'`.execute(db);
    nowMs += 30_000;
    const later = await takeDue(10);
    t.is(later.find(({ orderId }) => orderId === bad.orderId)?.outcome, 'ASSIGNED', 'and comes again');
    t.deepEqual(await contradictions(10), []);
  },
);

test.serial('each change is an event of its version in the same transaction, in order', async (t) => {
  await sql`DELETE FROM muster_outbox`.execute(db);
  published.length = 0;
  const shop = await openShop(10);
  await store.setRider('u_rider', 'mapo', 'FREE');
  const { orderId } = await called(shop);
  await drainDue();
  nowMs += 1_000;
  await drainDue();
  const refused = await store.step(orderId, { role: 'owner', who: shop.owner }, { step: 'accept' }, call());
  t.false(refused.ok);
  const told = (await outboxRecords(db)).map(({ topic, value }) => ({ topic, ...JSON.parse(String(value)) }));
  const orders = told.filter(({ topic }) => topic === 'delivery-order-events');
  t.deepEqual(
    orders.map(({ version, state, status }) => [version, state, status]),
    [
      [1, 'PLACED', 'created'],
      [2, 'ACCEPTED', 'created'],
      [3, 'COOKING', 'created'],
      [4, 'CALLED', 'created'],
      [5, 'ASSIGNED', 'created'],
      [6, 'DELIVERED', 'completed'],
    ],
  );
  t.deepEqual(
    orders.at(-1).tells.map(({ role }: { role: string }) => role),
    ['customer', 'owner', 'rider'],
  );
  const deliveries = published.flatMap(({ records }) =>
    records.map(({ value }) => JSON.parse(String(value))),
  );
  t.deepEqual(
    deliveries.map(({ version, status }) => [version, status]),
    [[5, 'succeeded']],
  );
});

test.serial(
  'what was told of a delivery counts at its version only, not early, and is told until it is heard',
  async (t) => {
    const shop = await openShop(10);
    await store.setRider('u_rider', 'mapo', 'FREE');
    const { orderId, customer } = await called(shop);
    const rider = { role: 'rider', who: 'u_rider' } as const;
    const me = { role: 'customer', who: customer } as const;
    const owner = { role: 'owner', who: shop.owner } as const;
    await drainDue();
    const word = { eventId: 'x', orderId, version: 5, status: 'succeeded' } as const;
    t.is(await hear(word), 'EARLY');
    t.is(await hear({ ...word, orderId: uuidV7(nowMs) }), 'UNKNOWN');
    t.is(await hear({ ...word, status: 'failed' }), 'STALE');
    nowMs += 1_000;
    t.is((await takeDue(10)).length, 1);
    t.deepEqual(await takeDue(10), []);
    nowMs += 10_000;
    t.is((await takeDue(10))[0]?.outcome, 'TOLD_SUCCEEDED', 'again, as nobody has heard it');
    // He leaves: it is still the delivery of version 5. His own word must be about the order as it is.
    t.is(outcome(await store.step(orderId, rider, { step: 'leave', ifVersion: 5 }, call())), 'ok');
    t.is(
      outcome(await store.step(orderId, rider, { step: 'deliver', ifVersion: 5 }, call())),
      'ORDER_CHANGED',
    );
    t.is(await hear(word), 'TAKEN');
    t.is(
      outcome(await store.step(orderId, rider, { step: 'deliver', ifVersion: 6 }, call())),
      'ORDER_CHANGED',
    );
    // Once more to the same customer, by the same rider: the old word is not about it.
    await photograph(orderId);
    const ask = { step: 'requestRefund', wanted: 'REDELIVERY', complaint: 'cold', photoId: orderId } as const;
    t.is(outcome(await store.step(orderId, me, ask, call())), 'ok');
    for (const step of ['approve', 'cook', 'call'] as const)
      t.is(outcome(await store.step(orderId, owner, { step }, call())), 'ok');
    await drainDue();
    nowMs += 1_000;
    t.is((await store.find(orderId))?.state, 'ASSIGNED');
    t.is(await hear(word), 'STALE');
    t.is((await store.find(orderId))?.state, 'ASSIGNED');
  },
);

// ---- what shares a transaction

const codes = (answers: readonly PromiseSettledResult<{ ok: boolean; refusal?: { code: string } }>[]) =>
  answers.map((answer) => (answer.status === 'fulfilled' ? outcome(answer.value) : 'rejected'));
const versionsOf = async (orderId: string) => {
  const { rows } = await sql<{ version: number; state: string }>`
    SELECT version, state FROM delivery_change WHERE order_id = ${bytesOfUuid(orderId)} ORDER BY version`.execute(
    db,
  );
  return rows.map(({ version, state }) => `${version} ${state}`);
};

test.serial(
  'who comes in the same moment shares a transaction: steps of one order follow each other, and the last dish is for the first',
  async (t) => {
    await sql`DELETE FROM muster_outbox`.execute(db);
    const shop = await openShop(3);
    const owner = { role: 'owner', who: shop.owner } as const;
    const wish = { customer: 'u_customer', itemId: shop.itemId, district: 'mapo' };
    const key = call();
    const placed = await Promise.all([
      store.place({ ...wish, quantity: 2 }, key),
      store.place({ ...wish, quantity: 2 }, call()),
      store.place({ ...wish, quantity: 2 }, key),
      store.place({ ...wish, itemId: uuidV7(nowMs), quantity: 1 }, call()),
      store.place({ ...wish, quantity: 1 }, call()),
    ]);
    t.deepEqual(placed.map(outcome), ['ok', 'OUT_OF_STOCK', 'ok', 'ITEM_UNKNOWN', 'ok']);
    t.deepEqual(placed[0], placed[2], 'one order under one key');
    t.is(await shop.left(), 0);

    const [first, second] = [placed[0], placed[4]].map((one) => (one?.ok ? one.orderId : ''));
    const once = call();
    const told = await Promise.all([
      store.step(first!, owner, { step: 'accept' }, once),
      store.step(second!, { role: 'customer', who: 'u_customer' }, { step: 'cancel' }, call()),
      store.step(first!, owner, { step: 'accept' }, call()),
      store.step(first!, owner, { step: 'accept' }, once),
      store.step(first!, owner, { step: 'cook', ifVersion: 2 }, call()),
      store.step(first!, { role: 'customer', who: 'u_customer' }, { step: 'cancel' }, call()),
      store.step(first!, owner, { step: 'call' }, call()),
      store.step(second!, owner, { step: 'accept' }, call()),
      store.step(uuidV7(nowMs), owner, { step: 'accept' }, call()),
    ]);
    t.deepEqual(told.map(outcome), [
      'ok',
      'ok',
      'STEP_IMPOSSIBLE',
      'ok',
      'ok',
      'STEP_IMPOSSIBLE',
      'ok',
      'STEP_IMPOSSIBLE',
      'DELIVERY_ORDER_UNKNOWN',
    ]);
    t.deepEqual(told[0], told[3]);
    t.deepEqual(await versionsOf(first!), ['1 PLACED', '2 ACCEPTED', '3 COOKING', '4 CALLED']);
    t.is(await shop.left(), 1);
    const events = (await outboxRecords(db)).map(({ value }) => JSON.parse(String(value)));
    t.deepEqual(
      events.filter(({ orderId }) => orderId === first).map(({ version }) => version),
      [1, 2, 3, 4],
      'told in their order',
    );
    t.deepEqual(await contradictions(3), []);
  },
);

test.serial('one that always throws fails alone, and its key is not used up', async (t) => {
  const shop = await openShop(10);
  const owner = { role: 'owner', who: shop.owner } as const;
  const [bad, ...good] = await Promise.all(Array.from({ length: 4 }, () => place(shop.itemId)));
  await sql`
    INSERT INTO delivery_change (order_id, version, step, state, changed_at)
    SELECT order_id, 2, 'x', 'X', changed_at FROM delivery_order WHERE order_id = ${bytesOfUuid(bad!.orderId)}`.execute(
    db,
  );
  const once = call();
  const accept = ({ orderId }: { orderId: string }, key = call()) =>
    store.step(orderId, owner, { step: 'accept' }, key);
  t.deepEqual(codes(await Promise.allSettled([accept(bad!, once), ...good.map((each) => accept(each))])), [
    'rejected',
    'ok',
    'ok',
    'ok',
  ]);
  await sql`DELETE FROM delivery_change WHERE state = 'X'`.execute(db);
  t.is(outcome(await accept(bad!, once)), 'ok');
  t.deepEqual(await contradictions(10), []);
});

/** A transaction that has an order's row, until it is let go. */
async function holding(orderId: string) {
  const letGo = Promise.withResolvers<void>();
  const held = Promise.withResolvers<Transaction<unknown>>();
  const lock = (trx: Transaction<unknown>, id: string) =>
    sql`SELECT state FROM delivery_order WHERE order_id = ${bytesOfUuid(id)} FOR UPDATE`.execute(trx);
  const ended = db.transaction().execute(async (trx) => {
    // What has written most is not the one that is given up in a deadlock.
    for (let each = 0; each < 50; each++)
      await sql`INSERT INTO test_effect (id, n) VALUES (${`${orderId} ${each}`}, 1)`.execute(trx);
    await lock(trx, orderId);
    held.resolve(trx);
    await letGo.promise;
  });
  const trx = await held.promise;
  return {
    also: (id: string) => lock(trx, id),
    async letGo() {
      letGo.resolve();
      await ended;
    },
  };
}

test.serial(
  'one that waits for a lock waits alone: those that came with it, and those after it, are done meanwhile',
  async (t) => {
    const shop = await openShop(10);
    const owner = { role: 'owner', who: shop.owner } as const;
    const [held, second, later] = await Promise.all(Array.from({ length: 3 }, () => place(shop.itemId)));
    const holder = await holding(held!.orderId);
    let isDone = false;
    const waiting = store.step(held!.orderId, owner, { step: 'accept' }, call()).finally(() => {
      isDone = true;
    });
    t.is(outcome(await store.step(second!.orderId, owner, { step: 'accept' }, call())), 'ok');
    t.is(outcome(await store.step(later!.orderId, owner, { step: 'accept' }, call())), 'ok');
    t.false(isDone);
    await holder.letGo();
    t.is(outcome(await waiting), 'ok');
    t.deepEqual(await contradictions(10), []);
  },
);

test.serial('a deadlock of a group with somebody else leaves each of its steps taken, once', async (t) => {
  const shop = await openShop(10);
  const owner = { role: 'owner', who: shop.owner } as const;
  const placed = await Promise.all(Array.from({ length: 4 }, () => place(shop.itemId)));
  const ids = placed.map(({ orderId }) => orderId).sort();
  const holder = await holding(ids.at(-1)!);
  const told = Promise.all(ids.map((id) => store.step(id, owner, { step: 'accept' }, call())));
  // The group has all but the last one by then, for which it waits.
  await sleep(200);
  await holder.also(ids[0]!);
  await holder.letGo();
  t.deepEqual((await told).map(outcome), ['ok', 'ok', 'ok', 'ok']);
  for (const id of ids) t.deepEqual(await versionsOf(id), ['1 PLACED', '2 ACCEPTED']);
  t.deepEqual(await contradictions(10), []);
});

test.serial('who asks in time is in time, however long others are at it', async (t) => {
  const shop = await openShop(10);
  await store.setRider('u_rider', 'mapo', 'FREE');
  const { orderId, customer } = await called(shop);
  const other = await place(shop.itemId);
  await drainDue();
  nowMs += 1_000;
  await drainDue();
  await photograph(orderId);
  const holder = await holding(other.orderId);
  nowMs += refundWithinMs;
  const before = store.step(other.orderId, { role: 'owner', who: shop.owner }, { step: 'accept' }, call());
  await sleep(50);
  const me = { role: 'customer', who: customer } as const;
  const refund = { step: 'requestRefund', wanted: 'REFUND', complaint: 'cold', photoId: orderId } as const;
  const inTime = store.step(orderId, me, refund, call());
  nowMs += 1;
  const late = store.step(orderId, me, refund, call());
  await holder.letGo();
  t.is(outcome(await before), 'ok');
  t.is(outcome(await inTime), 'ok');
  t.is(outcome(await late), 'STEP_IMPOSSIBLE', 'it was asked for');
  t.like(await store.find(orderId), { state: 'REFUND_REQUESTED', changedAtMs: nowMs - 1 });
});

test.serial('words on deliveries that come together count as one after the other would', async (t) => {
  const shop = await openShop(10);
  const orders: string[] = [];
  for (let each = 0; each < 3; each++) {
    await store.setRider(`u_rider_${++run}`, 'mapo', 'FREE');
    orders.push((await called(shop)).orderId);
  }
  await drainDue();
  nowMs += 1_000;
  const words = (await takeDue(10)).map(({ told }) => told!);
  t.is(words.length, 3);
  const [a, b] = words as [DeliveryEvent, DeliveryEvent];
  const unknown = { ...a, orderId: uuidV7(nowMs) };
  t.deepEqual(await store.hear([a, unknown, a, { ...b, version: 4 }, b, { ...b, status: 'failed' }]), [
    'TAKEN',
    'UNKNOWN',
    'STALE',
    'STALE',
    'TAKEN',
    'STALE',
  ]);
  t.deepEqual(await store.hear([]), []);
  t.deepEqual(await contradictions(10), []);
});
