/**
 * Food delivery: orders from placed to delivered at a rate, how late the clock and notifications are, and photos beside it.
 *
 * `./muster bench delivery -- [--rate=200] [--seconds=30] [--riders=1000] [--photos=50] [--megabytes=5] [--at-once=10]`
 *
 * Runs on the deployed stores and brokers, in a database of its own; a process of this machine stands for process `delivery`, whose
 * deployed one is stopped meanwhile, as is the traffic, in good time, so that nothing of theirs is under way. Clients speak HTTP: a
 * customer places an order, its owner accepts, cooks and calls; the clock does the rest. Figures are differences of times that the
 * database has written, of orders placed after the warm-up. `lateMs` is from when a delivery had lasted its second until the order has
 * taken it, so both topics are in it. A rider is busy for a second and for what the clock is late; there are riders for five seconds
 * of the rate, and an order that finds none of them is a failure. Photos are sent for orders that were delivered, so many at a time,
 * when all else has ended, and what others still do about it (backups, logs, pages of the database).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { type RawBuilder, sql } from 'kysely';
import { pause } from '../environment/interruption.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { hostVariables, secretsFile } from '../environment/variables.ts';
import { type Role, signToken } from '../workers/http/tokens.ts';
import { codeOf, openClient, percentiles } from '../workers/traffic/client.ts';
import { keyed, type Person } from '../workers/traffic/delivery-people.ts';
import { keepPace } from '../workers/traffic/pace.ts';
import { type BenchOptions, context, optionsOf, say, stopDeployed, writeReport } from './common/bench.ts';
import { formOf, photoOf } from './common/photo.ts';
import { openScratch, type Scratch } from './common/scratch.ts';
import { limits, usage } from './common/usage.ts';
import { type RunningWorker, startWorker } from './common/worker.ts';

/** What was just started compiles its hot code; that is not what is asked here. */
const warmUpMs = 10_000;
/** What people have begun ends in so long, and what that leaves others to do. */
const endsWithinMs = 15_000;
const [dishes, customers, districts] = [40, 50, 6];
/** So long the riders last who are not free again. */
const ridersLastSeconds = 5;
/** As many owners as dishes. */
const stock = 1_000_000;

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const restartTraffic = await stopDeployed(environment, ['traffic']);
  try {
    await pause(endsWithinMs, signal);
    const restart = await stopDeployed(environment, ['delivery']);
    try {
      await measure(options);
    } finally {
      await restart();
    }
  } finally {
    await restartTraffic();
  }
}

async function measure(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { number } = optionsOf(options.args);
  const spec = environment.processes.list.find(({ name }) => name === 'delivery')!;
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const variables = await hostVariables(environment, secrets);
  const folder = await mkdtemp(join(tmpdir(), 'bench-delivery-'));
  const scratch = await openScratch(variables, 'delivery', ['delivery']);
  let delivery: RunningWorker | undefined;
  try {
    const [first, ...more] = spec.workers;
    delivery = await startWorker({
      workers: [first!, ...more],
      env: { ...spec.env, ...variables, MYSQL_DATABASE: scratch.name, UPLOADS_DIRECTORY: folder },
      nodeFlags: [`--max-old-space-size=${Math.floor(spec.size.memoryMiB * 0.6)}`],
      signal,
    });
    const tokenOf = (role: Role, subject: string) =>
      signToken(secrets.tokenSigningKey, { role, subject, ttlMs: 3_600_000 });
    const rate = number('rate', 200);
    const riders = number('riders', ridersLastSeconds * rate);
    const town = await openTown(delivery.url, { riders, tokenOf, signal });
    try {
      const forMs = number('seconds', 30) * 1_000;
      say(`${rate} orders a second, ${forMs / 1_000} s`);
      await town.order(rate, warmUpMs);
      const [before, sinceMs] = [await usage(environment, [delivery]), await nowOf(scratch)];
      const placed = await town.order(rate, forMs);
      const after = await usage(environment, [delivery]);
      await scratch.untilNoneDue('delivery', 'delivery_order', signal);
      const orders = await figuresOf(scratch, sinceMs);
      say(JSON.stringify(orders, null, 2));
      await pause(endsWithinMs, signal);
      const photos = await town.photograph({
        ...{ photos: number('photos', 50), atOnce: number('at-once', 10) },
        form: formOf(await photoOf(number('megabytes', 5), false, signal)),
      });
      writeReport('delivery', {
        ...context(),
        loadBefore: loadavg()[0],
        rate,
        placed,
        riders,
        ...orders,
        ...limits(before, after, placed),
        photoMs: photos,
        problems: town.problems,
      });
      if (orders.withoutRider > 0)
        throw new Error(
          `${orders.withoutRider} orders found none of ${riders} riders free: the clock was late`,
        );
    } finally {
      await town.close();
    }
  } finally {
    await delivery?.stop();
    await scratch.drop();
    await rm(folder, { recursive: true });
  }
}

