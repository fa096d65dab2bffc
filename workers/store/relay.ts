/**
 * Publishes the outbox. Rows come and go through a port: outbox.ts says it in SQL, the simulation in memory
 * (drills/simulation). What is promised stands in outbox.ts; what holds it is here:
 *
 * - Rows in order: one relay at a time has a shard, by a lock that lives as long as its transaction. It sends and deletes
 *   within it, and a send ends long before the server would end a silent transaction (wait_timeout, database.ts). A relay
 *   that hangs beyond that loses its lock and its deletion together; what it sent is then sent again by the next.
 * - Due rows: a relay takes them by moving their time on by longer than its send may last, and commits that; then it sends
 *   without any lock. What the process publishes from memory right after its commit was written as if taken by it. Whoever
 *   dies or fails leaves a row whose time comes again.
 * - A row goes only because a send of exactly its records was acked.
 */
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Registry } from 'prom-client';
import { metrics } from '../../catalog/metrics.ts';
import type { DatabaseName } from '../../catalog/tables.ts';
import type { Logger } from '../base/log.ts';
import { durationHistogram, gauge } from '../base/metrics.ts';
import type { OutgoingRecord, Producer } from '../kafka/kafka.ts';
import { type MessageSpan, startLaterSend } from '../kafka/tracing-kafka.ts';

/** Below the silence after which the server cuts a transaction off, by far. */
const orderedDeadlineMs = 20_000;
const dueDeadlineMs = 10_000;
/** A shard that could not be sent while others could is left alone for so long, and then has this long: the others wait meanwhile. */
const restMs = 5_000;
const triedAgainMs = 2_000;
/** How long a due row is left alone by others once somebody publishes it: its send has ended by then. */
export const takenForMs = 15_000;
/** Due rows that are being sent; beyond it (Kafka is away) they wait in the database and not in memory. */
const maxInFlight = 1_000;
const maxTakenBytes = 4_000_000;
const defaultPollMs = 1_000;
/** From the first ack to the deletion of all that was acked by then. */
const tidyAfterMs = 250;
/** Longer than anybody waits: what comes wakes it. */
const idleMs = 3_600_000;
/** After a look at rows that are due and that others hold. */
const heldMs = 200;
/** From one try of shards that another relay holds to the next: it sends what it finds there meanwhile, ours as well. */
const missedMs = { first: 5, longest: 40 };

/** A record in order. Some may be of one row: they have its id, and come and go together. */
export interface OrderedRow {
  readonly shard: number;
  readonly id: string;
  readonly record: OutgoingRecord;
}

export interface DueRow {
  readonly id: string;
  readonly records: readonly OutgoingRecord[];
  /** By the database's clock, when the row was taken; undefined: it is no timer. */
  readonly timer: { readonly dueAtMs: number; readonly lateMs: number } | undefined;
}

export interface OutboxStore {
  /** Its database as commits name it; unset: its relay is woken by all. */
  readonly schema?: string | undefined;
  /**
   * Runs `work` in a transaction: all of it or nothing, locks to its end. It may run more than once (a deadlock). Rejects
   * when the store cannot be asked, or when it is not known whether the transaction was committed.
   */
  transaction<T>(work: (rows: OutboxRows) => Promise<T>): Promise<T>;
  /** In how many ms there is something to take, at a look without locks; 0 or less: now, Infinity: there is nothing. */
  nextInMs(lane: 'ordered' | 'due'): Promise<number>;
  removeDue(ids: readonly string[]): Promise<void>;
  /** Rows that ought to be published by now, and since when the oldest of them (0: there is none). */
  backlog(): Promise<{ readonly pending: number; readonly oldestAgeSeconds: number }>;
}

/** Rows within one transaction. */
export interface OutboxRows {
  /** Locks those of the wanted shards (undefined: all) that nobody else holds; answers which. */
  lockShards(wanted: readonly number[] | undefined): Promise<readonly number[]>;
  /** The oldest of each shard, in order; of a row of one record `limit` at most. `more`: shards that may have more. */
  heads(
    shards: readonly number[],
    limit: number,
  ): Promise<{ readonly rows: readonly OrderedRow[]; readonly more: readonly number[] }>;
  removeOrdered(rows: readonly OrderedRow[]): Promise<void>;
  /** Takes rows whose time has come and that nobody takes just now, and leaves them to the caller for `forMs`. */
  takeDue(options: {
    readonly rows: number;
    readonly bytes: number;
    readonly forMs: number;
  }): Promise<readonly DueRow[]>;
}

