/**
 * The producer: kafkajs' connections, our own batching, encoding and retries.
 *
 * kafkajs' producer retries a whole send when one broker of several fails (the others get it twice), its idempotent
 * mode loses or doubles records under concurrent sends and never recovers from a lost sequence, and its encoder was
 * most of the cost. Here each partition is a queue of batches with **one batch in flight at a time**, a request holds
 * at most one batch of each of one leader's partitions, a leader has one request in flight, and every partition's
 * answer is judged by itself: only what failed is sent again, byte for byte, under the same sequence number, so that
 * the broker drops what it already has. Sequences are kept per partition; when the broker has lost one (errors 45, 47,
 * 59) or a batch was given up in doubt, that partition goes on under a fresh producer id.
 *
 * What that guarantees: order per partition, no loss of what was acked, at least once. A duplicate remains possible
 * after a fresh producer id, or when the caller sends again after MUSTER_KAFKA_SEND: consumers dedupe by message id.
 */

import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import { MusterError, NotNowError } from '../base/errors.ts';
import { type Producer, partitionFor, type RawRecord } from './kafka.ts';
import type { KafkaMetrics } from './kafka-metrics.ts';
import { apiKeys, type Broker, errorFromCode, type WireRequest } from './kafkajs-internals.ts';
import {
  appendRecord,
  type BatchIdentity,
  type OpenBatch,
  openBatch,
  recordSizeBound,
  sealBatch,
  stampBatch,
} from './record-batch.ts';
import { type MessageSpan, startSend } from './tracing-kafka.ts';
import type { Wire } from './wire.ts';

export interface ProducerOptions {
  readonly wire: Wire;
  readonly clientId: string;
  readonly log: Logger;
  readonly metrics: KafkaMetrics;
  /** Least time between two requests to a leader; a send after a pause of that length leaves at once. */
  readonly lingerMs?: number;
  /** Uncompressed bytes after which a batch is closed. */
  readonly maxBatchBytes?: number;
  /** Bytes held for records not yet acked; beyond it send() waits. */
  readonly bufferBytes?: number;
  /** How long a send may take when the caller says nothing. */
  readonly deadlineMs?: number;
}

/**
 * Largest record (key, value, headers) in bytes: the largest that an ordinary topic takes (1,048,588), with the headers of a
 * dead letter. What the topic at hand does not take is refused by the broker.
 */
const maxRecordBytes = 1_200_000;

/** The broker answers a produce after this at the latest; with its replicas gone it says REQUEST_TIMED_OUT. */
const brokerTimeoutMs = 2_000;
const firstRetryMs = 50;
const maxRetryMs = 300;
/** How often the brokers that answer are asked for new leaders while one does not. */
const askForLeadersMs = 100;

/** Errors after which the same bytes may be sent again. By the protocol's error codes. */
const retriable = new Set([
  2 /* corrupt */, 3 /* unknown topic or partition */, 5 /* leader not available */, 6 /* not leader */,
  7 /* timed out */, 8 /* broker not available */, 9 /* replica not available */, 13 /* network */,
  19 /* not enough replicas */, 20 /* not enough replicas after append */, 56 /* storage */,
  74 /* fenced leader epoch */, 75 /* unknown leader epoch */, 89 /* throttled */,
]);
const duplicateSequence = 46;
/** Errors that say something of the records: the same again is refused again. */
const faulty = new Set([
  10 /* too large */, 18 /* batch too large */, 32 /* timestamp */, 44 /* policy */, 87 /* invalid */,
]);
/** Out of order sequence, invalid epoch, unknown producer id: the broker does not know our sequence (any more). */
const identityLost = new Set([45, 47, 59]);

/** One call of send(). */
interface Ticket {
  remaining: number;
  readonly deadlineAt: number;
  done: boolean;
  resolve(): void;
  reject(error: Error): void;
}

interface QueuedBatch {
  open: OpenBatch | undefined;
  wire: Buffer | undefined;
  identity: BatchIdentity | undefined;
  readonly count: () => number;
  readonly bytes: () => number;
  readonly tickets: { readonly ticket: Ticket; count: number }[];
  readonly queuedAtMs: number;
  reservedBytes: number;
  attempts: number;
}

