/**
 * Standardising: what producers send under many names and notations -> the events of the catalog, or a rejection with
 * the field and the reason (never the value: reasons go to logs, headers and answers). Pure. What cannot be understood
 * is rejected, never guessed. Standardising a standard record gives the same record.
 *
 * Field names are compared without case, `_` and `-`. A field may come under several of its names as long as all of them
 * say the same. null and, for optional fields, blank text count as absent. Fields that mean nothing to us are left out.
 */
import { isUtf8 } from 'node:buffer';
import { type AgeBand, ageBands, type PromoBehavior, type Purchase } from '../../catalog/events/promotion.ts';
import { currencyCode, isCurrency, type Money, type MoneyProblem, parseMoney } from '../base/money.ts';
import { ageBandOf, cardLast4 } from './mask.ts';
import { parseTime, parseUtcMs, type TimeProblem } from './time.ts';

export interface Rejection {
  readonly code: `MUSTER_${string}`;
  /** Standard name of the field; empty when the record as a whole is meant. */
  readonly field: string;
  /** A plain sentence without the value. */
  readonly reason: string;
}

export type Standardised<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly rejection: Rejection };

export interface StandardiseOptions {
  /** IANA zone of a time that carries none. */
  readonly timeZone: string;
  /** Purchase id of a record that has none (its message id, or topic-partition-offset). */
  readonly fallbackId?: string;
  /** Used when the record carries no user id. */
  readonly fallbackUserId?: string | undefined;
}

/** Largest record value that is parsed; the broker's own limit for a message is 1 MiB. */
export const maxRecordBytes = 1_048_576;

const maxIdLength = 200;
const maxNameLength = 500;
const maxQuantity = 1_000_000;

function rejected(
  code: Rejection['code'],
  field: string,
  reason: string,
): { ok: false; rejection: Rejection } {
  return { ok: false, rejection: { code, field, reason } };
}

/**
 * A record's value as a JSON object. Rejections: MUSTER_EMPTY_VALUE (also a tombstone), MUSTER_TOO_LARGE,
 * MUSTER_NOT_UTF8, MUSTER_JSON_INVALID, MUSTER_NOT_OBJECT. A byte order mark is skipped.
 */
export function parseJson(
  bytes: Buffer | null,
  maxBytes = maxRecordBytes,
): Standardised<Readonly<Record<string, unknown>>> {
  if (bytes === null || bytes.length === 0) return rejected('MUSTER_EMPTY_VALUE', '', 'the value is empty');
  if (bytes.length > maxBytes)
    return rejected('MUSTER_TOO_LARGE', '', `the value has ${bytes.length} bytes, more than ${maxBytes}`);
  if (!isUtf8(bytes)) return rejected('MUSTER_NOT_UTF8', '', 'the value is not UTF-8 text');
  const start = bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? 3 : 0;
  let value: unknown;
  try {
    value = JSON.parse(bytes.toString('utf8', start));
  } catch {
    // The parser's own message quotes the text, so it is not passed on.
    return rejected('MUSTER_JSON_INVALID', '', 'the value is not valid JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    return rejected('MUSTER_NOT_OBJECT', '', 'the value is JSON, but not an object');
  return { ok: true, value: value as Readonly<Record<string, unknown>> };
}

// --- purchases ---------------------------------------------------------------------------------------------------

const commonNames = {
  userid: 'userId',
  uid: 'userId',
  user: 'userId',
  customerid: 'userId',
  memberid: 'userId',
  productid: 'productId',
  itemid: 'productId',
  age: 'age',
  ageband: 'ageBand',
  agegroup: 'ageBand',
} as const;

const purchaseNames: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...commonNames,
    purchaseid: 'purchaseId',
    orderid: 'purchaseId',
    id: 'purchaseId',
    productname: 'productName',
    itemname: 'productName',
    name: 'productName',
    quantity: 'quantity',
    qty: 'quantity',
    price: 'price',
    amount: 'price',
    totalprice: 'price',
    totalamount: 'price',
    currency: 'currency',
    currencycode: 'currency',
    purchasedat: 'purchasedAt',
    purchasetime: 'purchasedAt',
    orderedat: 'purchasedAt',
    paidat: 'purchasedAt',
    timestamp: 'purchasedAt',
    ts: 'purchasedAt',
    time: 'purchasedAt',
    eventtime: 'purchasedAt',
    cardnumber: 'cardLast4',
    cardno: 'cardLast4',
    card: 'cardLast4',
    cardlast4: 'cardLast4',
  }),
);

