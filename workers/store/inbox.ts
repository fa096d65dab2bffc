/** The inbox: an effect and the note that it happened commit together, so a message that comes twice has one effect. */
import { createHash } from 'node:crypto';
import { type Kysely, sql, type Transaction } from 'kysely';
import { MusterError } from '../base/errors.ts';

export interface InboxMessage {
  /** Who handles it (usually the consumer group): each consumer has its own memory. At most 64 ASCII characters. */
  readonly consumer: string;
  /** The message's id (ce_id, or topic-partition-offset): at most 255 bytes of UTF-8. */
  readonly messageId: string;
  /** What the message says; only its SHA-256 is kept. */
  readonly body: Uint8Array | string;
}

export type Handled<T> = { readonly first: true; readonly result: T } | { readonly first: false };

/**
 * Runs `effect` unless this consumer has handled this id before. Must run in a transaction that also holds the effect:
 * both commit or neither. A second transaction with the same id waits for the first. Throws
 * MUSTER_DUPLICATE_ID_OTHER_BODY when the id was handled with another body: that is a mistake of the sender.
 */
export async function handleOnce<DB, T>(
  trx: Transaction<DB>,
  message: InboxMessage,
  effect: () => Promise<T>,
): Promise<Handled<T>> {
  const id = Buffer.from(message.messageId, 'utf8');
  if (id.length === 0 || id.length > 255)
    throw new MusterError('MUSTER_MESSAGE_ID', 'a message id has 1 to 255 bytes');
  const hash = createHash('sha256').update(message.body).digest();
  const inserted = await sql`
    INSERT IGNORE INTO muster_inbox (consumer, message_id, body_hash, handled_at)
    VALUES (${message.consumer}, ${id}, ${hash}, UTC_TIMESTAMP(3))`.execute(trx);
  if (inserted.numAffectedRows === 1n) return { first: true, result: await effect() };
  const known = await sql<{ body_hash: Buffer }>`
    SELECT body_hash FROM muster_inbox
    WHERE consumer = ${message.consumer} AND message_id = ${id}`.execute(trx);
  const before = known.rows[0]?.body_hash;
  if (before !== undefined && !before.equals(hash))
    throw new MusterError(
      'MUSTER_DUPLICATE_ID_OTHER_BODY',
      'this message id was used before with another body; a new message needs a new id',
    );
  return { first: false };
}

/** Deletes rows older than `retentionMs` in small steps; resolves to how many. Several at once do no harm. Keep rows longer
 * than a message can come again: the retention of the topics plus that of the dead letters. */
export async function cleanInbox<DB>(db: Kysely<DB>, retentionMs: number, step = 1_000): Promise<number> {
  let deleted = 0;
  const before = sql`UTC_TIMESTAMP(3) - INTERVAL ${retentionMs * 1_000} MICROSECOND`;
  for (;;) {
    const result = await sql`
      DELETE FROM muster_inbox WHERE handled_at < ${before} ORDER BY handled_at LIMIT ${step}`.execute(db);
    const count = Number(result.numAffectedRows ?? 0n);
    deleted += count;
    if (count < step) return deleted;
  }
}
