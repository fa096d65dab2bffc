/**
 * Traffic as real shops see it, from a seed: few users and products make most of it, purchases follow clicks, the same data
 * comes in many notations, some of it twice, some of it late. Pure: the same seed and times give the same messages.
 */

import {
  buyerName,
  cardNumber,
  named,
  phonePrefix,
  pick,
  poisonText,
  priceNotation,
  productNames,
  timeNotation,
} from './notations.ts';
export type MessageKind = 'purchase' | 'promo_behavior';

/** What a message means; the oracle's input. `raw` says the same in one of many notations. */
export interface GeneratedMessage {
  readonly kind: MessageKind;
  /** Of this message; a duplicate has the id of the first. */
  readonly id: string;
  readonly raw: Readonly<Record<string, unknown>>;
  readonly userId: string;
  readonly eventTimeMs: number;
  readonly duplicate: boolean;
  readonly purchase?: {
    readonly purchaseId: string;
    readonly productId: string;
    readonly quantity: number;
    readonly amountMinor: number;
    readonly currency: string;
  };
  readonly act?: { readonly promotionId: string; readonly action: 'click' | 'view' };
}

/** A message that must be refused, as text (it may not even be JSON). */
export interface PoisonMessage {
  readonly kind: MessageKind;
  readonly id: string;
  readonly poison: string;
}

export interface GeneratorOptions {
  readonly seed: number;
  /** Makes ids of different runs differ. Default: the seed. */
  readonly run?: string;
  readonly users?: number;
  /** What user ids begin with. Default `user`: the users of all runs are the same people. */
  readonly userPrefix?: string;
  readonly products?: number;
  readonly promotions?: number;
  /** Share of messages that are sent a second time, later. Default 0.01. */
  readonly duplicateShare?: number;
  /** Share of messages that are sent up to 3 s after their event. Default 0.05. */
  readonly outOfOrderShare?: number;
  /** Share of messages that must be refused. Default 0. */
  readonly poisonShare?: number;
}

export interface Generator {
  /** The next message at `nowMs` (UTC ms, never going back). */
  next(nowMs: number): GeneratedMessage | PoisonMessage;
}

/** Uniform numbers in [0, 1) from a 32-bit seed. Source: mulberry32 by Tommy Ettinger (public domain). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

/** Ranks 0 to count - 1, rank r with a probability that falls as 1 / (r + 1)^exponent (Zipf's law). */
export function zipf(count: number, exponent: number): (uniform: number) => number {
  const cumulative = new Float64Array(count);
  let total = 0;
  for (let rank = 0; rank < count; rank += 1) {
    total += 1 / (rank + 1) ** exponent;
    cumulative[rank] = total;
  }
  return (uniform) => {
    const wanted = uniform * total;
    let low = 0;
    let high = count - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (cumulative[middle]! > wanted) high = middle;
      else low = middle + 1;
    }
    return low;
  };
}

/**
 * How much busier than average it is at a time: a slow swell (10 minutes stand for a day) and a burst of twice as much for 3 s in
 * each 45 s. Its average over 90 minutes is 1.
 */
export function loadFactor(elapsedMs: number): number {
  const swell = 1 + 0.3 * Math.sin((2 * Math.PI * elapsedMs) / 600_000);
  const burst = elapsedMs % 45_000 < 3_000 ? 2 : 1;
  return (swell * burst) / (1 + 3 / 45);
}

const windowMs = 300_000;
/** Share of purchases whose user acted on a promotion in the 5 minutes before. */
const affectedShare = 0.4;

interface RecentAct {
  readonly userId: string;
  readonly productId: string;
  readonly timeMs: number;
}

