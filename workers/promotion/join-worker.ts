/**
 * Worker `promotion-join`: feeds the join of join.ts from Kafka and sends what it answers.
 *
 * One task per partition number (join-task.ts): partition i of both inputs and of both repartition topics. Per source a
 * queue of fetched batches; the task takes from the queue whose head was appended first, so that a backlog is read in step
 * and the state stays as small as with live data. A record whose user belongs to another partition (a producer that knows
 * nothing of us) goes to the repartition topic, standardised and keyed by user. Offsets are committed when all that a
 * record led to is acked. On assignment the state is read back from the input topics (join-restore.ts).
 *
 * What waits is measured by a clock that never steps back; append times are the brokers' stamps.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Type } from 'typebox';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import {
  type Batch,
  type IncomingRecord,
  type OutgoingRecord,
  type PartitionConsumer,
  partitionFor,
  type StartOffsets,
  type TopicPartition,
} from '../kafka/kafka.ts';
import { type MessageSpan, startProcess } from '../kafka/tracing-kafka.ts';
import type { Started, Worker, WorkerDeps } from '../platform/worker.ts';
import type { Rejection } from './fields.ts';
import { inputSettings } from './inputs.ts';
import { type JoinOptions, joinDefaults } from './join.ts';
import { type Answers, createAnswers } from './join-answers.ts';
import { createEndWatch } from './join-ends.ts';
import { createJoinMeters, type JoinMeters } from './join-meters.ts';
import {
  deadLetter,
  firstAppendedMs,
  type Home,
  happenedMs,
  moved,
  otherBody,
  sourceOf,
  staysAt,
  takeIn,
  topicOf,
  understand,
} from './join-records.ts';
import { restoreTasks } from './join-restore.ts';
import type { Source } from './join-runs.ts';
import { createTask, dequeue, enqueue, type JoinTask, nextSource, ofSources, resumes } from './join-task.ts';

const config = Type.Object({
  ...inputSettings.properties,
  JOIN_GRACE_MS: Type.Integer({
    minimum: 0,
    maximum: 3_600_000,
    default: joinDefaults.graceMs,
    description: 'how much later than its purchase an act may arrive and still count, in ms',
  }),
  JOIN_MISS_HOLD_MS: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: joinDefaults.missHoldMs,
    description: 'how long a purchase without acts waits for them at most, in ms',
  }),
});

const groupId = groups.promotionJoin.id;
/** Longest stretch of work without letting the event loop turn. */
const sliceMs = 10;
const tickMs = 50;
/** Least time between two questions for the end offsets, when misses wait for them, and when none do. */
const askEveryMs = 200;
const askIdleMs = 5_000;
/** How long a stop waits for acks. */
const drainMs = 8_000;

export const worker: Worker<typeof config> = {
  name: 'promotion-join',
  consumes: [groups.promotionJoin],
  produces: [
    topics.purchaseEnriched,
    topics.promotion,
    topics.purchaseByUser,
    topics.promoBehaviorByUser,
    topics.purchaseDlq,
    topics.promoBehaviorDlq,
  ],
  config,
  start(deps) {
    const { config } = deps;
    const options: JoinOptions = {
      ...joinDefaults,
      graceMs: config.JOIN_GRACE_MS,
      missHoldMs: config.JOIN_MISS_HOLD_MS,
    };
    return startJoin(deps, options, config.TIME_ZONE);
  },
};

