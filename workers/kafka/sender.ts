/** Takes what is ready to its leaders: one request in flight a leader, one batch in flight a partition. */
import type { Logger } from 'winston';
import { retryMs } from '../../catalog/clients.ts';
import { bytesOf, type Partition } from './accumulator.ts';
import type { BatchOutcomes } from './batch-outcomes.ts';
import { type Broker, errorFromCode } from './kafkajs-internals.ts';
import type { LeaderTable } from './leader-table.ts';
import { type PartitionAnswer, produceRequest } from './produce-request.ts';
import type { ProducerIdentities } from './producer-identity.ts';
import { sealBatch, stampBatch } from './record-batch.ts';
import type { Wire } from './wire.ts';

/** How often the brokers that answer are asked for new leaders while one does not. */
const askForLeadersMs = 100;
/** A request with so many records is one of a busy time. */
const manyRecords = 16;

/** Errors after which the same bytes may be sent again. By the protocol's error codes. */
const retriable = new Set([
  2 /* corrupt */, 3 /* unknown topic or partition */, 5 /* leader not available */, 6 /* not leader */,
  7 /* timed out */, 8 /* broker not available */, 9 /* replica not available */, 13 /* network */,
  19 /* not enough replicas */, 20 /* not enough replicas after append */, 56 /* storage */,
  74 /* fenced leader epoch */, 75 /* unknown leader epoch */, 89 /* throttled */,
]);
const networkError = 13;
const duplicateSequence = 46;
/** Out of order sequence, invalid epoch, unknown producer id: the broker does not know our sequence (any more). */
const identityLost = new Set([45, 47, 59]);

interface Leader {
  busy: boolean;
  connecting: boolean;
  /** Connects that failed since the last that did not. */
  failures: number;
  lastDispatchMs: number;
  /** Least time from the last request to the next. */
  lingerMs: number;
}

export interface SenderDeps {
  readonly wire: Wire;
  readonly log: Logger;
  readonly lingerMs: number;
  readonly busyLingerMs: number;
  readonly batchBytes: number;
  /** Partitions with something queued and nothing in flight. */
  readonly ready: Set<Partition>;
  readonly table: LeaderTable;
  readonly outcomes: BatchOutcomes;
  readonly identities: ProducerIdentities;
}

export interface Sender {
  /** Looks for work after the current turn of the loop: calls made in it share a request. */
  wake(): void;
  close(): void;
}

export function startSender(deps: SenderDeps): Sender {
  const { wire, log, ready, table, outcomes } = deps;
  const leaders = new Map<number, Leader>();
  let awake = false;
  let timer: NodeJS.Timeout | undefined;
  let closed = false;

  function wake(): void {
    if (awake) return;
    awake = true;
    setImmediate(() => {
      awake = false;
      send();
    });
  }

  function wakeIn(ms: number): void {
    timer ??= setTimeout(() => {
      timer = undefined;
      send();
    }, ms);
  }

  /** Sends what can be sent now, and comes back when more can be. */
  function send(): void {
    if (closed || ready.size === 0) return;
    const now = Date.now();
    const work = sortReady(ready, outcomes, now);
    let { soonestMs } = work;
    let unreached = false;
    for (const [nodeId, partitions] of work.byLeader) {
      const leader = leaderOf(nodeId);
      if (leader.busy) continue;
      if (!wire.isConnected(nodeId)) {
        reach(nodeId, leader);
        soonestMs = Math.min(soonestMs, askForLeadersMs);
        unreached = true;
        continue;
      }
      const dueInMs = leader.lastDispatchMs + leader.lingerMs - now;
      if (dueInMs > 0 && !partitions.some(({ queue }) => bytesOf(queue[0]!) >= deps.batchBytes / 2)) {
        soonestMs = Math.min(soonestMs, dueInMs);
        continue;
      }
      take(nodeId, leader, partitions, now);
    }
    if (work.leaderless || (unreached && now - table.learnedAtMs() >= askForLeadersMs)) void table.refresh();
    if (soonestMs < Number.POSITIVE_INFINITY) wakeIn(Math.max(1, soonestMs));
  }

  function leaderOf(nodeId: number): Leader {
    let leader = leaders.get(nodeId);
    if (leader === undefined) {
      leader = { busy: false, connecting: false, failures: 0, lastDispatchMs: 0, lingerMs: deps.lingerMs };
      leaders.set(nodeId, leader);
    }
    return leader;
  }

  function take(nodeId: number, leader: Leader, partitions: readonly Partition[], now: number): void {
    leader.busy = true;
    leader.lastDispatchMs = now;
    let records = 0;
    for (const partition of partitions) {
      partition.inFlight = true;
      ready.delete(partition);
      records += partition.queue[0]!.records.count;
    }
    leader.lingerMs = records < manyRecords ? deps.lingerMs : deps.busyLingerMs;
    void dispatch(deps, nodeId, partitions).finally(() => {
      leader.busy = false;
      send();
    });
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
        async (error: Error) => {
          log.debug('a leader cannot be reached', { broker: nodeId, error: error.message });
          leader.failures++;
          for (const partition of ready)
            if (partition.leader === nodeId) outcomes.again(partition, error, leader.failures);
          await wire.drop(nodeId).catch(() => undefined);
          void table.refresh();
        },
      )
      .finally(() => {
        leader.connecting = false;
        wake();
      });
  }

  return {
    wake,
    close() {
      closed = true;
      clearTimeout(timer);
      ready.clear();
    },
  };
}

