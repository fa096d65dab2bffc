import test from 'ava';
import fc from 'fast-check';
import { isCurrency, parseMoney } from './money.ts';

/** `amount code`, or the problem. */
function read(raw: number | string, code?: string): string {
  const money = parseMoney(raw, code);
  return typeof money === 'string' ? money : `${money.amountMinor} ${money.currency}`;
}

test('a dot before three digits may group thousands, so it is not read as a decimal point', (t) => {
  for (const [raw, code] of [
    ['59.000 ₫'],
    ['1.000 €'],
    ['10.000'],
    ['10.000원'],
    ['1.000', 'USD'],
    ['12.500', 'KWD'],
    ['１０．０００'],
  ] as const)
    t.is(read(raw, code), 'grouping', raw);
  for (const raw of ['1.234.567', '1.234,56', '1.234.567,89', '₩1.000.000']) t.is(read(raw), 'form', raw);
});

test('where a dot cannot group thousands it is the decimal point', (t) => {
  for (const [raw, code, expected] of [
    ['1,234.500', 'KWD', '1234500 KWD'],
    ['1234.500', 'KWD', '1234500 KWD'],
    ['0.500', 'KWD', '500 KWD'],
    ['12.50', 'KWD', '12500 KWD'],
    ['1,000.00', 'EUR', '100000 EUR'],
    ['10.00', undefined, '10 KRW'],
    ['0.07', 'USD', '7 USD'],
  ] as const)
    t.is(read(raw, code), expected, raw);
});

test('a comma groups thousands and nothing else; where it could be a decimal comma the amount is refused', (t) => {
  for (const [raw, code, expected] of [
    ['10,000', undefined, '10000 KRW'],
    ['1,000 €', undefined, '100000 EUR'],
    ['1,234,567', 'TND', '1234567000 TND'],
    ['1,005', 'TND', 'grouping'],
    ['10,00 €', undefined, 'form'],
    ['1,00', undefined, 'form'],
    ['1,5', 'USD', 'form'],
    ['0,500', 'USD', 'form'],
    ['1,00,000', 'INR', 'form'],
    ['1234,567', undefined, 'form'],
    [',500', undefined, 'form'],
    ['1,000,', undefined, 'form'],
    ['1.', undefined, 'form'],
    ['.5', 'USD', 'form'],
  ] as const)
    t.is(read(raw, code), expected, raw);
});

test('spaces, apostrophes, signs and digits of other scripts within an amount are refused', (t) => {
  for (const raw of [
    '1 000',
    '1\u00a0000',
    '1\u202f000',
    '1\u2009000',
    "1'000",
    '1’000',
    '1_000',
    '١٠٠٠',
    '१०००',
    '10²',
    '①',
    '½',
    '1٬000',
    '+10',
    '10-',
    '1e3',
    '0x10',
    '10%',
    '10 000 KRW',
    '',
    ' ',
    'KRW',
    '₩',
    '10 10',
    'NaN',
    'Infinity',
  ])
    t.is(read(raw), 'form', raw);
  for (const raw of ['-1', '−1', '－1', '(1)', '₩-1', '-₩1', 'KRW -1']) t.is(read(raw), 'negative', raw);
  t.is(read('10,000\u00a0₩'), '10000 KRW');
  t.is(read('￦１０，０００'), '10000 KRW');
});

test('a sign that currencies share says nothing alone, and must fit the code beside it', (t) => {
  for (const raw of ['$10', '10 $', '¥10', '￥10', '£10', '10 kr', '10元', 'ABC 10', 'XXX 10', 'XTS 10'])
    t.is(read(raw), 'sign', raw);
  for (const [raw, code, expected] of [
    ['$10', 'CAD', '1000 CAD'],
    ['$10 USD', undefined, '1000 USD'],
    ['US$10', undefined, '1000 USD'],
    ['10 kr', 'ISK', '10 ISK'],
    ['¥10', 'CNY', '1000 CNY'],
    ['₩10', undefined, '10 KRW'],
    ['10원', undefined, '10 KRW'],
    ['€10', 'USD', 'conflict'],
    ['$10', 'KRW', 'conflict'],
    ['₩10 USD', undefined, 'conflict'],
    ['$10 €', undefined, 'conflict'],
    ['USD 10 KRW', undefined, 'conflict'],
    ['10 USD', 'KRW', 'conflict'],
  ] as const)
    t.is(read(raw, code), expected, raw);
});

