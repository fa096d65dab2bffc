/** How amounts and times are written. */

const digitsOf = (currency) =>
  new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits;

/** `{amountMinor, currency}` as people write it. */
export const money = ({ amountMinor, currency }, options = {}) =>
  new Intl.NumberFormat(undefined, { style: 'currency', currency, ...options }).format(
    amountMinor / 10 ** digitsOf(currency),
  );

/** With a sign, also when it is above zero. */
export const signedMoney = (amount) => money(amount, { signDisplay: 'exceptZero' });

export const won = (amountMinor) => ({ amountMinor, currency: 'KRW' });

export const timeOf = (at) => new Date(at).toLocaleTimeString([], { hour12: false });

/** The last characters of an id: enough to tell those on a page apart. */
export const short = (id) => id.slice(-8);
