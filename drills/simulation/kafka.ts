/**
 * A simulated Kafka behind the platform's port: partitions, groups with epochs and session timeouts, and everything
 * that goes wrong between a client and a cluster. What the port promises it keeps (order per partition and producer,
 * fenced commits, one batch at a time per partition); what it does not promise it breaks whenever it can: acks are
 * lost after the write, requests fail before it, the cluster is away for longer than a send waits, batches come in any
 * size and order of partitions, members die, freeze and come back.
 */

import type { Logger } from 'winston';
import { NotNowError } from '../../workers/base/errors.ts';
import { untilUp } from '../../workers/base/not-now.ts';
import {
  type Batch,
  type IncomingRecord,
  type Kafka,
  type PartitionConsumer,
  type PartitionConsumerOptions,
  partitionFor,
  type RawRecord,
  type StartOffsets,
  type TopicPartition,
} from '../../workers/kafka/kafka.ts';
import { patience, startWatchdog, type Watchdog } from '../../workers/kafka/watchdog.ts';
import type { World } from './world.ts';

/** Bugs that can be switched on, to see whether the checker would notice. */
export interface KafkaBugs {
  /** Offsets are committed as soon as a batch is handed over. */
  readonly commitBeforeHandling?: boolean;
  /** Commits of an assignment that is over are taken. */
  readonly noFencing?: boolean;
  /** Topics of a group are spread independently of each other. */
  readonly noCoPartitioning?: boolean;
  /** A failed send is told as a success. */
  readonly sendErrorsSwallowed?: boolean;
  /** Reading back gives nothing. */
  readonly readsNothingBack?: boolean;
  /** What waits is not told from what stands. */
  readonly waitsUnseen?: boolean;
}

/** One life of a client process: until it is killed; frozen, nothing of it gets in or out. */
export interface Life {
  readonly name: string;
  dead: boolean;
  frozen: boolean;
}

export interface SimulatedKafka {
  /** The port as a process of this life sees it. */
  client(life: Life): Kafka;
  /** Appends as a foreign producer would, at once. */
  append(topic: string, partition: number, record: Pick<RawRecord, 'key' | 'value' | 'headers'>): void;
  records(topic: string): readonly IncomingRecord[];
  committed(group: string, topic: string, partition: number): number | undefined;
  end(topic: string, partition: number): number;
  readonly partitions: number;
  /** From now on nothing goes wrong any more. */
  heal(): void;
}

/** For code that logs. */
export const silentLog = ((): Logger => {
  const log = { info() {}, warn() {}, error() {}, debug() {}, child: () => log };
  return log as unknown as Logger;
})();

const sessionTimeoutMs = 10_000;
/** How long a send waits when its caller says nothing. */
const sendDeadlineMs = 120_000;
const never = new Promise<never>(() => {});
const key = (topic: string, partition: number) => `${topic}/${partition}`;
const bytes = (value: Buffer | string | null) =>
  value === null ? null : typeof value === 'string' ? Buffer.from(value) : value;

interface Member {
  readonly id: string;
  readonly life: Life;
  readonly options: PartitionConsumerOptions;
  epoch: number;
  positions: Map<string, number>;
  readonly paused: Set<string>;
  left: boolean;
  lastSeenMs: number;
  /** Aborted when the assignment is over. */
  over: AbortController;
  readonly watchdog: Watchdog;
}

interface Group {
  readonly members: Member[];
  readonly committed: Map<string, number>;
  epoch: number;
}

