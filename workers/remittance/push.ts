/** How remittances ended, told to the clients of their senders until one acknowledges it. */
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import { type RemittanceDecided, remittanceDecided } from '../../catalog/events/remittance.ts';
import { pseudonym } from '../base/pseudonym.ts';
import type { Letter, Mailboxes } from '../http/mailbox.ts';
import { registerOutcomeStreams } from '../http/outcome-streams.ts';
import { userOf } from '../http/principals.ts';
import type { StreamLimits, Streams } from '../http/realtime.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { lettersOf } from '../platform/outcome-pusher.ts';
import { decided } from './events.ts';
import type { RemittanceStore } from './store.ts';

const readDecided = eventReader(remittanceDecided, 'MUSTER_EVENT_INVALID');
const table = { table: 'remittance', id: 'remittance_id', address: 'sender' };

const letterOf = ({ remittanceId, state, reason, amount, fee }: RemittanceDecided): Letter => ({
  type: 'remittance-outcome',
  id: remittanceId,
  data: { remittanceId, state, ...(reason === undefined ? {} : { reason }), amount, fee },
});

/** Understands a record of remittance-events, or throws MUSTER_EVENT_INVALID. */
export function readRemittanceLetter(record: Pick<IncomingRecord, 'value'>) {
  const told = readDecided(record);
  return { address: told.sender, letter: letterOf(told) };
}

export interface RemittanceStreamsOptions extends StreamLimits {
  database(): Promise<Kysely<unknown>>;
  readonly remittances: Pick<RemittanceStore, 'findAll'>;
  readonly pseudonymKey: Buffer;
  readonly mailboxes: Mailboxes;
}

export function registerRemittanceStreams(http: FastifyInstance, options: RemittanceStreamsOptions): Streams {
  const { database, remittances, pseudonymKey } = options;
  return registerOutcomeStreams(http, {
    ...options,
    path: '/pay/remittances',
    tags: ['remittance'],
    callers: ['customer', 'operator'],
    what: 'remittances',
    type: 'remittance-outcome',
    fields: '{remittanceId, state, reason?, amount, fee}',
    addressOf: async (request, named) => pseudonym(pseudonymKey, userOf(request, named, 'memberId')),
    ...lettersOf(database, table, async (ids) =>
      (await remittances.findAll(ids)).map(({ one, decidedAtMs }) => letterOf(decided(one, decidedAtMs!))),
    ),
  });
}
