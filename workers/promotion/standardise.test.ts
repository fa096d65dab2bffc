import test from 'ava';
import fc from 'fast-check';
import Value from 'typebox/value';
import { promoBehavior, purchase } from '../../catalog/events/promotion.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { ageBandOf, cardLast4 } from './mask.ts';
import { parseJson, standardisePromoBehavior, standardisePurchase } from './standardise.ts';
import { parseUtcMs } from './time.ts';

const options = { timeZone: 'Asia/Seoul' };
const base = {
  purchaseId: 'p1',
  userId: 'u1',
  productId: 'x1',
  quantity: 1,
  price: { amountMinor: 1000, currency: 'KRW' },
  purchasedAt: '2026-11-20T01:02:03.456Z',
};
const act = { userId: 'u1', promotionId: 'm1', action: 'click', actedAt: '2026-11-20T01:02:03.456Z' };

function without(...names: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(base).filter(([name]) => !names.includes(name)));
}

/** The standard purchase, or `code field`. */
function outcome(raw: unknown, more: object = {}) {
  const result = standardisePurchase(raw, { ...options, ...more });
  return result.ok ? result.value : `${result.rejection.code} ${result.rejection.field}`;
}

function price(fields: Record<string, unknown>): unknown {
  const result = outcome({ ...without('price'), ...fields });
  return typeof result === 'string' ? result : `${result.price.amountMinor} ${result.price.currency}`;
}

function instant(purchasedAt: unknown, timeZone = 'Asia/Seoul'): unknown {
  const result = outcome({ ...base, purchasedAt }, { timeZone });
  return typeof result === 'string' ? result : result.purchasedAt;
}

test('a record in standard form comes back as the very same object', (t) => {
  t.is(outcome(base), base as never);
  const full = { ...base, productName: 'Mug', ageBand: '30s', cardLast4: '1234' };
  t.is(outcome(full), full as never);
  const result = standardisePromoBehavior(act, options);
  t.true(result.ok && result.value === (act as never));
});

test('fields are known by many names, whatever their case and separators', (t) => {
  for (const userId of ['userId', 'user_id', 'uid', 'USER_ID', 'UserID', 'user-id'])
    t.deepEqual(outcome({ ...without('userId'), [userId]: ' u1 ' }), base as never, userId);
  for (const id of ['purchase_id', 'orderId', 'order_id', 'id'])
    t.deepEqual(outcome({ ...without('purchaseId'), [id]: 'p1' }), base as never, id);
  for (const time of ['timestamp', 'ts', 'purchased_at', 'time'])
    t.deepEqual(outcome({ ...without('purchasedAt'), [time]: 1795136523456 }), {
      ...base,
      purchasedAt: '2026-11-20T01:02:03.456Z',
    } as never);
  for (const quantity of ['qty', 'quantity'])
    t.deepEqual(outcome({ ...without('quantity'), [quantity]: '1' }), base as never);
});

test('a field under several names is fine while they agree and rejected when they do not', (t) => {
  t.deepEqual(outcome({ ...base, user_id: 'u1', uid: ' u1' }), base as never);
  t.is(outcome({ ...base, user_id: 'u2' }), 'MUSTER_FIELD_CONFLICT userId');
  t.is(price({ price: 1000, amount: '1,000' }), '1000 KRW');
  t.is(price({ price: 1000, amount: 2000 }), 'MUSTER_FIELD_CONFLICT price');
  t.deepEqual(outcome({ ...base, ts: 1795136523456 }), base as never);
  t.is(outcome({ ...base, ts: 1795136523457 }), 'MUSTER_FIELD_CONFLICT purchasedAt');
});

