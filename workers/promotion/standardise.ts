/**
 * Standardising: what producers send under many names and notations -> the events of the catalog, or a rejection with
 * the field and the reason. Pure. What cannot be understood is rejected, never guessed. Standardising a standard record
 * gives the same record.
 *
 * The events list all that may ever go out of a record: fields that mean nothing to us are left out. Of those that do,
 * the user id becomes a pseudonym, ids have the shape of ids (mask.ts), and a product's name is masked.
 */
import { isUtf8 } from 'node:buffer';
import { type AgeBand, ageBands, type PromoBehavior, type Purchase } from '../../catalog/events/promotion.ts';
import { isCurrency, type Money } from '../base/money.ts';
import { type FieldReader, readFields, rejected, type Standardised } from './fields.ts';
import { fewestDigits, namesNobody } from './mask.ts';
import {
  bandFrom,
  bandFromAge,
  cardDigits,
  knownAction,
  knownCurrency,
  maxIdLength,
  maxNameLength,
  maxQuantity,
  priceOf,
  productNameOf,
  publicId,
  sameMoney,
  timeOf,
  userIdOf,
  wholeQuantity,
} from './notations.ts';
import { parseUtcMs } from './time.ts';

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

// --- names of fields ---------------------------------------------------------------------------------------------

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

// No `name`: it may be a person's.
const purchaseNames: ReadonlyMap<string, string> = new Map(
  Object.entries({
    ...commonNames,
    purchaseid: 'purchaseId',
    orderid: 'purchaseId',
    id: 'purchaseId',
    productname: 'productName',
    itemname: 'productName',
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
  const fields = readFields(raw, purchaseNames);
  const purchaseId = fields.required('purchaseId', publicId, { fallback: options.fallbackId });
  const userId = fields.required('userId', userIdOf, { fallback: options.fallbackUserId });
  const productId = fields.required('productId', publicId);
  const productName = fields.optional('productName', productNameOf, { blankIsAbsent: true });
  const quantity = fields.required('quantity', wholeQuantity);
  const currency = fields.optional('currency', knownCurrency, { blankIsAbsent: true });
  const price = fields.required('price', (value) => priceOf(value, currency), { same: sameMoney });
  const purchasedAt = fields.required('purchasedAt', (value) => timeOf(value, options.timeZone));
  const ageBand = readAgeBand(fields);
  const card = fields.optional('cardLast4', cardDigits, { blankIsAbsent: true });
  if (fields.problem !== undefined) return fields.problem;
  return {
    ok: true,
    value: {
      purchaseId: purchaseId!,
      userId: userId!,
      productId: productId!,
      ...(productName === undefined ? {} : { productName }),
      quantity: quantity!,
      price: price!,
      purchasedAt: purchasedAt!,
      ...(ageBand === undefined ? {} : { ageBand }),
      ...(card === undefined ? {} : { cardLast4: card }),
    },
  };
}

/** An act on a promotion in standard form. The very object that came is returned when it is in standard form already. */
export function standardisePromoBehavior(
  raw: unknown,
  options: StandardiseOptions,
): Standardised<PromoBehavior> {
  if (isStandardPromoBehavior(raw)) return { ok: true, value: raw };
  const fields = readFields(raw, behaviorNames);
  const userId = fields.required('userId', userIdOf, { fallback: options.fallbackUserId });
  const promotionId = fields.required('promotionId', publicId);
  const action = fields.required('action', knownAction);
  const actedAt = fields.required('actedAt', (value) => timeOf(value, options.timeZone));
  const productId = fields.optional('productId', publicId, { blankIsAbsent: true });
  const ageBand = readAgeBand(fields);
  if (fields.problem !== undefined) return fields.problem;
  return {
    ok: true,
    value: {
      userId: userId!,
      promotionId: promotionId!,
      action: action!,
      actedAt: actedAt!,
      ...(productId === undefined ? {} : { productId }),
      ...(ageBand === undefined ? {} : { ageBand }),
    },
  };
}

function readAgeBand(fields: FieldReader): AgeBand | undefined {
  const band = fields.optional('ageBand', bandFrom, { blankIsAbsent: true });
  const ofAge = fields.optional('age', bandFromAge, { blankIsAbsent: true });
  if (band !== undefined && ofAge !== undefined && band !== ofAge)
    return fields.refuse('ageBand', {
      code: 'MUSTER_FIELD_CONFLICT',
      reason: 'age and age band say different things',
    });
  return band ?? ofAge;
}

// --- the hot path: is it in standard form already? ---------------------------------------------------------------

function isStandardPurchase(raw: unknown): raw is Purchase {
  if (typeof raw !== 'object' || raw === null) return false;
  const it = raw as Partial<Purchase>;
  const price = it.price as Partial<Money> | undefined | null;
  if (
    !isPlain(it.purchaseId, maxIdLength, inIds) ||
    !isPlainUserId(it.userId) ||
    !isPlain(it.productId, maxIdLength, inIds) ||
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
    if (!isPlain(it.productName, maxNameLength, inNames)) return false;
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
    !isPlainUserId(it.userId) ||
    !isPlain(it.promotionId, maxIdLength, inIds) ||
    (it.action !== 'click' && it.action !== 'view') ||
    typeof it.actedAt !== 'string' ||
    Number.isNaN(parseUtcMs(it.actedAt))
  )
    return false;
  let known = 4;
  if (it.productId !== undefined) {
    if (!isPlain(it.productId, maxIdLength, inIds)) return false;
    known += 1;
  }
  if (it.ageBand !== undefined) {
    if (!ageBands.includes(it.ageBand)) return false;
    known += 1;
  }
  return countKeys(raw) === known;
}

const charKinds = new Uint8Array(128);
const [inNames, inIds, digit, letter] = [1, 2, 4, 8];
for (let code = 32; code < 127; code += 1) {
  const character = String.fromCharCode(code);
  charKinds[code] =
    (character === '@' ? 0 : inNames) |
    (/[A-Za-z0-9 ._:/#+~=&,-]/.test(character) ? inIds : 0) |
    (/[0-9]/.test(character) ? digit : 0) |
    (/[A-Za-z]/.test(character) ? letter : 0);
}

/** Text that standardising would not touch, told cheaply: printable ASCII, no blanks at its ends, no number of a person. */
function isPlain(value: unknown, maxLength: number, kind: number): value is string {
  if (typeof value !== 'string') return false;
  const { length } = value;
  if (length === 0 || length > maxLength || value.charCodeAt(length - 1) === 32) return false;
  const first = charKinds[value.charCodeAt(0)]!;
  if (kind === inIds ? (first & (digit | letter)) === 0 : value.charCodeAt(0) === 32) return false;
  let run = 0;
  for (let i = 0; i < length; i += 1) {
    const is = charKinds[value.charCodeAt(i)]!;
    if (!(is & kind)) return false;
    if (is & digit) run += 1;
    else if (is & letter) run = 0;
    if (run >= fewestDigits) return false;
  }
  return true;
}

function isPlainUserId(value: unknown): value is string {
  if (typeof value !== 'string') return false;
  const { length } = value;
  if (
    length === 0 ||
    length > maxIdLength ||
    value.charCodeAt(0) === 32 ||
    value.charCodeAt(length - 1) === 32
  )
    return false;
  for (let i = 0; i < length; i += 1) {
    const code = value.charCodeAt(i);
    if (code < 32 || code > 126) return false;
  }
  return !namesNobody(value);
}

function countKeys(value: object): number {
  let count = 0;
  for (const _ in value) count += 1;
  return count;
}
