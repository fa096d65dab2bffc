/**
 * People of food delivery, at a rate: customers order, cancel, call again, want their money back or the dish once more; owners accept,
 * cook and call; riders confirm or leave it to the clock. What is asked for twice at the same moment has one key. Each order is
 * accounted for until nobody does anything more about it.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  type Answer,
  type Client,
  codeOf,
  type OnInsisted,
  openClient,
  type Percentiles,
  percentiles,
} from './client.ts';
import {
  type Dish,
  gather,
  keyed,
  openApps,
  type People,
  type PeopleOptions,
  type Person,
  photo,
  type Shown,
} from './delivery-people.ts';
import { type Act, type DeliveryStep, type Memory, nextOf, type Plan, plans } from './delivery-plans.ts';
import { seededRandom } from './generate.ts';
import { keepPace } from './pace.ts';

export interface DeliveryOptions extends PeopleOptions {
  /** For example http://127.0.0.1:8083 */
  readonly deliveryUrl: string;
  readonly seed: number;
  /** How long a request is tried again, and an end waited for. Default 60,000. */
  readonly retryForMs?: number;
  readonly onInsisted?: OnInsisted;
  readonly signal?: AbortSignal;
}

/** An order that somebody has placed, and what its people were answered. */
export interface Ordered {
  /** As answered, each time that it was sent. */
  readonly ids: readonly string[];
  readonly customer: string;
  readonly itemId: string;
  readonly quantity: number;
  readonly district: string;
  readonly owes: 'accepted' | 'refused' | 'either';
  /** `failed`: never a final answer. */
  readonly outcome: 'accepted' | 'refused' | 'failed';
  /** Steps that were accepted, as answered, each time that they were sent. */
  readonly steps: readonly {
    readonly step: DeliveryStep;
    readonly state: string;
    readonly version: number;
    readonly owes?: 'refused';
  }[];
  /** A rider may have confirmed it before the clock. */
  readonly confirmed: boolean;
  /** The state in which everybody left it; undefined: they were waiting for something. */
  readonly end: string | undefined;
  readonly version: number;
  /** When it was first sent, UTC ms. */
  readonly sentAtMs: number;
}

export interface DeliveryReport {
  readonly orders: readonly Ordered[];
  readonly dishes: readonly (Omit<Dish, 'owner'> & {
    /** By its owner, later. */
    readonly added: number;
    /** Not answered: it may have been added. */
    readonly mayBeAdded: number;
  })[];
  readonly riders: readonly { readonly rider: string; readonly district: string }[];
  readonly shown: readonly Shown[];
  /** From placing an order (the first try) to the answer, ms. */
  readonly placeMs: Percentiles | undefined;
  /** Codes of refusals that were not owed and of failed tries, with how often. */
  readonly problems: Readonly<Record<string, number>>;
}

export interface DeliveryRun {
  /** Orders a second. */
  readonly rate: number;
  /** Unset: until `signal`. */
  readonly durationMs?: number;
  /** Nobody new comes after it; what has begun goes on to its end. */
  readonly closing?: AbortSignal | undefined;
  /** Called with each order that has ended or will not; when set, none is kept for the report: for runs without an end. */
  onOrdered?(ordered: Ordered): void;
}

/** Of a dish of which there is little there is never as much. */
const tooMany = 900;
/** The owner of a dish of which there is little cooks some more with each so many orders. */
const addedWith = 40;
const added = 3;

/** Opens shops, lets riders begin work, and runs. Rejects when the former does not go well. */
export async function runDelivery(options: DeliveryOptions, run: DeliveryRun): Promise<DeliveryReport> {
  const { retryForMs = 60_000, signal } = options;
  const client = openClient({
    apiUrl: options.deliveryUrl,
    token: '',
    connections: 64,
    retryForMs,
    signal,
    onInsisted: options.onInsisted,
  });
  try {
    return await live(client, await gather(client, options), options, run);
  } finally {
    await client.close();
  }
}