test('ids may be whole numbers, and nothing that is not certain', (t) => {
  t.deepEqual(outcome({ ...base, userId: 42 }), { ...base, userId: '42' } as never);
  t.is(outcome({ ...base, userId: 1.5 }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: 2 ** 53 }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: '' }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: true }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: ['u1'] }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: 'x'.repeat(201) }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: 'a\nb' }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: 'a\ud800' }), 'MUSTER_FIELD_INVALID userId');
  t.is(outcome({ ...base, userId: null }), 'MUSTER_FIELD_MISSING userId');
});

test('a purchase without an id takes the id of its message', (t) => {
  t.is(outcome(without('purchaseId')), 'MUSTER_FIELD_MISSING purchaseId');
  t.deepEqual(outcome(without('purchaseId'), { fallbackId: 'purchase-3-17' }), {
    ...base,
    purchaseId: 'purchase-3-17',
  } as never);
});

test('names are trimmed and in Unicode NFC', (t) => {
  const result = outcome({ ...base, productName: '  Cafe\u0301 \u1100\u1161 ' });
  t.is(typeof result === 'string' ? result : result.productName, 'Caf\u00e9 \uac00');
  t.is(JSON.stringify(outcome({ ...base, productName: '  ' })), JSON.stringify(base));
});

test('times of every notation become UTC with ms', (t) => {
  const expected = '2026-11-20T01:02:03.456Z';
  const cases: readonly (readonly [unknown, string])[] = [
    [1795136523456, expected],
    ['1795136523456', expected],
    [1795136523, '2026-11-20T01:02:03.000Z'],
    [1795136523.4569, expected],
    ['1795136523.4569', expected],
    ['2026-11-20T10:02:03.456+09:00', expected],
    ['2026-11-20T10:02:03.456+0900', expected],
    ['2026-11-20T10:02:03,456789+09', expected],
    ['2026-11-20 10:02:03.456', expected],
    ['2026-11-19T20:02:03.456-05:00', expected],
    ['2026-11-20T10:02', '2026-11-20T01:02:00.000Z'],
    ['2026-11-20t01:02:03.456z', expected],
    ['2026-11-20T24:00:00Z', '2026-11-21T00:00:00.000Z'],
    ['2016-12-31T23:59:60Z', '2017-01-01T00:00:00.000Z'],
    ['2017-01-01T08:59:60+09:00', '2017-01-01T00:00:00.000Z'],
    ['2024-02-29T00:00:00Z', '2024-02-29T00:00:00.000Z'],
  ];
  for (const [raw, utc] of cases) t.is(instant(raw), utc, String(raw));
});

test('what is no time is rejected', (t) => {
  const invalid = 'MUSTER_TIME_INVALID purchasedAt';
  const range = 'MUSTER_TIME_OUT_OF_RANGE purchasedAt';
  const cases: readonly (readonly [unknown, string])[] = [
    ['2026-02-31T00:00:00Z', invalid],
    ['2025-02-29T00:00:00Z', invalid],
    ['2026-13-01T00:00:00Z', invalid],
    ['2026-00-01T00:00:00Z', invalid],
    ['2026-11-20T24:00:01Z', invalid],
    ['2026-11-20T24:00:00.001Z', invalid],
    ['2026-11-20T25:00:00Z', invalid],
    ['2026-11-20T10:60:00Z', invalid],
    ['2026-11-20T10:00:60Z', invalid],
    ['2026-11-20T10:00:00+15:00', invalid],
    ['2026-11-20', invalid],
    ['yesterday', invalid],
    ['', invalid],
    [true, invalid],
    [{}, invalid],
    ['1999-12-31T23:59:59Z', range],
    ['2100-01-01T00:00:00Z', range],
    [0, range],
    [-1, range],
    [1e15, range],
    [1e300, range],
    ['1795136523456789', range],
  ];
  for (const [raw, expected] of cases) t.is(instant(raw), expected, String(raw));
});

