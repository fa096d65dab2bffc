/** How numbers, amounts and times are written. */
import { locale } from './words.js';

const digitsOf = (currency) =>
  new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits;

export const number = (value, options = {}) => new Intl.NumberFormat(locale(), options).format(value);

/** `{amountMinor, currency}` as people write it. */
export const money = ({ amountMinor, currency }, options = {}) =>
  number(amountMinor / 10 ** digitsOf(currency), { style: 'currency', currency, ...options });

/** With a sign, also when it is above zero. */
export const signedMoney = (amount) => money(amount, { signDisplay: 'exceptZero' });

export const won = (amountMinor) => ({ amountMinor, currency: 'KRW' });

export const timeOf = (at) => new Date(at).toLocaleTimeString(locale(), { hour12: false });

/** With its day. */
export const momentOf = (at) =>
  new Date(at).toLocaleString(locale(), { dateStyle: 'short', timeStyle: 'short', hour12: false });

/** The last characters of an id: enough to tell those on a page apart. */
export const short = (id) => id.slice(-8);

/** A time in µs as people read it. */
export const milliseconds = (us) =>
  `${number(us / 1000, { maximumFractionDigits: us < 100_000 ? 1 : 0 })} ms`;