const behaviorNames: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...commonNames,
    promotionid: 'promotionId',
    promoid: 'promotionId',
    campaignid: 'promotionId',
    action: 'action',
    type: 'action',
    event: 'action',
    eventtype: 'action',
    behavior: 'action',
    behaviour: 'action',
    actedat: 'actedAt',
    clickedat: 'actedAt',
    viewedat: 'actedAt',
    timestamp: 'actedAt',
    ts: 'actedAt',
    time: 'actedAt',
    eventtime: 'actedAt',
  }),
);

/** A purchase in standard form. The very object that came is returned when it is in standard form already. */
export function standardisePurchase(raw: unknown, options: StandardiseOptions): Standardised<Purchase> {
  if (isStandardPurchase(raw)) return { ok: true, value: raw };
  const fields = gather(raw, purchaseNames);
  if (fields === undefined) return rejected('MUSTER_NOT_OBJECT', '', 'the record is not an object');
  const given = read(fields, 'purchaseId', identifier);
  if (given.problem !== undefined) return given.problem;
  let purchaseId = given.value;
  if (purchaseId === undefined && options.fallbackId !== undefined) {
    const fallback = identifier(options.fallbackId);
    if (typeof fallback !== 'string') return rejectedAs('purchaseId', fallback);
    purchaseId = fallback;
  }
  if (purchaseId === undefined) return missing('purchaseId');
  const userId = readUserId(fields, options);
  if (userId.problem !== undefined) return userId.problem;
  if (userId.value === undefined) return missing('userId');
  const productId = read(fields, 'productId', identifier);
  if (productId.problem !== undefined) return productId.problem;
  if (productId.value === undefined) return missing('productId');
  const productName = read(fields, 'productName', productNameText, true);
  if (productName.problem !== undefined) return productName.problem;
  const quantity = read(fields, 'quantity', wholeQuantity);
  if (quantity.problem !== undefined) return quantity.problem;
  if (quantity.value === undefined) return missing('quantity');
  const currency = read(fields, 'currency', knownCurrency, true);
  if (currency.problem !== undefined) return currency.problem;
  const price = read(fields, 'price', (value) => priceOf(value, currency.value), false, sameMoney);
  if (price.problem !== undefined) return price.problem;
  if (price.value === undefined) return missing('price');
  const purchasedAt = read(fields, 'purchasedAt', (value) => time(value, options.timeZone));
  if (purchasedAt.problem !== undefined) return purchasedAt.problem;
  if (purchasedAt.value === undefined) return missing('purchasedAt');
  const band = readAgeBand(fields);
  if (band.problem !== undefined) return band.problem;
  const card = read(fields, 'cardLast4', cardDigits, true);
  if (card.problem !== undefined) return card.problem;
  return {
    ok: true,
    value: {
      purchaseId,
      userId: userId.value,
      productId: productId.value,
      ...(productName.value === undefined ? {} : { productName: productName.value }),
      quantity: quantity.value,
      price: price.value,
      purchasedAt: purchasedAt.value,
      ...(band.value === undefined ? {} : { ageBand: band.value }),
      ...(card.value === undefined ? {} : { cardLast4: card.value }),
    },
  };
}

