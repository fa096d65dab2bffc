/**
 * Amounts as people and machines write them -> integer minor units and an ISO-4217 code. Pure; string arithmetic only.
 * Decisions:
 * - the comma groups thousands and the dot is the decimal point; `1.234,50`, `1,23`, `1 000` are rejected;
 * - `$` alone means USD, `₩` and `원` KRW; `¥` alone is rejected, since it is Japan's and China's;
 * - neither sign nor code: KRW, the platform's home currency;
 * - more decimals than the currency has are rejected unless they are zeros;
 * - a JSON number is taken by its shortest decimal form, and only up to 15 significant digits, because beyond these a
 *   double no longer says which decimal the sender wrote.
 */
import type { Purchase } from '../../catalog/events/promotion.ts';
import { currencyExponents, currencySigns } from './currencies.ts';

export type Money = Purchase['price'];
export type MoneyProblem = 'form' | 'negative' | 'decimals' | 'size' | 'sign' | 'conflict' | 'precision';

export const defaultCurrency = 'KRW';

const signs = [...currencySigns.keys()]
  .sort((a, b) => b.length - a.length)
  .map((sign) => sign.replace(/\$/g, '\\$'))
  .join('|');
const amountText = new RegExp(
  `^(?:(${signs}|[A-Za-z]{3})\\s*)?(\\d+|[1-9]\\d{0,2}(?:,\\d{3})+)(?:\\.(\\d+))?(?:\\s*(${signs}|[A-Za-z]{3}))?$`,
);
const negativeText = /^[^\d]*[-−(]/;

/** A known ISO-4217 code in upper case, or undefined. */
export function currencyCode(text: string): string | undefined {
  const code = text.trim().toUpperCase();
  return currencyExponents.has(code) ? code : undefined;
}

/** Minor units from decimal digits. `whole` and `fraction` hold digits only. */
export function minorUnits(whole: string, fraction: string, exponent: number): number | MoneyProblem {
  const kept = fraction.slice(0, exponent).padEnd(exponent, '0');
  if (/[1-9]/.test(fraction.slice(exponent))) return 'decimals';
  const digits = (whole + kept).replace(/^0+(?=\d)/, '');
  // Sixteen digits at most are below 10^16; Number() is exact for those that pass the safe range.
  if (digits.length > 16) return 'size';
  const value = Number(digits);
  return Number.isSafeInteger(value) ? value : 'size';
}

/** An amount with the currency code that stood beside it, if any (known, upper case). */
export function parseMoney(raw: number | string, code: string | undefined): Money | MoneyProblem {
  if (typeof raw === 'number') return fromNumber(raw, code ?? defaultCurrency);
  // Full-width digits and signs become plain ones.
  const text = raw.normalize('NFKC').trim();
  const match = amountText.exec(text);
  if (match === null) return negativeText.test(text) ? 'negative' : 'form';
  let currency = code;
  let shared: readonly string[] | undefined;
  for (const unit of [match[1], match[4]]) {
    if (unit === undefined) continue;
    const sign = currencySigns.get(unit);
    if (sign !== undefined) {
      shared = shared === undefined ? sign.family : shared.filter((one) => sign.family.includes(one));
      continue;
    }
    const named = currencyCode(unit);
    if (named === undefined) return 'sign';
    if (currency !== undefined && currency !== named) return 'conflict';
    currency = named;
  }
  if (shared !== undefined) {
    if (currency === undefined) {
      const alone = [match[1], match[4]]
        .map((unit) => currencySigns.get(unit ?? '')?.alone)
        .find((one) => one !== undefined);
      if (alone === undefined) return 'sign';
      currency = alone;
    }
    if (!shared.includes(currency)) return 'conflict';
  }
  currency ??= defaultCurrency;
  const amountMinor = minorUnits(
    match[2]!.replaceAll(',', ''),
    match[3] ?? '',
    currencyExponents.get(currency)!,
  );
  return typeof amountMinor === 'number' ? { amountMinor, currency } : amountMinor;
}

function fromNumber(value: number, currency: string): Money | MoneyProblem {
  if (!Number.isFinite(value)) return 'form';
  if (value < 0) return 'negative';
  if (Number.isInteger(value)) {
    if (!Number.isSafeInteger(value)) return 'size';
  } else {
    const digits = String(value).replace('.', '').replace(/^0+/, '');
    if (digits.length > 15 || digits.includes('e')) return 'precision';
  }
  const [whole = '0', fraction = ''] = String(value).split('.');
  const amountMinor = minorUnits(whole, fraction, currencyExponents.get(currency)!);
  return typeof amountMinor === 'number' ? { amountMinor, currency } : amountMinor;
}