export interface RelayOptions {
  readonly store: OutboxStore;
  /** Whose outbox it is: one process may publish several. */
  readonly database: DatabaseName;
  /** For rows in order. */
  readonly producer: Pick<Producer, 'send'>;
  /** For all others. Default: the same. */
  readonly unordered?: Pick<Producer, 'send'>;
  readonly registry: Registry;
  readonly log: Logger;
  /**
   * How often rows are looked for at least: a commit wakes the relay of its own process, and it knows when the next timer is due, so
   * that only those of a dead process are found by that. Default 1,000.
   */
  readonly pollMs?: number;
  /** Most rows of one shard in one step. Default 250. */
  readonly rowsPerShard?: number;
}

export interface Relay {
  /** Publishes a row of appendUnordered() that has committed just now. What fails comes again by itself. */
  publish(row: DueRow): void;
  /** Finishes what runs; rows that are left go out with the next relay. */
  stop(): Promise<void>;
}

/** A relay of this process, to be woken by a commit in its database: a process may have relays of several. */
interface Lane<What> {
  readonly schema: string | undefined;
  wake(what: What): void;
}
const orderedLanes = new Set<Lane<readonly number[]>>();
const dueLanes = new Set<Lane<number>>();

/** Where it is not known which database it was, one that is woken for nothing finds nothing. */
function wakeIn<What>(lanes: ReadonlySet<Lane<What>>, what: What, schema: string | undefined): void {
  for (const lane of lanes)
    if (schema === undefined || lane.schema === undefined || lane.schema === schema) lane.wake(what);
}

/** Rows of these shards have committed in this process. */
export function wakeRelays(shards: readonly number[], schema?: string): void {
  wakeIn(orderedLanes, shards, schema);
}

/** A timer was set in this process. */
export function wakeForTimer(dueInMs: number, schema?: string): void {
  wakeIn(dueLanes, dueInMs, schema);
}

/**
 * Publishes the outbox until stopped. A commit in this process wakes it at once; the rest it finds by polling. While
 * the database or Kafka is away it tries again, ever more slowly up to 5 s.
 */
export function startOutboxRelay(options: RelayOptions): Relay {
  const ordered = orderedLane(options);
  const due = dueLane(options);
  const measuring = measureBacklog(options);
  return {
    publish: due.publish,
    async stop() {
      measuring.stop();
      await Promise.all([ordered.stop(), due.stop()]);
    },
  };
}

/** Runs `step` until stopped; it resolves to for how long there is nothing to do. Ever more slowly while it fails. */
function loop(log: Logger, step: () => Promise<number>): { wake(): void; stop(): Promise<void> } {
  let stopped = false;
  let failures = 0;
  let woken = false;
  let wakeUp: (() => void) | undefined;
  const sleep = async (ms: number) => {
    if (stopped || woken) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wakeUp = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    wakeUp = undefined;
  };
  async function run(): Promise<void> {
    while (!stopped) {
      woken = false;
      try {
        const waitMs = await step();
        failures = 0;
        if (waitMs > 0) await sleep(waitMs);
      } catch (error) {
        failures++;
        if (failures === 1 || failures % 20 === 0)
          log.warn('the outbox could not be published; trying again', { failures, error });
        woken = false;
        await sleep(Math.min(5_000, 100 * 2 ** Math.min(failures, 6)));
      }
    }
  }
  const running = run();
  return {
    wake() {
      if (failures > 0) return;
      woken = true;
      wakeUp?.();
    },
    async stop() {
      stopped = true;
      wakeUp?.();
      await running;
    },
  };
}

// ---- rows in order

