/**
 * Orders in the simulation: payments through the shop's group commit into one transaction, the outbox and its relay, and
 * the real worker of the ranking with its position beside the counts. Customers try until they know, shops and rankings
 * die, freeze and come back between any two steps, Redis forgets; then store, topics, ranking and answers must agree.
 */

import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { isNotNow } from '../../workers/base/errors.ts';
import { uuidV7 } from '../../workers/base/ids.ts';
import { emptyRegistry } from '../../workers/base/metrics.ts';
import { type Order, priceOrder } from '../../workers/order/order.ts';
import {
  type PaymentCall,
  type PaymentOutcome,
  payOrders,
  type VersionedProduct,
} from '../../workers/order/payments.ts';
import { addScript } from '../../workers/order/ranking.ts';
import { startRanking } from '../../workers/order/ranking-consumer.ts';
import { groupCommit } from '../../workers/store/group-commit.ts';
import { wrongEventLog } from './event-log.ts';
import { type Life, silentLog, simulateKafka } from './kafka.ts';
import { type PaymentRow, simulatedPayments } from './order-rows.ts';
import { processes } from './processes.ts';
import { type Script, simulateRedis } from './redis.ts';
import { relayOutbox, unpublished } from './relay.ts';
import { settled } from './settled.ts';
import { simulateStore } from './store.ts';
import type { World } from './world.ts';

export const orderBugs = [
  'sendErrorsSwallowed',
  'answersBeforeCommit',
  'stockNotLocked',
  'ordersNotLocked',
  'noUniqueKeys',
  'outboxOutsideTransaction',
  'outboxForgottenBeforeAck',
  'outboxDeletedByRange',
  'rankingMovesBlindly',
  'rankingOrdersForgotten',
] as const;
export type OrderBug = (typeof orderBugs)[number];

const topic = topics.orderCompleted.name;
const ranking = 'ranking:products';

/** What the script of the ranking does: counts and position in one step. */
function adds(bug: OrderBug | undefined): Script {
  return (data, [counts, positions, recent], [partition, expected, next, , ...orders]) => {
    const at = data.get(positions!, partition!) ?? '';
    if (at !== expected && bug !== 'rankingMovesBlindly') return [0, at];
    let counted = 0;
    for (let index = 0; index < orders.length; ) {
      const [offset, orderId, count] = orders.slice(index, index + 3) as [string, string, string];
      const products = orders.slice(index + 3, index + 3 + 2 * Number(count));
      index += 3 + products.length;
      if (data.get(recent!, orderId) !== undefined && bug !== 'rankingOrdersForgotten') continue;
      data.set(recent!, orderId, offset);
      counted += 1;
      for (let place = 0; place < products.length; place += 2) {
        const [id, quantity] = [products[place]!, products[place + 1]!];
        data.set(counts!, id, String(Number(data.get(counts!, id) ?? 0) + Number(quantity)));
      }
    }
    data.set(positions!, partition!, next!);
    return [1, counted];
  };
}

/** An answer to a call to pay, with the time from the first try to the answer. */
interface Answered {
  readonly order: Order;
  readonly idempotencyKey: string;
  readonly answer: PaymentOutcome;
  readonly beganMs: number;
  readonly endedMs: number;
}

