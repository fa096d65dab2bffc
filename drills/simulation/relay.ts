/** The rows of the outbox in the simulated store, for the real relay: what workers/store/outbox.ts says in SQL, said again. */
import { emptyRegistry } from '../../workers/base/metrics.ts';
import { type Producer, partitionFor } from '../../workers/kafka/kafka.ts';
import type { OutboxRecord } from '../../workers/store/outbox.ts';
import {
  type DueRow,
  type OutboxRows,
  type OutboxStore,
  type Relay,
  startOutboxRelay,
  takenForMs,
} from '../../workers/store/relay.ts';
import { logPublished } from './event-log.ts';
import { type Life, silentLog } from './kafka.ts';
import type { Reader, Row, SimulatedStore, Transaction } from './store.ts';
import type { World } from './world.ts';

export interface RelayBugs {
  /** What is sent counts as acked at once. */
  readonly outboxForgottenBeforeAck?: boolean;
  /** What a send gave up at its deadline counts as sent: seen in November 2026, in outages that lasted longer. */
  readonly givenUpForgotten?: boolean;
  /** Rows are deleted by the range of their ids: one with a smaller id may have been committed since. */
  readonly outboxDeletedByRange?: boolean;
  /** A relay that takes due rows deletes them then, before anything is acked. */
  readonly takenRowsForgotten?: boolean;
}

const shards = [0, 1, 2];
const rowsPerShard = 5;
const shardOf = ({ topic, key }: OutboxRecord) =>
  partitionFor(Buffer.from(`${topic}\0${key}`), shards.length);

interface StoredDue {
  readonly dueAtMs: number | undefined;
  readonly takeAtMs: number;
  readonly records: readonly OutboxRecord[];
}

/** Adds records to the outbox within a transaction, in order. */
export async function appendOutbox(trx: Transaction, records: readonly OutboxRecord[]): Promise<void> {
  await trx.statement([], (rows) => {
    for (const record of records) rows.add('outbox', record);
  });
  await logPublished(trx, records);
}

/** Adds a row that its process publishes from memory. */
export async function appendUnordered(
  world: World,
  trx: Transaction,
  records: readonly OutboxRecord[],
): Promise<DueRow> {
  return trx.statement([], (rows) => {
    const row: StoredDue = { dueAtMs: undefined, takeAtMs: world.now() + takenForMs, records };
    return { id: rows.add('due', row), records, timer: undefined };
  });
}

/** Rows that are still to be published; timers whose time has not come are not. */
export function unpublished(world: World, store: SimulatedStore): readonly string[] {
  const isDue = (id: string) => (store.get<StoredDue>('due', id)!.dueAtMs ?? 0) <= world.now();
  return [...store.keys('outbox'), ...store.keys('due').filter(isDue)].map((id) => `row ${id} of the outbox`);
}

/** Publishes what is in the outbox. Several at once share the work. */
export function relayOutbox(
  world: World,
  { life, store, producer }: { life: Life; store: SimulatedStore; producer: Pick<Producer, 'send'> },
  bugs: RelayBugs = {},
): Relay {
  const registry = emptyRegistry();
  return startOutboxRelay({
    store: outboxStore(world, store, life, bugs),
    database: 'shop',
    producer:
      bugs.outboxForgottenBeforeAck === true
        ? ackedAtOnce(producer)
        : bugs.givenUpForgotten === true
          ? ackedWhenGivenUp(world, producer)
          : producer,
    registry,
    log: silentLog,
    rowsPerShard,
  });
}

function outboxStore(world: World, store: SimulatedStore, life: Life, bugs: RelayBugs): OutboxStore {
  const isDue = (rows: Reader, id: string) => {
    return rows.get<StoredDue>('due', id)!.takeAtMs <= world.now();
  };
  const remove = (trx: Transaction, table: string, ids: readonly string[]) =>
    trx.statement(
      ids.map((id): Row => [table, id]),
      (rows) => {
        for (const id of ids) rows.delete(table, id);
      },
    );
  return {
    transaction: (work) => store.transaction(life, (trx) => work(rowsOf(trx))),
    nextInMs: async (lane) =>
      lane === 'ordered'
        ? store.keys('outbox').length > 0
          ? 0
          : Number.POSITIVE_INFINITY
        : Math.min(...store.keys('due').map((id) => store.get<StoredDue>('due', id)!.takeAtMs - world.now())),
    removeDue: (ids) => store.transaction(life, (trx) => remove(trx, 'due', ids)),
    backlog: async () => ({ pending: unpublished(world, store).length, oldestAgeSeconds: 0 }),
  };

  function rowsOf(trx: Transaction): OutboxRows {
    const inOrder = (rows: Reader) => rows.keys('outbox').toSorted((a, b) => Number(a) - Number(b));
    const recordOf = (rows: Reader, id: string) => rows.get<OutboxRecord>('outbox', id)!;
    return {
      async lockShards(wanted = shards) {
        const held = await trx.lockFree(() => wanted.map((shard) => ['shard', String(shard)]));
        return held.map(([, shard]) => Number(shard));
      },

      heads: (held, limit) =>
        trx.statement([], (rows) => {
          const all = held.map((shard) =>
            inOrder(rows)
              .map((id) => ({ shard, id, record: recordOf(rows, id) }))
              .filter(({ record }) => shardOf(record) === shard),
          );
          return {
            rows: all.flatMap((own) => own.slice(0, limit)),
            more: all.filter(({ length }) => length > limit).map(([first]) => first!.shard),
          };
        }),

      async removeOrdered(sent) {
        const ids = sent.map(({ id }) => id);
        const last = Math.max(...ids.map(Number));
        const held = new Set(sent.map(({ shard }) => shard));
        const doomed = await trx.statement([], (rows) =>
          bugs.outboxDeletedByRange === true
            ? inOrder(rows).filter((id) => Number(id) <= last && held.has(shardOf(recordOf(rows, id))))
            : ids,
        );
        await remove(trx, 'outbox', doomed);
      },

      async takeDue({ rows: most, forMs }) {
        const got = await trx.lockFree(
          (rows) =>
            rows
              .keys('due')
              .filter((id) => isDue(rows, id))
              .map((id): Row => ['due', id]),
          most,
        );
        return trx.statement(got, (rows) =>
          got.map(([table, id]): DueRow => {
            const row = rows.get<StoredDue>(table, id)!;
            const { dueAtMs, records } = row;
            if (bugs.takenRowsForgotten === true) rows.delete(table, id);
            else rows.set(table, id, { ...row, takeAtMs: world.now() + forMs } satisfies StoredDue);
            const timer = dueAtMs === undefined ? undefined : { dueAtMs, lateMs: world.now() - dueAtMs };
            return { id, records, timer };
          }),
        );
      },
    };
  }
}

/** A producer that tells everything as acked at once. */
function ackedAtOnce(producer: Pick<Producer, 'send'>): Pick<Producer, 'send'> {
  return {
    async send(...args) {
      producer.send(...args).catch(() => undefined);
    },
  };
}

/** A producer that tells as acked what its deadline has ended. */
function ackedWhenGivenUp(world: World, producer: Pick<Producer, 'send'>): Pick<Producer, 'send'> {
  return {
    async send(records, options = {}) {
      const beganMs = world.now();
      try {
        await producer.send(records, options);
      } catch (error) {
        if (world.now() - beganMs < (options.deadlineMs ?? Number.POSITIVE_INFINITY)) throw error;
      }
    },
  };
}
