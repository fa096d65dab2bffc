/**
 * Reaction by age band per promotion: of the purchases of a band, how many did a promotion affect; and how many per act.
 *
 * Counts lie in buckets of event time, so memory depends on the number of buckets, promotions and bands, not on the
 * number of events; only hashes of ids are kept beside them, to count each purchase and each act once.
 */
import { hash } from 'node:crypto';
import { type AgeBand, ageBands } from '../../catalog/events/promotion.ts';

/** The sliding windows that are offered. */
export const reactionWindows = { '1m': 60_000, '5m': 300_000, '15m': 900_000 } as const;
export type ReactionWindow = keyof typeof reactionWindows;

export const longestWindowMs = reactionWindows['15m'];

export interface AnalysedPurchase {
  readonly purchaseId: string;
  readonly version: number;
  readonly timeMs: number;
  readonly ageBand: AgeBand;
  readonly promotionIds: readonly string[];
}

export interface AnalysedAct {
  readonly userId: string;
  readonly promotionId: string;
  readonly action: string;
  readonly timeMs: number;
  readonly ageBand: AgeBand;
}

/** `purchases` are all purchases of the band in the window: the denominator is the same for every promotion. */
export interface Reaction {
  readonly purchases: number;
  readonly affected: number;
  readonly acts: number;
  /** affected / purchases; null without purchases. */
  readonly affectedPerPurchase: number | null;
  /** affected / acts; null without acts. Above 1 when acts lead to several purchases each. */
  readonly affectedPerAct: number | null;
}

export interface ReactionByBand extends Reaction {
  readonly ageBands: readonly (Reaction & { readonly ageBand: AgeBand })[];
}

export interface ReactionReport {
  /** The window by event time: from (exclusive) to until (inclusive), UTC ms. */
  readonly fromMs: number;
  readonly untilMs: number;
  /** Any promotion: a purchase that two promotions affected counts once. */
  readonly total: ReactionByBand;
  /** Most affected purchases first, then most acts. */
  readonly promotions: readonly (ReactionByBand & { readonly promotion: string })[];
}

export interface ReactionAnalysis {
  /** `counted` anew, `corrected` (a higher version), `known` (same or lower version), or outside of `retentionMs`. */
  purchase(purchase: AnalysedPurchase, nowMs: number): 'counted' | 'corrected' | 'known' | 'outside';
  act(act: AnalysedAct, nowMs: number): 'counted' | 'known' | 'outside';
  report(windowMs: number, nowMs: number): ReactionReport;
  /** What it holds, for tests and metrics. */
  size(): { readonly buckets: number; readonly ids: number };
}

type Counts = number[];
interface Tally {
  affected: Counts;
  acts: Counts;
}
interface Bucket {
  readonly purchases: Counts;
  readonly any: Tally;
  readonly promotions: Map<string, Tally>;
  /** Hashes of the purchases first counted here. */
  purchaseIds: number[];
  actIds: Set<number>;
}
interface Seen {
  version: number;
  bucket: number;
  band: number;
  promotionIds: readonly string[];
}

const bandIndex = new Map<string, number>(ageBands.map((band, index) => [band, index]));
const unknownBand = bandIndex.get('unknown')!;
const none: readonly string[] = [];
/** Shown in place of promotions beyond the cap of a bucket. */
export const otherPromotions = 'other';

const zeroes = (): Counts => ageBands.map(() => 0);
const tally = (): Tally => ({ affected: zeroes(), acts: zeroes() });

/** 48 bits of SHA-1: exact as a number; two of a million ids collide with a chance of 0.2 %. */
function hashed(text: string): number {
  return hash('sha1', text, 'buffer').readUIntBE(0, 6);
}

const sum = (counts: Counts) => counts.reduce((total, count) => total + count, 0);
const ratio = (part: number, whole: number) => (whole === 0 ? null : part / whole);

function reaction(purchases: number, affected: number, acts: number): Reaction {
  return {
    purchases,
    affected,
    acts,
    affectedPerPurchase: ratio(affected, purchases),
    affectedPerAct: ratio(affected, acts),
  };
}