async function startJoin(
  { fail, kafka, log, metrics, secrets }: WorkerDeps,
  options: JoinOptions,
  timeZone: string,
): Promise<Started> {
  const producer = await kafka.producer('promotion-join');
  const meters = createJoinMeters(metrics, options);
  const ends = createEndWatch(kafka);
  let tasks = new Map<number, JoinTask>();
  let consumer: PartitionConsumer | undefined;
  let partitionCount = 0;
  let assigned = false;
  let newestEpoch = 0;
  let stopping = false;
  const answers = createAnswers({
    producer,
    log,
    pseudonymKey: secrets.pseudonymKey,
    fail,
    answered: meters.answered,
    acked: commit,
    hasRoom: () => {
      for (const task of tasks.values()) void pump(task);
    },
  });
  const homeOf = (userId: string): Home => ({
    partition: partitionFor(Buffer.from(userId), partitionCount),
    among: partitionCount,
  });

  async function onAssigned(assignment: readonly TopicPartition[], epoch: number): Promise<StartOffsets> {
    for (const task of tasks.values()) task.dead = true;
    answers.endSpans();
    tasks = new Map();
    assigned = false;
    newestEpoch = epoch;
    const [edges, count] = await Promise.all([edgesOf(kafka), smallestCount(kafka)]);
    // The next assignment may have come, and been answered, while this one waited for the cluster.
    if (epoch !== newestEpoch) return [];
    partitionCount = count;
    for (const partition of new Set(assignment.map((one) => one.partition)))
      tasks.set(partition, createTask(partition, epoch, edges(partition), options));
    assigned = true;
    void restoreTasks([...tasks.values()], { kafka, log, options, timeZone, homeOf }, (task) => {
      void pump(task);
    });
    return [...tasks.values()].flatMap(({ partition, start }) =>
      start.map((offset, one) => ({ topic: topicOf[one as Source], partition, offset })),
    );
  }

  function onBatch(batch: Batch, epoch: number): void {
    const task = tasks.get(batch.partition);
    const one = sourceOf.get(batch.topic);
    if (task === undefined || one === undefined || task.epoch !== epoch || batch.records.length === 0) return;
    if (enqueue(task, one, batch)) consumer?.pause([{ topic: batch.topic, partition: batch.partition }]);
    void pump(task);
  }

  async function pump(task: JoinTask): Promise<void> {
    if (task.pumping || !task.restored) return;
    task.pumping = true;
    try {
      let sinceMs = performance.now();
      while (!task.dead && !stopping && !answers.isFull()) {
        const one = nextSource(task, performance.now(), options.missHoldMs);
        if (one === undefined) break;
        readRun(task, one, dequeue(task, one), { answers, meters, timeZone, homeOf });
        deliver(task);
        if (resumes(task, one)) consumer?.resume([{ topic: topicOf[one], partition: task.partition }]);
        if (performance.now() - sinceMs > sliceMs) {
          await nextTurn();
          sinceMs = performance.now();
        }
      }
    } catch (error) {
      // A bug of ours. The position is lost, so the process starts anew from the commits.
      fail(error instanceof Error ? error : new Error(String(error)));
    } finally {
      task.pumping = false;
    }
  }

  function deliver(task: JoinTask): void {
    answers.deliver(task);
    commit(task);
  }

  function commit(task: JoinTask): void {
    if (task.dead) return;
    task.join.commits((from, offset) => {
      consumer?.commit([{ topic: topicOf[from], partition: task.partition, offset }], task.epoch);
    });
  }

  let asking = false;
  let askedAtMs = Number.NEGATIVE_INFINITY;

  function tick(): void {
    const nowMs = performance.now();
    let held = 0;
    let waits = false;
    for (const task of tasks.values()) {
      if (!task.restored) continue;
      task.join.tick(nowMs);
      deliver(task);
      void pump(task);
      held += task.join.heldCount();
      waits ||= task.join.waitsForEnds() || task.waitingSinceMs > 0;
    }
    meters.held(held);
    if (asking || !assigned || nowMs - askedAtMs < (waits ? askEveryMs : askIdleMs)) return;
    asking = true;
    askedAtMs = nowMs;
    ends
      .ask(tasks, nowMs)
      .then(tick)
      .catch((error) => log.debug('the end offsets could not be asked for', { error }))
      .finally(() => {
        asking = false;
      });
  }

  const timer = setInterval(tick, tickMs);
  consumer = await kafka.consumePartitions({
    groupId,
    topics: groups.promotionJoin.topics.map((topic) => topic.name),
    coPartitioned: true,
    onAssigned,
    onBatch,
    onFatal: fail,
  });

  return {
    ready: () => assigned && [...tasks.values()].every((task) => task.restored),
    waitingFor: () => (assigned ? 'reading the state back' : 'joining the group'),
    async stop() {
      clearInterval(timer);
      stopping = true;
      // What was sent is worth its ack: the next one need not do it again.
      await answers.stop(drainMs);
      for (const task of tasks.values()) commit(task);
      await consumer?.stop();
      for (const task of tasks.values()) task.dead = true;
      answers.endSpans();
      await producer.close();
    },
  };
}