function orderedLane({ store, producer, log, pollMs = defaultPollMs, rowsPerShard = 250 }: RelayOptions): {
  stop(): Promise<void>;
} {
  const asked = new Set<number>();
  /** Shards that could not be sent while others could, and until when they are left alone. */
  const resting = new Map<number, number>();
  let lastPollMs = Number.NEGATIVE_INFINITY;
  let missedWaitMs = missedMs.first;
  const lane = loop(log, async () => {
    const nowMs = performance.now();
    const all = nowMs - lastPollMs >= pollMs;
    const wanted = all ? undefined : [...asked];
    asked.clear();
    if (all ? (await store.nextInMs('ordered')) <= 0 : wanted!.length > 0) {
      const { more, missed } = await publishHeads(wanted);
      for (const shard of more) asked.add(shard);
      // Rows of ours in a shard that another relay holds: it may have looked before our commit.
      if (!all && missed.length > 0) {
        for (const shard of missed) asked.add(shard);
        // Who has some of them goes on with those.
        if (missed.length < wanted!.length) missedWaitMs = missedMs.first;
        const waitMs = missedWaitMs;
        missedWaitMs = Math.min(2 * waitMs, missedMs.longest);
        return waitMs;
      }
      missedWaitMs = missedMs.first;
    }
    if (all) lastPollMs = nowMs;
    return asked.size > 0 ? 0 : Math.max(1, pollMs - (performance.now() - lastPollMs));
  });

  /** Answers shards with more rows, and shards held by others. Rejects when none could be sent of what there is. */
  async function publishHeads(wanted: readonly number[] | undefined) {
    const { failed, sent, more, missed } = await store.transaction(async (rows) => {
      const nowMs = performance.now();
      const locked = await rows.lockShards(wanted);
      const missed = (wanted ?? []).filter((shard) => !locked.includes(shard));
      const held = locked.filter((shard) => (resting.get(shard) ?? nowMs) <= nowMs);
      const nothing = { failed: [], sent: [], more: [], missed };
      if (held.length === 0) return nothing;
      const { rows: heads, more } = await rows.heads(held, rowsPerShard);
      if (heads.length === 0) return nothing;
      // By itself each: of a topic that cannot be written only its own shards wait.
      const shards = [...Map.groupBy(heads, ({ shard }) => shard)];
      const ends = await Promise.allSettled(
        shards.map(([shard, own]) => {
          const records = own.map(({ record }) => record);
          return send(producer, records, resting.has(shard) ? triedAgainMs : orderedDeadlineMs);
        }),
      );
      const sent = shards.filter((_, index) => ends[index]!.status === 'fulfilled');
      const failed = shards.filter(([shard]) => !sent.some(([other]) => other === shard));
      if (sent.length === 0) throw (ends[0] as PromiseRejectedResult).reason;
      await rows.removeOrdered(sent.flatMap(([, own]) => own));
      return { failed, sent, more: more.filter((shard) => sent.some(([other]) => other === shard)), missed };
    });
    for (const [shard] of sent) resting.delete(shard);
    for (const [shard, own] of failed) {
      if (!resting.has(shard))
        log.warn('records of one shard of the outbox could not be published; trying again', {
          shard,
          topics: [...new Set(own.map(({ record }) => record.topic))],
        });
      resting.set(shard, performance.now() + restMs);
    }
    return { more, missed };
  }

  const woken: Lane<readonly number[]> = {
    schema: store.schema,
    wake(shards) {
      for (const shard of shards) asked.add(shard);
      lane.wake();
    },
  };
  orderedLanes.add(woken);
  return {
    async stop() {
      orderedLanes.delete(woken);
      await lane.stop();
    },
  };
}

// ---- due rows

