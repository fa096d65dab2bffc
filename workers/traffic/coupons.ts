/** A rush on a coupon: many people, a few requests each, as fast as they go or at a rate; every answer is accounted for. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { OrderBy } from '../../catalog/events/coupon.ts';
import { type Client, codeOf, type OnInsisted, openClient, type Percentiles, percentiles } from './client.ts';
import { type OutcomeStream, openOutcomeStream, type SeenOutcome } from './outcome-stream.ts';
import { keepPace } from './pace.ts';

export interface CouponRushOptions {
  /** For example http://127.0.0.1:8080 */
  readonly apiUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  readonly stock: number;
  /** What is handled in order for the coupon. Default user. */
  readonly orderBy?: OrderBy;
  readonly users: number;
  readonly requestsEach: number;
  /** Requests a second; unset: as fast as `connections` go. */
  readonly rate?: number;
  /** Requests under way at the same time at most. Default 256. */
  readonly connections?: number;
  /** How many of the users hold an event stream open. Default 50. */
  readonly watchers?: number;
  /** Makes the users' ids. Default `rush-<time>`. */
  readonly userPrefix?: string;
  /** How long a request is tried again after 503 or a broken connection. Default 60,000. */
  readonly retryForMs?: number;
  /** How long outcomes are waited for after the last request. Default 60,000. */
  readonly answersWithinMs?: number;
  /** Ask the API for each request's outcome; else only the streams tell. Default true. */
  readonly askForAll?: boolean;
  /** About once a second. */
  onProgress?(progress: {
    readonly elapsedMs: number;
    readonly accepted: number;
    readonly failed: number;
  }): void;
  readonly onInsisted?: OnInsisted;
  /** Nobody new comes after it; what has begun goes on to its end. */
  readonly closing?: AbortSignal | undefined;
  readonly signal?: AbortSignal;
}

export interface CouponRushReport {
  readonly couponId: string;
  readonly stock: number;
  /** As the API tells it at the end. */
  readonly issued: number;
  readonly requests: number;
  /** Answered with 202. */
  readonly accepted: number;
  /** Never answered with 202. */
  readonly failed: number;
  readonly seconds: number;
  readonly acceptedPerSecond: number;
  /** From sending (the first try) to 202, ms. */
  readonly acceptMs: Percentiles | undefined;
  /** Of the watchers' requests: from 202 to the push, ms. */
  readonly pushMs: Percentiles | undefined;
  /** Watchers' requests that were not pushed in time. */
  readonly notPushed: number;
  /** Watchers' outcomes that were pushed and acknowledged, and are listed as not NOTIFIED all the same; 0 without askForAll. */
  readonly notAcknowledged: number;
  /** By SUCCESS or the reason of the failure; of all requests with askForAll, else of the watchers'. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** Accepted and without an outcome in time. */
  readonly unanswered: number;
  /** Users who were told SUCCESS more than once. */
  readonly usersTwice: number;
  readonly problems: Readonly<Record<string, number>>;
  /** Ids of the accepted requests. */
  readonly requestIds: readonly string[];
  /** Of those with an outcome in time: SUCCESS or the reason of the failure. */
  readonly outcomeOf: ReadonlyMap<string, string>;
}

