/** How people and shops write what they send: times, prices, names of fields, and what nobody can understand. */

/** Uniform in [0, 1). */
export type Random = () => number;

export const pick = <T>(random: Random, list: readonly T[]): T => list[Math.floor(random() * list.length)]!;

export const buyerName = 'Hong Gildong';
export const phonePrefix = '010-0000-';
const cardPrefix = '4000001234';
/** What of generated people must be on no output, beside their user ids. */
export const personalTraces = [buyerName, phonePrefix, cardPrefix, '4000-0012-34'] as const;

export const productNames = [
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

const koreanOffsetMs = 9 * 3_600_000;

/** A time in one of the notations; answers what it really says (epoch seconds cut the ms off). */
export function timeNotation(
  random: Random,
  timeMs: number,
): { readonly written: unknown; readonly timeMs: number } {
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

/** A price in one of the notations. */
export function priceNotation(
  random: Random,
  amountMinor: number,
  currency: 'KRW' | 'USD',
): Record<string, unknown> {
  if (currency === 'USD') {
    const text = `${Math.floor(amountMinor / 100)}.${String(amountMinor % 100).padStart(2, '0')}`;
    return pick(random, [
      { price: `US$${text}` },
      { price: text, currency: 'USD' },
      { price: { amountMinor, currency } },
    ]);
  }
  const grouped = String(amountMinor).replace(/\B(?=(\d{3})+$)/g, ',');
  return pick<Record<string, unknown>>(random, [
    { price: amountMinor },
    { price: grouped },
    { price: `₩${grouped}` },
    { amount: String(amountMinor), currency: 'KRW' },
    { price: { amountMinor, currency } },
  ]);
}

const snake = (name: string) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
/** The fields under one of the names that they have. */
export function named(random: Random, raw: Record<string, unknown>): Record<string, unknown> {
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

/** Numbers of the test range 4000 00.., which no bank issues. */
export function cardNumber(random: Random): string {
  const digits = `${cardPrefix}${String(Math.floor(random() * 1e6)).padStart(6, '0')}`;
  return random() < 0.5 ? digits : digits.replace(/(\d{4})(?=\d)/g, '$1-');
}

/** Texts that nobody can understand, of both kinds. */
export function poisonText(
  random: Random,
  kind: 'purchase' | 'promo_behavior',
  id: string,
  user: string,
): string {
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
  return pick(random, bad[kind]);
}