test('a time without an offset is read by the clocks of the zone, summer time and all', (t) => {
  t.is(instant('2026-07-01T12:00:00', 'America/New_York'), '2026-07-01T16:00:00.000Z');
  t.is(instant('2026-12-01T12:00:00', 'America/New_York'), '2026-12-01T17:00:00.000Z');
  t.is(instant('2026-03-08T02:30:00', 'America/New_York'), 'MUSTER_TIME_INVALID purchasedAt');
  t.is(instant('2026-03-08T03:00:00', 'America/New_York'), '2026-03-08T07:00:00.000Z');
  t.is(instant('2026-11-01T01:30:00', 'America/New_York'), 'MUSTER_TIME_AMBIGUOUS purchasedAt');
  t.is(instant('2026-11-01T01:30:00-05:00', 'America/New_York'), '2026-11-01T06:30:00.000Z');
  t.is(instant('2026-11-01T02:00:00', 'America/New_York'), '2026-11-01T07:00:00.000Z');
  t.is(instant('2026-10-04T02:15:00', 'Australia/Lord_Howe'), 'MUSTER_TIME_INVALID purchasedAt');
});

test('the quick reader of standard times agrees with the platform on every day and refuses the rest', (t) => {
  fc.assert(
    fc.property(
      fc.date({
        min: new Date('2000-01-01T00:00:00Z'),
        max: new Date('2099-12-31T23:59:59.999Z'),
        noInvalidDate: true,
      }),
      (date) => parseUtcMs(date.toISOString()) === date.getTime(),
    ),
  );
  for (let day = Date.UTC(2000, 0, 1); day < Date.UTC(2100, 0, 1); day += 86_400_000)
    if (parseUtcMs(new Date(day).toISOString()) !== day) t.fail(new Date(day).toISOString());
  for (const no of [
    '2026-02-29T00:00:00.000Z',
    '2026-11-31T00:00:00.000Z',
    '2026-11-20T24:00:00.000Z',
    '2026-11-20T00:00:00.00xZ',
  ])
    t.true(Number.isNaN(parseUtcMs(no)), no);
});

test('amounts of every notation become minor units and a code', (t) => {
  const cases: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ price: '10,000' }, '10000 KRW'],
    [{ price: '10000' }, '10000 KRW'],
    [{ price: 10000 }, '10000 KRW'],
    [{ price: '₩10,000' }, '10000 KRW'],
    [{ price: '￦１０，０００' }, '10000 KRW'],
    [{ price: '10,000원' }, '10000 KRW'],
    [{ price: '10,000', currency: 'krw' }, '10000 KRW'],
    [{ price: '10,000.00' }, '10000 KRW'],
    [{ price: '$1,234.50', currency: 'USD' }, '123450 USD'],
    [{ price: '$1,234.50', currency: 'CAD' }, '123450 CAD'],
    [{ price: 'US$1.5' }, '150 USD'],
    [{ price: 'USD 1234.5' }, '123450 USD'],
    [{ price: '1234.5 usd' }, '123450 USD'],
    [{ price: 12.5, currency: 'USD' }, '1250 USD'],
    [{ price: 0.07, currency: 'USD' }, '7 USD'],
    [{ price: 1.005, currency: 'KWD' }, '1005 KWD'],
    [{ price: '¥100', currency: 'JPY' }, '100 JPY'],
    [{ price: 0 }, '0 KRW'],
    [{ price: { amount: '1,000.10', currency: 'EUR' } }, '100010 EUR'],
    [{ price: { amountMinor: 5, currency: 'USD' }, currency: 'usd' }, '5 USD'],
    [{ totalPrice: '90071992547409.91', currency: 'USD' }, '9007199254740991 USD'],
    [{ price: 9007199254740991 }, '9007199254740991 KRW'],
  ];
  for (const [fields, expected] of cases) t.is(price(fields), expected, JSON.stringify(fields));
});

