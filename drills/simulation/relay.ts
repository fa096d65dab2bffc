/** The outbox in the simulated store, and its relay: what workers/store/outbox.ts says in SQL, said again. */
import { isNotNow } from '../../workers/base/errors.ts';
import { type OutgoingRecord, type Producer, partitionFor } from '../../workers/kafka/kafka.ts';
import type { OutboxRecord } from '../../workers/store/outbox.ts';
import { logPublished } from './event-log.ts';
import type { Life } from './kafka.ts';
import type { Reader, SimulatedStore, Transaction } from './store.ts';
import type { World } from './world.ts';

export interface RelayBugs {
  /** Rows are deleted before they are acked. */
  readonly outboxForgottenBeforeAck?: boolean;
  /** Rows are deleted by the range of their ids: one with a smaller id may have been committed since. */
  readonly outboxDeletedByRange?: boolean;
}

const shardCount = 3;
const rowsPerShard = 5;
const shards = Array.from({ length: shardCount }, (_, shard) => String(shard));
const shardOf = ({ topic, key }: OutboxRecord) =>
  String(partitionFor(Buffer.from(`${topic}\0${key}`), shardCount));

/** Adds records to the outbox within a transaction. */
export async function appendOutbox(trx: Transaction, records: readonly OutboxRecord[]): Promise<void> {
  await trx.statement([], (rows) => {
    for (const record of records) rows.add('outbox', record);
  });
  await logPublished(trx, records);
}

/** Publishes what is in the outbox, and forgets it when it is acked. Several at once share the shards. */
export async function relayOutbox(
  world: World,
  { life, store, producer }: { life: Life; store: SimulatedStore; producer: Pick<Producer, 'send'> },
  bugs: RelayBugs = {},
): Promise<void> {
  const inOrder = (rows: Reader) => rows.keys('outbox').toSorted((a, b) => Number(a) - Number(b));
  const recordOf = (rows: Reader, id: string) => rows.get<OutboxRecord>('outbox', id)!;

  async function step(trx: Transaction): Promise<readonly OutgoingRecord[]> {
    const held = await trx.lockFree(() => shards.map((shard) => ['shard', shard]));
    const found = await trx.statement([], (rows) =>
      held.flatMap(([, shard]) =>
        inOrder(rows)
          .map((id) => ({ shard, id, record: recordOf(rows, id) }))
          .filter(({ record }) => shardOf(record) === shard)
          .slice(0, rowsPerShard),
      ),
    );
    if (found.length === 0) return [];
    const records = found.map(({ record }) => record);
    if (bugs.outboxForgottenBeforeAck !== true) await producer.send(records);
    const ids = found.map(({ id }) => id);
    const last = Math.max(...ids.map(Number));
    const doomed = await trx.statement([], (rows) =>
      bugs.outboxDeletedByRange === true
        ? inOrder(rows).filter(
            (id) => Number(id) <= last && held.some(([, shard]) => shard === shardOf(recordOf(rows, id))),
          )
        : ids,
    );
    await trx.statement(
      doomed.map((id) => ['outbox', id]),
      (rows) => {
        for (const id of doomed) rows.delete('outbox', id);
      },
    );
    return records;
  }

  for (;;) {
    await world.sleep(world.int(50, 300));
    if (life.dead) return;
    try {
      const records = await store.transaction(life, step);
      if (bugs.outboxForgottenBeforeAck === true) await producer.send(records);
    } catch (error) {
      if (!isNotNow(error)) throw error;
    }
  }
}
