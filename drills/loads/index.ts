/** The load of a drill: parts that run side by side, and what the checkers say of them afterwards. */
import { beginCheck, type Told } from '../checker/check.ts';
import type { Verdict } from '../checker/verdict.ts';
import type { Curve } from '../drill.ts';
import type { Attempt, Outage } from '../runner/measure.ts';
import { coupons } from './coupons.ts';
import { delivery } from './delivery.ts';
import { foreign } from './foreign.ts';
import type { LoadStage, Part, RunningPart, Seen } from './load.ts';
import { logs } from './logs.ts';
import { money } from './money.ts';
import { orders } from './orders.ts';
import { pay } from './pay.ts';
import { promotion } from './promotion.ts';

// First: its members join before the others begin.
const parts = { pay, delivery, promotion, foreign, coupons, orders, money, logs };

type RatesOf<One> = One extends Part<infer Rates> ? Rates : never;

/** What a drill sends: of each part named what it says of it. */
export type Loads = { readonly [Name in keyof typeof parts]?: RatesOf<(typeof parts)[Name]> };

export interface LoadResult {
  readonly attempts: readonly Attempt[];
  /** When each purchase was first acked, by its id. */
  readonly purchases: ReadonlyMap<string, number>;
  readonly sentAtMs: ReadonlyMap<string, number>;
  /** Times in which whoever used a part that is not timed message by message had to wait, or it made no progress. */
  readonly stalls: readonly Outage[];
  readonly curves: readonly Curve[];
  readonly sent: number;
  readonly failed: number;
  readonly failedTries: number;
  readonly undecided: readonly string[];
  /** Of parts that are not timed message by message. */
  readonly latencyMs: Seen['latencyMs'];
}

export interface RunningLoad {
  /** Parts that were asked for, and for which the environment has no entrance. */
  readonly leftOut: readonly string[];
  /** Before their time is over, parts that have one begin nothing new. */
  close(): void;
  /** Ends the parts that do not end by themselves. */
  end(): void;
  readonly done: Promise<LoadResult>;
  /** `disturbed`: something was broken meanwhile. */
  judge(patienceMs: number, disturbed: boolean): Promise<readonly Verdict[]>;
}

/** Groups that work on what a load sends. */
export function groupsOf(loads: Loads): readonly string[] {
  return namesOf(loads).flatMap((name) => parts[name].groups.map(({ id }) => id));
}

const namesOf = (loads: Loads) =>
  (Object.keys(parts) as (keyof Loads)[]).filter((name) => loads[name] !== undefined);

/** What people pay with. */
const card = '4111111111111111';

/** Marks where outputs end, and begins. */
export async function startLoad(
  loads: Loads,
  stage: Omit<LoadStage, 'person' | 'closing'>,
): Promise<RunningLoad> {
  const { variables, run, signal } = stage;
  const person = `${run}-person`;
  const asked = namesOf(loads);
  const chosen = asked.filter((name) => {
    const { entrance }: { readonly entrance?: string } = parts[name];
    return entrance === undefined || variables[entrance] !== undefined;
  });
  const check = await beginCheck({ subjects: chosen, variables, run, personal: [person, card], signal });
  const closing = new AbortController();
  const running: RunningPart[] = [];
  for (const name of chosen) {
    const { start } = parts[name] as Part<unknown>;
    running.push(await start(loads[name], { ...stage, person, closing: closing.signal }));
  }
  const done = Promise.all(running.map((part) => part.done)).then((seen) =>
    resultOf(
      chosen,
      seen,
      running.flatMap(({ progress }) => progress ?? []),
    ),
  );
  // Whoever waits for it sees it fail; until then it must not be nobody's.
  done.catch(() => undefined);
  return {
    leftOut: asked.filter((name) => !chosen.includes(name)),
    close: () => closing.abort(),
    end() {
      for (const part of running) part.end?.();
    },
    done,
    async judge(patienceMs, disturbed) {
      const told: Told = Object.assign(
        { coupons: [] },
        ...(await Promise.all(running.map((part) => part.told()))),
      );
      return check.judge(told, { patienceMs, disturbed });
    },
  };
}

function resultOf(
  names: readonly string[],
  seen: readonly Seen[],
  followed: readonly NonNullable<RunningPart['progress']>[],
): LoadResult {
  const sum = (count: (one: Seen) => number | undefined) =>
    seen.reduce((so, one) => so + (count(one) ?? 0), 0);
  return {
    attempts: seen.flatMap(({ attempts = [] }) => attempts),
    purchases: new Map(seen.flatMap(({ purchases = new Map<string, number>() }) => [...purchases])),
    sentAtMs: new Map(seen.flatMap(({ sentAtMs = new Map<string, number>() }) => [...sentAtMs])),
    stalls: followed.flatMap((one) => one.stalls()),
    curves: followed.flatMap((one) => one.curves()),
    sent: sum((one) => one.sent),
    failed: sum((one) => one.failed),
    failedTries: sum((one) => one.failedTries),
    undecided: seen.flatMap(({ undecided = [] }, index) => undecided.map((id) => `${names[index]} ${id}`)),
    latencyMs: seen.findLast(({ latencyMs }) => latencyMs !== undefined)?.latencyMs,
  };
}
