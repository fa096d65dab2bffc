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

// --- ids and names that go out -------------------------------------------------------------------------------------

/** Letters and digits of any script and what ids are joined by; no `@`, quotes or brackets. */
const idShape = /^[\p{L}\p{N}][\p{L}\p{M}\p{N} ._:/#+~=&,-]*$/u;
/** Fewer digits than these, with nothing but separators between them, are nobody's number. */
export const fewestDigits = 9;

/**
 * Whether an id (of a purchase, product or promotion) may go out as it is: of an id's shape, and without what looks like
 * a phone, card or resident number. Letters bound a number in an id: hexadecimal ids hold digits by chance.
 */
export function isPublicId(id: string): boolean {
  return idShape.test(id) && numbersOfPeople(id, true).length === 0;
}

/** A product's name with e-mail addresses and what looks like a phone, card or resident number as `***`. */
export function maskedName(name: string): string {
  const found = numbersOfPeople(name, false);
  let text = name;
  if (found.length > 0) {
    const characters = [...name];
    for (const { start, end } of found.reverse()) characters.splice(start, end - start, '***');
    text = characters.join('');
  }
  return text.includes('@') || text.includes('＠')
    ? text.replace(/[^\s@＠<>(),;]+[@＠][^\s@＠<>(),;]+/gu, '***')
    : text;
}

/** Separators that people put between the digits of one number. */
const gap = '-{0,3}';
const patterns = [
  // Mobile phones, landlines and the whole world's with +.
  `(?:01[016789]|82${gap}0?1[016789])${gap}\\d{3,4}${gap}\\d{4}`,
  '0(?:2|[3-6]\\d|70|50\\d?)-{1,3}\\d{3,4}-{1,3}\\d{4}',
  '\\d{3}-{1,3}\\d{3}-{1,3}\\d{4}',
  `\\+${gap}\\d(?:${gap}\\d){7,14}`,
  // Resident registration numbers: birthday, then sex and century.
  `\\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\\d|3[01])${gap}[1-8]\\d{6}`,
  // Cards, in one or in the groups that are printed on them.
  '\\d{14,19}',
  '\\d{4}-{1,3}\\d{4}-{1,3}\\d{4}-{1,3}\\d{2,7}',
  '\\d{4}-{1,3}\\d{6}-{1,3}\\d{4,5}',
].join('|');
const withinName = new RegExp(`(?<!\\d)(?:${patterns})(?!\\d)`, 'g');
const withinId = new RegExp(`(?<![\\dx])(?:${patterns})(?![\\dx])`, 'g');

/** Where numbers of people stand in a text, in code points. */
function numbersOfPeople(text: string, isId: boolean): { readonly start: number; readonly end: number }[] {
  const folded = Array.from(text, fold).join('');
  if (!hasLongRun(folded)) return [];
  return [...folded.matchAll(isId ? withinId : withinName)]
    .filter(([number]) => isOfPerson(number, isId))
    .map(({ index, 0: number }) => ({ start: index, end: index + number.length }));
}

/** One character for each code point: a digit of any script as ASCII, a letter as x, + as it is, anything else as -. */
function fold(point: string): string {
  if (point >= '0' && point <= '9') return point;
  const plain = point.normalize('NFKC');
  if (/^[0-9+]$/.test(plain)) return plain;
  if (/^\p{Nd}$/u.test(plain)) {
    // Digits of a script stand in a row, zero first.
    const code = plain.codePointAt(0)!;
    let digit = 0;
    while (digit < 9 && /^\p{Nd}$/u.test(String.fromCodePoint(code - digit - 1))) digit += 1;
    return String(digit);
  }
  return /^[\p{L}\p{M}]/u.test(plain) ? 'x' : '-';
}

function hasLongRun(folded: string): boolean {
  let run = 0;
  for (const character of folded) {
    if (character >= '0' && character <= '9') run += 1;
    else if (character === 'x') run = 0;
    if (run >= fewestDigits) return true;
  }
  return false;
}

function isOfPerson(number: string, isId: boolean): boolean {
  const digits = number.replace(/\D/g, '');
  // A product's bar code begins like a birthday in Korea; its check digit tells.
  if (isId && number.length === 13 && digits.length === 13) return !isBarCode(digits);
  if (digits.length < 14 || number.startsWith('+')) return true;
  return isCardNumber(digits);
}

function isBarCode(digits: string): boolean {
  let sum = 0;
  for (let i = 0; i < 13; i += 1) sum += Number(digits[i]) * (i % 2 === 0 ? 1 : 3);
  return sum % 10 === 0;
}

/** Begins as the cards of the world do, and its check digit is right (Luhn). */
function isCardNumber(digits: string): boolean {
  const begins = digits.length === 14 ? /^3[0689]/ : /^(?:2[2-7]|[345689])/;
  if (!begins.test(digits)) return false;
  let sum = 0;
  for (let i = 0; i < digits.length; i += 1) {
    const digit = Number(digits[digits.length - 1 - i]) * (i % 2 === 0 ? 1 : 2);
    sum += digit > 9 ? digit - 9 : digit;
  }
  return sum % 10 === 0;
}

// --- user ids that name nobody -------------------------------------------------------------------------------------

const nobody = new Set(
  'guest anonymous anonym anon null nil none undefined nan unknown n/a 게스트 비회원 익명 ゲスト 游客'.split(
    ' ',
  ),
);

/** Whether a user id stands for no one in particular: a word such as "guest" or "null", or nothing but zeros and signs. */
export function namesNobody(userId: string): boolean {
  // Nearly all ids of people end here.
  for (let i = 0; i < userId.length; i += 1) {
    const code = userId.charCodeAt(i);
    if (code > 48 && code < 58) return userId === '-1';
  }
  const word = userId.toLowerCase().replace(/^[\p{P}\p{S}\s]+|[\p{P}\p{S}\s]+$/gu, '');
  return word === '' || nobody.has(word) || /^[0\p{P}\p{S}\s]*$/u.test(word);
}