test('an amount that could mean two things, or nothing, is rejected', (t) => {
  const invalid = 'MUSTER_MONEY_INVALID price';
  const cases: readonly (readonly [Record<string, unknown>, string])[] = [
    [{ price: '1.234,50', currency: 'EUR' }, invalid],
    [{ price: '1,23', currency: 'EUR' }, invalid],
    [{ price: '1 000' }, invalid],
    [{ price: '1e3' }, invalid],
    [{ price: '' }, invalid],
    [{ price: 'free' }, invalid],
    [{ price: -1 }, invalid],
    [{ price: '-₩1' }, invalid],
    [{ price: '(100)' }, invalid],
    [{ price: Number.NaN }, invalid],
    [{ price: 2 ** 53 }, invalid],
    [{ price: '9007199254740992' }, invalid],
    [{ price: '90071992547409.92', currency: 'USD' }, invalid],
    [{ price: 10.5 }, invalid],
    [{ price: 0.1 + 0.2, currency: 'USD' }, invalid],
    [{ price: 1e-7, currency: 'USD' }, invalid],
    [{ price: '1.234', currency: 'USD' }, 'MUSTER_MONEY_AMBIGUOUS price'],
    [{ price: '12.345678', currency: 'USD' }, invalid],
    [{ price: [1] }, invalid],
    [{ price: true }, invalid],
    [{ price: '¥100' }, 'MUSTER_MONEY_AMBIGUOUS price'],
    [{ price: '59.000 ₫' }, 'MUSTER_MONEY_AMBIGUOUS price'],
    [{ price: { amount: '1.000', currency: 'EUR' } }, 'MUSTER_MONEY_AMBIGUOUS price'],
    [{ price: 'ABC 100' }, 'MUSTER_MONEY_AMBIGUOUS price'],
    [{ price: { amountMinor: 5 } }, 'MUSTER_MONEY_AMBIGUOUS price'],
    [{ price: '₩100', currency: 'USD' }, 'MUSTER_FIELD_CONFLICT price'],
    [{ price: '100 USD', currency: 'KRW' }, 'MUSTER_FIELD_CONFLICT price'],
    [{ price: 100, currency: 'XYZ' }, 'MUSTER_CURRENCY_UNKNOWN currency'],
    [{ price: 100, currency: 'DEM' }, 'MUSTER_CURRENCY_UNKNOWN currency'],
    [{}, 'MUSTER_FIELD_MISSING price'],
  ];
  for (const [fields, expected] of cases) t.is(price(fields), expected, JSON.stringify(fields));
});

test('decimal amounts are exact: any amount of cents survives as text and as a number', (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: 10n ** 15n - 1n }), (cents) => {
        const decimal = `${cents / 100n}.${(cents % 100n).toString().padStart(2, '0')}`;
        return (
          price({ price: decimal, currency: 'USD' }) === `${cents} USD` &&
          price({ price: Number(decimal), currency: 'USD' }) === `${cents} USD`
        );
      }),
    ),
  );
});

test('a quantity is a whole number from 1', (t) => {
  for (const quantity of [0, -1, 1.5, 1_000_001, '0', '1.0', '1,000', 'one', true, [1]])
    t.is(outcome({ ...base, quantity }), 'MUSTER_QUANTITY_INVALID quantity', String(quantity));
  t.is(outcome(without('quantity')), 'MUSTER_FIELD_MISSING quantity');
});