async function live(
  client: Client,
  people: People,
  options: DeliveryOptions,
  run: DeliveryRun,
): Promise<DeliveryReport> {
  const { retryForMs = 60_000, signal, seed } = options;
  const random = seededRandom(seed);
  const pick = <Item>(list: readonly Item[]): Item => list[Math.floor(random() * list.length)]!;
  const desk = openDesk(client, people, signal);
  const kept: Ordered[] = [];
  const tell = run.onOrdered ?? ((one) => kept.push(one));
  const owners = new Set(people.dishes.map(({ owner }) => owner));
  const everybody = [...people.customers, ...people.riders, ...owners];
  const apps = openApps(client, everybody, run.onOrdered === undefined);
  const supply = people.dishes.map((dish) => ({ dish, added: 0, mayBeAdded: 0 }));
  const placeMs: number[] = [];

  async function addStock(one: (typeof supply)[number]): Promise<void> {
    const { itemId, owner } = one.dish;
    const answers = await twice(keyed(owner), (headers) =>
      client.insist(`/delivery/items/${itemId}/stock`, { quantity: added }, headers),
    );
    if (answers.some((answer) => answer?.status === 204)) one.added += added;
    else one.mayBeAdded += added;
  }

  let number = 0;
  async function next(): Promise<void> {
    const n = number++;
    // Chosen before anybody waits: then the same seed chooses the same.
    const plan = pick(plans);
    const customer = pick(people.customers);
    const isScarce = plan.scarce === true || plan.tooMuch === true;
    const dish = pick(people.dishes.filter(({ scarce }) => scarce === isScarce));
    const district = plan.nowhere ? `${options.district}-nowhere` : pick(people.districts);
    const quantity = plan.tooMuch ? tooMany : 1 + Math.floor(random() * 3);
    const wish = { customer, dish, district, quantity, plan, isTwice: n % 5 === 2 };
    if (n % addedWith === addedWith - 1) await addStock(pick(supply.filter((one) => one.dish.scarce)));
    const { tookMs, ...ordered } = await desk.order(wish);
    if (tookMs !== undefined && placeMs.length < 100_000) placeMs.push(tookMs);
    tell(ordered);
  }

  const untilMs = performance.now() + (run.durationMs ?? Number.POSITIVE_INFINITY);
  const over = () =>
    signal?.aborted === true || run.closing?.aborted === true || performance.now() >= untilMs;
  const lastMs = () => performance.now() + retryForMs;
  // Those who still wait for something then give up.
  if (run.durationMs !== undefined) desk.waitUntil(untilMs + retryForMs);
  await keepPace(next, { rate: run.rate, connections: 1, over });
  const shown = await apps.end(owedTo(kept), signal?.aborted ? performance.now() : lastMs());
  return {
    orders: kept,
    dishes: supply.map(({ dish: { owner: _, ...dish }, ...more }) => ({ ...dish, ...more })),
    riders: people.riders.map(({ subject: rider, district }) => ({ rider, district })),
    shown,
    placeMs: percentiles(placeMs),
    problems: client.problems,
  };
}

/** A customer is told of each change of an order. */
function owedTo(orders: readonly Ordered[]): ReadonlyMap<string, number> {
  const owed = new Map<string, number>();
  for (const { customer, version, end } of orders)
    if (end !== undefined) owed.set(customer, (owed.get(customer) ?? 0) + version);
  return owed;
}

type Keyed = ReturnType<typeof keyed>;
type Reply = (Answer & { readonly tookMs: number }) | undefined;

/** At the same moment, under one key. */
const twice = (headers: Keyed, send: (headers: Keyed) => Promise<Reply>): Promise<readonly Reply[]> =>
  Promise.all([send(headers), send(headers)]);

interface Wish {
  readonly customer: Person;
  readonly dish: Dish;
  readonly district: string;
  readonly quantity: number;
  readonly plan: Plan;
  readonly isTwice: boolean;
}

const shortestWaitMs = 300;
const longestWaitMs = 5_000;

