/** How recharges ended, told to the clients of their members until one acknowledges it. */
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import { type RechargeDecided, rechargeDecided } from '../../catalog/events/money.ts';
import type { Letter, Mailboxes } from '../http/mailbox.ts';
import { registerOutcomeStreams } from '../http/outcome-streams.ts';
import type { StreamLimits, Streams } from '../http/realtime.ts';
import { eventReader } from '../kafka/event-reader.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { lettersOf } from '../platform/outcome-pusher.ts';
import type { Callers } from './callers.ts';
import { decided } from './events.ts';
import type { RechargeStore } from './recharges.ts';

const readDecided = eventReader(rechargeDecided, 'MUSTER_EVENT_INVALID');
const table = { table: 'recharge', id: 'recharge_id', address: 'account_id' };

const letterOf = ({ rechargeId, state, reason, transferId, amount }: RechargeDecided): Letter => ({
  type: 'recharge-outcome',
  id: rechargeId,
  data: {
    rechargeId,
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(transferId === undefined ? {} : { transferId }),
    amount,
  },
});

/** Understands a record of recharge-events, or throws MUSTER_EVENT_INVALID. */
export function readRechargeLetter(record: Pick<IncomingRecord, 'value'>) {
  const told = readDecided(record);
  return { address: told.member, letter: letterOf(told) };
}

export interface RechargeStreamsOptions extends StreamLimits {
  database(): Promise<Kysely<unknown>>;
  readonly recharges: Pick<RechargeStore, 'findAll'>;
  readonly callers: Callers;
  readonly mailboxes: Mailboxes;
}

export function registerRechargeStreams(http: FastifyInstance, options: RechargeStreamsOptions): Streams {
  const { database, recharges, callers } = options;
  return registerOutcomeStreams(http, {
    ...options,
    path: '/pay/money/recharges',
    tags: ['money'],
    callers: ['customer', 'merchant', 'operator'],
    what: 'recharges',
    type: 'recharge-outcome',
    fields: '{rechargeId, state, reason?, transferId?, amount}',
    addressOf: (request, named) => callers.actingFor(request, named, 'memberId'),
    ...lettersOf(database, table, async (ids) =>
      (await recharges.findAll(ids)).map(({ one, decidedAtMs }) => letterOf(decided(one, decidedAtMs!))),
    ),
  });
}