test('of a card only the last four digits stay, of an age the ten years', (t) => {
  for (const card of [
    '4111 1111 1111 1234',
    '4111-1111-1111-1234',
    '************1234',
    '1234',
    4111111111111234,
  ]) {
    const result = outcome({ ...base, cardNumber: card });
    t.is(typeof result === 'string' ? result : result.cardLast4, '1234', String(card));
  }
  t.is(outcome({ ...base, card_no: '4111 1111 1111 ****' }), 'MUSTER_FIELD_INVALID cardLast4');
  t.is(outcome({ ...base, card_no: 'visa 1234' }), 'MUSTER_FIELD_INVALID cardLast4');
  t.is(
    outcome({ ...base, cardNumber: '4111 1111 1111 1234', cardLast4: '9999' }),
    'MUSTER_FIELD_CONFLICT cardLast4',
  );
  t.is(cardLast4('123'), undefined);
  for (const [age, band] of [
    [0, '0s'],
    [9, '0s'],
    [10, '10s'],
    ['34', '30s'],
    [79, '70s'],
    [80, '80+'],
    [120, '80+'],
  ] as const) {
    const result = outcome({ ...base, age });
    t.is(typeof result === 'string' ? result : result.ageBand, band);
  }
  for (const [given, band] of [
    ['30대', '30s'],
    ['30-39', '30s'],
    ['90s', '80+'],
    ['unknown', 'unknown'],
  ] as const) {
    const result = outcome({ ...base, ageBand: given });
    t.is(typeof result === 'string' ? result : result.ageBand, band);
  }
  for (const age of [-1, 151, 30.5, 'old']) t.is(outcome({ ...base, age }), 'MUSTER_FIELD_INVALID age');
  t.is(outcome({ ...base, age: 30, ageBand: '20s' }), 'MUSTER_FIELD_CONFLICT ageBand');
  t.is(ageBandOf(200), undefined);
});

test('an act says click or view, under any of its names', (t) => {
  const rest = { userId: 'u1', promotionId: 'm1', actedAt: act.actedAt };
  for (const raw of [{ action: 'Click' }, { type: 'clicked' }, { event: ' CLICK ' }, { event_type: 'click' }])
    t.deepEqual(standardisePromoBehavior({ ...rest, ...raw }, options), { ok: true, value: act as never });
  const result = standardisePromoBehavior({ ...rest, action: 'buy' }, options);
  t.is(result.ok ? '' : result.rejection.field, 'action');
  t.deepEqual(
    standardisePromoBehavior({ uid: 'u1', promo_id: 'm1', action: 'click', ts: 1795136523456 }, options),
    { ok: true, value: act as never },
  );
});

test('a value that is not one JSON object of UTF-8 text is rejected with its own code', (t) => {
  const code = (bytes: Buffer | null) => {
    const result = parseJson(bytes);
    return result.ok ? 'ok' : result.rejection.code;
  };
  t.is(code(null), 'MUSTER_EMPTY_VALUE');
  t.is(code(Buffer.alloc(0)), 'MUSTER_EMPTY_VALUE');
  t.is(code(Buffer.from([0xff, 0xfe, 0])), 'MUSTER_NOT_UTF8');
  t.is(code(Buffer.from('{"a":')), 'MUSTER_JSON_INVALID');
  t.is(code(Buffer.from('{"a":NaN}')), 'MUSTER_JSON_INVALID');
  t.is(code(Buffer.from('[]')), 'MUSTER_NOT_OBJECT');
  t.is(code(Buffer.from('null')), 'MUSTER_NOT_OBJECT');
  t.is(code(Buffer.from('"x"')), 'MUSTER_NOT_OBJECT');
  t.is(code(Buffer.alloc(1_048_577, 0x20)), 'MUSTER_TOO_LARGE');
  t.is(code(Buffer.from('\ufeff{}')), 'ok');
  t.is(code(Buffer.from('['.repeat(500_000))), 'MUSTER_JSON_INVALID');
});