interface Partition {
  readonly topic: string;
  readonly id: number;
  leader: number;
  readonly queue: QueuedBatch[];
  inFlight: boolean;
  retryAt: number;
  producer: ProducerIdentity | undefined;
  nextSequence: number;
}

interface ProducerIdentity {
  readonly id: bigint;
  readonly epoch: number;
}

interface TopicState {
  readonly partitions: Partition[];
  /** Where records without a key go; moves on when a batch closes, so that batches stay large. */
  sticky: number;
}

interface Leader {
  busy: boolean;
  connecting: boolean;
  /** Connects that failed since the last that did not. */
  failures: number;
  lastDispatchMs: number;
}

interface PartitionAnswer {
  readonly topic: string;
  readonly partition: number;
  readonly errorCode: number;
}

/** Starts a producer. Connections are made at the first send. */
export function startProducer(options: ProducerOptions): Producer {
  const { wire, clientId, log, metrics } = options;
  const lingerMs = options.lingerMs ?? 5;
  const maxBatchBytes = options.maxBatchBytes ?? 256 * 1024;
  const bufferBytes = options.bufferBytes ?? 32 * 1024 * 1024;
  const defaultDeadlineMs = options.deadlineMs ?? 120_000;

  const topics = new Map<string, TopicState>();
  const loading = new Map<string, Promise<void>>();
  const leaders = new Map<number, Leader>();
  /** Partitions with something queued and nothing in flight. */
  const ready = new Set<Partition>();
  const tickets = new Set<Ticket>();
  const waitingForRoom: { readonly bytes: number; readonly admit: () => void }[] = [];
  let heldBytes = 0;
  let identity: Promise<ProducerIdentity> | undefined;
  /** What `identity` has come to. */
  let identityKnown: ProducerIdentity | undefined;
  let refreshing: Promise<void> | undefined;
  let lastLearnedMs = 0;
  let pumpScheduled = false;
  let pumpTimer: NodeJS.Timeout | undefined;
  let deadlineTimer: NodeJS.Timeout | undefined;
  let closed = false;

  // ---- taking records in

  async function send(
    records: readonly RawRecord[],
    sendOptions: { readonly deadlineMs?: number } = {},
  ): Promise<void> {
    if (closed) throw new NotNowError('MUSTER_KAFKA_SEND', 'the producer is closed');
    if (records.length === 0) return;
    let bytes = 0;
    for (const record of records) {
      const size = recordSizeBound(record.key, record.value, record.headers);
      if (size > maxRecordBytes) {
        throw new MusterError(
          'MUSTER_KAFKA_RECORD_TOO_LARGE',
          `a record for ${record.topic} takes ${size} bytes, more than the ${maxRecordBytes} that fit`,
        );
      }
      bytes += size;
    }
    const spans = startSpans(records);
    const deadlineAt = Date.now() + (sendOptions.deadlineMs ?? defaultDeadlineMs);
    try {
      for (const record of records) {
        if (!topics.has(record.topic)) await withDeadline(loadTopic(record.topic), deadlineAt);
        if (record.partition !== undefined && !topics.get(record.topic)!.partitions[record.partition]) {
          throw new NotNowError('MUSTER_KAFKA_SEND', `${record.topic} has no partition ${record.partition}`);
        }
      }
      if (waitingForRoom.length > 0 || (heldBytes > 0 && heldBytes + bytes > bufferBytes)) {
        await room(bytes, deadlineAt);
      } else {
        heldBytes += bytes;
      }
      if (closed) {
        heldBytes -= bytes;
        throw new NotNowError('MUSTER_KAFKA_SEND', 'the producer was closed');
      }
      await enqueue(records, bytes, deadlineAt, spans);
      endSpans(spans);
      countFailures(records);
    } catch (error) {
      endSpans(spans, error);
      throw error;
    }
  }

  function countFailures(records: readonly RawRecord[]): void {
    for (const { topic, headers } of records) {
      if (headers === undefined) continue;
      if (topic.endsWith('.dlq'))
        metrics.deadLetter(topic, String(headers['muster-error-code'] ?? 'unknown'));
      else if (headers['muster-attempt'] !== undefined)
        metrics.retry(topic, Number(headers['muster-attempt']));
    }
  }

  function enqueue(
    records: readonly RawRecord[],
    bytes: number,
    deadlineAt: number,
    spans: ReadonlyMap<string, MessageSpan> | undefined,
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      const ticket: Ticket = { remaining: records.length, deadlineAt, done: false, resolve, reject };
      tickets.add(ticket);
      watchDeadlines();
      const now = Date.now();
      const perRecord = bytes / records.length;
      for (const record of records) {
        const topic = topics.get(record.topic)!;
        const partition = choosePartition(topic, record);
        const traceparent =
          spans !== undefined && record.headers?.traceparent === undefined
            ? spans.get(record.topic)?.traceparent
            : undefined;
        append(topic, partition, record, ticket, now, perRecord, traceparent);
      }
      schedulePump();
    });
  }

  function choosePartition(topic: TopicState, record: RawRecord): Partition {
    if (record.partition !== undefined) return topic.partitions[record.partition]!;
    if (record.key === null) return topic.partitions[topic.sticky % topic.partitions.length]!;
    const key = typeof record.key === 'string' ? Buffer.from(record.key) : record.key;
    return topic.partitions[partitionFor(key, topic.partitions.length)]!;
  }

  function append(
    topic: TopicState,
    partition: Partition,
    record: RawRecord,
    ticket: Ticket,
    now: number,
    bytes: number,
    traceparent: string | undefined,
  ): void {
    let batch = partition.queue.at(-1);
    const bound = recordSizeBound(record.key, record.value, record.headers) + 80;
    if (batch?.open === undefined || batch.open.length + bound > Math.max(maxBatchBytes, bound)) {
      if (batch?.open !== undefined) topic.sticky++;
      const open = openBatch(now);
      const fresh: QueuedBatch = {
        open,
        wire: undefined,
        identity: undefined,
        count: () => open.count,
        bytes: () => fresh.wire?.length ?? open.length,
        tickets: [],
        queuedAtMs: now,
        reservedBytes: 0,
        attempts: 0,
      };
      batch = fresh;
      partition.queue.push(batch);
      if (!partition.inFlight) ready.add(partition);
    }
    appendRecord(batch.open!, now, record.key, record.value, record.headers, traceparent);
    batch.reservedBytes += bytes;
    const last = batch.tickets.at(-1);
    if (last?.ticket === ticket) last.count++;
    else batch.tickets.push({ ticket, count: 1 });
  }

  function room(bytes: number, deadlineAt: number): Promise<void> {
    let admit: () => void = () => undefined;
    const admitted = new Promise<void>((resolve) => {
      admit = () => {
        heldBytes += bytes;
        resolve();
      };
    });
    const waiting = { bytes, admit };
    waitingForRoom.push(waiting);
    return withDeadline(admitted, deadlineAt, () => {
      const index = waitingForRoom.indexOf(waiting);
      if (index >= 0) waitingForRoom.splice(index, 1);
    });
  }

  function release(bytes: number): void {
    heldBytes = Math.max(0, heldBytes - bytes);
    while (waitingForRoom.length > 0) {
      const next = waitingForRoom[0]!;
      if (heldBytes > 0 && heldBytes + next.bytes > bufferBytes) return;
      waitingForRoom.shift();
      next.admit();
    }
  }

  // ---- where to send

  function loadTopic(topic: string): Promise<void> {
    let promise = loading.get(topic);
    if (promise === undefined) {
      promise = untilLoaded(topic).finally(() => loading.delete(topic));
      loading.set(topic, promise);
    }
    return promise;
  }

  async function untilLoaded(topic: string): Promise<void> {
    const giveUpAt = Date.now() + defaultDeadlineMs;
    for (let waitMs = firstRetryMs; ; waitMs = Math.min(waitMs * 2, maxRetryMs)) {
      let problem = 'no broker answers';
      if (closed) throw new NotNowError('MUSTER_KAFKA_SEND', 'the producer was closed');
      try {
        const response = await wire.metadata([...topics.keys(), topic]);
        learnLeaders(response);
        if (topics.has(topic)) return;
        problem = 'the topic does not exist';
      } catch (error) {
        problem = messageOf(error);
      }
      if (Date.now() > giveUpAt) {
        throw new NotNowError('MUSTER_KAFKA_SEND', `cannot send to ${topic}: ${problem}`);
      }
      await sleep(waitMs);
    }
  }

  function learnLeaders(response: Awaited<ReturnType<Wire['metadata']>>): void {
    lastLearnedMs = Date.now();
    for (const { topic, topicErrorCode, partitionMetadata } of response.topicMetadata) {
      if (topicErrorCode !== 0 || partitionMetadata.length === 0) continue;
      let state = topics.get(topic);
      if (state === undefined) {
        state = { partitions: [], sticky: Math.floor(Math.random() * partitionMetadata.length) };
        topics.set(topic, state);
      }
      for (const { partitionId, leader } of partitionMetadata) {
        const partition = state.partitions[partitionId];
        if (partition) partition.leader = leader;
        else {
          state.partitions[partitionId] = {
            topic,
            id: partitionId,
            leader,
            queue: [],
            inFlight: false,
            retryAt: 0,
            producer: undefined,
            nextSequence: 0,
          };
        }
      }
    }
  }

  function refreshLeaders(): Promise<void> {
    refreshing ??= wire
      .metadata([...topics.keys()])
      .then(learnLeaders)
      .catch((error) => {
        log.debug('metadata refresh failed', { error: messageOf(error) });
      })
      .finally(() => {
        refreshing = undefined;
        schedulePump();
      });
    return refreshing;
  }

  // ---- sending

  function schedulePump(): void {
    if (pumpScheduled) return;
    pumpScheduled = true;
    // After the current turn of the loop: calls made in it share a request.
    setImmediate(() => {
      pumpScheduled = false;
      pump();
    });
  }

  function pumpIn(ms: number): void {
    if (pumpTimer !== undefined) return;
    pumpTimer = setTimeout(() => {
      pumpTimer = undefined;
      pump();
    }, ms);
  }

  function pump(): void {
    if (closed || ready.size === 0) return;
    const now = Date.now();
    const byLeader = new Map<number, Partition[]>();
    let soonest = Number.POSITIVE_INFINITY;
    let leaderless = false;
    let unreached = false;
    for (const partition of ready) {
      // Short deadlines and a partition without a leader: what nobody waits for must not pile up.
      if (dropAbandoned(partition) === undefined) {
        ready.delete(partition);
        continue;
      }
      if (partition.retryAt > now) {
        soonest = Math.min(soonest, partition.retryAt - now);
        continue;
      }
      if (partition.leader < 0) {
        leaderless = true;
        partition.retryAt = now + firstRetryMs;
        soonest = Math.min(soonest, firstRetryMs);
        continue;
      }
      const group = byLeader.get(partition.leader);
      if (group) group.push(partition);
      else byLeader.set(partition.leader, [partition]);
    }
    for (const [nodeId, partitions] of byLeader) {
      const leader = leaders.get(nodeId) ?? {
        busy: false,
        connecting: false,
        failures: 0,
        lastDispatchMs: 0,
      };
      leaders.set(nodeId, leader);
      if (leader.busy) continue;
      if (!wire.isConnected(nodeId)) {
        reach(nodeId, leader);
        soonest = Math.min(soonest, askForLeadersMs);
        unreached = true;
        continue;
      }
      const dueInMs = leader.lastDispatchMs + lingerMs - now;
      if (dueInMs > 0 && !partitions.some((partition) => partition.queue[0]!.bytes() >= maxBatchBytes / 2)) {
        soonest = Math.min(soonest, dueInMs);
        continue;
      }
      leader.busy = true;
      leader.lastDispatchMs = now;
      for (const partition of partitions) {
        partition.inFlight = true;
        ready.delete(partition);
      }
      void dispatch(nodeId, partitions).finally(() => {
        leader.busy = false;
        pump();
      });
    }
    if (leaderless || (unreached && now - lastLearnedMs >= askForLeadersMs)) void refreshLeaders();
    if (soonest < Number.POSITIVE_INFINITY) pumpIn(Math.max(1, soonest));
  }

  /**
   * Connects to a leader. Its partitions stay free meanwhile: a dead host lets a connect wait, and before that has failed
   * they may have another leader.
   */
  function reach(nodeId: number, leader: Leader): void {
    if (leader.connecting) return;
    leader.connecting = true;
    wire
      .broker(nodeId)
      .then(
        () => {
          leader.failures = 0;
        },
        async (error) => {
          log.debug('a leader cannot be reached', { broker: nodeId, error: messageOf(error) });
          leader.failures++;
          for (const partition of ready)
            if (partition.leader === nodeId) again(partition, error, leader.failures);
          await wire.drop(nodeId).catch(() => undefined);
          void refreshLeaders();
        },
      )
      .finally(() => {
        leader.connecting = false;
        schedulePump();
      });
  }

  async function dispatch(nodeId: number, partitions: readonly Partition[]): Promise<void> {
    let answers: readonly PartitionAnswer[];
    let sent: Partition[] = [];
    try {
      const broker = await wire.broker(nodeId);
      sent = await prepare(broker, partitions);
      if (sent.length === 0) return;
      answers = await broker.connectionPool.send(produceRequest(sent));
    } catch (error) {
      // Refused, closed, timed out: nobody knows what was written; the same bytes go again.
      await wire.drop(nodeId).catch(() => undefined);
      log.debug('produce failed', { broker: nodeId, error: messageOf(error) });
      for (const partition of partitions) if (partition.inFlight) again(partition, error);
      void refreshLeaders();
      return;
    }
    const codes = new Map(answers.map((answer) => [`${answer.topic} ${answer.partition}`, answer.errorCode]));
    let refresh = false;
    for (const partition of sent) {
      const code = codes.get(`${partition.topic} ${partition.id}`) ?? 13;
      if (code === 0 || code === duplicateSequence) {
        acked(partition);
      } else if (identityLost.has(code)) {
        log.warn('the broker lost the sequence of a partition; going on with a new producer id', {
          topic: partition.topic,
          partition: partition.id,
          code,
        });
        forgetIdentity(partition);
        again(partition, errorFromCode(code));
      } else if (retriable.has(code)) {
        refresh = true;
        again(partition, errorFromCode(code));
      } else {
        refused(partition, code);
      }
    }
    if (refresh) void refreshLeaders();
  }

  /** Seals and stamps the first batch of each partition; partitions whose callers have all given up drop out. */
  async function prepare(broker: Broker, partitions: readonly Partition[]): Promise<Partition[]> {
    const sent: Partition[] = [];
    for (const partition of partitions) {
      const batch = dropAbandoned(partition);
      if (batch === undefined) {
        settle(partition);
        continue;
      }
      if (batch.open !== undefined) {
        batch.wire = sealBatch(batch.open);
        batch.open = undefined;
      }
      if (partition.producer === undefined) {
        identity ??= broker
          .initProducerId({ transactionTimeout: 30_000 })
          .then(({ producerId, producerEpoch }) => ({ id: BigInt(producerId), epoch: producerEpoch }));
        try {
          partition.producer = await identity;
          identityKnown = partition.producer;
        } catch (error) {
          identity = undefined;
          throw error;
        }
        partition.nextSequence = 0;
      }
      if (batch.identity === undefined) {
        batch.identity = {
          producerId: partition.producer.id,
          epoch: partition.producer.epoch,
          sequence: partition.nextSequence,
        };
        partition.nextSequence = (partition.nextSequence + batch.count()) % 2 ** 31;
        stampBatch(batch.wire!, batch.identity);
      }
      batch.attempts++;
      sent.push(partition);
    }
    return sent;
  }

  /** The first batch that somebody still waits for. */
  function dropAbandoned(partition: Partition): QueuedBatch | undefined {
    for (;;) {
      const batch = partition.queue[0];
      // By the time, too: after a freeze of this process a send may go on before it is told that its deadline has passed.
      const now = Date.now();
      if (batch === undefined || batch.tickets.some(({ ticket }) => !ticket.done && ticket.deadlineAt > now))
        return batch;
      // It may have been written: what follows must not build on its sequence number.
      if (batch.attempts > 0) forgetIdentity(partition);
      partition.queue.shift();
      release(batch.reservedBytes);
    }
  }

  /**
   * The partition goes on under another producer id, which begins at sequence 0 again. Under the same id the broker would
   * take a batch for one that it has long had, and ack it without writing it.
   */
  function forgetIdentity(partition: Partition): void {
    if (partition.producer !== undefined && partition.producer === identityKnown) {
      identity = undefined;
      identityKnown = undefined;
    }
    partition.producer = undefined;
    for (const batch of partition.queue) batch.identity = undefined;
  }

  function acked(partition: Partition): void {
    const batch = partition.queue.shift()!;
    metrics.sent(partition.topic, batch.count());
    metrics.operation('send', partition.topic, (Date.now() - batch.queuedAtMs) / 1_000);
    for (const { ticket, count } of batch.tickets) {
      ticket.remaining -= count;
      if (ticket.remaining === 0 && !ticket.done) {
        finish(ticket);
        ticket.resolve();
      }
    }
    release(batch.reservedBytes);
    settle(partition);
  }

  function again(
    partition: Partition,
    error: unknown,
    attempts = Math.max(1, partition.queue[0]?.attempts ?? 1),
  ): void {
    const backoffMs = Math.min(maxRetryMs, firstRetryMs * 2 ** Math.min(attempts - 1, 8));
    partition.retryAt = Date.now() + backoffMs * (0.75 + Math.random() / 2);
    metrics.operation('send', partition.topic, 0, typeOf(error));
    settle(partition);
  }

  /** The broker does not take this batch: never, or not before somebody has changed its settings. */
  function refused(partition: Partition, code: number): void {
    const batch = partition.queue.shift()!;
    const cause = errorFromCode(code);
    const error = faulty.has(code)
      ? new MusterError(
          'MUSTER_KAFKA_RECORD_REFUSED',
          `${partition.topic} never takes it: ${cause.message}`,
          { cause },
        )
      : new NotNowError('MUSTER_KAFKA_SEND', `${partition.topic} refused the records: ${cause.message}`, {
          cause,
        });
    forgetIdentity(partition);
    metrics.operation('send', partition.topic, (Date.now() - batch.queuedAtMs) / 1_000, typeOf(cause));
    for (const { ticket } of batch.tickets) fail(ticket, error);
    release(batch.reservedBytes);
    settle(partition);
  }

  function settle(partition: Partition): void {
    partition.inFlight = false;
    if (partition.queue.length > 0) ready.add(partition);
  }

  // ---- deadlines

  function watchDeadlines(): void {
    deadlineTimer ??= setInterval(() => {
      const now = Date.now();
      for (const ticket of tickets) {
        if (ticket.deadlineAt > now) continue;
        fail(
          ticket,
          new NotNowError(
            'MUSTER_KAFKA_SEND',
            'not acked within the deadline; the records may still have been written',
          ),
        );
      }
      if (tickets.size === 0) {
        clearInterval(deadlineTimer);
        deadlineTimer = undefined;
      }
    }, 50);
  }

  function fail(ticket: Ticket, error: Error): void {
    if (ticket.done) return;
    finish(ticket);
    ticket.reject(error);
  }

  function finish(ticket: Ticket): void {
    ticket.done = true;
    tickets.delete(ticket);
    if (tickets.size === 0 && deadlineTimer !== undefined && closed) clearInterval(deadlineTimer);
  }

  // ---- spans

  function startSpans(records: readonly RawRecord[]): ReadonlyMap<string, MessageSpan> | undefined {
    const first = startSend(records[0]!.topic, records.length, clientId);
    if (first === undefined) return undefined;
    const spans = new Map([[records[0]!.topic, first]]);
    for (const { topic } of records) {
      if (spans.has(topic)) continue;
      const span = startSend(topic, records.length, clientId);
      if (span) spans.set(topic, span);
    }
    return spans;
  }

  function endSpans(spans: ReadonlyMap<string, MessageSpan> | undefined, error?: unknown): void {
    if (spans !== undefined) for (const span of spans.values()) span.end(error);
  }

  return {
    send,
    async close() {
      if (closed) return;
      const idleBy = Date.now() + 5_000;
      while (tickets.size > 0 && Date.now() < idleBy) await sleep(10);
      closed = true;
      for (const ticket of tickets) {
        fail(ticket, new NotNowError('MUSTER_KAFKA_SEND', 'the producer was closed before the ack'));
      }
      for (const waiting of waitingForRoom.splice(0)) waiting.admit();
      clearTimeout(pumpTimer);
      clearInterval(deadlineTimer);
      ready.clear();
      await wire.close();
    },
  };
}