function byBand(purchases: Counts, { affected, acts }: Tally): ReactionByBand {
  return {
    ...reaction(sum(purchases), sum(affected), sum(acts)),
    ageBands: ageBands.flatMap((ageBand, i) =>
      purchases[i]! + affected[i]! + acts[i]! === 0
        ? []
        : [{ ageBand, ...reaction(purchases[i]!, affected[i]!, acts[i]!) }],
    ),
  };
}

/**
 * @param options.bucketMs resolution of the windows
 * @param options.retentionMs the longest window; what is older is not counted
 * @param options.futureMs how far ahead of the clock an event may be
 * @param options.maxIds hashes kept; beyond, those of the oldest buckets go: their counts stay, but a correction or a
 *   duplicate of them would then count again
 * @param options.maxPromotions per bucket; beyond, they count as "other"
 */
export function createReactionAnalysis({
  bucketMs = 5_000,
  retentionMs = longestWindowMs as number,
  futureMs = 60_000,
  maxIds = 400_000,
  maxPromotions = 1_000,
} = {}): ReactionAnalysis {
  const buckets = new Map<number, Bucket>();
  const seen = new Map<number, Seen>();
  let actIdCount = 0;
  let newestDropped = Number.NEGATIVE_INFINITY;

  const indexOf = (timeMs: number) => Math.floor(timeMs / bucketMs);
  const oldestIndex = (nowMs: number) => indexOf(nowMs) - Math.ceil(retentionMs / bucketMs) + 1;
  const inRange = (timeMs: number, nowMs: number) =>
    timeMs <= nowMs + futureMs && indexOf(timeMs) >= oldestIndex(nowMs) && indexOf(timeMs) > newestDropped;

  function forget(bucket: Bucket, index: number): void {
    for (const id of bucket.purchaseIds) if (seen.get(id)?.bucket === index) seen.delete(id);
    bucket.purchaseIds = [];
    actIdCount -= bucket.actIds.size;
    bucket.actIds = new Set();
  }

  function expire(nowMs: number): void {
    const oldest = oldestIndex(nowMs);
    for (const [index, bucket] of buckets) {
      if (index >= oldest) continue;
      forget(bucket, index);
      buckets.delete(index);
      newestDropped = Math.max(newestDropped, index);
    }
    while (seen.size + actIdCount > maxIds) {
      const first = [...buckets.entries()]
        .filter(([, bucket]) => bucket.purchaseIds.length > 0 || bucket.actIds.size > 0)
        .sort(([a], [b]) => a - b)[0];
      if (first === undefined) break;
      forget(first[1], first[0]);
    }
  }

  let lastExpiredIndex = Number.NEGATIVE_INFINITY;
  function bucketAt(index: number, nowMs: number): Bucket {
    if (indexOf(nowMs) !== lastExpiredIndex || seen.size + actIdCount > maxIds) {
      lastExpiredIndex = indexOf(nowMs);
      expire(nowMs);
    }
    let bucket = buckets.get(index);
    if (bucket === undefined) {
      bucket = {
        purchases: zeroes(),
        any: tally(),
        promotions: new Map(),
        purchaseIds: [],
        actIds: new Set(),
      };
      buckets.set(index, bucket);
    }
    return bucket;
  }

  function promotionTally(bucket: Bucket, promotionId: string): Tally {
    const known = bucket.promotions.get(promotionId);
    if (known !== undefined) return known;
    const name = bucket.promotions.size >= maxPromotions ? otherPromotions : promotionId;
    const fresh = bucket.promotions.get(name) ?? tally();
    bucket.promotions.set(name, fresh);
    return fresh;
  }

  function count(entry: Seen, by: 1 | -1, bucket: Bucket): void {
    bucket.purchases[entry.band]! += by;
    if (entry.promotionIds.length === 0) return;
    bucket.any.affected[entry.band]! += by;
    for (const id of entry.promotionIds) promotionTally(bucket, id).affected[entry.band]! += by;
  }

  return {
    purchase(purchase, nowMs) {
      if (!inRange(purchase.timeMs, nowMs)) return 'outside';
      const id = hashed(purchase.purchaseId);
      const old = seen.get(id);
      if (old !== undefined && old.version >= purchase.version) return 'known';
      const index = indexOf(purchase.timeMs);
      const bucket = bucketAt(index, nowMs);
      if (old !== undefined) {
        const place = buckets.get(old.bucket);
        if (place !== undefined) count(old, -1, place);
      }
      const entry: Seen = {
        version: purchase.version,
        bucket: index,
        band: bandIndex.get(purchase.ageBand) ?? unknownBand,
        promotionIds: purchase.promotionIds.length === 0 ? none : [...new Set(purchase.promotionIds)],
      };
      seen.set(id, entry);
      if (old?.bucket !== index) bucket.purchaseIds.push(id);
      count(entry, 1, bucket);
      return old === undefined ? 'counted' : 'corrected';
    },

    act(act, nowMs) {
      if (!inRange(act.timeMs, nowMs)) return 'outside';
      const bucket = bucketAt(indexOf(act.timeMs), nowMs);
      const id = hashed(`${act.userId}\0${act.promotionId}\0${act.action}\0${act.timeMs}`);
      if (bucket.actIds.has(id)) return 'known';
      bucket.actIds.add(id);
      actIdCount += 1;
      const band = bandIndex.get(act.ageBand) ?? unknownBand;
      bucket.any.acts[band]! += 1;
      promotionTally(bucket, act.promotionId).acts[band]! += 1;
      return 'counted';
    },

    report(windowMs, nowMs) {
      const last = indexOf(nowMs);
      const first = last - Math.ceil(windowMs / bucketMs) + 1;
      const purchases = zeroes();
      const any = tally();
      const promotions = new Map<string, Tally>();
      const add = (into: Counts, from: Counts) => {
        for (let i = 0; i < into.length; i += 1) into[i]! += from[i]!;
      };
      for (const [index, bucket] of buckets) {
        if (index < first || index > last) continue;
        add(purchases, bucket.purchases);
        add(any.affected, bucket.any.affected);
        add(any.acts, bucket.any.acts);
        for (const [promotion, counts] of bucket.promotions) {
          const into = promotions.get(promotion) ?? tally();
          promotions.set(promotion, into);
          add(into.affected, counts.affected);
          add(into.acts, counts.acts);
        }
      }
      return {
        fromMs: first * bucketMs - 1,
        untilMs: nowMs,
        total: byBand(purchases, any),
        promotions: [...promotions]
          .map(([promotion, counts]) => ({ promotion, ...byBand(purchases, counts) }))
          .filter((row) => row.affected + row.acts > 0)
          .sort((a, b) => b.affected - a.affected || b.acts - a.acts || (a.promotion < b.promotion ? -1 : 1)),
      };
    },

    size: () => ({ buckets: buckets.size, ids: seen.size + actIdCount }),
  };
}