/** Acts and purchases in equal parts, like the design load. Zone-less times are Korean ones (environment default). */
export function createGenerator(options: GeneratorOptions): Generator {
  const { users = 20_000, userPrefix = 'user', products = 500, promotions = 24 } = options;
  const {
    duplicateShare = 0.01,
    outOfOrderShare = 0.05,
    poisonShare = 0,
    run = String(options.seed),
  } = options;
  const random = seededRandom(options.seed);
  const userRank = zipf(users, 0.8);
  const productRank = zipf(products, 1);
  const promotionRank = zipf(promotions, 0.9);

  /** Acts of the last 5 minutes, oldest first; at most so many. */
  const recent: RecentAct[] = [];
  const lastActMs = new Map<string, number>();
  const maxRecent = 20_000;
  /** Messages that leave later, by time. */
  const delayed: { readonly dueMs: number; readonly message: GeneratedMessage }[] = [];
  let count = 0;

  const userAt = (rank: number) => `${userPrefix}-${String(rank).padStart(6, '0')}`;
  // Scattered over the bands, but always the same for one user.
  const ageOf = (rank: number) => 15 + ((Math.imul(rank + 1, 2_654_435_761) >>> 0) % 60);
  const hasActed = (userId: string, timeMs: number) =>
    timeMs - (lastActMs.get(userId) ?? Number.NEGATIVE_INFINITY) <= windowMs + 10_000;

  function forgetOld(nowMs: number): void {
    let old = 0;
    while (
      old < recent.length &&
      (recent.length - old > maxRecent || nowMs - recent[old]!.timeMs > windowMs)
    ) {
      old += 1;
    }
    // In larger pieces: shifting one by one would copy the array each time.
    if (old < 256 && recent.length <= maxRecent * 2) return;
    recent.splice(0, old);
    if (lastActMs.size > maxRecent * 2) {
      for (const [userId, timeMs] of lastActMs) if (nowMs - timeMs > windowMs * 2) lastActMs.delete(userId);
    }
  }

  function age(rank: number): Record<string, unknown> {
    const years = ageOf(rank);
    const u = random();
    if (u < 0.1) return {};
    if (u < 0.5) return { age: years };
    return { ageBand: `${Math.floor(years / 10)}0s` };
  }

  function act(nowMs: number): GeneratedMessage {
    const rank = userRank(random());
    const userId = userAt(rank);
    const promotionId = `promo-${promotionRank(random()) + 1}`;
    const productId = `product-${productRank(random()) + 1}`;
    const action = random() < 0.7 ? 'click' : 'view';
    const time = timeNotation(random, nowMs);
    recent.push({ userId, productId, timeMs: time.timeMs });
    lastActMs.set(userId, Math.max(time.timeMs, lastActMs.get(userId) ?? 0));
    return {
      kind: 'promo_behavior',
      id: `${run}-a${count}`,
      raw: named(random, { userId, promotionId, action, actedAt: time.written, productId, ...age(rank) }),
      userId,
      eventTimeMs: time.timeMs,
      duplicate: false,
      act: { promotionId, action },
    };
  }

  function buyer(nowMs: number): { readonly userId: string; readonly productId: string } {
    const anyProduct = () => `product-${productRank(random()) + 1}`;
    if (random() < affectedShare && recent.length > 0) {
      // Most buy soon after the click: the nearer, the likelier.
      const back = Math.floor(recent.length * random() ** 2);
      const chosen = recent[recent.length - 1 - back]!;
      if (nowMs - chosen.timeMs < windowMs - 5_000) return chosen;
    }
    for (let tries = 0; tries < 50; tries += 1) {
      const userId = userAt(tries < 10 ? userRank(random()) : Math.floor(random() * users));
      if (!hasActed(userId, nowMs)) return { userId, productId: anyProduct() };
    }
    return { userId: userAt(userRank(random())), productId: anyProduct() };
  }

  function purchase(nowMs: number): GeneratedMessage {
    const { userId, productId } = buyer(nowMs);
    const purchaseId = `${run}-p${count}`;
    const quantity = 1 + Math.floor(random() ** 3 * 5);
    const currency = random() < 0.9 ? 'KRW' : 'USD';
    const amountMinor =
      currency === 'KRW' ? 100 * (10 + Math.floor(random() * 2_000)) : 99 + Math.floor(random() * 50_000);
    const time = timeNotation(random, nowMs);
    // Some write a phone number where a product's name belongs, and send a person's name.
    const phone = random() < 0.05 ? ` ${phonePrefix}${1_000 + Math.floor(random() * 9_000)}` : '';
    const name = pick(random, productNames) + phone;
    const raw = named(random, {
      purchaseId,
      userId,
      productId,
      productName: random() < 0.2 ? ` ${name.normalize('NFD')} ` : name,
      quantity: random() < 0.2 ? String(quantity) : quantity,
      purchasedAt: time.written,
      ...age(Number(userId.slice(5))),
      ...(random() < 0.3 ? { cardNumber: cardNumber(random) } : {}),
      ...(random() < 0.1 ? { name: buyerName } : {}),
    });
    return {
      kind: 'purchase',
      id: purchaseId,
      raw: { ...raw, ...priceNotation(random, amountMinor, currency) },
      userId,
      eventTimeMs: time.timeMs,
      duplicate: false,
      purchase: { purchaseId, productId, quantity, amountMinor, currency },
    };
  }

  return {
    next(nowMs) {
      count += 1;
      forgetOld(nowMs);
      const dueIndex = delayed.findIndex(({ dueMs }) => dueMs <= nowMs);
      if (dueIndex !== -1) return delayed.splice(dueIndex, 1)[0]!.message;
      if (poisonShare > 0 && random() < poisonShare) {
        const kind = random() < 0.5 ? 'purchase' : 'promo_behavior';
        const id = `${run}-x${count}`;
        return { kind, id, poison: poisonText(random, kind, id, userAt(userRank(random()))) };
      }
      const make = () => (random() < 0.5 ? act(nowMs) : purchase(nowMs));
      let message = make();
      if (random() < outOfOrderShare && delayed.length < 1_000) {
        delayed.push({ dueMs: nowMs + 100 + Math.floor(random() * 2_900), message });
        count += 1;
        message = make();
      }
      if (random() < duplicateShare && delayed.length < 1_000) {
        delayed.push({
          dueMs: nowMs + 100 + Math.floor(random() * 5_000),
          message: { ...message, duplicate: true },
        });
      }
      return message;
    },
  };
}
