import { readFileSync } from 'node:fs';
import test from 'ava';
import { renderMachine } from './diagram.ts';
import { type Asked, type Asker, decide, type Order, type State, type Step, states } from './machine.ts';
import { leadsTo, steps } from './rules.fixture.ts';

const people = { customer: 'u_customer', owner: 'u_owner', rider: 'u_rider' } as const;
const roles = ['customer', 'owner', 'rider'] as const;
const as = (role: (typeof roles)[number]): Asker => ({ role, who: people[role] });

const order: Order = {
  orderId: '00000000-0000-7000-8000-000000000001',
  ...people,
  shopId: '00000000-0000-7000-8000-000000000002',
  itemId: '00000000-0000-7000-8000-000000000003',
  itemName: 'Udon',
  quantity: 2,
  paidMinor: 20_000,
  refundedMinor: 0,
  currency: 'KRW',
  district: 'mapo',
  state: 'PLACED',
  version: 7,
  assignedAtMs: 1_000,
  deliveredAtMs: 2_000,
  dueAtMs: undefined,
  wanted: 'REFUND',
  complaint: undefined,
  photoId: undefined,
  rejection: undefined,
  changedAtMs: 2_000,
};

function wish(step: Step): Asked {
  if (step === 'requestRefund') return { step, wanted: 'REFUND', complaint: 'cold', photoId: order.orderId };
  if (step === 'reject') return { step, rejection: 'it was hot' };
  if (step === 'dispatch') return { step, rider: 'u_next' };
  return { step };
}
const codeOf = (decided: ReturnType<typeof decide>) =>
  decided.ok ? decided.next.state : decided.refusal.code.replace('MUSTER_', '');

test('in every state each step is for whom the rules name, leads where they say, and any other is refused', (t) => {
  for (const state of states)
    for (const step of steps)
      for (const by of [...roles, 'clock'] as const) {
        const asker = by === 'clock' ? by : as(by);
        const decided = decide({ ...order, state }, asker, wish(step), 10_000);
        const expected = leadsTo(state, step, by);
        const what = `${state} ${step} ${by}`;
        t.is(decided.ok, expected !== undefined, what);
        if (!decided.ok) {
          t.regex(decided.refusal.code, /^MUSTER_STEP_(IMPOSSIBLE|NOT_YOURS)$/, what);
          continue;
        }
        t.true(expected!.includes(decided.next.state), what);
        t.is(decided.next.version, 8, what);
        t.is(decided.row.tells.includes('customer'), true, `${what}: the customer is told of each change`);
      }
});

test('who is no party of an order learns nothing of it', (t) => {
  for (const role of roles)
    for (const state of states)
      for (const step of steps)
        t.is(
          codeOf(decide({ ...order, state }, { role, who: 'u_other' }, wish(step), 10_000)),
          'DELIVERY_ORDER_UNKNOWN',
        );
  t.is(
    codeOf(decide({ ...order, rider: undefined }, { role: 'rider', who: '' }, { step: 'leave' }, 10_000)),
    'DELIVERY_ORDER_UNKNOWN',
    'nobody is the rider of an order that has none',
  );
});

test('a refund can be asked for until the last millisecond of ten minutes after delivery', (t) => {
  const asked = wish('requestRefund');
  const at = (ms: number) =>
    codeOf(decide({ ...order, state: 'DELIVERED' }, as('customer'), asked, 2_000 + ms));
  t.is(at(0), 'REFUND_REQUESTED');
  t.is(at(600_000), 'REFUND_REQUESTED');
  t.is(at(600_001), 'REFUND_TOO_LATE');
});

test('the clock delivers a second after assignment and not a millisecond before; the rider may earlier', (t) => {
  for (const state of ['ASSIGNED', 'DELIVERING'] as const satisfies readonly State[]) {
    const at = (by: Asker, ms: number) =>
      codeOf(decide({ ...order, state }, by, { step: 'deliver' }, 1_000 + ms));
    t.is(at('clock', 999), 'STEP_TOO_EARLY');
    t.is(at('clock', 1_000), 'DELIVERED');
    t.is(at(as('rider'), 1), 'DELIVERED');
  }
});

test('a called order is due at once, an assigned one a second later, and leaving with it changes nothing of that', (t) => {
  const next = (before: Partial<Order>, by: Asker, asked: Asked) => {
    const decided = decide({ ...order, ...before }, by, asked, 5_000);
    return decided.ok ? decided.next : undefined;
  };
  t.like(next({ state: 'COOKING' }, as('owner'), { step: 'call' }), { state: 'CALLED', dueAtMs: 5_000 });
  const assigned = next({ state: 'CALLED' }, 'clock', { step: 'dispatch', rider: 'u_next' });
  t.like(assigned, { state: 'ASSIGNED', rider: 'u_next', assignedAtMs: 5_000, dueAtMs: 6_000 });
  const left = decide(assigned!, { role: 'rider', who: 'u_next' }, { step: 'leave' }, 5_400);
  t.like(left.ok && left.next, { state: 'DELIVERING', dueAtMs: 6_000 });
  t.like(next({ state: 'CALLED' }, 'clock', { step: 'dispatch', rider: undefined }), {
    state: 'DELIVERY_FAILED',
    dueAtMs: undefined,
  });
});

test('money goes back whole when an order is called off, and only then', (t) => {
  for (const state of states)
    for (const step of steps)
      for (const by of [...roles, 'clock'] as const) {
        const decided = decide({ ...order, state }, by === 'clock' ? by : as(by), wish(step), 10_000);
        if (!decided.ok) continue;
        const isCalledOff = ['CANCELLED', 'REFUND_APPROVED'].includes(decided.next.state);
        t.is(decided.next.refundedMinor, isCalledOff ? 20_000 : 0, `${state} ${step}`);
        t.is(decided.row.givesBack === true, isCalledOff);
      }
});

test('a change that waited for another is not before it, by whichever clock', (t) => {
  const decided = decide({ ...order, changedAtMs: 9_000 }, as('owner'), { step: 'accept' }, 8_990);
  t.is(decided.ok && decided.next.changedAtMs, 9_000);
});

test('when the clock is set back by an hour, an order that is under way does not wait for an hour', (t) => {
  const [ahead, now] = [3_600_000, 1_000];
  const called = { ...order, state: 'CALLED', changedAtMs: ahead } as const;
  const assigned = decide(called, 'clock', { step: 'dispatch', rider: 'u_next' }, now);
  t.like(assigned.ok && assigned.next, { assignedAtMs: now, changedAtMs: now, dueAtMs: now + 1_000 });
  for (const state of ['ASSIGNED', 'DELIVERING'] as const satisfies readonly State[]) {
    const under = { ...order, state, assignedAtMs: ahead, changedAtMs: ahead };
    const delivered = decide(under, 'clock', { step: 'deliver' }, now);
    t.like(delivered.ok && delivered.next, { state: 'DELIVERED', deliveredAtMs: now });
  }
});

test('docs/delivery.md has the machine as it is', (t) => {
  const docs = readFileSync(new URL('../../docs/delivery.md', import.meta.url), 'utf8');
  t.true(docs.includes(renderMachine()), `docs/delivery.md needs this:\n${renderMachine()}`);
});
