/** Ends of what was accepted, from their topic to the clients of this replica. That they were sent is noted nowhere: it counts when a client has acknowledged. */
import { trace } from '@opentelemetry/api';
import type { Kysely } from 'kysely';
import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import type { Letter, Mailboxes } from '../http/mailbox.ts';
import type { OutcomeStreamsOptions } from '../http/outcome-streams.ts';
import { consume } from '../kafka/consume.ts';
import type { IncomingRecord, Kafka } from '../kafka/kafka.ts';
import { inSpan } from '../kafka/tracing-kafka.ts';
import { type LetterTable, markRead, unreadIds } from '../store/letters.ts';
import type { Started } from './worker.ts';

export interface PusherOptions {
  readonly kafka: Kafka;
  /** Each replica holds other clients, so each reads everything, as a group of its own. */
  readonly group: ConsumerGroup;
  readonly log: Logger;
  readonly mailboxes: Mailboxes;
  /** Understands a record, or throws: to whom it is told, and what. */
  parse(record: IncomingRecord): { readonly address: string; readonly letter: Letter };
  onFatal(error: Error): void;
}

const tracer = trace.getTracer('muster/push');

export async function startOutcomePusher(options: PusherOptions): Promise<Started> {
  const { mailboxes } = options;
  const consumer = await consume(options.kafka, {
    group: options.group,
    log: options.log,
    // Under load a fetch brings more.
    pauseMs: 30,
    parse: options.parse,
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
    onFatal: options.onFatal,
  });
  return { ready: consumer.ready, waitingFor: () => 'an assignment of partitions', stop: consumer.stop };
}

/** More than a client that was away for weeks can show. */
const mostUnread = 1_000;

/** What is told and acknowledged, of rows that end: for registerOutcomeStreams(). `letters`: those of ids, in any order. */
export function lettersOf(
  database: () => Promise<Kysely<unknown>>,
  table: LetterTable,
  letters: (ids: readonly string[]) => Promise<readonly Letter[]>,
): Pick<OutcomeStreamsOptions, 'unread' | 'acknowledge'> {
  return {
    async unread(address, after) {
      const ids = await unreadIds(await database(), table, address, after, mostUnread);
      const found = new Map((await letters(ids)).map((letter) => [letter.id, letter]));
      return ids.flatMap((id) => found.get(id) ?? []);
    },
    acknowledge: async (all) => markRead(await database(), table, all),
  };
}
