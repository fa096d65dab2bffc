/** Masking: what of a person may leave the input topics, beside the pseudonym of the platform. Pure. */
import type { AgeBand } from '../../catalog/events/promotion.ts';

/** Ten-year band of an age in whole years, 0 to 150; undefined outside of it. */
export function ageBandOf(age: number): AgeBand | undefined {
  if (!Number.isInteger(age) || age < 0 || age > 150) return undefined;
  return age >= 80 ? '80+' : (`${Math.floor(age / 10)}0s`.replace('00s', '0s') as AgeBand);
}

/**
 * Last four digits of a card number as people write it (digits, spaces, hyphens, mask signs). Undefined when it does
 * not end in four digits or holds anything else.
 */
export function cardLast4(card: string): string | undefined {
  const compact = card.replace(/[\s-]/g, '');
  if (compact.length > 32 || !/^[\d*xX•#]*\d{4}$/.test(compact)) return undefined;
  return compact.slice(-4);
}