/** Creates a coupon and lets everybody at it. Rejects when the coupon cannot be created. */
export async function runCouponRush(options: CouponRushOptions): Promise<CouponRushReport> {
  const { apiUrl, token, stock, users, requestsEach, retryForMs, signal, onInsisted } = options;
  const connections = options.connections ?? 256;
  const prefix = options.userPrefix ?? `rush-${Date.now().toString(36)}`;
  const userOf = (index: number) => `${prefix}-${index}`;
  const client = openClient({ apiUrl, token, connections, retryForMs, signal, onInsisted });
  const { call, problem } = client;
  const watched = new Map<string, SeenOutcome>();
  const pushedAt = new Map<string, number>();
  const streams: OutcomeStream[] = [];
  try {
    const created = await call('POST', '/coupons', {
      name: `Rush ${prefix}`,
      stock,
      orderBy: options.orderBy ?? 'user',
    });
    if (created.status !== 201) throw new Error(`POST /coupons answered ${created.status}`);
    const couponId = String(created.json.couponId);
    const watchers = Math.min(options.watchers ?? 50, users);
    for (let index = 0; index < watchers; index++) {
      streams.push(
        openOutcomeStream(apiUrl, token, userOf(index), (outcome) => {
          if (outcome.couponId !== couponId || pushedAt.has(outcome.requestId)) return;
          pushedAt.set(outcome.requestId, performance.now());
          watched.set(outcome.requestId, outcome);
        }),
      );
    }
    await Promise.race([
      Promise.all(streams.map(({ ready }) => ready)),
      sleep(30_000, undefined, { ref: false }),
    ]);

    const turns = shuffledTurns(users, requestsEach);
    const acceptMs: number[] = [];
    const accepted = new Map<string, { user: number; atMs: number }>();
    let failed = 0;
    const startMs = performance.now();

    async function ask(user: number): Promise<void> {
      const answer = await client.insist('/coupons/issue', { userId: userOf(user), couponId });
      if (answer?.status !== 202) {
        failed += 1;
        if (answer !== undefined) problem(codeOf(answer));
        return;
      }
      acceptMs.push(answer.tookMs);
      accepted.set(String(answer.json.requestId), { user, atMs: performance.now() });
    }

    const telling = setInterval(
      () =>
        options.onProgress?.({
          elapsedMs: Math.round(performance.now() - startMs),
          accepted: accepted.size,
          failed,
        }),
      1_000,
    );
    let requests = 0;
    await keepPace(() => ask(turns[requests++]!), {
      rate: options.rate,
      connections,
      over: () => requests >= turns.length || signal?.aborted === true || options.closing?.aborted === true,
    });
    const seconds = (performance.now() - startMs) / 1_000;
    clearInterval(telling);

    const untilMs = Date.now() + (options.answersWithinMs ?? 60_000);
    const ofWatchers = [...accepted].filter(([, { user }]) => user < watchers).map(([id]) => id);
    while (ofWatchers.some((id) => !watched.has(id)) && Date.now() < untilMs && signal?.aborted !== true)
      await sleep(20);
    const told = new Map<string, string>();
    for (const id of ofWatchers) {
      const outcome = watched.get(id);
      if (outcome !== undefined) told.set(id, outcome.reason ?? outcome.outcome);
    }
    // Whoever was not told gets a look at the log, too.
    let notAcknowledged = 0;
    if (options.askForAll !== false) {
      const until = Math.max(untilMs, Date.now() + 15_000);
      const hands = Math.min(32, connections);
      for (const [id, outcome] of await askForAll(call, [...accepted.keys()], { until, hands, signal }))
        told.set(id, outcome);
      const watching = new Set(ofWatchers.map((id) => userOf(accepted.get(id)!.user)));
      notAcknowledged = await listedStill(call, watching, { pushed: pushedAt, until, signal });
    }

    const outcomes: Record<string, number> = {};
    const successes = new Map<number, number>();
    for (const [id, outcome] of told) {
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      const { user } = accepted.get(id)!;
      if (outcome === 'SUCCESS') successes.set(user, (successes.get(user) ?? 0) + 1);
    }
    const coupon = (await call('GET', `/coupons/${couponId}`)).json;
    return {
      couponId,
      stock,
      issued: Number(coupon.issued),
      requests,
      accepted: accepted.size,
      failed,
      seconds: Math.round(seconds * 1_000) / 1_000,
      acceptedPerSecond: Math.round(accepted.size / seconds),
      acceptMs: percentiles(acceptMs),
      pushMs: percentiles(
        ofWatchers
          .filter((id) => pushedAt.has(id))
          // A push may overtake its 202 on the way.
          .map((id) => Math.max(0, pushedAt.get(id)! - accepted.get(id)!.atMs)),
      ),
      notPushed: ofWatchers.filter((id) => !pushedAt.has(id)).length,
      notAcknowledged,
      outcomes,
      unanswered: (options.askForAll === false ? ofWatchers : [...accepted.keys()]).filter(
        (id) => !told.has(id),
      ).length,
      usersTwice: [...successes.values()].filter((count) => count > 1).length,
      problems: client.problems,
      requestIds: [...accepted.keys()],
      outcomeOf: told,
    };
  } finally {
    for (const stream of streams) stream.close();
    await client.close();
  }
}

/** Everybody as often as asked for, in an order of chance. */
function shuffledTurns(users: number, rounds: number): readonly number[] {
  const turns: number[] = [];
  for (let round = 0; round < rounds; round++) for (let user = 0; user < users; user++) turns.push(user);
  for (let i = turns.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [turns[i], turns[j]] = [turns[j]!, turns[i]!];
  }
  return turns;
}

/** Watchers acknowledge what they are told: in the end nothing of theirs is listed as not told. */
async function listedStill(
  call: Client['call'],
  users: ReadonlySet<string>,
  options: {
    readonly pushed: ReadonlyMap<string, number>;
    readonly until: number;
    readonly signal: AbortSignal | undefined;
  },
): Promise<number> {
  const { pushed, until, signal } = options;
  for (;;) {
    let count = 0;
    for (const user of users) {
      const path = `/coupons/requests?userId=${user}&notified=false&limit=1000`;
      const answer = await call('GET', path).catch(() => undefined);
      const { requests } = (answer?.json ?? {}) as { requests?: { requestId: string }[] };
      count += requests?.filter(({ requestId }) => pushed.has(requestId)).length ?? 1;
    }
    if (count === 0 || Date.now() > until || signal?.aborted === true) return count;
    await sleep(200);
  }
}

/** Asks for each request until it has an outcome; resolves to SUCCESS or the reason, by request. */
async function askForAll(
  call: Client['call'],
  requestIds: readonly string[],
  options: { readonly until: number; readonly hands: number; readonly signal: AbortSignal | undefined },
): Promise<ReadonlyMap<string, string>> {
  const { until, hands, signal } = options;
  const told = new Map<string, string>();
  let left = requestIds;
  while (left.length > 0 && Date.now() < until && signal?.aborted !== true) {
    const pending: string[] = [];
    const queue = left.values();
    const hand = async () => {
      for (const id of queue) {
        const answer = await call('GET', `/coupons/requests/${id}`).catch(() => undefined);
        const request = answer?.json as { status?: string; outcome?: string; reason?: string } | undefined;
        if (answer?.status === 200 && request?.outcome !== undefined)
          told.set(id, request.reason ?? request.outcome);
        else pending.push(id);
      }
    };
    await Promise.all(Array.from({ length: hands }, hand));
    left = pending;
    if (left.length > 0) await sleep(200);
  }
  return told;
}
