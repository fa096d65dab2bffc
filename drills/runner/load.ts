/** The load of a drill: known ids through the real entrances, and what the checkers say of it afterwards. */
import { type OrderBy, orderBys } from '../../catalog/events/coupon.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { type CouponRushReport, runCouponRush } from '../../workers/traffic/coupons.ts';
import { personalTraces } from '../../workers/traffic/notations.ts';
import { type OrdersReport, runOrders } from '../../workers/traffic/orders.ts';
import { runTraffic, type TrafficReport } from '../../workers/traffic/run.ts';
import { beginCheck } from '../checker/check.ts';
import type { Verdict } from '../checker/verdict.ts';
import type { Curve, Drill } from '../drill.ts';
import { sendEdges } from './edges.ts';
import type { Attempt, Outage } from './measure.ts';
import { changePrices } from './price-changes.ts';

interface LoadStage {
  /** Where the environment is, and its secrets. */
  readonly variables: Readonly<Record<string, string>>;
  /** Where the load's clients send; not always straight to the environment. */
  readonly entrances: { readonly apiUrl: string; readonly kafka: Kafka };
  /** What ids of this run begin with. */
  readonly run: string;
  readonly seed: number;
  /** How long a message without an ack is tried again, and an outcome waited for. Default 2 minutes, and longer than any fault. */
  readonly retryForMs?: number;
  readonly signal: AbortSignal;
}

export interface LoadResult {
  /** Messages whose way is timed one by one: promotion's. */
  readonly attempts: readonly Attempt[];
  /** When each purchase was first acked, by its id. */
  readonly purchases: ReadonlyMap<string, number>;
  /** Times in which coupons or orders made no progress at all. */
  readonly stalls: readonly Outage[];
  readonly curves: readonly Curve[];
  readonly sent: number;
  /** Without an ack after all tries. */
  readonly failed: number;
  /** Tries that failed, also of what went well later. */
  readonly failedTries: number;
  /** Of coupons or orders, when there is no promotion load. */
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number } | undefined;
}

export interface RunningLoad {
  /** The load of promotion ends; that of coupons and orders ends by itself. */
  end(): void;
  readonly done: Promise<LoadResult>;
  /** `disturbed`: something was broken meanwhile. */
  judge(patienceMs: number, disturbed: boolean): Promise<readonly Verdict[]>;
}

const card = '4111111111111111';
const stockOfProducts = 1_000_000;
/** Few enough that the same one pays again and again: only then is there an order to keep. */
const customers = 100;

/** Nobody gives up before what is broken is back. */
function patienceMs({ steps }: Pick<Drill, 'steps'>): number {
  return Math.max(120_000, ...steps.map(({ healAfterMs = 0 }) => healAfterMs + 60_000));
}

/** Marks where outputs end, and begins. */
export async function startLoad(
  drill: Pick<Drill, 'loadMs' | 'promotion' | 'coupons' | 'orders' | 'steps'>,
  stage: LoadStage,
): Promise<RunningLoad> {
  const { variables, entrances, run, seed, signal, retryForMs = patienceMs(drill) } = stage;
  const { apiUrl } = entrances;
  const token = variables.MUSTER_API_TOKEN!;
  const person = `${run}-person`;
  const check = await beginCheck({
    subjects: (['promotion', 'coupons', 'orders'] as const).filter((name) => drill[name] !== undefined),
    variables,
    run,
    personal: [person, card],
    signal,
  });
  const ending = new AbortController();
  const coupons = followProgress('coupons accepted');
  const orders = followProgress('orders paid');

  const promotion = drill.promotion;
  const producer = promotion === undefined ? undefined : await entrances.kafka.producer('drill');
  const traffic =
    promotion === undefined
      ? undefined
      : runTraffic({
          ...promotion,
          run,
          apiUrl,
          token,
          seed,
          kafka: producer!,
          logDirectory: variables.LOG_INBOX_DIRECTORY!,
          record: true,
          steady: true,
          // People of this run only: acts of other runs would join purchases that the oracle knows nothing of.
          userPrefix: person,
          retryForMs,
          endWithinMs: retryForMs,
          signal: AbortSignal.any([signal, ending.signal]),
        });
  const edges =
    promotion === undefined
      ? undefined
      : sendEdges({ apiUrl, token, run, userPrefix: person, retryForMs, signal });
  const requestsEach = 2;
  const acceptedBy = new Map<OrderBy, number>();
  /** Two coupons side by side, one in each order, that share the rate and the stock. */
  const rush = orderBys.map((orderBy) => {
    if (drill.coupons === undefined) return undefined;
    const rate = drill.coupons.rate / orderBys.length;
    return runCouponRush({
      apiUrl,
      token,
      orderBy,
      stock: Math.ceil(drill.coupons.stock / orderBys.length),
      rate,
      users: Math.ceil((rate * drill.loadMs) / 1_000 / requestsEach),
      requestsEach,
      watchers: 10,
      userPrefix: `${person}-${orderBy}`,
      retryForMs,
      answersWithinMs: retryForMs,
      signal,
      onProgress({ accepted }) {
        acceptedBy.set(orderBy, accepted);
        coupons.at([...acceptedBy.values()].reduce((sum, count) => sum + count, 0));
      },
    });
  });
  const shopping =
    drill.orders === undefined
      ? undefined
      : runOrders({
          apiUrl,
          token,
          rate: drill.orders.rate,
          durationMs: drill.loadMs,
          products: 8,
          stock: stockOfProducts,
          userPrefix: person,
          users: customers,
          retryForMs,
          record: true,
          seed,
          signal,
          onProgress: ({ paid }) => orders.at(paid),
        });
  const shopIsOpen = AbortSignal.any([signal, AbortSignal.timeout(drill.loadMs)]);
  const changes = drill.orders === undefined ? [] : changePrices(apiUrl, token, run, shopIsOpen);

  const all = Promise.all([traffic, Promise.all(rush), shopping, edges, changes]);
  const done = all.then(async ([sent, told, sold]) => {
    await producer?.close();
    return resultOf(sent, given(told), sold, [coupons, orders]);
  });
  // Whoever waits for it sees it fail; until then it must not be nobody's.
  done.catch(() => undefined);
  return {
    end: () => ending.abort(),
    done,
    async judge(patienceMs, disturbed) {
      const [sent, told, sold, edgesSent = [], changed] = await all;
      return check.judge(
        {
          ...(sent === undefined
            ? {}
            : {
                promotion: {
                  messages: [...(sent.messages ?? []), ...edgesSent],
                  personal: personalTraces,
                },
              }),
          coupons: given(told),
          ...(sold === undefined ? {} : { orders: { ...sold, changed, stock: stockOfProducts } }),
        },
        { patienceMs, disturbed },
      );
    },
  };
}

