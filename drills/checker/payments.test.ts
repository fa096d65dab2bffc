import test from 'ava';
import { checkPayments, type PaymentRows, type Slip } from './payments.ts';
import type { SeenRecord } from './reading.ts';
import { seen } from './seen.fixture.ts';

const paid: Slip = {
  id: 'p1',
  kind: 'PAID',
  paymentId: 'p1',
  merchant: 'u_shop',
  amountMinor: 300,
  currency: 'KRW',
};
const back: Slip = { ...paid, id: 'b1', kind: 'REFUNDED', amountMinor: 100 };
const isNew = true;

let offset = 0;
const told = (
  { id, merchant, amountMinor, currency, kind, paymentId }: Slip,
  more: object = {},
): SeenRecord =>
  seen({
    topic: 'payment-events',
    offset: offset++,
    key: `merchant:${merchant}`,
    value: JSON.stringify({
      eventId: id,
      paymentId,
      merchantId: merchant,
      kind,
      amount: { amountMinor, currency },
      ...(kind === 'REFUNDED' ? { refundId: id } : {}),
      ...more,
    }),
  });
const rows = (differences: Partial<PaymentRows> = {}): PaymentRows => ({
  done: [
    { ...paid, isNew },
    { ...back, isNew },
  ],
  settled: [paid, back],
  refunded: [{ paymentId: 'p1', paidMinor: 300, refundedMinor: 100 }],
  ...differences,
});
const judge = (differences: Partial<PaymentRows> = {}, records = [told(paid), told(back)]) =>
  checkPayments(rows(differences), records, ['alice']);
const findings = (...given: Parameters<typeof judge>) =>
  judge(...given).findings.map(({ kind, id }) => `${kind} ${id}`);

test('what is booked is told and taken once; told again is no harm, and so is what was told before the run', (t) => {
  t.deepEqual(findings(), []);
  const again = judge({}, [told(paid), told(back), told(back)]);
  t.deepEqual([again.findings.length, again.repeats], [0, 1]);
  t.deepEqual(findings({}, []), [], 'settlement has it, so it was told');
  t.deepEqual(findings({ done: [{ ...paid, isNew: false }], settled: [], refunded: [] }, []), []);
  t.deepEqual(findings({ refunded: [{ paymentId: 'p1', paidMinor: 300, refundedMinor: 300 }] }), []);
});

test('each wrong is told by its id', (t) => {
  t.deepEqual(findings({ settled: [paid] }), ['lost b1']);
  t.deepEqual(findings({ settled: [paid] }, [told(paid)]), ['untold b1']);
  t.deepEqual(findings({ settled: [paid, { ...back, amountMinor: 99 }] }), ['wrong b1']);
  t.deepEqual(findings({ settled: [paid, { ...back, merchant: 'u_other' }] }), ['wrong b1']);
  t.deepEqual(findings({ settled: [paid, back, { ...back, id: 'b2' }] }), ['from-nowhere b2']);
  t.deepEqual(findings({}, [told(paid), told(back), told({ ...back, id: 'b2' })]), ['from-nowhere b2']);
  t.deepEqual(findings({}, [told({ ...paid, amountMinor: 301 }), told(back)]), ['wrong p1']);
  t.deepEqual(findings({}, [told(paid), told({ ...back, paymentId: 'p2' })]), ['wrong b1']);
  t.deepEqual(findings({}, [told(paid), told(back, { refundId: 'b2' })]).length, 1);
  t.deepEqual(findings({ refunded: [{ paymentId: 'p1', paidMinor: 300, refundedMinor: 301 }] }), [
    'ledger p1',
  ]);
  t.deepEqual(findings({ refunded: [{ paymentId: 'p1', paidMinor: null, refundedMinor: 1 }] }), [
    'ledger p1',
  ]);
  t.regex(findings({}, [told(paid), told(back, { by: 'alice' })]).join(), /^personal-data payment-events-/);
});