const anyText = fc.string({ unit: 'binary' });
const wild = fc.oneof(fc.jsonValue(), anyText, fc.double(), fc.integer());
const anyPurchase = fc.record(
  {
    purchaseId: fc.oneof({ weight: 5, arbitrary: fc.uuid() }, fc.integer(), wild),
    user_id: fc.oneof(fc.string({ minLength: 1 }), anyText, fc.nat()),
    productId: fc.oneof(fc.string({ minLength: 1 }), fc.nat()),
    productName: fc.oneof(anyText, wild),
    qty: fc.oneof({ weight: 8, arbitrary: fc.integer({ min: 0, max: 5 }) }, wild),
    amount: fc.oneof(
      fc.nat(),
      fc.constantFrom('10,000', '$1.5', '₩3', '1.50', '12 USD'),
      fc.double({ min: 0, max: 1e6 }),
      wild,
    ),
    currency: fc.oneof({ weight: 6, arbitrary: fc.constantFrom('USD', 'krw', 'KWD') }, wild),
    ts: fc.oneof(
      { weight: 6, arbitrary: fc.integer({ min: 946684800, max: 4102444799 }) },
      fc.constantFrom('2026-11-20 10:00:00', '2026-02-31 10:00'),
      wild,
    ),
    age: fc.oneof({ weight: 6, arbitrary: fc.integer({ min: -1, max: 160 }) }, wild),
    card_no: fc.oneof({ weight: 6, arbitrary: fc.constantFrom('4111111111111111', '**** 1234') }, wild),
  },
  { requiredKeys: ['user_id', 'productId', 'qty', 'amount', 'ts'] },
);

test('whatever comes: no throw, the schema holds, standardising again changes nothing', (t) => {
  let accepted = 0;
  fc.assert(
    fc.property(anyPurchase, (raw) => {
      const first = standardisePurchase(raw, { ...options, fallbackId: 'purchase-0-1' });
      if (!first.ok) return true;
      accepted += 1;
      const again = standardisePurchase(JSON.parse(JSON.stringify(first.value)), options);
      t.deepEqual(again, first);
      return Value.Check(purchase, first.value);
    }),
    { numRuns: 2000 },
  );
  t.true(accepted > 50, `only ${accepted} were accepted`);
  fc.assert(
    fc.property(
      fc.oneof(
        fc.jsonValue(),
        fc.record({ uid: wild, promo_id: wild, type: fc.constantFrom('click', 'view'), ts: wild }),
      ),
      (raw) => {
        const first = standardisePromoBehavior(raw, options);
        if (!first.ok) return true;
        t.deepEqual(standardisePromoBehavior(JSON.parse(JSON.stringify(first.value)), options), first);
        return Value.Check(promoBehavior, first.value);
      },
    ),
    { numRuns: 1000 },
  );
});

/** Values that are wrong in any field, with what must not be found in a reason. */
const secrets: readonly (readonly [unknown, string])[] = [
  ['eva.example@mail.example', 'eva'],
  ['Eva Example, 4111 1111 1111 1111', 'Eva'],
  [{ 'eva.example': 'eva.example' }, 'eva'],
  [['eva.example'], 'eva'],
  [-4_111_111_111_111_111, '4111'],
];

test('no reason holds a value, or a part of one, whatever field it is in', (t) => {
  const cases = [
    { from: base, standardise: (raw: object) => standardisePurchase(raw, options) },
    { from: act, standardise: (raw: object) => standardisePromoBehavior(raw, options) },
  ];
  let refused = 0;
  for (const { from, standardise } of cases) {
    t.true(standardise(from).ok);
    for (const field of Object.keys(from))
      for (const [value, secret] of secrets) {
        const made = standardise({ ...from, [field]: value });
        if (made.ok) continue;
        refused += 1;
        t.false(made.rejection.reason.includes(secret), `${field}: ${made.rejection.reason}`);
      }
  }
  t.true(refused > 25, `only ${refused} were refused`);
});

test('a pseudonym is the same for the same user and key, has the published shape, and differs by key', (t) => {
  const key = Buffer.alloc(32, 1);
  const one = pseudonym(key, 'user-1');
  t.regex(one, /^u_[A-Za-z0-9_-]{22}$/);
  t.is(pseudonym(key, 'user-1'), one);
  t.not(pseudonym(key, 'user-2'), one);
  t.not(pseudonym(Buffer.alloc(32, 2), 'user-1'), one);
  for (let i = 0; i < 90_000; i += 1) pseudonym(key, `filler-${i}`);
  t.is(pseudonym(key, 'user-1'), one);
});
