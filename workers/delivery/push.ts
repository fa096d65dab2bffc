/** What people are notified of, told live to their apps until one of these acknowledges it. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { MusterError } from '../base/errors.ts';
import type { Letter, Mailboxes } from '../http/mailbox.ts';
import { registerOutcomeStreams } from '../http/outcome-streams.ts';
import { userOf } from '../http/principals.ts';
import type { StreamLimits, Streams } from '../http/realtime.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { readEvent } from '../kafka/records.ts';
import { readLogEvent } from './events.ts';
import { type NotificationStore, type PersonRole, type Told, textOf } from './notifications.ts';
import { personOf } from './routes.ts';

const people = ['customer', 'owner', 'rider'] as const satisfies readonly PersonRole[];
/** As log events name a notification. */
const idPattern = `[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}-[1-9][0-9]{0,8}-(${people.join('|')})`;
const idOf = ({ orderId, version, role }: Told) => `${orderId}-${version}-${role}`;
const wellFormed = new RegExp(`^${idPattern}$`);

function toldOf(id: string): Told {
  const [version, role] = id.slice(37).split('-');
  return { orderId: id.slice(0, 36), version: Number(version), role: role as PersonRole };
}

/** A person has apps of each of their roles. */
const addressOf = (role: PersonRole, who: string) => `${role} ${who}`;

const letterOf = (told: Told, message: string, atMs: number): Letter => ({
  type: 'notification',
  id: idOf(told),
  data: { orderId: told.orderId, version: told.version, message, at: new Date(atMs).toISOString() },
});

/** Understands a record of delivery-log-events, or throws MUSTER_EVENT_INVALID: whoever is told of it has its row already. */
export function readNotification(record: IncomingRecord) {
  const { eventId, userId, message } = readLogEvent(record);
  if (!wellFormed.test(eventId))
    throw new MusterError('MUSTER_EVENT_INVALID', 'not a notification: see eventId');
  const told = toldOf(eventId);
  return { address: addressOf(told.role, userId), letter: letterOf(told, message, readEvent(record).timeMs) };
}

/** More than an app that was away for weeks can show. */
const mostUnshown = 1_000;

export interface NotificationStreamsOptions extends StreamLimits {
  readonly notifications: Pick<NotificationStore, 'unshown' | 'markTold'>;
  readonly pseudonymKey: Buffer;
  readonly mailboxes: Mailboxes;
}

export function registerNotificationStreams(
  http: FastifyInstance,
  options: NotificationStreamsOptions,
): Streams {
  const { notifications, pseudonymKey } = options;
  const personIn = (address: string) => address.split(' ') as [PersonRole, string];
  return registerOutcomeStreams(http, {
    ...options,
    path: '/delivery/notifications',
    tags: ['delivery'],
    callers: people,
    what: 'what you are told of your orders',
    type: 'notification',
    fields: '{orderId, version, message, at}',
    idPattern,
    async addressOf(request: FastifyRequest, named: string | undefined) {
      userOf(request, named, 'memberId', people);
      const { role, who } = personOf(request, pseudonymKey);
      return addressOf(role, who);
    },
    async unread(address, after) {
      const [role, who] = personIn(address);
      const seen = after === undefined ? undefined : toldOf(after);
      return (await notifications.unshown(who, role, mostUnshown, seen)).map(
        ({ orderId, version, state, changedAtMs }) =>
          letterOf({ orderId, version, role }, textOf(state), changedAtMs),
      );
    },
    acknowledge: (all) =>
      notifications.markTold(
        all.map(({ address, ids }) => {
          const [role, person] = personIn(address);
          return { person, told: ids.map(toldOf).filter((one) => one.role === role) };
        }),
      ),
  });
}
