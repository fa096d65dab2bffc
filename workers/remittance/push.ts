/** How remittances ended, told to the clients of their senders until one acknowledges it. */
import { remittanceDecided } from '../../catalog/events/remittance.ts';
import { eventReader } from '../kafka/event-reader.ts';
import { outcomesOf } from '../platform/outcomes.ts';
import { decided } from './events.ts';
import type { Found } from './store.ts';

export const remittanceOutcomes = outcomesOf({
  path: '/pay/remittances',
  tags: ['remittance'],
  callers: ['customer', 'operator'],
  what: 'how remittances ended',
  type: 'remittance-outcome',
  fields: '{remittanceId, state, reason?, amount, fee}',
  table: { table: 'remittance', id: 'remittance_id', address: 'sender' },
  read: eventReader(remittanceDecided, 'MUSTER_EVENT_INVALID'),
  decided: ({ one, decidedAtMs }: Found) => decided(one, decidedAtMs!),
  letter: ({ sender: address, remittanceId, state, reason, amount, fee }) => ({
    address,
    id: remittanceId,
    data: { remittanceId, state, reason, amount, fee },
  }),
});