test('of a JSON number nothing is rounded: what a double may not hold, or its currency has not, is refused', (t) => {
  for (const [raw, code, expected] of [
    [10_000.5, undefined, 'decimals'],
    [10_000.5, 'USD', '1000050 USD'],
    [1.005, 'USD', 'decimals'],
    [1.005, 'KWD', '1005 KWD'],
    [1e21, undefined, 'size'],
    [2 ** 53, undefined, 'size'],
    [0.1 + 0.2, 'USD', 'precision'],
    [1e-7, 'USD', 'precision'],
    [-0.01, 'USD', 'negative'],
    [Number.NaN, undefined, 'form'],
    [Number.POSITIVE_INFINITY, undefined, 'form'],
    [-0, undefined, '0 KRW'],
  ] as const)
    t.is(read(raw, code), expected, String(raw));
});

const codes = ['KRW', 'USD', 'KWD'] as const;
const exponents = { KRW: 0, USD: 2, KWD: 3 } as const;

test('an amount is read as it was written, or refused: never as another one', (t) => {
  const minor = fc.bigInt({ min: 0n, max: 9_007_199_254_740_991n });
  fc.assert(
    fc.property(minor, fc.constantFrom(...codes), fc.boolean(), (amount, code, grouped) => {
      const digits = String(amount).padStart(exponents[code] + 1, '0');
      const at = digits.length - exponents[code];
      const whole = grouped ? digits.slice(0, at).replace(/\B(?=(\d{3})+$)/g, ',') : digits.slice(0, at);
      const text = exponents[code] === 0 ? whole : `${whole}.${digits.slice(at)}`;
      const ambiguous = code === 'KWD' && /^[1-9]\d{0,2}\.\d{3}$/.test(text);
      t.is(read(`${text} ${code}`), ambiguous ? 'grouping' : `${amount} ${code}`, text);
    }),
  );
});

test('no text of digits, separators and blanks is read as more or less than its digits say', (t) => {
  const character = fc.constantFrom(..."0123456789.,  \u00a0\u202f'’٠٫_-+");
  fc.assert(
    fc.property(fc.string({ unit: character, maxLength: 12 }), fc.constantFrom(...codes), (text, code) => {
      const money = parseMoney(text, code);
      if (typeof money === 'string') return;
      // Whoever takes every dot and comma for a group must come to the same amount, or could not read it.
      const separators = text.match(/[.,]/g) ?? [];
      t.regex(text.trim(), /^[\d.,]+$/);
      const asGroups = /^[1-9]\d{0,2}([.,]\d{3})+$/.test(text.trim());
      if (asGroups && new Set(separators).size === 1)
        t.is(money.amountMinor, Number(text.replace(/\D/g, '')) * 10 ** exponents[code], text);
    }),
    { numRuns: 5_000 },
  );
});

test('of the codes only currencies that people pay with are known', (t) => {
  for (const code of ['KRW', 'USD', 'XCG', 'VED', 'SLE']) t.true(isCurrency(code), code);
  for (const code of [
    'ANG',
    'BGN',
    'HRK',
    'DEM',
    'SLL',
    'ZWL',
    'XXX',
    'XTS',
    'XAU',
    'XDR',
    'CLF',
    'USN',
    'krw',
    'ınr',
  ])
    t.false(isCurrency(code), code);
  // Same letters once in upper case, but not a code.
  t.is(read('ınr 10'), 'form');
});