/** Runs one scenario; resolves to what is wrong with the outcome. */
export async function orderScenario(world: World, bug?: OrderBug): Promise<readonly string[]> {
  const bugs = bug === undefined ? {} : { [bug]: true };
  const kafka = simulateKafka(world, 2, bugs);
  const store = simulateStore(world, bugs);
  const redis = simulateRedis(world, new Map([[addScript, adds(bug)]]));
  const answered: Answered[] = [];
  const surprises: string[] = [];
  const poison: string[] = [];

  type Pay = (call: PaymentCall) => Promise<PaymentOutcome>;
  const shops = processes<Pay>(world, {
    name: 'shop',
    most: 2,
    async begin(life: Life) {
      const producer = await kafka.client(life).producer('outbox');
      relayOutbox(world, { life, store, producer }, bugs);
      const payments = simulatedPayments(store, life, bugs);
      return groupCommit((calls: readonly PaymentCall[]) => payOrders(payments, calls, Date.now()), {
        most: 100,
        waiting: 2_000,
      });
    },
  });

  const rankings = processes(world, {
    name: 'ranking',
    most: 2,
    begin(life: Life, fail) {
      let connected: ReturnType<typeof redis.connect> | undefined;
      return startRanking({
        group: groups.orderRanking,
        kafka: kafka.client(life),
        redis() {
          connected ??= redis.connect(life).catch((error: unknown) => {
            connected = undefined;
            throw error;
          });
          return connected;
        },
        // The topic keeps everything: nobody asks.
        history: { sums: async () => undefined },
        log: silentLog,
        registry: emptyRegistry(),
        fail,
      });
    },
    stop: (started) => started.stop(),
  });

  // --- what comes in ------------------------------------------------------------------------------------------------

  const products = ['mug', 'pen', 'cup'].map((name): VersionedProduct => {
    const stock = world.int(2, 25);
    return { productId: name, name, price: { amountMinor: 100, currency: 'KRW' }, stock, version: 1 };
  });
  for (const product of products) store.put('product', product.productId, product);
  const prices = new Map(products.map(({ productId, price }) => [productId, price]));
  const orders = Array.from({ length: world.int(10, 35) }, (): Order => {
    const items = Array.from({ length: world.int(1, 3) }, () => ({
      productId: world.pick(products).productId,
      quantity: world.int(1, 3),
    }));
    const priced = priceOrder(items, prices);
    if (!priced.ok) throw new Error('an order without a price');
    const { lines, total } = priced;
    // A user as the schema wants one.
    const user = `u_${String(world.int(0, 4)).repeat(22)}`;
    return { orderId: uuidV7(world.now()), user, status: 'PENDING', lines, total };
  });
  for (const order of orders) store.put('order', order.orderId, order);

  /** Asks until there is an answer, whoever gives it. */
  async function pay(
    order: Order,
    idempotencyKey: string,
    amountMinor = order.total.amountMinor,
  ): Promise<void> {
    const beganMs = world.now();
    for (;;) {
      const shop = world.pick([...shops.alive(), undefined])?.work;
      if (shop === undefined) {
        await world.sleep(world.int(50, 500));
        continue;
      }
      const call: PaymentCall = {
        orderId: order.orderId,
        idempotencyKey,
        requestHash: `${order.orderId} ${amountMinor}`,
        amount: { amountMinor, currency: order.total.currency },
        paymentId: uuidV7(world.now()),
        method: 'card',
        cardLast4: undefined,
        traceparent: undefined,
      };
      try {
        const answer = await Promise.race([
          shop(call),
          world.sleep(world.pick([300, 5_000])).then(() => undefined),
        ]);
        if (answer === undefined) continue;
        if (!answer.ok && answer.refusal.code === 'MUSTER_IDEMPOTENCY_KEY_IN_USE') {
          await world.sleep(world.int(50, 500));
          continue;
        }
        answered.push({ order, idempotencyKey, answer, beganMs, endedMs: world.now() });
        return;
      } catch (error) {
        if (!isNotNow(error)) {
          surprises.push(`${order.orderId}: ${(error as Error).message}`);
          return;
        }
        await world.sleep(world.int(50, 500));
      }
    }
  }

  async function customer(order: Order, index: number): Promise<void> {
    await world.sleep(world.pick([0, 2_000, world.int(0, 8_000)]));
    const key = `key-${index}`;
    const other = world.pick(orders.filter(({ user }) => user === order.user));
    switch (world.int(0, 9)) {
      case 0:
        // Impatient: twice at once, under two keys.
        await Promise.all([pay(order, key), pay(order, `${key}-again`)]);
        break;
      case 1:
      case 2:
        // The same key for two orders at once: at most one of them is paid by it.
        await Promise.all([pay(order, key), pay(other, key)]);
        break;
      case 3:
        await pay(order, key, order.total.amountMinor + 1);
        await pay(order, key);
        break;
      case 4:
        await pay(order, key);
        await world.sleep(world.int(0, 3_000));
        await pay(order, key);
        break;
      default:
        await pay(order, key);
    }
  }

  /** What the ranking cannot read. */
  async function poisoned(): Promise<void> {
    for (let count = world.int(0, 3); count > 0; count -= 1) {
      await world.sleep(world.int(0, 4_000));
      const bad = `{"orderId":${poison.length}}`;
      poison.push(bad);
      kafka.append(topic, world.int(0, kafka.partitions - 1), { key: null, value: bad });
    }
  }

  async function trouble(): Promise<void> {
    for (let count = world.int(0, 5); count > 0; count -= 1) {
      await world.sleep(world.int(100, 3_000));
      if (world.chance(0.5)) await shops.trouble(['kill', 'kill', 'freeze', 'join']);
      else await rankings.trouble(['kill', 'freeze', 'join', 'stop']);
    }
  }

  shops.start();
  if (world.chance(0.8)) shops.start();
  rankings.start();
  const customers = Promise.all(orders.map(customer));
  await Promise.all([trouble(), poisoned(), store.trouble()]);
  await world.sleep(2_000);
  for (const one of [kafka, store, redis, shops, rankings]) one.heal();
  await customers;
  await settled(world, {
    kafka,
    reads: [{ group: groups.orderRanking.id, topics: [topic] }],
    open: () => [...unpublished(world, store), ...uncounted()],
  });
  return [...wrongs(), ...rankings.gaveUp()];

  /** Partitions that the ranking has not counted to their ends. */
  function uncounted(): string[] {
    const positions = redis.all(`${ranking}:positions`);
    return Array.from({ length: kafka.partitions }, (_, partition) => partition)
      .filter((partition) => Number(positions.get(String(partition)) ?? 0) < kafka.end(topic, partition))
      .map((partition) => `the ranking lacks some of partition ${partition}`);
  }

  // --- what came out ------------------------------------------------------------------------------------------------

  function wrongs(): string[] {
    return [...surprises, ...wrongPayments(), ...wrongAnswers(), ...wrongEvents(), ...wrongRanking()];
  }

  function payments(): readonly PaymentRow[] {
    return store.keys('payment').map((id) => store.get<PaymentRow>('payment', id)!);
  }

  /** Units sold of a product, by the orders that are COMPLETED. */
  function soldOf(productId: string): number {
    return orders
      .filter(({ orderId }) => store.get<Order>('order', orderId)!.status === 'COMPLETED')
      .flatMap(({ lines }) => lines)
      .filter((line) => line.productId === productId)
      .reduce((sum, { quantity }) => sum + quantity, 0);
  }

  function wrongPayments(): string[] {
    const found: string[] = [];
    for (const { orderId } of orders) {
      const paid = payments().filter((payment) => payment.orderId === orderId).length;
      const { status } = store.get<Order>('order', orderId)!;
      if (paid !== (status === 'COMPLETED' ? 1 : 0))
        found.push(`${orderId}: ${status}, and paid ${paid} times`);
      if (
        status === 'PENDING' &&
        answered.some(({ order, answer }) => order.orderId === orderId && answer.ok)
      )
        found.push(`${orderId}: told as paid, and is not`);
    }
    const keys = payments().map(({ user, idempotencyKey }) => `${user} ${idempotencyKey}`);
    if (new Set(keys).size < keys.length) found.push('a key has paid twice');
    for (const { productId, stock } of products) {
      const left = store.get<VersionedProduct>('product', productId)!.stock;
      const sold = soldOf(productId);
      if (left !== stock - sold || left < 0)
        found.push(`${productId}: ${left} of ${stock} left, and ${sold} sold`);
    }
    return found;
  }

  /** What a customer was told is what the store says. */
  function wrongAnswers(): string[] {
    const found: string[] = [];
    for (const { order, idempotencyKey, answer } of answered) {
      const { status } = store.get<Order>('order', order.orderId)!;
      const payment = answer.ok ? store.get<PaymentRow>('payment', answer.paymentId) : undefined;
      if (answer.ok && payment?.orderId !== order.orderId)
        found.push(`${order.orderId}: told as paid by ${answer.paymentId}, which is not its payment`);
      if (answer.ok && payment?.idempotencyKey !== idempotencyKey)
        found.push(`${order.orderId}: told as paid under ${idempotencyKey}`);
      if (answer.ok) continue;
      const { code } = answer.refusal;
      if (code === 'MUSTER_OUT_OF_STOCK' && status !== 'FAILED')
        found.push(`${order.orderId}: told as failed, and is ${status}`);
      if (code === 'MUSTER_ORDER_ALREADY_PAID' && status !== 'COMPLETED')
        found.push(`${order.orderId}: told as paid, and is ${status}`);
      if (code === 'MUSTER_ORDER_UNKNOWN') found.push(`${order.orderId}: told as unknown`);
    }
    return found;
  }

  /** Each payment is on its three topics, in the same words each time; and nothing else is. */
  function wrongEvents(): string[] {
    const found: string[] = [];
    const paid = payments();
    for (const { name, idOf } of [
      { name: topic, idOf: (payment: PaymentRow) => `${payment.orderId}-completed` },
      { name: topics.orderConfirmed.name, idOf: (payment: PaymentRow) => `${payment.orderId}-confirmed` },
      { name: topics.externalEvents.name, idOf: (payment: PaymentRow) => payment.paymentId },
    ]) {
      const told = new Map<string, string>();
      for (const { headers, value } of kafka.records(name)) {
        if (headers.ce_id === undefined) continue;
        const id = String(headers.ce_id);
        if (told.has(id) && told.get(id) !== String(value)) found.push(`${name}: two contents of ${id}`);
        told.set(id, String(value));
      }
      const wanted = new Set(paid.map(idOf));
      for (const id of wanted) if (!told.has(id)) found.push(`${name}: nothing of ${id}`);
      for (const id of told.keys()) if (!wanted.has(id)) found.push(`${name}: ${id}, and it is not paid`);
    }
    for (const { productId } of products) {
      const { stock, version } = store.get<VersionedProduct>('product', productId)!;
      const versions = kafka
        .records(topics.productEvents.name)
        .map(({ value }) => JSON.parse(String(value)) as { productId: string; version: number })
        .filter((event) => event.productId === productId);
      if (version !== (stock === 0 ? 2 : 1))
        found.push(`${productId}: version ${version} with ${stock} left`);
      if (versions.some((event) => event.version !== 2) || (versions.length === 0) !== (version === 1))
        found.push(`${productId}: events ${versions.map((event) => event.version)} at version ${version}`);
    }
    const decided = new Set(paid.map(({ paymentId }) => paymentId));
    return [...found, ...wrongEventLog(store, kafka, decided), ...wrongOrder()];
  }

  /** Who pays, hears that it is paid and pays again, has the events in that order. */
  function wrongOrder(): string[] {
    const first = new Map<string, number>();
    for (const { headers, offset } of kafka.records(topic)) {
      const id = String(headers.ce_id);
      if (!first.has(id)) first.set(id, offset);
    }
    const paid = answered.filter(({ answer }) => answer.ok && !answer.repeated);
    return paid.flatMap((one) =>
      paid
        .filter(({ order, beganMs }) => order.user === one.order.user && beganMs > one.endedMs)
        .filter(
          ({ order }) =>
            first.get(`${order.orderId}-completed`)! < first.get(`${one.order.orderId}-completed`)!,
        )
        .map(({ order }) => `${order.orderId}: told before ${one.order.orderId}, which was paid before`),
    );
  }

  function wrongRanking(): string[] {
    const counts = redis.all(ranking);
    const letters = new Set(kafka.records(topics.orderCompletedDlq.name).map(({ value }) => String(value)));
    return [
      ...products.flatMap(({ productId }) => {
        const counted = Number(counts.get(productId) ?? 0);
        const sold = soldOf(productId);
        return counted === sold ? [] : [`${productId}: ${counted} in the ranking, and ${sold} sold`];
      }),
      ...poison.filter((bad) => !letters.has(bad)).map((bad) => `no dead letter for ${bad}`),
    ];
  }
}
