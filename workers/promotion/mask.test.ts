import test from 'ava';
import fc from 'fast-check';
import { isPublicId, maskedName, namesNobody } from './mask.ts';
import { standardisePromoBehavior, standardisePurchase } from './standardise.ts';

const options = { timeZone: 'Asia/Seoul' };
const base = {
  purchaseId: 'p1',
  userId: 'u1',
  productId: 'x1',
  quantity: 1,
  price: 1000,
  purchasedAt: '2026-11-20T01:02:03.456Z',
};
const act = { userId: 'u1', promotionId: 'm1', action: 'click', actedAt: '2026-11-20T01:02:03.456Z' };

const refusal = (raw: object) => {
  const result = standardisePurchase(raw, options);
  return result.ok ? 'taken' : `${result.rejection.code} ${result.rejection.field}`;
};

test('a field `name` may be a person’s: it goes nowhere', (t) => {
  for (const raw of [
    { ...base, name: '김철수' },
    { ...base, user_name: 'Kim Cheolsu', customerName: '김철수', phone: '010-1234-5678', email: 'k@x.kr' },
  ]) {
    const result = standardisePurchase(raw, options);
    t.true(result.ok);
    t.notRegex(JSON.stringify(result), /김철수|Kim|010|@/);
  }
});

test('what looks like a phone, a card or a resident number, or an e-mail address, is masked in a product name', (t) => {
  for (const [name, masked] of [
    ['이어폰 010-1234-5678 문의', '이어폰 *** 문의'],
    ['이어폰01012345678문의', '이어폰***문의'],
    ['call 010.1234.5678', 'call ***'],
    ['call 010 1234 5678', 'call ***'],
    ['call 010\u200b1234\u200b5678', 'call ***'],
    ['call ０１０－１２３４－５６７８', 'call ***'],
    ['call ٠١٠-١٢٣٤-٥٦٧٨', 'call ***'],
    ['call ०१०१२३४५६७८', 'call ***'],
    ['call 𝟘𝟙𝟘-𝟙𝟚𝟛𝟜-𝟝𝟞𝟟𝟠', 'call ***'],
    ['call +82 10-1234-5678', 'call ***'],
    ['call (02) 123-4567', 'call (***'],
    ['call (555) 123-4567', 'call (***'],
    ['card 4111 1111 1111 1111!', 'card ***!'],
    ['card 4111-1111-1111-1111', 'card ***'],
    ['card 378282246310005', 'card ***'],
    ['카드4111111111111111번', '카드***번'],
    ['id 901010-1234567', 'id ***'],
    ['id 9010101234567', 'id ***'],
    ['mail kim.cheolsu+x@example.co.kr now', 'mail *** now'],
  ] as const)
    t.is(maskedName(name), masked, name);
});

test('ordinary names and ids stay as they are', (t) => {
  for (const name of [
    '무선 이어폰 (블랙) 2.5m 50%',
    'LG 27인치 4K 모니터 27UP850N 3840x2160 144Hz',
    'A4 용지 80g 2500매 5권',
    'iPhone 17 Pro Max 1024GB',
    'PS5 CFI-2018A 1,234,567원',
    '2026-11-28 특가',
    'Café 가',
  ])
    t.is(maskedName(name), name);
  for (const id of [
    'sku-7',
    'purchase-3-17',
    '550e8400-e29b-41d4-a716-446655440000',
    '12345678-1234-4234-8234-123456789012',
    '8801062123452',
    '1861234567890123456',
    '20261128123456789',
    'a3f5c1d2e4b60718293a4b5c6d7e8f90',
    '봄세일_2026',
    'spring sale',
    'shop/42:item#7',
  ])
    t.true(isPublicId(id), id);
});

test('an id that holds what a person is known by is refused, and says which field', (t) => {
  for (const id of [
    'kim@example.com',
    '010-1234-5678',
    '01012345678',
    'order-01012345678-1',
    '4111111111111111',
    '4111-1111-1111-1111',
    '901010-1234567',
    '٠١٠١٢٣٤٥٦٧٨',
    '+821012345678',
    '{"name":"x"}',
    '<b>',
  ]) {
    t.false(isPublicId(id), id);
    t.is(refusal({ ...base, productId: id }), 'MUSTER_FIELD_PERSONAL productId', id);
    t.is(refusal({ ...base, purchaseId: id }), 'MUSTER_FIELD_PERSONAL purchaseId', id);
    const result = standardisePromoBehavior({ ...act, promotionId: id }, options);
    t.is(result.ok ? '' : result.rejection.field, 'promotionId', id);
  }
});

test('the quick way and the thorough one agree on what may go out', (t) => {
  const character = fc.constantFrom(...'0123456789012345678901- .+@(x가٠');
  fc.assert(
    fc.property(fc.string({ unit: character, minLength: 1, maxLength: 24 }), (text) => {
      const standard = { ...base, price: { amountMinor: 1, currency: 'KRW' } };
      const trimmed = text.trim();
      if (trimmed === '') return;
      t.is(refusal({ ...standard, productId: trimmed }) === 'taken', isPublicId(trimmed), trimmed);
      // A field more, so that it is no standard record.
      t.is(refusal({ ...standard, more: 1, productId: trimmed }) === 'taken', isPublicId(trimmed), trimmed);
      const named = standardisePurchase({ ...standard, productName: trimmed }, options);
      t.is(named.ok ? named.value.productName : undefined, maskedName(trimmed));
    }),
    { numRuns: 3_000 },
  );
});

test('a user id that names nobody would make one person of strangers: it is refused', (t) => {
  for (const userId of [
    'guest',
    'Guest',
    ' null ',
    'undefined',
    'anonymous',
    'NaN',
    'none',
    '0',
    0,
    -1,
    '-',
    '000',
    '(null)',
    '"guest"',
    '00000000-0000-0000-0000-000000000000',
    '게스트',
    '비회원',
    'unknown',
    'N/A',
    '?',
  ] as const) {
    t.is(refusal({ ...base, userId }), 'MUSTER_USER_UNKNOWN userId', String(userId));
    t.is(
      refusal({ ...base, price: { amountMinor: 1, currency: 'KRW' }, userId }),
      'MUSTER_USER_UNKNOWN userId',
      String(userId),
    );
    const result = standardisePromoBehavior({ ...act, userId }, options);
    t.is(result.ok ? '' : result.rejection.code, 'MUSTER_USER_UNKNOWN', String(userId));
  }
  for (const userId of ['guest-7f3a', 'u0', '10', 'nullius', 'anonymous-user-12', 7, '김철수']) {
    t.false(namesNobody(String(userId)));
    t.is(refusal({ ...base, userId }), 'taken', String(userId));
  }
});
