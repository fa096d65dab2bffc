/** The notations of each field: a foreign value -> its standard form, or why it is refused. Pure. */
import { type AgeBand, ageBands } from '../../catalog/events/promotion.ts';
import { currencyCode, type Money, type MoneyProblem, parseMoney } from '../base/money.ts';
import type { Refusal } from './fields.ts';
import { ageBandOf, cardLast4, isPublicId, maskedName, namesNobody } from './mask.ts';
import { parseTime, type TimeProblem } from './time.ts';

export const maxIdLength = 200;
export const maxNameLength = 500;
export const maxQuantity = 1_000_000;

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

/** Text, trimmed and in NFC, or a whole number. */
function identifier(value: unknown): string | Refusal {
  if (typeof value === 'string') return text(value, maxIdLength);
  if (typeof value !== 'number') return invalid('it must be text or a whole number');
  if (!Number.isSafeInteger(value))
    return invalid(
      'it is a number that is not whole or is beyond 2^53, so its digits are not certain; send it as text',
    );
  return String(value);
}

/** An id that goes out. */
export function publicId(value: unknown): string | Refusal {
  const id = identifier(value);
  return typeof id !== 'string' || isPublicId(id)
    ? id
    : {
        code: 'MUSTER_FIELD_PERSONAL',
        reason:
          'it is written as no id is, or looks like a phone, card or resident number or an e-mail address, which must not go out',
      };
}

/** The id of a user: any text that names somebody. It never goes out. */
export function userIdOf(value: unknown): string | Refusal {
  const id = identifier(value);
  return typeof id !== 'string' || !namesNobody(id)
    ? id
    : {
        code: 'MUSTER_USER_UNKNOWN',
        reason:
          'it names nobody, so it would make one person of strangers; send an id of the session or the device',
      };
}

/** A product's name; what of it is a person's is masked. */
export function productNameOf(value: unknown): string | Refusal {
  if (typeof value !== 'string') return invalid('it must be text');
  const name = text(value, maxNameLength);
  return typeof name === 'string' ? maskedName(name) : name;
}

export function wholeQuantity(value: unknown): number | Refusal {
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

export function knownCurrency(value: unknown): string | Refusal {
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

export function sameMoney(a: Money, b: Money): boolean {
  return a.amountMinor === b.amountMinor && a.currency === b.currency;
}

export function priceOf(value: unknown, currency: string | undefined): Money | Refusal {
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

export function timeOf(value: unknown, timeZone: string): string | Refusal {
  if (typeof value !== 'number' && typeof value !== 'string') return timeReasons.form;
  const parsed = parseTime(value, timeZone);
  return typeof parsed === 'number' ? new Date(parsed).toISOString() : timeReasons[parsed];
}

export function knownAction(value: unknown): 'click' | 'view' | Refusal {
  if (typeof value === 'string') {
    const word = value.trim().toLowerCase();
    if (word === 'click' || word === 'clicked') return 'click';
    if (word === 'view' || word === 'viewed') return 'view';
  }
  return { code: 'MUSTER_FIELD_INVALID', reason: 'it must be click or view' };
}

export function cardDigits(value: unknown): string | Refusal {
  const refusal = invalid('it must be a card number, masked or not, that ends in four digits');
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return refusal;
  if (typeof value !== 'string' && typeof value !== 'number') return refusal;
  return cardLast4(String(value).trim()) ?? refusal;
}

const ageRefusal = invalid(
  'it must be an age in whole years from 0 to 150, or a ten-year band such as "30s"',
);

export function bandFromAge(value: unknown): AgeBand | Refusal {
  const age = typeof value === 'string' && /^\d{1,3}$/.test(value.trim()) ? Number(value) : value;
  return (typeof age === 'number' ? ageBandOf(age) : undefined) ?? ageRefusal;
}

/** `30s`, `80+`, `unknown`, `30대`, `30-39`, `30~39`. */
export function bandFrom(value: unknown): AgeBand | Refusal {
  if (typeof value !== 'string') return ageRefusal;
  const word = value.trim().toLowerCase();
  if ((ageBands as readonly string[]).includes(word)) return word as AgeBand;
  const match = /^(\d{1,2}0|0)(?:s|대|\s?[-~]\s?(\d{1,3}))$/.exec(word);
  if (match === null) return ageRefusal;
  const from = Number(match[1]);
  if (match[2] !== undefined && Number(match[2]) !== from + 9) return ageRefusal;
  return ageBandOf(from) ?? ageRefusal;
}
