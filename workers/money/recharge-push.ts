/** How recharges ended, told to the clients of their members until one acknowledges it. */
import { rechargeDecided } from '../../catalog/events/money.ts';
import { eventReader } from '../kafka/event-reader.ts';
import { outcomesOf } from '../platform/outcomes.ts';
import { decided } from './events.ts';
import type { FoundRecharge } from './recharges.ts';

export const rechargeOutcomes = outcomesOf({
  path: '/pay/money/recharges',
  tags: ['money'],
  callers: ['customer', 'merchant', 'operator'],
  what: 'how recharges ended',
  type: 'recharge-outcome',
  fields: '{rechargeId, state, reason?, transferId?, amount}',
  table: { table: 'recharge', id: 'recharge_id', address: 'account_id' },
  read: eventReader(rechargeDecided, 'MUSTER_EVENT_INVALID'),
  decided: ({ one, decidedAtMs }: FoundRecharge) => decided(one, decidedAtMs!),
  letter: ({ member: address, rechargeId, state, reason, transferId, amount }) => ({
    address,
    id: rechargeId,
    data: { rechargeId, state, reason, transferId, amount },
  }),
});
