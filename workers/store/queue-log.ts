/**
 * queue_log: what became of each message between services. Who produces one writes a row in the transaction that decides it,
 * who handles one in the transaction of its effect, each in a database of their own; both by once.ts, so that nothing is
 * produced or handled twice, and an id that comes with another body is an error. The view `queue_log` shows the rows.
 */
import { type Kysely, type RawBuilder, sql, type Transaction } from 'kysely';
import { allGroups } from '../../catalog/groups.ts';
import { type DatabaseName, platformDatabases } from '../../catalog/tables.ts';
import { allTopics } from '../../catalog/topics.ts';
import { MusterError } from '../base/errors.ts';
import type { IncomingRecord, OutgoingRecord } from '../kafka/kafka.ts';
import { readEvent } from '../kafka/records.ts';
import { schemaOf } from './database.ts';
import { type GroupedCall, type OnceOutcome, type OnceRows, onceAll, onceRows } from './once.ts';

/** A message as it came: who handles it does that once. */
export interface Message {
  readonly topic: string;
  /** ce_id, or where it lies. */
  readonly id: string;
  readonly body: Buffer;
  /** When it was produced, by its own word; UTC ms. */
  readonly createdAtMs: number;
}

export function messageOf(record: IncomingRecord): Message {
  const { id, timeMs } = readEvent(record);
  return { topic: record.topic, id, body: record.value ?? Buffer.alloc(0), createdAtMs: timeMs };
}

/** What handling a message led to. */
export interface Handled {
  /** `failure`: what the message was about has failed by it. A message that cannot be handled is a dead letter, and has no row. */
  readonly status: 'success' | 'failure';
  /** A word for programs, at most 60 ASCII characters. */
  readonly result: string;
}

type Kept = Handled & { readonly createdAtMs: number };

const loggedTopics = new Set(allTopics.filter(({ hasQueueLog }) => hasQueueLog).map(({ name }) => name));
export const hasQueueLog = (topic: string): boolean => loggedTopics.has(topic);
const producedScope = (topic: string) => `produced:${topic}`;
const handledScope = (group: string, topic: string) => `handled:${group}:${topic}`;

/**
 * Writes down that records are produced; resolves to those that were not before. Those of topics without a queue log are passed
 * through. Throws MUSTER_DUPLICATE_ID_OTHER_BODY.
 */
export async function logProduced<DB, Record extends Omit<OutgoingRecord, 'partition'>>(
  trx: Transaction<DB>,
  records: readonly Record[],
): Promise<readonly Record[]> {
  const logged = records.filter(({ topic }) => hasQueueLog(topic));
  if (logged.length === 0) return records;
  const outcomes = await onceAll(
    onceRows(trx),
    logged.map(({ topic, value, headers }): GroupedCall<object> => {
      return {
        scope: producedScope(topic),
        key: String(headers?.ce_id),
        body: value as string,
        expected: {},
      };
    }),
    async (first) => first.map(() => ({})),
  );
  const repeated = new Set(logged.filter((_, index) => answerOf(outcomes[index]!).repeated));
  return records.filter((record) => !repeated.has(record));
}

/** Who handles messages, and as most of them are handled: another result costs a statement more. */
export interface Handling {
  readonly group: string;
  readonly usually: Handled;
}

/**
 * Runs `work`, the effects of messages, once per message and group, and writes down what they led to. What came before has no
 * effect again: undefined. `work` gets those that come for the first time and answers in their order. Throws
 * MUSTER_DUPLICATE_ID_OTHER_BODY; MUSTER_IDEMPOTENCY_KEY_IN_USE (not now) while somebody else is handling one of them.
 */
export async function handleAllOnce<T, Call extends { readonly message: Message }>(
  rows: OnceRows,
  { group, usually }: Handling,
  calls: readonly Call[],
  work: (first: readonly Call[]) => Promise<readonly T[]>,
  handled: (done: T) => Handled,
): Promise<readonly (T | undefined)[]> {
  const done = new Map<Call, T>();
  const asked = calls.map((call) => {
    const { topic, id: key, body, createdAtMs } = call.message;
    const expected: Kept = { createdAtMs, ...usually };
    return { scope: handledScope(group, topic), key, body, expected, call };
  });
  const outcomes = await onceAll<Kept, (typeof asked)[number]>(rows, asked, async (first) => {
    const made = await work(first.map(({ call }) => call));
    return first.map(({ call, expected: { createdAtMs } }, index) => {
      done.set(call, made[index]!);
      return { createdAtMs, ...handled(made[index]!) };
    });
  });
  outcomes.forEach(answerOf);
  return calls.map((call) => done.get(call));
}

