/**
 * Money: integer minor units and an ISO-4217 code, the currencies in use, and amounts as people and machines write them.
 * Pure; string arithmetic only. What could mean two amounts is refused, never guessed:
 * - the comma groups thousands and the dot is the decimal point; nothing else stands between digits;
 * - a dot before just three digits (`59.000`) is refused where it could group thousands: all that stands before it is one
 *   to three digits, no leading zero. So is a single comma (`1,005`) where the currency has three decimals;
 * - a sign names a currency when only one in use has it; `₩` and `원` are the home currency's. `$`, `¥`, `£` need a code;
 * - neither sign nor code: KRW, the home currency;
 * - more decimals than the currency has are refused unless they are zeros;
 * - a JSON number is taken by its shortest decimal form, its dot is the decimal point, and only up to 15 significant
 *   digits, because beyond these a double no longer says which decimal the sender wrote.
 */
import type { Static } from 'typebox';
import type { money } from '../../catalog/events/promotion.ts';

/** Integer minor units (KRW has none, USD cents) and the ISO-4217 code of a currency in use. */
export type Money = Readonly<Static<typeof money>>;
export type MoneyProblem =
  | 'form'
  | 'grouping'
  | 'negative'
  | 'decimals'
  | 'size'
  | 'sign'
  | 'conflict'
  | 'precision';

export const homeCurrency = 'KRW';

/**
 * ISO-4217: what people pay with today; no withdrawn codes, funds codes, units of account, metals or test codes. Own
 * table, because what Intl gives follows CLDR, which differs from the standard in exponents (IQD, LBP, AFN ...).
 */
const codes =
  'AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY ' +
  'COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ' +
  'ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK ' +
  'MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF ' +
  'SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU ' +
  'UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG';
const exponentZero = 'BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX VND VUV XAF XOF XPF'.split(' ');
const exponentThree = 'BHD IQD JOD KWD LYD OMR TND'.split(' ');
const exponents: ReadonlyMap<string, 0 | 2 | 3> = new Map(
  codes
    .split(' ')
    .map((code) => [code, exponentZero.includes(code) ? 0 : exponentThree.includes(code) ? 3 : 2]),
);

/** What a sign or unit beside an amount may mean; with one currency it is that one. */
const signs: ReadonlyMap<string, readonly string[]> = new Map(
  Object.entries({
    '₩': 'KRW',
    원: 'KRW',
    $: 'USD ARS AUD BBD BMD BND BSD BZD CAD CLP COP DOP FJD GYD HKD JMD KYD LRD MXN NAD NZD SBD SGD SRD TTD TWD XCD',
    US$: 'USD',
    A$: 'AUD',
    C$: 'CAD',
    HK$: 'HKD',
    NT$: 'TWD',
    S$: 'SGD',
    '€': 'EUR',
    '£': 'GBP EGP FKP GIP LBP SHP SYP',
    '¥': 'JPY CNY',
    円: 'JPY',
    元: 'CNY HKD TWD',
    kr: 'DKK ISK NOK SEK',
    '₫': 'VND',
    '₹': 'INR',
    '฿': 'THB',
    '₽': 'RUB',
    '₱': 'PHP',
    '₺': 'TRY',
    '₪': 'ILS',
    '₴': 'UAH',
  }).map(([sign, family]) => [sign, family.split(' ')]),
);

const unit = `(${[...signs.keys()]
  .sort((a, b) => b.length - a.length)
  .map((sign) => sign.replace('$', '\\$'))
  .join('|')}|[A-Za-z]{3})`;
const amountText = new RegExp(
  `^(?:${unit}\\s*)?(\\d+|[1-9]\\d{0,2}(?:,\\d{3})+)(?:\\.(\\d+))?(?:\\s*${unit})?$`,
);
const negativeText = /^[^\d]*[-−(]/;

/** Whether it is the ISO-4217 code, in upper case, of a currency in use. */
export function isCurrency(code: string): boolean {
  return exponents.has(code);
}

/** The code of a currency in use, whatever its case and the blanks around it; undefined when it is none. */
export function currencyCode(text: string): string | undefined {
  const plain = text.trim();
  const code = /^[A-Za-z]{3}$/.test(plain) ? plain.toUpperCase() : '';
  return exponents.has(code) ? code : undefined;
}

/** An amount; `code` is the currency that was named beside it, if any: a known one, in upper case. */
export function parseMoney(raw: number | string, code: string | undefined): Money | MoneyProblem {
  if (typeof raw === 'number') return fromNumber(raw, code ?? homeCurrency);
  const text = halfWidth(raw).trim();
  const match = amountText.exec(text);
  if (match === null) return negativeText.test(text) ? 'negative' : 'form';
  const [, before, whole = '', fraction = '', after] = match;
  const currency = currencyOf(before, after, code);
  if (!isCurrency(currency)) return currency as MoneyProblem;
  if (fraction.length === 3 && /^[1-9]\d{0,2}$/.test(whole)) return 'grouping';
  if (exponents.get(currency) === 3 && fraction === '' && /^\d+,\d+$/.test(whole)) return 'grouping';
  return inMinorUnits(whole.replaceAll(',', ''), fraction, currency);
}

/** Full-width forms as plain ones. No more than these: NFKC would read `10²` as 102. */
function halfWidth(text: string): string {
  return text
    .replace(/[\uff01-\uff5e]/g, (wide) => String.fromCharCode(wide.charCodeAt(0) - 0xfee0))
    .replaceAll('￦', '₩')
    .replaceAll('￥', '¥')
    .replaceAll('￡', '£');
}

/** The one currency that code and units name together, or why there is none. */
function currencyOf(
  before: string | undefined,
  after: string | undefined,
  code: string | undefined,
): string | MoneyProblem {
  let currency = code;
  let shared: readonly string[] | undefined;
  for (const word of [before, after]) {
    if (word === undefined) continue;
    const family = signs.get(word);
    if (family !== undefined) {
      shared = shared === undefined ? family : shared.filter((one) => family.includes(one));
      continue;
    }
    const named = currencyCode(word);
    if (named === undefined) return 'sign';
    if (currency !== undefined && currency !== named) return 'conflict';
    currency = named;
  }
  if (shared === undefined) return currency ?? homeCurrency;
  if (shared.length === 0) return 'conflict';
  if (currency !== undefined) return shared.includes(currency) ? currency : 'conflict';
  return shared.length === 1 ? shared[0]! : 'sign';
}

/** Minor units of decimal digits. */
function inMinorUnits(whole: string, fraction: string, currency: string): Money | MoneyProblem {
  const exponent = exponents.get(currency)!;
  if (/[1-9]/.test(fraction.slice(exponent))) return 'decimals';
  const digits = (whole + fraction.slice(0, exponent).padEnd(exponent, '0')).replace(/^0+(?=\d)/, '');
  // Sixteen digits at most are below 10^16; Number() is exact for those that pass the safe range.
  const amountMinor = digits.length > 16 ? Number.NaN : Number(digits);
  return Number.isSafeInteger(amountMinor) ? { amountMinor, currency } : 'size';
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
  return inMinorUnits(whole, fraction, currency);
}
