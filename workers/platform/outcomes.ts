/**
 * How what was accepted ended, told live to whom it concerns until a client of theirs acknowledges it: from its topic to the
 * clients of this replica, and from its rows to those who come back. That it was sent is noted nowhere: it counts when a client
 * has acknowledged. What differs is data of the capability.
 */
import { trace } from '@opentelemetry/api';
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { createMailboxes, type Letter, type Mailboxes } from '../http/mailbox.ts';
import { type OutcomeStreamsOptions, registerOutcomeStreams } from '../http/outcome-streams.ts';
import type { StreamLimits, Streams } from '../http/realtime.ts';
import { consume } from '../kafka/consume.ts';
import type { IncomingRecord } from '../kafka/kafka.ts';
import { inSpan } from '../kafka/tracing-kafka.ts';
import { type LetterTable, markRead, unreadIds } from '../store/letters.ts';
import type { Started, WorkerDeps } from './worker.ts';

export interface OutcomeKind<Decided, Found>
  extends Pick<OutcomeStreamsOptions, 'path' | 'tags' | 'callers' | 'what' | 'type' | 'fields'> {
  /** Understands a record of the topic, or throws. */
  read(record: Pick<IncomingRecord, 'value'>): Decided;
  readonly table: LetterTable;
  /** The same of a row that has ended. */
  decided(found: Found): Decided;
  /** To whom it is told, under which id, and what. */
  letter(decided: Decided): { readonly address: string; readonly id: string; readonly data: object };
}

export interface OutcomeOptions<Found> extends StreamLimits, Pick<OutcomeStreamsOptions, 'addressOf'> {
  database(): Promise<Kysely<unknown>>;
  /** Rows of ids, in any order. */
  findAll(ids: readonly string[]): Promise<readonly Found[]>;
}

const tracer = trace.getTracer('muster/push');
/** More than a client that was away for weeks can show. */
const mostUnread = 1_000;

export function outcomesOf<Decided, Found>(kind: OutcomeKind<Decided, Found>) {
  const told = (decided: Decided) => {
    const { address, ...letter } = kind.letter(decided);
    return { address, letter: { type: kind.type, ...letter } };
  };
  const readLetter = (record: Pick<IncomingRecord, 'value'>) => told(kind.read(record));

  function register(
    http: FastifyInstance,
    { database, findAll, ...options }: OutcomeOptions<Found> & Pick<OutcomeStreamsOptions, 'mailboxes'>,
  ): Streams {
    return registerOutcomeStreams(http, {
      ...kind,
      ...options,
      async unread(address, after): Promise<readonly Letter[]> {
        const ids = await unreadIds(await database(), kind.table, address, after, mostUnread);
        const letters = (await findAll(ids)).map((found) => told(kind.decided(found)).letter);
        const byId = new Map(letters.map((letter) => [letter.id, letter]));
        return ids.flatMap((id) => byId.get(id) ?? []);
      },
      acknowledge: async (all) => markRead(await database(), kind.table, all),
    });
  }

  return {
    /** Understands a record, or throws: to whom it is told, and what. */
    readLetter,
    register,

    /** Tells the clients of this replica. Each replica holds others, so each reads everything, as a `group` of its own. */
    async start(
      { http, kafka, log, fail }: Pick<WorkerDeps, 'http' | 'kafka' | 'log' | 'fail'>,
      { group, ...options }: OutcomeOptions<Found> & { readonly group: ConsumerGroup },
    ): Promise<Started> {
      const mailboxes = createMailboxes();
      register(http, { ...options, mailboxes });
      return startPusher({ kafka, log, fail }, { group, mailboxes, parse: readLetter });
    },
  };
}

export interface PusherOptions {
  readonly group: ConsumerGroup;
  readonly mailboxes: Mailboxes;
  /** Understands a record, or throws: to whom it is told, and what. */
  parse(record: IncomingRecord): { readonly address: string; readonly letter: Letter };
}

/** From a topic to the clients of this replica. */
export async function startPusher(
  { kafka, log, fail }: Pick<WorkerDeps, 'kafka' | 'log' | 'fail'>,
  { group, mailboxes, parse }: PusherOptions,
): Promise<Started> {
  const consumer = await consume(kafka, {
    group,
    log,
    // Under load a fetch brings more.
    pauseMs: 30,
    parse,
    async apply(records) {
      for (const { data, span: process } of records) {
        const { address, letter } = data;
        if (!mailboxes.has(address)) continue;
        inSpan(process, () => {
          const span = process === undefined ? undefined : tracer.startSpan(`push ${letter.type}`);
          const clients = mailboxes.push(address, letter);
          span?.setAttribute('push.clients', clients).end();
        });
      }
      return undefined;
    },
    onFatal: fail,
  });
  return { ready: consumer.ready, waitingFor: () => 'an assignment of partitions', stop: consumer.stop };
}