/** Produce v7 for the first batch of each partition. */
function produceRequest(partitions: readonly Partition[]): WireRequest<readonly PartitionAnswer[]> {
  const byTopic = new Map<string, Partition[]>();
  for (const partition of partitions) {
    const list = byTopic.get(partition.topic);
    if (list) list.push(partition);
    else byTopic.set(partition.topic, [partition]);
  }
  return {
    request: {
      apiKey: apiKeys.Produce,
      apiVersion: 7,
      apiName: 'Produce',
      async encode() {
        let size = 2 + 2 + 4 + 4;
        for (const [topic, list] of byTopic) {
          size += 2 + Buffer.byteLength(topic) + 4;
          for (const partition of list) size += 8 + partition.queue[0]!.wire!.length;
        }
        const out = Buffer.allocUnsafe(size);
        let at = out.writeInt16BE(-1, 0);
        at = out.writeInt16BE(-1, at);
        at = out.writeInt32BE(brokerTimeoutMs, at);
        at = out.writeInt32BE(byTopic.size, at);
        for (const [topic, list] of byTopic) {
          at = out.writeInt16BE(Buffer.byteLength(topic), at);
          at += out.write(topic, at);
          at = out.writeInt32BE(list.length, at);
          for (const partition of list) {
            const records = partition.queue[0]!.wire!;
            at = out.writeInt32BE(partition.id, at);
            at = out.writeInt32BE(records.length, at);
            out.set(records, at);
            at += records.length;
          }
        }
        return { buf: out, buffer: out, size: () => size };
      },
    },
    response: {
      async decode(payload) {
        return decodeProduceResponse(payload);
      },
      async parse(decoded) {
        return decoded as readonly PartitionAnswer[];
      },
    },
  };
}

/** Produce response v7, the parts that matter. kafkajs hands the body over without size and correlation id. */
function decodeProduceResponse(payload: Buffer): readonly PartitionAnswer[] {
  const answers: PartitionAnswer[] = [];
  let at = 4;
  for (let topics = payload.readInt32BE(0); topics > 0; topics--) {
    const nameLength = payload.readInt16BE(at);
    const topic = payload.toString('utf8', at + 2, at + 2 + nameLength);
    at += 2 + nameLength;
    let partitions = payload.readInt32BE(at);
    at += 4;
    for (; partitions > 0; partitions--) {
      answers.push({ topic, partition: payload.readInt32BE(at), errorCode: payload.readInt16BE(at + 4) });
      at += 4 + 2 + 8 + 8 + 8;
    }
  }
  return answers;
}

async function withDeadline<T>(promise: Promise<T>, deadlineAt: number, onLate?: () => void): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => {
        onLate?.();
        reject(new NotNowError('MUSTER_KAFKA_SEND', 'not sent within the deadline'));
      },
      Math.max(0, deadlineAt - Date.now()),
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function typeOf(error: unknown): string {
  return (error as { type?: string }).type ?? (error instanceof Error ? error.name : 'error');
}