function dueLane({
  store,
  database,
  producer,
  unordered = producer,
  registry,
  log,
  pollMs = defaultPollMs,
}: RelayOptions): Relay {
  const lateness = durationHistogram(registry, metrics.outbox.timerLateness);
  const inFlight = new Set<Promise<void>>();
  let acked: string[] = [];
  let tidyTimer: NodeJS.Timeout | undefined;
  let failures = 0;

  function noteAcked(id: string): void {
    acked.push(id);
    tidyTimer ??= setTimeout(() => {
      tidyTimer = undefined;
      tidying.wake();
    }, tidyAfterMs);
  }

  /** Never rejects. */
  async function publishRow({ id, records, timer }: DueRow): Promise<void> {
    const beganMs = performance.now();
    try {
      await send(unordered, timer === undefined ? records : records.map(withLateness(timer)), dueDeadlineMs);
      noteAcked(id);
      failures = 0;
      if (timer !== undefined)
        lateness.observe({ database }, (timer.lateMs + performance.now() - beganMs) / 1_000);
    } catch (error) {
      failures++;
      if (failures === 1 || failures % 1_000 === 0)
        log.warn('records could not be published yet; they are durable and will be', { failures, error });
    }
  }

  function publish(row: DueRow): void {
    if (inFlight.size >= maxInFlight) return;
    const work = publishRow(row).finally(() => inFlight.delete(work));
    inFlight.add(work);
  }

  const taking = loop(log, async () => {
    const room = maxInFlight - inFlight.size;
    if (room <= 0) return 50;
    const inMs = await store.nextInMs('due');
    if (inMs > 0) return Math.max(1, Math.min(pollMs, inMs));
    const taken = await store.transaction((rows) =>
      rows.takeDue({ rows: room, bytes: maxTakenBytes, forMs: takenForMs }),
    );
    for (const row of taken) publish(row);
    return taken.length === 0 ? Math.min(pollMs, heldMs) : 0;
  });

  async function removeAcked(): Promise<void> {
    const ids = acked;
    acked = [];
    try {
      if (ids.length > 0) await store.removeDue(ids);
    } catch (error) {
      acked.push(...ids);
      throw error;
    }
  }
  const tidying = loop(log, async () => {
    await removeAcked();
    return idleMs;
  });

  const woken: Lane<number> = {
    schema: store.schema,
    wake(dueInMs) {
      // A later one is known by the next look.
      if (dueInMs < pollMs) taking.wake();
    },
  };
  dueLanes.add(woken);
  return {
    publish,
    async stop() {
      dueLanes.delete(woken);
      await Promise.all([taking.stop(), tidying.stop()]);
      let timer: NodeJS.Timeout | undefined;
      const patience = new Promise((resolve) => {
        timer = setTimeout(resolve, 3_000);
      });
      await Promise.race([Promise.allSettled(inFlight), patience]);
      clearTimeout(timer);
      clearTimeout(tidyTimer);
      await removeAcked().catch((error: unknown) =>
        log.info('published rows stay and are published again', { error }),
      );
    },
  };
}

const withLateness =
  ({ dueAtMs, lateMs }: NonNullable<DueRow['timer']>) =>
  (record: OutgoingRecord): OutgoingRecord => ({
    ...record,
    headers: {
      ...record.headers,
      'muster-timer-due': new Date(dueAtMs).toISOString(),
      'muster-timer-late-ms': String(Math.round(lateMs)),
    },
  });

// ---- both

/** Each record goes on in the trace of the work that made it, with the time that it took to get out. */
async function send(
  producer: Pick<Producer, 'send'>,
  records: readonly OutgoingRecord[],
  deadlineMs: number,
): Promise<void> {
  const spans: MessageSpan[] = [];
  const outgoing = records.map((record) => {
    const span = startLaterSend(record.topic, record.headers ?? {}, 'outbox');
    if (span === undefined) return record;
    spans.push(span);
    return { ...record, headers: { ...record.headers, traceparent: span.traceparent } };
  });
  try {
    await context.with(ROOT_CONTEXT, () => producer.send(outgoing, { deadlineMs }));
    for (const span of spans) span.end();
  } catch (error) {
    for (const span of spans) span.end(error);
    throw error;
  }
}

/** Keeps muster_outbox_pending and muster_outbox_oldest_age_seconds up to date; every relay of a database reports the same. */
function measureBacklog({ store, database, registry, log }: RelayOptions): { stop(): void } {
  const pending = gauge(registry, metrics.outbox.pending);
  const oldest = gauge(registry, metrics.outbox.oldestAgeSeconds);
  const measure = async () => {
    try {
      const backlog = await store.backlog();
      pending.set({ database }, backlog.pending);
      oldest.set({ database }, backlog.oldestAgeSeconds);
    } catch (error) {
      log.debug('the outbox could not be measured', { error });
    }
  };
  void measure();
  const timer = setInterval(measure, 5_000);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}