const given = <T>(list: readonly (T | undefined)[]): readonly T[] => list.filter((one) => one !== undefined);

function resultOf(
  sent: TrafficReport | undefined,
  told: readonly CouponRushReport[],
  sold: OrdersReport | undefined,
  followed: readonly ReturnType<typeof followProgress>[],
): LoadResult {
  const attempts: Attempt[] = [];
  const purchases = new Map<string, number>();
  for (const { message, way, outcome, sentAtMs, settledAtMs } of sent?.messages ?? []) {
    if ('poison' in message || outcome === 'refused') continue;
    const isAcked = outcome === 'acked';
    attempts.push({ observer: `way ${way}`, sentAtMs, ...(isAcked ? { settledAtMs } : {}) });
    const id = message.purchase?.purchaseId;
    if (isAcked && id !== undefined && settledAtMs < (purchases.get(id) ?? Number.POSITIVE_INFINITY))
      purchases.set(id, settledAtMs);
  }
  const tries = (problems: Readonly<Record<string, number>> | undefined) =>
    Object.values(problems ?? {}).reduce((sum, count) => sum + count, 0);
  const placed = sold === undefined ? 0 : sold.paid + sold.refused + sold.failed;
  const timed = sold?.payMs ?? told[0]?.acceptMs;
  const sumOf = (count: (one: CouponRushReport) => number) => told.reduce((sum, one) => sum + count(one), 0);
  return {
    attempts,
    purchases,
    stalls: followed.flatMap((one) => one.stalls()),
    curves: followed.flatMap((one) => one.curves()),
    sent: (sent?.sent ?? 0) + sumOf(({ requests }) => requests) + placed,
    failed:
      (sent?.failed ?? 0) +
      (sent?.unexpected ?? 0) +
      sumOf(({ failed }) => failed) +
      (sold?.failed ?? 0) +
      (sold?.refused ?? 0),
    failedTries: tries(sent?.problems) + sumOf(({ problems }) => tries(problems)) + tries(sold?.problems),
    latencyMs: timed,
  };
}

/** A count that is told about once a second: its growth, and when it stood still. */
function followProgress(name: string) {
  const points: { atMs: number; count: number }[] = [];
  /** Told once a second: two without growth are no accident. */
  const stallMs = 2_500;
  return {
    at: (count: number) => points.push({ atMs: Date.now(), count }),
    stalls(): readonly Outage[] {
      const found: Outage[] = [];
      let grewAtMs = points[0]?.atMs ?? 0;
      for (const [index, { atMs, count }] of points.entries()) {
        if (index > 0 && count === points[index - 1]!.count) continue;
        if (atMs - grewAtMs > stallMs) found.push({ observer: name, fromMs: grewAtMs, untilMs: atMs });
        grewAtMs = atMs;
      }
      return found;
    },
    curves(): readonly Curve[] {
      if (points.length < 2) return [];
      const growth = points.slice(1).map(({ atMs, count }, index) => {
        const before = points[index]!;
        const value = ((count - before.count) * 1_000) / Math.max(1, atMs - before.atMs);
        return { atMs, value: Math.round(value * 10) / 10 };
      });
      return [{ name, unit: 'per second', points: growth }];
    },
  };
}
