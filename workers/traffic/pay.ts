/**
 * Members of my-pay who send each other money, pay merchants, bring some from their bank accounts and send some to other ones, at a
 * rate; the end of everything accepted is accounted for. Some have too little, so that it is recharged first or refused, one in ten is
 * sent twice at the same moment, and one in ten its key with another amount. Of what was paid some is given back (pay-refunds.ts), and
 * staff settles now and then (pay-settlements.ts). The banks can be made to misbehave meanwhile.
 */
import { randomUUID } from 'node:crypto';
import { type Client, type OnInsisted, openClient, type Percentiles } from './client.ts';
import { seededRandom } from './generate.ts';
import { misbehave, openBanks } from './outside-banks.ts';
import { keepPace } from './pace.ts';
import { type Asking, openAsking, type Sent } from './pay-asking.ts';
import { type JoinOptions, joinAll, type PayMember, type People } from './pay-members.ts';
import { owedOf, type RefundPlan, refundPlans, refundsOf } from './pay-refunds.ts';
import { type Settled, setCommission, settledAll, settleNow } from './pay-settlements.ts';
import { type Asked, mixed, type Pick, type Wish } from './pay-wishes.ts';

/** Of traffic that is there to be looked at; they behave. */
export const trafficBanks: readonly string[] = ['hana', 'kookmin'];

export interface PayOptions extends JoinOptions {
  /** For example http://127.0.0.1:8082 */
  readonly payUrl: string;
  /** Where the banks outside are told how to be, for example http://127.0.0.1:8081 */
  readonly outsideUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  readonly seed: number;
  readonly onInsisted?: OnInsisted;
  readonly signal?: AbortSignal;
}

export interface PayRun {
  /** Begun a second. */
  readonly rate: number;
  /** Unset: until `signal`. */
  readonly durationMs?: number;
  /** Nobody new comes after it; what has begun goes on to its end. */
  readonly closing?: AbortSignal | undefined;
  /** Lets the banks misbehave until it is over. */
  readonly misbehave: boolean;
  /** About once a second. */
  onProgress?(accepted: number): void;
  /** Called with each that has ended or will not; when set, none is kept for the report: for runs without an end. */
  onAsked?(asked: Asked): void;
}

export interface PayReport {
  readonly members: readonly PayMember[];
  readonly asked: readonly Asked[];
  /** Of the merchants of the run; none when it was ended by the signal. */
  readonly settlements: readonly Settled[];
  /** From sending (the first try) to the acceptance, and from there to its end as seen by asking, ms. */
  readonly acceptMs: Percentiles | undefined;
  readonly endMs: Percentiles | undefined;
  /** Codes of refusals that were not owed and of failed tries, with how often. */
  readonly problems: Readonly<Record<string, number>>;
}

const leastAmount = 1_000;
/** Above all amounts that are in order. */
const otherAmount = 50_000_000;
/** Staff settles with each so many wishes, and changes a commission meanwhile. */
const settledWith = 100;
/** 1/100 of a percent. */
const rates: readonly number[] = [0, 150, 300, 333];

export interface PayWorld {
  /** Lets members ask for things. Resolves when all that was accepted has ended, or nobody waits for it any more. */
  run(run: PayRun): Promise<PayReport>;
  close(): Promise<void>;
}