/** handleAllOnce() of one message. */
export async function handleOnce<DB, T>(
  trx: Transaction<DB>,
  { message, ...handling }: Handling & { readonly message: Message },
  work: () => Promise<T>,
  handled: (done: T) => Handled,
): Promise<T | undefined> {
  const [done] = await handleAllOnce(
    onceRows(trx),
    handling,
    [{ message }],
    async () => [await work()],
    handled,
  );
  return done;
}

function answerOf<T>(outcome: OnceOutcome<T>) {
  if (!('error' in outcome)) return outcome;
  if (outcome.error.code !== 'MUSTER_IDEMPOTENCY_KEY_REUSED') throw outcome.error;
  throw new MusterError(
    'MUSTER_DUPLICATE_ID_OTHER_BODY',
    'this message id was used before with another body; a new message needs a new id',
  );
}

/** What became of a message, from the queue_log of all databases. Times are ISO-8601 UTC. */
export interface MessageLog {
  topic: string;
  messageId: string;
  /** `waiting`: not on its topic yet. `processing`: not handled by all who are to. */
  status: 'waiting' | 'processing' | 'done';
  createdTimestamp: string;
  /** When the last of those who have handled it did. */
  processedTimestamp?: string;
  /** Once it is done. */
  processedStatus?: Handled['status'];
  /** The database with the row of its producing. Unset: nobody of ours says so. */
  producedBy?: DatabaseName;
  handledBy: {
    group: string;
    database: DatabaseName;
    processedTimestamp: string;
    processedStatus: Handled['status'];
    result: string;
  }[];
  /** Groups that have not handled it. */
  awaits: string[];
}

interface Row {
  readonly database: DatabaseName;
  readonly queue: string;
  readonly status: 'waiting' | 'done';
  readonly created_timestamp: Date;
  readonly processed_timestamp: Date | null;
  readonly processed_status: Handled['status'] | null;
  readonly result: string | null;
}

const handlers = allGroups.filter(({ logsHandled }) => logsHandled);
const queues = allTopics
  .filter(({ hasQueueLog }) => hasQueueLog)
  .flatMap(({ name }) => [
    producedScope(name),
    ...handlersOf(name).map((group) => handledScope(group, name)),
  ]);

function handlersOf(topic: string): readonly string[] {
  return handlers.filter(({ topics }) => topics.some(({ name }) => name === topic)).map(({ id }) => id);
}

/**
 * What became of the message of an id, on each topic that knows it: one statement, over the queue_log of all databases beside
 * that of the shop (`shop`: its name). Only while a message waits in an outbox is that looked through.
 */
export async function findMessage(db: Kysely<unknown>, shop: string, id: string): Promise<MessageLog[]> {
  const selects = platformDatabases
    .filter((name) => name !== 'shop')
    .map(
      (name): RawBuilder<unknown> => sql`
        SELECT ${sql.lit(name)} AS \`database\`, queue, status, created_timestamp, processed_timestamp, processed_status,
          result
        FROM ${sql.id(schemaOf(shop, name), 'queue_log')}
        WHERE queue IN (${sql.join(queues)}) AND message_id = ${Buffer.from(id)}`,
    );
  const { rows } = await sql<Row>`${sql.join(selects, sql` UNION ALL `)}`.execute(db);
  const topicOf = ({ queue }: Row) => queue.slice(queue.lastIndexOf(':') + 1);
  return [...Map.groupBy(rows, topicOf)].map(([topic, own]) => logOf(topic, id, own));
}

function logOf(topic: string, messageId: string, rows: readonly Row[]): MessageLog {
  const produced = rows.find(({ queue }) => queue === producedScope(topic));
  const handledBy = rows
    .filter((row) => row !== produced)
    .map(({ queue, database, processed_timestamp: at, processed_status: processedStatus, result }) => ({
      group: queue.split(':')[1]!,
      database,
      processedTimestamp: at!.toISOString(),
      processedStatus: processedStatus!,
      result: result!,
    }));
  const awaits = handlersOf(topic).filter((id) => !handledBy.some(({ group }) => group === id));
  const status = produced?.status === 'waiting' ? 'waiting' : awaits.length > 0 ? 'processing' : 'done';
  const last = handledBy
    .map(({ processedTimestamp }) => processedTimestamp)
    .toSorted()
    .at(-1);
  const failed = handledBy.some(({ processedStatus }) => processedStatus === 'failure');
  return {
    topic,
    messageId,
    status,
    createdTimestamp: (produced ?? rows[0]!).created_timestamp.toISOString(),
    ...(last === undefined ? {} : { processedTimestamp: last }),
    ...(status === 'done' ? { processedStatus: failed ? 'failure' : 'success' } : {}),
    ...(produced === undefined ? {} : { producedBy: produced.database }),
    handledBy,
    awaits,
  };
}