/** First and last offsets of each partition, and where reading begins: at what was committed, if that is still there. */
async function edgesOf({ admin }: WorkerDeps['kafka']) {
  const committed = await Promise.all(topicOf.map((topic) => admin.committed(groupId, topic)));
  const ranges = await Promise.all(topicOf.map((topic) => admin.offsets(topic)));
  return (partition: number) =>
    ofSources((one) => {
      const range = ranges[one]!.find((range) => range.partition === partition) ?? { low: 0, high: 0 };
      const done = committed[one]!.get(partition);
      const isInside = done !== undefined && done >= range.low && done <= range.high;
      return { ...range, start: isInside ? done : range.low };
    });
}

/** Partitions that all four topics have: users are spread over these, also while partitions are being added. */
async function smallestCount({ admin }: WorkerDeps['kafka']): Promise<number> {
  const counts = await admin.partitionCounts(topicOf);
  return Math.min(...topicOf.map((topic) => counts.get(topic) ?? 0));
}

interface RunDeps {
  readonly answers: Answers;
  readonly meters: JoinMeters;
  readonly timeZone: string;
  homeOf(userId: string): Home;
}

/** Gives records to the join as one run; what is refused, or belongs to another partition, is sent there. */
function readRun(task: JoinTask, one: Source, records: readonly IncomingRecord[], deps: RunDeps): void {
  const { answers, meters, timeZone, homeOf } = deps;
  const { join } = task;
  const last = records[records.length - 1]!;
  const nowMs = performance.now();
  const run = join.begin(one, last.offset + 1);
  const sent: OutgoingRecord[] = [];
  const sentSpans: MessageSpan[] = [];
  const refused = (record: IncomingRecord, rejection: Rejection): OutgoingRecord => {
    const letter = deadLetter(one, record, rejection);
    meters.rejected(record.topic, letter.topic, rejection.code);
    return letter;
  };
  for (const record of records) {
    const span = record.headers.traceparent === undefined ? undefined : startProcess(record, groupId);
    const result = understand(one, record, timeZone);
    if (!result.ok) {
      sent.push(refused(record, result.rejection));
      if (span !== undefined) {
        span.span.setAttribute('error.type', result.rejection.code);
        sentSpans.push(span);
      }
      continue;
    }
    const { value } = result;
    const home = homeOf(value.userId);
    if (!staysAt(task.partition, record, home)) {
      sent.push(moved(one, record, value, home, span?.traceparent));
      if (span !== undefined) sentSpans.push(span);
      continue;
    }
    const times = { happenedMs: happenedMs(value), appendedMs: firstAppendedMs(one, record), nowMs };
    const outcome = takeIn(join, run, value, times, span?.traceparent);
    if (outcome === 'conflict') sent.push(refused(record, otherBody));
    meters.outcome(one, outcome, value, times.appendedMs - times.happenedMs);
    if (span === undefined) continue;
    // The span of a purchase ends when its answer is acked.
    const purchase = outcome === 'hit' || outcome === 'held' ? join.lastPurchase() : undefined;
    if (purchase === undefined) span.end();
    else answers.trace(purchase, span);
  }
  if (sent.length > 0) {
    join.retain(run);
    answers.send(task, sent, () => {
      join.release(run);
      for (const span of sentSpans) span.end();
    });
  }
  join.finish(run, last.timestampMs, nowMs);
}
