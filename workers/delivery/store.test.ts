/** What no real database can be made to do at the right moment; all else is in delivery.integration.test.ts. */
import test from 'ava';
import { NotNowError } from '../base/errors.ts';
import { bytesOfUuid } from '../base/ids.ts';
import { answeringDatabase } from '../store/answers.fixture.ts';
import { orderRow } from './rows.fixture.ts';
import { deliveryStore } from './store.ts';

const orderId = '01a223fb-0000-7000-8000-000000000001';
const photoId = '01a223fb-0000-7000-8000-000000000002';
const deliveredAtMs = Date.UTC(2026, 10, 29, 12);
const refundWithinMs = 600_000;

const delivered = orderRow({
  ...{ order_id: bytesOfUuid(orderId), state: 'DELIVERED', version: 6, rider: 'u_rider' },
  ...{ assigned_at: new Date(deliveredAtMs - 1_000), delivered_at: new Date(deliveredAtMs) },
  changed_at: new Date(deliveredAtMs),
});

test('who asks for a refund in time is in time, though the order is locked for seconds and it is tried again', async (t) => {
  let nowMs = deliveredAtMs + refundWithinMs;
  let tries = 0;
  const db = answeringDatabase(async (statement) => {
    if (statement.includes('FROM delivery_photo')) return [{ state: 'STORED' }];
    if (!statement.includes('FROM delivery_order')) return 1;
    tries += 1;
    if (tries === 2) return [delivered];
    nowMs += 5_000;
    const cause = Object.assign(new Error('Lock wait timeout exceeded'), { errno: 1_205 });
    throw new NotNowError('MUSTER_DATABASE_REFUSES', 'the database refuses for now', { cause });
  });
  const { step } = deliveryStore({ database: async () => db, clock: () => nowMs });
  const asked = { step: 'requestRefund', wanted: 'REFUND', complaint: 'cold', photoId } as const;
  const me = { role: 'customer', who: 'u_customer' } as const;
  const told = await step(orderId, me, asked, { scope: 'delivery:test', key: 'one', body: 'one' });
  t.deepEqual(told, { ok: true, state: 'REFUND_REQUESTED', version: 7 });
  t.is(tries, 2);
});