export interface ReactionSample {
  readonly promotion: string;
  readonly ageBand: AgeBand;
  readonly purchases: number;
  readonly affected: number;
  readonly acts: number;
}

/**
 * A report as metric samples: the `top` promotions by name, the rest summed up as "other", and "all" for any promotion.
 * A purchase that two of the rest affected counts twice in "other".
 */
export function reactionSamples(report: ReactionReport, top: number): ReactionSample[] {
  const samples: ReactionSample[] = [];
  const put = (promotion: string, row: ReactionByBand) => {
    for (const { ageBand, purchases, affected, acts } of row.ageBands) {
      samples.push({ promotion, ageBand, purchases, affected, acts });
    }
  };
  put('all', report.total);
  const named = report.promotions.filter(({ promotion }) => promotion !== otherPromotions);
  for (const row of named.slice(0, top)) put(row.promotion, row);
  const rest = [...named.slice(top), ...report.promotions.filter((row) => row.promotion === otherPromotions)];
  if (rest.length > 0) {
    const purchases = zeroes();
    for (const { ageBand, purchases: count } of report.total.ageBands)
      purchases[bandIndex.get(ageBand)!] = count;
    const counts = tally();
    for (const row of rest) {
      for (const { ageBand, affected, acts } of row.ageBands) {
        counts.affected[bandIndex.get(ageBand)!]! += affected;
        counts.acts[bandIndex.get(ageBand)!]! += acts;
      }
    }
    put(otherPromotions, byBand(purchases, counts));
  }
  return samples;
}