/** An act on a promotion in standard form. The very object that came is returned when it is in standard form already. */
export function standardisePromoBehavior(
  raw: unknown,
  options: StandardiseOptions,
): Standardised<PromoBehavior> {
  if (isStandardPromoBehavior(raw)) return { ok: true, value: raw };
  const fields = gather(raw, behaviorNames);
  if (fields === undefined) return rejected('MUSTER_NOT_OBJECT', '', 'the record is not an object');
  const userId = readUserId(fields, options);
  if (userId.problem !== undefined) return userId.problem;
  if (userId.value === undefined) return missing('userId');
  const promotionId = read(fields, 'promotionId', identifier);
  if (promotionId.problem !== undefined) return promotionId.problem;
  if (promotionId.value === undefined) return missing('promotionId');
  const action = read(fields, 'action', knownAction);
  if (action.problem !== undefined) return action.problem;
  if (action.value === undefined) return missing('action');
  const actedAt = read(fields, 'actedAt', (value) => time(value, options.timeZone));
  if (actedAt.problem !== undefined) return actedAt.problem;
  if (actedAt.value === undefined) return missing('actedAt');
  const productId = read(fields, 'productId', identifier, true);
  if (productId.problem !== undefined) return productId.problem;
  const band = readAgeBand(fields);
  if (band.problem !== undefined) return band.problem;
  return {
    ok: true,
    value: {
      userId: userId.value,
      promotionId: promotionId.value,
      action: action.value,
      actedAt: actedAt.value,
      ...(productId.value === undefined ? {} : { productId: productId.value }),
      ...(band.value === undefined ? {} : { ageBand: band.value }),
    },
  };
}

// --- the hot path: is it in standard form already? ---------------------------------------------------------------

function isStandardPurchase(raw: unknown): raw is Purchase {
  if (typeof raw !== 'object' || raw === null) return false;
  const it = raw as Partial<Purchase>;
  const price = it.price as Partial<Money> | undefined | null;
  if (
    !isPlainId(it.purchaseId) ||
    !isPlainId(it.userId) ||
    !isPlainId(it.productId) ||
    !Number.isInteger(it.quantity) ||
    it.quantity! < 1 ||
    it.quantity! > maxQuantity ||
    typeof price !== 'object' ||
    price === null ||
    !Number.isSafeInteger(price.amountMinor) ||
    price.amountMinor! < 0 ||
    Object.is(price.amountMinor, -0) ||
    typeof price.currency !== 'string' ||
    !isCurrency(price.currency) ||
    typeof it.purchasedAt !== 'string' ||
    Number.isNaN(parseUtcMs(it.purchasedAt))
  )
    return false;
  let known = 6;
  if (it.productName !== undefined) {
    if (!isPlainName(it.productName)) return false;
    known += 1;
  }
  if (it.ageBand !== undefined) {
    if (!ageBands.includes(it.ageBand)) return false;
    known += 1;
  }
  if (it.cardLast4 !== undefined) {
    if (typeof it.cardLast4 !== 'string' || !/^\d{4}$/.test(it.cardLast4)) return false;
    known += 1;
  }
  return countKeys(raw) === known && countKeys(price) === 2;
}

function isStandardPromoBehavior(raw: unknown): raw is PromoBehavior {
  if (typeof raw !== 'object' || raw === null) return false;
  const it = raw as Partial<PromoBehavior>;
  if (
    !isPlainId(it.userId) ||
    !isPlainId(it.promotionId) ||
    (it.action !== 'click' && it.action !== 'view') ||
    typeof it.actedAt !== 'string' ||
    Number.isNaN(parseUtcMs(it.actedAt))
  )
    return false;
  let known = 4;
  if (it.productId !== undefined) {
    if (!isPlainId(it.productId)) return false;
    known += 1;
  }
  if (it.ageBand !== undefined) {
    if (!ageBands.includes(it.ageBand)) return false;
    known += 1;
  }
  return countKeys(raw) === known;
}