/** Shops, riders and customers of the process at `url`. */
async function openTown(
  url: string,
  options: {
    readonly riders: number;
    tokenOf(role: Role, subject: string): Promise<string>;
    readonly signal: AbortSignal;
  },
) {
  const { tokenOf, signal } = options;
  const client = openClient({ apiUrl: url, token: '', connections: 128, signal });
  const person = async (role: Person['role'], n: number): Promise<Person> => {
    const subject = `bench-${role}-${n}`;
    return { role, subject, headers: { authorization: `Bearer ${await tokenOf(role, subject)}` } };
  };
  const many = <One>(length: number, make: (n: number) => Promise<One>) =>
    Promise.all(Array.from({ length }, (_, n) => make(n)));
  const done = async (path: string, body: object | Buffer, headers: Person['headers'], method?: 'PUT') => {
    const answer = await client.insist(path, body, headers, method);
    if (answer !== undefined && answer.status < 300) return answer;
    if (answer !== undefined) client.problem(codeOf(answer));
    return undefined;
  };
  const districtOf = (n: number) => `bench-${n % districts}`;
  const eaters = await many(customers, (n) => person('customer', n));
  const menu = await many(dishes, async (n) => {
    const owner = await person('owner', n);
    const shop = await done('/delivery/shops', { name: `Shop ${n}` }, keyed(owner));
    const dish = { name: 'Noodles', price: { amountMinor: 9_000, currency: 'KRW' }, stock };
    const item = await done(`/delivery/shops/${shop!.json.shopId}/items`, dish, keyed(owner));
    return { owner, itemId: String(item!.json.itemId) };
  });
  await many(options.riders, async (n) => {
    const { headers } = await person('rider', n);
    await done('/delivery/riders/me', { district: districtOf(n), state: 'FREE' }, headers, 'PUT');
  });
  const ordered: { readonly orderId: string; readonly customer: Person }[] = [];

  async function one(n: number): Promise<void> {
    const customer = eaters[n % customers]!;
    const { owner, itemId } = menu[n % dishes]!;
    const wish = { itemId, quantity: 1, district: districtOf(n) };
    const placed = await done('/delivery/orders', wish, keyed(customer));
    if (placed === undefined) return;
    const orderId = String(placed.json.orderId);
    for (const step of ['accept', 'cook', 'call'])
      if ((await done(`/delivery/orders/${orderId}/${step}`, {}, keyed(owner))) === undefined) return;
    ordered.push({ orderId, customer });
  }

  let number = 0;
  return {
    problems: client.problems,
    close: () => client.close(),
    /** How many were placed and called for. */
    async order(rate: number, forMs: number): Promise<number> {
      const had = ordered.length;
      const untilMs = performance.now() + forMs;
      const over = () => performance.now() >= untilMs || signal.aborted;
      await keepPace(() => one(number++), { rate, connections: 1, over });
      return ordered.length - had;
    },
    /** How long each upload took, for the orders that were placed last. */
    async photograph({ photos, atOnce, form }: { photos: number; atOnce: number; form: Buffer }) {
      const left = ordered.slice(-photos);
      const tookMs: number[] = [];
      const hand = async () => {
        for (let next = left.pop(); next !== undefined && !signal.aborted; next = left.pop()) {
          const type = { 'content-type': 'multipart/form-data; boundary=b' };
          const headers = { ...next.customer.headers, ...type };
          const answer = await done(`/delivery/orders/${next.orderId}/photos`, form, headers);
          if (answer !== undefined) tookMs.push(answer.tookMs);
        }
      };
      await Promise.all(Array.from({ length: atOnce }, hand));
      return percentiles(tookMs);
    },
  };
}

async function nowOf(scratch: Scratch): Promise<Date> {
  const { rows } = await sql<{ now: Date }>`SELECT UTC_TIMESTAMP(3) AS now`.execute(scratch.of('delivery'));
  return rows[0]!.now;
}

/** Of orders that were placed since then. */
async function figuresOf(scratch: Scratch, since: Date) {
  const between = async (from: RawBuilder<unknown>, to: RawBuilder<unknown>, rest: RawBuilder<unknown>) => {
    const { rows } = await sql<{ ms: number | string }>`
      SELECT TIMESTAMPDIFF(MICROSECOND, ${from}, ${to}) DIV 1000 AS ms ${rest}`.execute(
      scratch.of('delivery'),
    );
    return rows.map(({ ms }) => Number(ms));
  };
  const changes = (state: string) => sql`
    FROM delivery_change a JOIN delivery_change d ON d.order_id = a.order_id AND d.state = 'DELIVERED'
    JOIN delivery_change p ON p.order_id = a.order_id AND p.version = 1 AND p.changed_at >= ${since}
    WHERE a.state = ${state}`;
  const [from, to] = [sql`a.changed_at`, sql`d.changed_at`];
  const lasted = await between(from, to, changes('ASSIGNED'));
  const { rows: failed } = await sql<{ n: number | string }>`
    SELECT COUNT(*) AS n FROM delivery_change WHERE state = 'DELIVERY_FAILED' AND changed_at >= ${since}`.execute(
    scratch.of('delivery'),
  );
  return {
    placedToDeliveredMs: percentiles(await between(from, to, changes('PLACED'))),
    calledToAssignedMs: percentiles(
      await between(
        sql`c.changed_at`,
        sql`a.changed_at`,
        sql`FROM delivery_change c JOIN delivery_change a ON a.order_id = c.order_id AND a.version = c.version + 1
          WHERE c.state = 'CALLED' AND c.changed_at >= ${since}`,
      ),
    ),
    lateMs: percentiles(lasted.map((ms) => ms - 1_000)),
    early: lasted.filter((ms) => ms < 1_000).length,
    withoutRider: Number(failed[0]!.n),
    notifiedMs: percentiles(
      await between(
        sql`changed_at`,
        sql`made_at`,
        sql`FROM delivery_notification WHERE changed_at >= ${since}`,
      ),
    ),
  };
}