/** Lets members join, with money here and accounts at the banks. Rejects when that does not go well. */
export async function openPay(options: PayOptions): Promise<PayWorld> {
  const { token, retryForMs = 60_000, signal, outsideUrl, onInsisted } = options;
  const client = openClient({
    apiUrl: options.payUrl,
    token,
    connections: 128,
    retryForMs,
    signal,
    onInsisted,
  });
  const world = openClient({ apiUrl: outsideUrl, token, connections: 8 });
  const close = async () => {
    await client.close();
    await world.close();
  };
  try {
    await openBanks(client, world, options);
    const people = await joinAll(client, world, options);
    return {
      close,
      run: (run) => runPay({ client, world, options, people }, run),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

interface Stage {
  readonly client: Client;
  readonly world: Client;
  readonly options: PayOptions;
  readonly people: People;
}

/** Gives back of a payment that is DONE, by the one who was paid. */
async function giveBack({ post, follow }: Asking, plan: RefundPlan, wish: Wish, paid: Sent): Promise<void> {
  const { atOnce, after } = refundsOf(plan, paid.amountMinor);
  const back = { ...wish, kind: 'refund', paymentId: paid.ids[0]!, body: {} } as const;
  const parts = await Promise.all(atOnce.map((part) => post(back, part, randomUUID())));
  const ending = owedOf(plan, parts).map(([one, owes]) => follow(one, owes));
  // What is not answered may not be there: then there is more left.
  if (parts.every(({ outcome }) => outcome === 'accepted'))
    for (const more of after) ending.push(follow(await post(back, more, randomUUID()), 'refused'));
  await Promise.all(ending);
}

async function runPay({ client, world, options, people }: Stage, run: PayRun): Promise<PayReport> {
  const { retryForMs = 60_000, signal, seed } = options;
  const random = seededRandom(seed);
  const pick: Pick = (list) => list[Math.floor(random() * list.length)]!;
  const kept: Asked[] = [];
  const asking = openAsking(client, (asked) => (run.onAsked ?? ((one) => kept.push(one)))(asked), signal);
  const { post, follow } = asking;
  const merchants = people.merchants.map(({ memberId }) => memberId);
  let settlements: readonly Settled[] = [];
  const ends = new Set<Promise<unknown>>();
  /** Whoever sends the next one does not wait for the end of this one: it may never come. */
  const soon = (ending: Promise<unknown>): void => {
    ends.add(ending);
    void ending.finally(() => ends.delete(ending)).catch(() => undefined);
  };

  let number = 0;
  async function next(): Promise<void> {
    const n = number++;
    // Chosen before anybody waits: then the same seed chooses the same.
    const wish = pick(mixed)(people, pick);
    const plan = wish.kind === 'payment' ? pick(refundPlans) : 'none';
    const [merchant, rate] = [pick(merchants), pick(rates)];
    if (n % settledWith === settledWith / 4) await setCommission(client, merchant, rate);
    if (n % settledWith === settledWith / 2) await settleNow(client);
    const key = randomUUID();
    const amountMinor = leastAmount + n;
    const sent = await post(wish, amountMinor, key, n % 10 === 5 ? 2 : 1);
    soon(
      follow(sent, wish.owes).then((end) =>
        end === 'DONE' ? giveBack(asking, plan, wish, sent) : undefined,
      ),
    );
    if (n % 10 === 7 && sent.outcome === 'accepted')
      soon(follow(await post(wish, otherAmount + n, key), 'refused'));
  }

  const untilMs = performance.now() + (run.durationMs ?? Number.POSITIVE_INFINITY);
  const over = () =>
    signal?.aborted === true || run.closing?.aborted === true || performance.now() >= untilMs;
  const wellAgain = run.misbehave
    ? misbehave(world, options.banks, seededRandom(seed ^ 0x5bd1e995))
    : undefined;
  const telling = setInterval(() => run.onProgress?.(asking.accepted()), 1_000);
  try {
    await keepPace(next, { rate: run.rate, connections: 1, over });
    await wellAgain?.();
    asking.waitUntil(performance.now() + retryForMs);
    await Promise.all(ends);
    if (signal?.aborted !== true) {
      await settleNow(client);
      settlements = await settledAll(client, merchants, { untilMs: performance.now() + retryForMs, signal });
    }
  } finally {
    clearInterval(telling);
    await wellAgain?.();
  }
  return {
    members: [...people.rich, ...people.poor, people.broke, ...people.merchants],
    asked: kept,
    settlements,
    ...asking.times(),
    problems: client.problems,
  };
}