/** An id that standardising would not touch, told cheaply: printable ASCII without blanks at the ends. */
function isPlainId(value: unknown): value is string {
  return typeof value === 'string' && value.length <= maxIdLength && isPlainText(value);
}

function isPlainName(value: unknown): value is string {
  return typeof value === 'string' && value.length <= maxNameLength && isPlainText(value);
}

function isPlainText(value: string): boolean {
  const length = value.length;
  if (length === 0 || value.charCodeAt(0) === 32 || value.charCodeAt(length - 1) === 32) return false;
  for (let i = 0; i < length; i += 1) {
    const code = value.charCodeAt(i);
    if (code < 32 || code > 126) return false;
  }
  return true;
}

function countKeys(value: object): number {
  let count = 0;
  for (const _ in value) count += 1;
  return count;
}

// --- fields under their names ------------------------------------------------------------------------------------

type Fields = ReadonlyMap<string, readonly unknown[]>;

/** The values that came for each standard name; undefined when it is not an object. */
function gather(raw: unknown, names: ReadonlyMap<string, string>): Fields | undefined {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return undefined;
  const fields = new Map<string, unknown[]>();
  for (const [key, value] of Object.entries(raw)) {
    if (value === null || value === undefined || key.length > 40) continue;
    const name = names.get(key.toLowerCase().replace(/[_-]/g, ''));
    if (name === undefined) continue;
    const values = fields.get(name);
    if (values === undefined) fields.set(name, [value]);
    else values.push(value);
  }
  return fields;
}

/** Why a value was refused. */
interface Refusal {
  readonly code: Rejection['code'];
  readonly reason: string;
}

type Read<T> =
  | { readonly value: T | undefined; readonly problem?: undefined }
  | { readonly problem: { ok: false; rejection: Rejection }; readonly value?: undefined };

function missing(field: string) {
  return rejected('MUSTER_FIELD_MISSING', field, 'the field is required');
}

function rejectedAs(field: string, refusal: Refusal) {
  return rejected(refusal.code, field, refusal.reason);
}

function isRefusal(value: unknown): value is Refusal {
  return typeof value === 'object' && value !== null && 'reason' in value;
}

function read<T>(
  fields: Fields,
  field: string,
  parse: (value: unknown) => T | Refusal,
  blankIsAbsent = false,
  same: (a: T, b: T) => boolean = Object.is,
): Read<T> {
  const values = fields.get(field);
  if (values === undefined) return { value: undefined };
  let result: T | undefined;
  for (const value of values) {
    if (blankIsAbsent && typeof value === 'string' && value.trim() === '') continue;
    const parsed = parse(value);
    if (isRefusal(parsed)) return { problem: rejectedAs(field, parsed) };
    if (result !== undefined && !same(result, parsed))
      return {
        problem: rejected(
          'MUSTER_FIELD_CONFLICT',
          field,
          'the field came under several names with different values',
        ),
      };
    result = parsed;
  }
  return { value: result };
}

function readUserId(fields: Fields, { fallbackUserId }: StandardiseOptions): Read<string> {
  const given = read(fields, 'userId', identifier);
  if (given.problem !== undefined || given.value !== undefined || fallbackUserId === undefined) return given;
  return read(new Map([['userId', [fallbackUserId]]]), 'userId', identifier);
}

const invalid = (reason: string): Refusal => ({ code: 'MUSTER_FIELD_INVALID', reason });