export function simulateKafka(world: World, partitions: number, bugs: KafkaBugs = {}): SimulatedKafka {
  const logs = new Map<string, IncomingRecord[]>();
  const groups = new Map<string, Group>();
  /** Who waits for the next record of a partition. */
  const arrivals = new Map<string, (() => void)[]>();
  let hostile = true;
  let awayUntilMs = 0;
  const goesWrong = (probability: number) => hostile && world.chance(probability);
  const log = (topic: string, partition: number) => {
    const name = key(topic, partition);
    const found = logs.get(name) ?? [];
    logs.set(name, found);
    return found;
  };
  const unreachable = (code: `MUSTER_${string}`, what: string) => new NotNowError(code, `simulated: ${what}`);

  function append(
    topic: string,
    partition: number,
    record: Pick<RawRecord, 'key' | 'value' | 'headers'>,
  ): void {
    const to = log(topic, partition);
    to.push({
      topic,
      partition,
      offset: to.length,
      timestampMs: world.now(),
      key: bytes(record.key),
      value: bytes(record.value),
      headers: (record.headers ?? {}) as IncomingRecord['headers'],
    });
    arrive(key(topic, partition));
  }

  function arrive(name: string): void {
    const waiting = arrivals.get(name);
    arrivals.delete(name);
    for (const arrived of waiting ?? []) arrived();
  }

  /** Resolves when a partition holds a record at or after the offset, or its readers are to look again. */
  function somethingAfter(name: string, offset: number): Promise<void> | undefined {
    if ((logs.get(name)?.length ?? 0) > offset) return undefined;
    return new Promise((resolve) => {
      arrivals.set(name, [...(arrivals.get(name) ?? []), resolve]);
    });
  }

  /** A request and its answer take a while, never come when the process is dead, and wait while it is frozen. */
  async function network(life: Life): Promise<void> {
    await world.sleep(goesWrong(0.02) ? world.int(200, 2_000) : world.int(1, 20));
    while (life.frozen) await world.sleep(100);
    if (life.dead) await never;
  }

  /** Nothing is written and nothing read while the cluster is away. */
  async function present(): Promise<void> {
    while (hostile && world.now() < awayUntilMs) await world.sleep(100);
  }

  // --- groups -------------------------------------------------------------------------------------------------------

  function groupOf(id: string): Group {
    const found = groups.get(id) ?? { members: [], committed: new Map(), epoch: 0 };
    groups.set(id, found);
    return found;
  }

  function rebalance(group: Group, why: string): void {
    group.epoch += 1;
    const { epoch } = group;
    const members = group.members.filter((member) => !member.left);
    world.note(`rebalance ${epoch} (${why}): ${members.map(({ id }) => id).join(', ') || 'nobody'}`);
    members.forEach((member, index) => {
      const mine: TopicPartition[] = member.options.topics.flatMap((topic, place) =>
        Array.from({ length: partitions }, (_, partition) => partition)
          .filter(
            (partition) =>
              (partition + (bugs.noCoPartitioning === true ? place : 0)) % members.length === index,
          )
          .map((partition) => ({ topic, partition })),
      );
      world.spawn(() => begin(group, member, mine, epoch));
    });
  }

  async function begin(
    group: Group,
    member: Member,
    mine: readonly TopicPartition[],
    epoch: number,
  ): Promise<void> {
    await network(member.life);
    const current = () => !member.left && !member.life.dead && group.epoch === epoch;
    if (!current()) return;
    member.over.abort();
    member.over = new AbortController();
    member.epoch = epoch;
    member.positions = new Map();
    member.paused.clear();
    const starts = await startsOf(member, mine, epoch, current);
    if (starts === undefined || !current()) return;
    for (const { topic, partition } of mine) {
      const name = key(topic, partition);
      const start = starts.find((one) => one.topic === topic && one.partition === partition);
      member.positions.set(name, start?.offset ?? group.committed.get(name) ?? 0);
      world.spawn(() => fetchLoop(group, member, topic, partition, epoch));
    }
  }

  /** As the platform's consumer does: asked again until it answers or the assignment is over. */
  async function startsOf(
    member: Member,
    mine: readonly TopicPartition[],
    epoch: number,
    current: () => boolean,
  ): Promise<StartOffsets | undefined> {
    while (current()) {
      try {
        return (await member.options.onAssigned?.(mine, epoch)) ?? [];
      } catch {
        await world.sleep(200);
      }
    }
    return undefined;
  }

  async function fetchLoop(
    group: Group,
    member: Member,
    topic: string,
    partition: number,
    epoch: number,
  ): Promise<void> {
    const name = key(topic, partition);
    const { life } = member;
    for (;;) {
      await somethingAfter(name, member.positions.get(name)!);
      await world.sleep(goesWrong(0.03) ? world.int(200, 3_000) : world.int(5, 60));
      while (life.frozen) await world.sleep(100);
      await present();
      if (member.left || life.dead || member.epoch !== epoch) return;
      if (member.paused.has(name)) continue;
      const position = member.positions.get(name)!;
      const from = log(topic, partition);
      if (position >= from.length) continue;
      const records = from.slice(position, position + world.int(1, 40));
      member.positions.set(name, position + records.length);
      const batch: Batch = { topic, partition, records, highWatermark: from.length };
      if (bugs.commitBeforeHandling === true) group.committed.set(name, position + records.length);
      if (!(await handOver(member, batch, epoch))) return;
    }
  }

  async function watched<T>({ watchdog }: Member, what: string, work: () => Promise<T>): Promise<T> {
    const one = watchdog.begin(what);
    try {
      return await work();
    } finally {
      one.end();
    }
  }

  /** As the platform's consumer does: what waits gets its batch again, any other failure is the end. */
  async function handOver(member: Member, batch: Batch, epoch: number): Promise<boolean> {
    const { signal } = member.over;
    const what = `the handling of ${batch.topic} from ${batch.records[0]!.offset} on does not end`;
    const attempt = async () => (await member.options.onBatch(batch, epoch)) ?? undefined;
    const one = () => (bugs.waitsUnseen === true ? attempt() : watched(member, what, attempt));
    const whole = async () => {
      for (
        let wait = await untilUp(one, { signal });
        wait !== undefined;
        wait = await untilUp(one, { signal })
      ) {
        await wait.until;
        if (signal.aborted) return;
      }
    };
    try {
      await (bugs.waitsUnseen === true ? watched(member, what, whole) : whole());
    } catch (error) {
      member.options.onFatal(error as Error);
      return false;
    }
    return !signal.aborted && !member.left && !member.life.dead;
  }

  /** Members that were not heard of for a session are put out. */
  function expire(group: Group): void {
    for (const member of group.members) {
      if (member.left) continue;
      if (!member.life.dead && !member.life.frozen) member.lastSeenMs = world.now();
      else if (world.now() - member.lastSeenMs > sessionTimeoutMs) {
        member.left = true;
        rebalance(group, `${member.id} expired`);
        if (!member.life.dead) world.spawn(() => rejoin(group, member));
      }
    }
  }

  /** A frozen member thaws, hears that it was put out, and joins anew. */
  async function rejoin(group: Group, member: Member): Promise<void> {
    while (member.life.frozen) await world.sleep(100);
    // What it does before it hears of it is done with the old epoch.
    await world.sleep(world.int(100, 2_000));
    if (member.life.dead) return;
    member.left = false;
    member.lastSeenMs = world.now();
    rebalance(group, `${member.id} came back`);
  }

  async function consume(life: Life, options: PartitionConsumerOptions): Promise<PartitionConsumer> {
    await network(life);
    const group = groupOf(options.groupId);
    if (group.members.length === 0)
      world.spawn(async () => {
        for (;;) {
          await world.sleep(500);
          expire(group);
        }
      });
    const member: Member = {
      id: life.name,
      life,
      options,
      epoch: 0,
      positions: new Map(),
      paused: new Set(),
      left: false,
      lastSeenMs: world.now(),
      over: new AbortController(),
      watchdog: startWatchdog({
        patience,
        log: silentLog,
        standing: async () => [],
        onStalled: (error) => options.onFatal(error),
      }),
    };
    group.members.push(member);
    rebalance(group, `${member.id} joined`);
    let asked = new Map<string, { offset: number; epoch: number }>();
    const write = async (): Promise<void> => {
      const writing = asked;
      asked = new Map();
      await network(life);
      for (const [name, { offset, epoch }] of writing)
        if (bugs.noFencing === true || (!member.left && epoch === group.epoch))
          group.committed.set(name, offset);
    };
    world.spawn(async () => {
      while (!life.dead) {
        await world.sleep(world.int(100, 600));
        if (asked.size > 0) await write();
      }
    });
    return {
      get epoch() {
        return member.epoch;
      },
      commit(offsets, epoch) {
        if (bugs.noFencing !== true && epoch !== member.epoch) return;
        for (const { topic, partition, offset } of offsets)
          asked.set(key(topic, partition), { offset, epoch });
      },
      flushCommits: write,
      pause(list) {
        for (const { topic, partition } of list) member.paused.add(key(topic, partition));
      },
      resume(list) {
        for (const { topic, partition } of list) member.paused.delete(key(topic, partition));
      },
      seek({ topic, partition, offset }) {
        const name = key(topic, partition);
        if (!member.positions.has(name)) return;
        member.positions.set(name, offset);
        arrive(name);
      },
      watched: (what, work) => watched(member, what, work),
      async stop() {
        await write();
        member.left = true;
        member.watchdog.stop();
        rebalance(group, `${member.id} left`);
      },
    };
  }

  // --- producers ----------------------------------------------------------------------------------------------------

  function producer(life: Life) {
    /** The tail of each partition's queue: one request in flight at a time. */
    const tails = new Map<string, Promise<unknown>>();

    const tooLate = () => unreachable('MUSTER_KAFKA_SEND', 'not acked within the deadline');

    async function sendTo(
      topic: string,
      partition: number,
      records: readonly RawRecord[],
      deadlineAtMs: number,
    ): Promise<void> {
      if (goesWrong(0.002)) {
        awayUntilMs = world.now() + world.int(3_000, 40_000);
        world.note('Kafka goes away');
      }
      await world.sleep(goesWrong(0.02) ? world.int(200, 3_000) : world.int(1, 15));
      await present();
      // One that freezes may have its request out, or not.
      if (life.frozen && world.chance(0.5)) while (life.frozen) await world.sleep(100);
      // Nobody waits for it any more, and it was never on its way.
      if (world.now() >= deadlineAtMs) throw tooLate();
      // A process that dies may die before or after its request is out.
      if (life.dead && world.chance(0.5)) await never;
      if (goesWrong(0.02)) {
        if (bugs.sendErrorsSwallowed === true) return;
        throw unreachable('MUSTER_KAFKA_SEND', 'the request was lost');
      }
      const written = goesWrong(0.02) ? records.slice(0, world.int(0, records.length)) : records;
      for (const record of written) append(topic, partition, record);
      if (life.dead) await never;
      if (written.length < records.length || goesWrong(0.02)) {
        if (bugs.sendErrorsSwallowed === true) return;
        throw unreachable('MUSTER_KAFKA_SEND', 'the ack was lost');
      }
      await network(life);
    }

    /** Settles when the process hears that its deadline has passed; what was not written by then may be all the same. */
    async function givenUp(deadlineMs: number): Promise<PromiseSettledResult<void>[]> {
      await world.sleep(deadlineMs);
      while (life.frozen) await world.sleep(100);
      if (life.dead) await never;
      return [{ status: 'rejected', reason: tooLate() }];
    }

    return {
      async send(records: readonly RawRecord[], { deadlineMs = sendDeadlineMs } = {}) {
        const deadlineAtMs = world.now() + deadlineMs;
        const byPartition = new Map<string, { topic: string; partition: number; records: RawRecord[] }>();
        for (const record of records) {
          const partition =
            record.partition ??
            (record.key === null
              ? world.int(0, partitions - 1)
              : partitionFor(bytes(record.key)!, partitions));
          const name = key(record.topic, partition);
          const part = byPartition.get(name) ?? { topic: record.topic, partition, records: [] };
          part.records.push(record);
          byPartition.set(name, part);
        }
        const sends = [...byPartition].map(([name, part]) => {
          const before = tails.get(name) ?? Promise.resolve();
          const sent = before.then(() => sendTo(part.topic, part.partition, part.records, deadlineAtMs));
          tails.set(
            name,
            sent.catch(() => undefined),
          );
          return sent;
        });
        const failed = (await Promise.race([Promise.allSettled(sends), givenUp(deadlineMs)])).find(
          ({ status }) => status === 'rejected',
        );
        if (failed !== undefined) throw (failed as PromiseRejectedResult).reason;
      },
      async close() {},
    };
  }

  const ends = (topic: string) => Array.from({ length: partitions }, (_, partition) => log(topic, partition));
  const unused = (what: string) => () => {
    throw new Error(`the simulation has no ${what}`);
  };

  return {
    partitions,
    append,
    end: (topic, partition) => log(topic, partition).length,
    records: (topic) => ends(topic).flat(),
    committed: (group, topic, partition) => groups.get(group)?.committed.get(key(topic, partition)),
    heal() {
      hostile = false;
    },
    client(life) {
      const asking = async () => {
        await network(life);
        if (goesWrong(0.02)) throw unreachable('MUSTER_KAFKA_UNREACHABLE', 'no broker answered');
      };
      return {
        producer: async () => producer(life),
        consumePartitions: (options) => consume(life, options),
        admin: {
          topicNames: unused('topic names'),
          async partitionCounts(topics) {
            await network(life);
            return new Map(topics.map((topic) => [topic, partitions]));
          },
          async offsets(topic) {
            await asking();
            return ends(topic).map((records, partition) => ({ partition, low: 0, high: records.length }));
          },
          async ends(topics) {
            await asking();
            return new Map(
              topics.map((topic) => [
                topic,
                new Map(ends(topic).map((records, partition) => [partition, records.length])),
              ]),
            );
          },
          async offsetsAt(topic, timestampMs) {
            await asking();
            return new Map(
              ends(topic).map((records, partition) => {
                const found = records.findIndex((record) => record.timestampMs >= timestampMs);
                return [partition, found === -1 ? records.length : found];
              }),
            );
          },
          async committed(groupId, topic) {
            await network(life);
            const group = groupOf(groupId);
            return new Map(
              ends(topic).map((_, partition) => [partition, group.committed.get(key(topic, partition))]),
            );
          },
          setCommitted: unused('committing from outside'),
        },
        cluster: unused('cluster reader'),
        async *read(topic, partition, from, to) {
          await asking();
          if (bugs.readsNothingBack === true) return;
          const records = log(topic, partition);
          for (let position = from; position < Math.min(to, records.length); ) {
            await asking();
            const chunk = records.slice(position, Math.min(to, position + world.int(1, 50)));
            position += chunk.length;
            yield chunk;
          }
        },
        follow: unused('follower'),
        async close() {},
      };
    },
  };
}
