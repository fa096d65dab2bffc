/**
 * Traffic as real shops see it, from a seed: few users and products make most of it, purchases follow clicks, the same data
 * comes in many notations, some of it twice, some of it late. Pure: the same seed and times give the same messages.
 */

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
  /** Share of purchases whose user acted on a promotion in the 5 minutes before. Default 0.4. */
  readonly affectedShare?: number;
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

const buyerName = 'Hong Gildong';
const phonePrefix = '010-0000-';
const cardPrefix = '4000001234';
/** What of generated people must be on no output, beside their user ids. */
export const personalTraces = [buyerName, phonePrefix, cardPrefix, '4000-0012-34'] as const;

const productNames = [
  '무선 이어폰',
  'Wireless Earbuds',
  '한우 등심 1kg',
  'Running Shoes 270',
  '제주 감귤 5kg',
  'Mechanical Keyboard',
  '유기농 쌀 10kg',
  'Café Crème Set',
  '겨울 패딩',
  'USB-C Cable 2m',
  '비타민 C 1000',
  'Yoga Mat',
];

const windowMs = 300_000;
const koreanOffsetMs = 9 * 3_600_000;

interface RecentAct {
  readonly userId: string;
  readonly productId: string;
  readonly timeMs: number;
}

/** Acts and purchases in equal parts, like the design load. Zone-less times are Korean ones (environment default). */
export function createGenerator(options: GeneratorOptions): Generator {
  const { users = 20_000, userPrefix = 'user', products = 500, promotions = 24 } = options;
  const {
    affectedShare = 0.4,
    duplicateShare = 0.01,
    outOfOrderShare = 0.05,
    poisonShare = 0,
    run = String(options.seed),
  } = options;
  const random = seededRandom(options.seed);
  const userRank = zipf(users, 0.8);
  const productRank = zipf(products, 1);
  const promotionRank = zipf(promotions, 0.9);
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

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

  /** A time in one of the notations; answers what it really says (epoch seconds cut the ms off). */
  function timeNotation(timeMs: number): { readonly written: unknown; readonly timeMs: number } {
    const u = random();
    if (u < 0.4) return { written: new Date(timeMs).toISOString(), timeMs };
    if (u < 0.6) {
      const korean = new Date(timeMs + koreanOffsetMs).toISOString().replace('Z', '+09:00');
      return { written: korean, timeMs };
    }
    if (u < 0.7) {
      return { written: new Date(timeMs + koreanOffsetMs).toISOString().replace('Z', ''), timeMs };
    }
    if (u < 0.9) return { written: timeMs, timeMs };
    const seconds = Math.floor(timeMs / 1000);
    return { written: seconds, timeMs: seconds * 1000 };
  }

  function priceNotation(amountMinor: number, currency: 'KRW' | 'USD'): Record<string, unknown> {
    if (currency === 'USD') {
      const text = `${Math.floor(amountMinor / 100)}.${String(amountMinor % 100).padStart(2, '0')}`;
      return pick([
        { price: `US$${text}` },
        { price: text, currency: 'USD' },
        { price: { amountMinor, currency } },
      ]);
    }
    const grouped = String(amountMinor).replace(/\B(?=(\d{3})+$)/g, ',');
    return pick<Record<string, unknown>>([
      { price: amountMinor },
      { price: grouped },
      { price: `₩${grouped}` },
      { amount: String(amountMinor), currency: 'KRW' },
      { price: { amountMinor, currency } },
    ]);
  }

  const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
  function named(raw: Record<string, unknown>): Record<string, unknown> {
    const style = random();
    if (style < 0.6) return raw;
    return Object.fromEntries(
      Object.entries(raw).map(([name, value]) => {
        if (style > 0.85) {
          if (name === 'userId') return ['uid', value];
          if (name === 'purchasedAt' || name === 'actedAt') return ['ts', value];
          if (name === 'quantity') return ['qty', value];
        }
        return [snake(name), value];
      }),
    );
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
    const time = timeNotation(nowMs);
    recent.push({ userId, productId, timeMs: time.timeMs });
    lastActMs.set(userId, Math.max(time.timeMs, lastActMs.get(userId) ?? 0));
    return {
      kind: 'promo_behavior',
      id: `${run}-a${count}`,
      raw: named({ userId, promotionId, action, actedAt: time.written, productId, ...age(rank) }),
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
    const time = timeNotation(nowMs);
    // Some write a phone number where a product's name belongs, and send a person's name.
    const phone = random() < 0.05 ? ` ${phonePrefix}${1_000 + Math.floor(random() * 9_000)}` : '';
    const name = pick(productNames) + phone;
    const raw = named({
      purchaseId,
      userId,
      productId,
      productName: random() < 0.2 ? ` ${name.normalize('NFD')} ` : name,
      quantity: random() < 0.2 ? String(quantity) : quantity,
      purchasedAt: time.written,
      ...age(Number(userId.slice(5))),
      ...(random() < 0.3 ? { cardNumber: cardNumber() } : {}),
      ...(random() < 0.1 ? { name: buyerName } : {}),
    });
    return {
      kind: 'purchase',
      id: purchaseId,
      raw: { ...raw, ...priceNotation(amountMinor, currency) },
      userId,
      eventTimeMs: time.timeMs,
      duplicate: false,
      purchase: { purchaseId, productId, quantity, amountMinor, currency },
    };
  }

  /** Numbers of the test range 4000 00.., which no bank issues. */
  function cardNumber(): string {
    const digits = `${cardPrefix}${String(Math.floor(random() * 1e6)).padStart(6, '0')}`;
    return random() < 0.5 ? digits : digits.replace(/(\d{4})(?=\d)/g, '$1-');
  }

  function poison(): PoisonMessage {
    const kind = random() < 0.5 ? 'purchase' : 'promo_behavior';
    const id = `${run}-x${count}`;
    const user = userAt(userRank(random()));
    const bad = {
      purchase: [
        `{"purchaseId":"${id}","userId":"${user}","productId":"product-1","quantity":1,"price":1000,"purchasedAt":"2026-02-31T10:00:00Z"}`,
        `{"purchaseId":"${id}","userId":"${user}","productId":"product-1","quantity":-1,"price":1000,"purchasedAt":1795223730}`,
        `{"purchaseId":"${id}","userId":"${user}","productId":"product-1","quantity":1,"price":"1000 XXQ","purchasedAt":1795223730}`,
        `{"purchaseId":"${id}","userId":{"nested":true},"productId":"product-1","quantity":1,"price":1,"purchasedAt":1795223730}`,
        `{"purchaseId":"${id}","userId":"${user}"`,
      ],
      promo_behavior: [
        `{"userId":"${user}","promotionId":"promo-1","action":"sneeze","actedAt":1795223730}`,
        `{"userId":"${user}","action":"click","actedAt":1795223730}`,
        `{"userId":"${user}","promotionId":"promo-1","action":"click","actedAt":"yesterday"}`,
        `[1,2`,
      ],
    };
    return { kind, id, poison: pick(bad[kind]) };
  }

  return {
    next(nowMs) {
      count += 1;
      forgetOld(nowMs);
      const dueIndex = delayed.findIndex(({ dueMs }) => dueMs <= nowMs);
      if (dueIndex !== -1) return delayed.splice(dueIndex, 1)[0]!.message;
      if (poisonShare > 0 && random() < poisonShare) return poison();
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
