/** The plan of a matrix: which cases, in which order, and which of them share one load. Pure. */
import type { Environment } from '../../catalog/environments.ts';
import { seededRandom } from '../../workers/traffic/generate.ts';
import type { Drill } from '../drill.ts';
import { type Case, casesIn, firstAtMs, lastsMs, loadsOf, stepsOf, variants } from './cases.ts';
import { pairwise, shuffled } from './pairwise.ts';

/** What was sent has to fit in memory. */
const mostLoadMs = 600_000;
/** Steady state before and after it, and the checkers. */
export const aroundMs = 75_000;

/** The factors of a case, by their values. */
export const valuesOf = ({ target, fault, lengthMs, variant }: Case): readonly string[] => [
  target,
  fault,
  String(lengthMs),
  variant,
];

/**
 * The legs of a matrix: each a drill whose cases share one load. Every two values of target, fault, length and load that
 * can meet do, once at least; the seed decides the rest and the order. With `minutes` as many cases of it as fit.
 */
export function matrixOf(
  seed: number,
  environment: Pick<Environment, 'processes'>,
  minutes?: number,
): readonly Drill[] {
  const random = seededRandom(seed);
  const chosen = shuffled(pairwise(casesIn(environment), valuesOf, lastsMs, random), random);
  const packed = variants.flatMap((variant) => packs(chosen.filter((one) => one.variant === variant)));
  const whole = shuffled(packed, random);
  const legs = minutes === undefined ? whole : slice(whole, minutes * 60_000);
  return legs.map((own, index) => legOf(own, `matrix-${index + 1}`, seed));
}

/** As many cases, in their order, as fit into so much time. */
function slice(legs: readonly (readonly Case[])[], forMs: number): readonly (readonly Case[])[] {
  let leftMs = forMs;
  const fitting: (readonly Case[])[] = [];
  for (const leg of legs) {
    leftMs -= aroundMs + firstAtMs;
    const own = leg.filter((one) => {
      if (lastsMs(one) > leftMs) return false;
      leftMs -= lastsMs(one);
      return true;
    });
    if (own.length === 0) break;
    fitting.push(own);
  }
  return fitting;
}

/** Which legs are the part `i` of `n` (from 1): neighbours, about as long each. */
export function partOf(legs: readonly Drill[], i: number, n: number): readonly Drill[] {
  return shared(legs, n, ({ loadMs }) => loadMs + aroundMs)[i - 1]!;
}

/** Cases in legs of about equal length. */
function packs(own: readonly Case[]): readonly (readonly Case[])[] {
  const allMs = own.reduce((sum, one) => sum + lastsMs(one), 0);
  return shared(own, Math.ceil(allMs / (mostLoadMs - firstAtMs)), lastsMs);
}

/** A list cut into `n` of about equal length, in its order: each item goes where its middle lies. */
function shared<Item>(
  items: readonly Item[],
  n: number,
  lengthOf: (item: Item) => number,
): readonly (readonly Item[])[] {
  const whole = items.reduce((sum, item) => sum + lengthOf(item), 0);
  const lists = Array.from({ length: n }, (): Item[] => []);
  let before = 0;
  for (const item of items) {
    lists[Math.floor(((before + lengthOf(item) / 2) / whole) * n)]!.push(item);
    before += lengthOf(item);
  }
  return lists;
}

function legOf(own: readonly Case[], name: string, seed: number): Drill {
  const begins = own.map(
    (_, index) => firstAtMs + own.slice(0, index).reduce((sum, one) => sum + lastsMs(one), 0),
  );
  const loadMs = begins.at(-1)! + lastsMs(own.at(-1)!);
  return {
    name,
    about: `${own.length} cases of the matrix of seed ${seed}, one after the other under load "${own[0]!.variant}".`,
    loadMs,
    loads: loadsOf(own[0]!.variant, loadMs),
    steps: own.flatMap((one, index) => stepsOf(one, begins[index]!)),
    cases: own.map((one) => ({ name: one.name, rtoMs: lastsMs(one) })),
    expect: { rtoMs: Math.max(...own.map(lastsMs)), restarts: 0, deadLetters: 0 },
  };
}