// Control characters, and those that change the direction or order of what is shown.
// biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
const unprintable = /[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/;

function text(value: string, maxLength: number): string | Refusal {
  if (!value.isWellFormed()) return invalid('it holds half a surrogate pair, which is not Unicode text');
  const plain = value.trim().normalize('NFC').trim();
  if (plain === '') return invalid('it is empty');
  if (plain.length > maxLength) return invalid(`it is longer than ${maxLength} characters`);
  if (unprintable.test(plain)) return invalid('it holds control characters');
  return plain;
}

function identifier(value: unknown): string | Refusal {
  if (typeof value === 'string') return text(value, maxIdLength);
  if (typeof value !== 'number') return invalid('it must be text or a whole number');
  if (!Number.isSafeInteger(value))
    return invalid(
      'it is a number that is not whole or is beyond 2^53, so its digits are not certain; send it as text',
    );
  return String(value);
}

function productNameText(value: unknown): string | Refusal {
  return typeof value === 'string' ? text(value, maxNameLength) : invalid('it must be text');
}

function wholeQuantity(value: unknown): number | Refusal {
  const refusal: Refusal = {
    code: 'MUSTER_QUANTITY_INVALID',
    reason: `it must be a whole number from 1 to ${maxQuantity}`,
  };
  let quantity: unknown = value;
  if (typeof value === 'string') {
    const digits = value.trim();
    if (!/^\d{1,9}$/.test(digits)) return refusal;
    quantity = Number(digits);
  }
  return Number.isInteger(quantity) && (quantity as number) >= 1 && (quantity as number) <= maxQuantity
    ? (quantity as number)
    : refusal;
}

function knownCurrency(value: unknown): string | Refusal {
  return (
    (typeof value === 'string' ? currencyCode(value) : undefined) ?? {
      code: 'MUSTER_CURRENCY_UNKNOWN',
      reason: 'it is not an ISO-4217 currency code in use',
    }
  );
}

const moneyReasons: Record<MoneyProblem, Refusal> = {
  form: {
    code: 'MUSTER_MONEY_INVALID',
    reason:
      'it is not an amount such as 10000, "10,000" or "1,234.50 USD" (comma groups thousands, dot is the decimal point)',
  },
  grouping: {
    code: 'MUSTER_MONEY_AMBIGUOUS',
    reason:
      'its dot or comma may group thousands or begin the decimals; write all digits without grouping, or send { amountMinor, currency }',
  },
  negative: { code: 'MUSTER_MONEY_INVALID', reason: 'it must not be negative' },
  decimals: { code: 'MUSTER_MONEY_INVALID', reason: 'it has more decimals than its currency' },
  size: { code: 'MUSTER_MONEY_INVALID', reason: 'it is more than 2^53 - 1 minor units' },
  precision: {
    code: 'MUSTER_MONEY_INVALID',
    reason: 'it is a number with more than 15 digits, which are not certain; send it as text',
  },
  sign: {
    code: 'MUSTER_MONEY_AMBIGUOUS',
    reason: 'its currency sign is unknown or shared by several currencies; give the ISO-4217 code',
  },
  conflict: { code: 'MUSTER_FIELD_CONFLICT', reason: 'its currency sign and code say different things' },
};

function sameMoney(a: Money, b: Money): boolean {
  return a.amountMinor === b.amountMinor && a.currency === b.currency;
}

function priceOf(value: unknown, currency: string | undefined): Money | Refusal {
  if (typeof value === 'number' || typeof value === 'string') {
    const money = parseMoney(value, currency);
    return typeof money === 'string' ? moneyReasons[money] : money;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return moneyReasons.form;
  const parts = value as Readonly<Record<string, unknown>>;
  let code = currency;
  if (parts.currency !== undefined && parts.currency !== null) {
    const own = knownCurrency(parts.currency);
    if (typeof own !== 'string') return own;
    if (code !== undefined && code !== own) return moneyReasons.conflict;
    code = own;
  }
  const minor = parts.amountMinor;
  const major = parts.amount ?? parts.value;
  if (minor === undefined || minor === null) {
    if (typeof major !== 'number' && typeof major !== 'string') return moneyReasons.form;
    const money = parseMoney(major, code);
    return typeof money === 'string' ? moneyReasons[money] : money;
  }
  if (major !== undefined && major !== null) return moneyReasons.conflict;
  if (code === undefined)
    return { code: 'MUSTER_MONEY_AMBIGUOUS', reason: 'minor units say nothing without their ISO-4217 code' };
  const amountMinor = typeof minor === 'string' && /^\d{1,16}$/.test(minor) ? Number(minor) : minor;
  if (typeof amountMinor !== 'number' || !Number.isInteger(amountMinor)) return moneyReasons.form;
  if (amountMinor < 0) return moneyReasons.negative;
  if (!Number.isSafeInteger(amountMinor)) return moneyReasons.size;
  return { amountMinor: amountMinor + 0, currency: code };
}

const timeReasons: Record<TimeProblem, Refusal> = {
  form: {
    code: 'MUSTER_TIME_INVALID',
    reason: 'it is not a time: epoch seconds, epoch milliseconds or ISO-8601 with date and time',
  },
  calendar: { code: 'MUSTER_TIME_INVALID', reason: 'there is no such day or time of day' },
  range: { code: 'MUSTER_TIME_OUT_OF_RANGE', reason: 'it is not within the years 2000 to 2099' },
  never: {
    code: 'MUSTER_TIME_INVALID',
    reason: 'clocks of the zone skipped this time; send it with an offset',
  },
  twice: {
    code: 'MUSTER_TIME_AMBIGUOUS',
    reason: 'clocks of the zone showed this time twice; send it with an offset',
  },
};

function time(value: unknown, timeZone: string): string | Refusal {
  if (typeof value !== 'number' && typeof value !== 'string') return timeReasons.form;
  const parsed = parseTime(value, timeZone);
  return typeof parsed === 'number' ? new Date(parsed).toISOString() : timeReasons[parsed];
}

function knownAction(value: unknown): 'click' | 'view' | Refusal {
  if (typeof value === 'string') {
    const word = value.trim().toLowerCase();
    if (word === 'click' || word === 'clicked') return 'click';
    if (word === 'view' || word === 'viewed') return 'view';
  }
  return { code: 'MUSTER_FIELD_INVALID', reason: 'it must be click or view' };
}

function cardDigits(value: unknown): string | Refusal {
  const refusal = invalid('it must be a card number, masked or not, that ends in four digits');
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return refusal;
  if (typeof value !== 'string' && typeof value !== 'number') return refusal;
  return cardLast4(String(value).trim()) ?? refusal;
}

const ageRefusal = invalid(
  'it must be an age in whole years from 0 to 150, or a ten-year band such as "30s"',
);

function readAgeBand(fields: Fields): Read<AgeBand> {
  const band = read(fields, 'ageBand', bandFrom, true);
  if (band.problem !== undefined) return band;
  const age = read(fields, 'age', bandFromAge, true);
  if (age.problem !== undefined) return age;
  if (band.value !== undefined && age.value !== undefined && band.value !== age.value)
    return { problem: rejected('MUSTER_FIELD_CONFLICT', 'ageBand', 'age and age band say different things') };
  return { value: band.value ?? age.value };
}

function bandFromAge(value: unknown): AgeBand | Refusal {
  const age = typeof value === 'string' && /^\d{1,3}$/.test(value.trim()) ? Number(value) : value;
  return (typeof age === 'number' ? ageBandOf(age) : undefined) ?? ageRefusal;
}

/** `30s`, `80+`, `unknown`, `30대`, `30-39`, `30~39`. */
function bandFrom(value: unknown): AgeBand | Refusal {
  if (typeof value !== 'string') return ageRefusal;
  const word = value.trim().toLowerCase();
  if ((ageBands as readonly string[]).includes(word)) return word as AgeBand;
  const match = /^(\d{1,2}0|0)(?:s|대|\s?[-~]\s?(\d{1,3}))$/.exec(word);
  if (match === null) return ageRefusal;
  const from = Number(match[1]);
  if (match[2] !== undefined && Number(match[2]) !== from + 9) return ageRefusal;
  return ageBandOf(from) ?? ageRefusal;
}