/** What is ready, by leader, without what nobody waits for any more; and when the rest is to be looked at again. */
function sortReady(ready: Set<Partition>, outcomes: BatchOutcomes, now: number) {
  const byLeader = new Map<number, Partition[]>();
  let soonestMs = Number.POSITIVE_INFINITY;
  let leaderless = false;
  for (const partition of ready) {
    // Short deadlines and a partition without a leader: what nobody waits for must not pile up.
    if (outcomes.firstWanted(partition) === undefined) {
      ready.delete(partition);
      continue;
    }
    if (partition.retryAtMs > now) {
      soonestMs = Math.min(soonestMs, partition.retryAtMs - now);
      continue;
    }
    if (partition.leader < 0) {
      leaderless = true;
      partition.retryAtMs = now + retryMs.first;
      soonestMs = Math.min(soonestMs, retryMs.first);
      continue;
    }
    const group = byLeader.get(partition.leader);
    if (group) group.push(partition);
    else byLeader.set(partition.leader, [partition]);
  }
  return { byLeader, soonestMs, leaderless };
}

/** One request to a leader with the first batch of each partition; each partition's answer is judged by itself. */
async function dispatch(deps: SenderDeps, nodeId: number, partitions: readonly Partition[]): Promise<void> {
  const { wire, log, table, outcomes } = deps;
  let answers: readonly PartitionAnswer[];
  let sent: readonly Partition[];
  try {
    const broker = await wire.broker(nodeId);
    sent = await prepare(deps, broker, partitions);
    if (sent.length === 0) return;
    answers = await broker.connectionPool.send(produceRequest(sent));
  } catch (error) {
    // Refused, closed, timed out: nobody knows what was written; the same bytes go again.
    await wire.drop(nodeId).catch(() => undefined);
    log.debug('produce failed', { broker: nodeId, error: (error as Error).message });
    for (const partition of partitions) if (partition.inFlight) outcomes.again(partition, error);
    void table.refresh();
    return;
  }
  const codes = new Map(answers.map((answer) => [`${answer.topic} ${answer.partition}`, answer.errorCode]));
  let moved = false;
  for (const partition of sent) {
    const code = codes.get(`${partition.topic} ${partition.id}`) ?? networkError;
    judge(deps, partition, code);
    moved ||= retriable.has(code);
  }
  if (moved) void table.refresh();
}

function judge({ outcomes, log }: SenderDeps, partition: Partition, code: number): void {
  if (code === 0 || code === duplicateSequence) {
    outcomes.acked(partition);
  } else if (identityLost.has(code)) {
    log.warn('the broker lost the sequence of a partition; going on with a new producer id', {
      topic: partition.topic,
      partition: partition.id,
      code,
    });
    outcomes.forgetIdentity(partition);
    outcomes.again(partition, errorFromCode(code));
  } else if (retriable.has(code)) {
    outcomes.again(partition, errorFromCode(code));
  } else {
    outcomes.refused(partition, code);
  }
}

/** Seals and stamps the first batch of each partition; partitions whose callers have all given up drop out. */
async function prepare(
  { outcomes, identities }: SenderDeps,
  broker: Broker,
  partitions: readonly Partition[],
): Promise<readonly Partition[]> {
  const sent: Partition[] = [];
  for (const partition of partitions) {
    const batch = outcomes.firstWanted(partition);
    if (batch === undefined) {
      outcomes.settle(partition);
      continue;
    }
    batch.sealed ??= sealBatch(batch.records);
    if (partition.producer === undefined) {
      partition.producer = await identities.current(broker);
      partition.nextSequence = 0;
    }
    if (batch.identity === undefined) {
      const { id, epoch } = partition.producer;
      batch.identity = { producerId: id, epoch, sequence: partition.nextSequence };
      partition.nextSequence = (partition.nextSequence + batch.records.count) % 2 ** 31;
      stampBatch(batch.sealed, batch.identity);
    }
    batch.attempts++;
    sent.push(partition);
  }
  return sent;
}