/** Where orders are placed and carried on. */
function openDesk(client: Client, { riders }: People, signal: AbortSignal | undefined) {
  let untilMs = Number.POSITIVE_INFINITY;
  const isOver = () => signal?.aborted === true || performance.now() > untilMs;

  async function send(
    { isTwice }: Wish,
    who: Person,
    path: string,
    body: object | Buffer,
    more: object = {},
  ): Promise<readonly Reply[]> {
    const insist = (headers: Keyed) => client.insist(path, body, { ...headers, ...more });
    const headers = keyed(who, randomUUID());
    return isTwice ? twice(headers, insist) : [await insist(headers)];
  }

  interface View {
    readonly state: string;
    readonly version: number;
  }
  const see = async (who: Person, orderId: string): Promise<View | undefined> => {
    const answer = await client
      .call('GET', `/delivery/orders/${orderId}`, undefined, who.headers)
      .catch(() => undefined);
    return answer?.status === 200 ? (answer.json as unknown as View) : undefined;
  };

  /** The rider who has it, and how he sees it; undefined: nobody any more. */
  async function withRider({ district }: Wish, orderId: string) {
    for (const rider of riders.filter((one) => one.district === district)) {
      const view = await see(rider, orderId);
      if (view !== undefined) return { rider, view };
    }
    return undefined;
  }

  /** What a complaint needs; undefined: it could not be sent. */
  async function photographed(
    wish: Wish,
    orderId: string,
  ): Promise<{ readonly photoId: string } | undefined> {
    const path = `/delivery/orders/${orderId}/photos`;
    const answers = await send(wish, wish.customer, path, photo.body, photo.headers);
    const ids = new Set(answers.flatMap((one) => (one?.status === 201 ? String(one.json.photoId) : [])));
    if (ids.size > 1) client.problem('one photo became two');
    for (const one of answers)
      if (one !== undefined && one.status !== 201 && one.status !== 409) client.problem(codeOf(one));
    const [photoId] = ids;
    return photoId === undefined ? undefined : { photoId };
  }

  async function take(wish: Wish, orderId: string, act: Act, steps: Ordered['steps'][number][]) {
    const { by, step, body, owes } = act;
    const found = by === 'rider' ? await withRider(wish, orderId) : undefined;
    if (by === 'rider' && found === undefined) return;
    const who = found?.rider ?? (by === 'owner' ? wish.dish.owner : wish.customer);
    const proof = step === 'refund-request' ? await photographed(wish, orderId) : {};
    if (proof === undefined) return;
    const about = found === undefined ? {} : { version: found.view.version };
    const answers = await send(wish, who, `/delivery/orders/${orderId}/${step}`, {
      ...body,
      ...proof,
      ...about,
    });
    for (const answer of answers)
      if (answer?.status === 200) {
        const { state, version } = answer.json as unknown as View;
        steps.push({ step, state, version, ...(owes === undefined ? {} : { owes }) });
      } else if (answer !== undefined && answer.status !== 409) client.problem(`${step} ${codeOf(answer)}`);
  }

  /** Until nothing more will be done about it, or nobody waits any longer. */
  async function carryOn(wish: Wish, orderId: string) {
    const memory: Memory = { asked: false, triedLate: false };
    const steps: Ordered['steps'][number][] = [];
    let last = 1;
    let confirmed = false;
    let waitMs = shortestWaitMs;
    const seen = new Set<string>();
    while (!isOver()) {
      const view = await see(wish.customer, orderId);
      if (view !== undefined) {
        last = view.version;
        if (view.state === 'REFUND_REQUESTED') memory.asked = true;
        const next = nextOf(wish.plan, view.state, memory);
        if (next === 'end') return { steps, confirmed, version: last, end: view.state };
        if (next !== 'wait') {
          confirmed ||= next.some(({ by }) => by === 'rider');
          memory.triedLate ||= next.some(({ owes }) => owes === 'refused');
          await Promise.all(next.map((act) => take(wish, orderId, act, steps)));
          memory.asked ||= steps.some(({ step }) => step === 'refund-request');
        }
        const isNew = !seen.has(view.state) && view.state !== 'DELIVERY_FAILED';
        seen.add(view.state);
        if (isNew) waitMs = shortestWaitMs;
        if (next !== 'wait' && isNew) continue;
      }
      // Whoever waits looks less and less often, and calls so: where all do it each moment, that is what makes riders late.
      await sleep(waitMs);
      waitMs = Math.min(waitMs * 1.5, longestWaitMs);
    }
    return { steps, confirmed, version: last, end: undefined };
  }

  return {
    /** Nobody waits longer for anything; performance.now(). */
    waitUntil(ms: number) {
      untilMs = ms;
    },
    async order(wish: Wish): Promise<Ordered & { readonly tookMs: number | undefined }> {
      const { customer, dish, district, quantity, plan } = wish;
      const sentAtMs = Date.now();
      const body = { itemId: dish.itemId, quantity, district };
      const answers = await send(wish, customer, '/delivery/orders', body);
      const taken = answers.filter((one) => one?.status === 201);
      const ids = taken.map((one) => String(one!.json.orderId));
      const owes = plan.tooMuch ? 'refused' : plan.scarce ? 'either' : 'accepted';
      const isAnswered = answers.every((one) => one !== undefined);
      const outcome = ids.length > 0 ? 'accepted' : isAnswered ? 'refused' : 'failed';
      if (outcome === 'refused' && owes === 'accepted') client.problem(codeOf(answers[0]!));
      const untouched = { steps: [], confirmed: false, version: 0, end: undefined };
      return {
        ...{
          ids,
          customer: customer.subject,
          itemId: dish.itemId,
          quantity,
          district,
          owes,
          outcome,
          sentAtMs,
        },
        ...(outcome === 'accepted' ? await carryOn(wish, ids[0]!) : untouched),
        tookMs: taken[0]?.tookMs,
      };
    },
  };
}
