/** Questions to the cluster and commits from outside of a group, over kafkajs' admin client. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Admin as AdminClient, Kafka as KafkaJs } from 'kafkajs';
import { MusterError, NotNowError } from '../base/errors.ts';
import { endsOf } from './ends.ts';
import type { Admin } from './kafka.ts';
import type { Wire } from './wire.ts';

/** kafkajs gives up at the first connection error of most admin calls; a failover lasts some seconds. */
const tryForMs = 10_000;
const retryMs = 200;
const closeWithinMs = 1_000;

export function adminOver(root: KafkaJs, wire: Wire): { admin: Admin; closeAdmin(): Promise<void> } {
  let connected: Promise<AdminClient> | undefined;
  let closed = false;

  async function connect(): Promise<AdminClient> {
    const admin = root.admin();
    await admin.connect();
    return admin;
  }

  async function disconnect(): Promise<void> {
    const closing = connected;
    connected = undefined;
    await Promise.race([closing?.then((admin) => admin.disconnect()), sleep(closeWithinMs)]).catch(
      () => undefined,
    );
  }

  /** For good: a question that is still tried again opens no connection that nobody would close. */
  function closeAdmin(): Promise<void> {
    closed = true;
    return disconnect();
  }

  async function untilAnswered<T>(ask: () => Promise<T>, onFailure?: () => unknown): Promise<T> {
    const giveUpAt = Date.now() + tryForMs;
    for (;;) {
      try {
        if (closed) throw new NotNowError('MUSTER_KAFKA_UNREACHABLE', 'the client is closed');
        return await ask();
      } catch (error) {
        if (closed || Date.now() > giveUpAt || isFinal(error)) throw unreachable(error);
        void onFailure?.();
        await sleep(retryMs);
      }
    }
  }

  function withAdmin<T>(work: (admin: AdminClient) => Promise<T>): Promise<T> {
    return untilAnswered(async () => {
      connected ??= connect();
      return work(await connected);
    }, disconnect);
  }

  let lastOffsets: Promise<unknown> = Promise.resolve();

  /**
   * kafkajs' admin keeps one list of topics for all its offset requests; two that add a topic at the same time can find
   * it without partitions and fail with a TypeError. So they take turns.
   */
  function inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = lastOffsets.then(work);
    lastOffsets = result.catch(() => undefined);
    return result;
  }

  const admin: Admin = {
    async topicNames() {
      return withAdmin((client) => client.listTopics());
    },
    async partitionCounts(topics) {
      return withAdmin(async (client) => {
        const there = new Set(await client.listTopics());
        const wanted = topics.filter((topic) => there.has(topic));
        if (wanted.length === 0) return new Map();
        const { topics: found } = await client.fetchTopicMetadata({ topics: wanted });
        return new Map(found.map(({ name, partitions }) => [name, partitions.length]));
      });
    },
    async offsets(topic) {
      const found = await inTurn(() => withAdmin((client) => knowing(client.fetchTopicOffsets(topic))));
      return found
        .map(({ partition, low, high }) => ({ partition, low: Number(low), high: Number(high) }))
        .sort((a, b) => a.partition - b.partition);
    },
    ends: (topics) => untilAnswered(() => endsOf(wire, topics)),
    async offsetsAt(topic, timestampMs) {
      const found = await inTurn(() =>
        withAdmin((client) => knowing(client.fetchTopicOffsetsByTimestamp(topic, timestampMs))),
      );
      return new Map(found.map(({ partition, offset }) => [partition, Number(offset)]));
    },
    async committed(groupId, topic) {
      return inTurn(() =>
        withAdmin(async (client) => {
          const [answer] = await client.fetchOffsets({ groupId, topics: [topic] });
          return new Map(
            (answer?.partitions ?? []).map(({ partition, offset }) => [
              partition,
              Number(offset) < 0 ? undefined : Number(offset),
            ]),
          );
        }),
      );
    },
    async setCommitted(groupId, topic, offsets) {
      const any = await wire.anyBroker();
      await wire.metadata([topic]);
      const { coordinator } = await any.findGroupCoordinator({ groupId, coordinatorType: 0 });
      const broker = await wire.broker(coordinator.nodeId);
      // Generation -1 and no member: a commit from outside, which the broker takes while the group has no members.
      await broker.offsetCommit({
        groupId,
        memberId: '',
        groupGenerationId: -1,
        topics: [
          {
            topic,
            partitions: [...offsets].map(([partition, offset]) => ({ partition, offset: String(offset) })),
          },
        ],
      });
    },
  };
  return { admin, closeAdmin };
}

/**
 * While the broker that answers does not know a topic's partitions (new topic, broker just started) kafkajs fails with
 * a TypeError. That is "not yet", to be asked again, and no bug of ours that would end the process.
 */
function knowing<T>(offsets: Promise<T>): Promise<T> {
  return offsets.catch((error: unknown) => {
    throw error instanceof TypeError ? new Error('partitions are not known yet', { cause: error }) : error;
  });
}

function isFinal(error: unknown): boolean {
  return (
    error instanceof TypeError ||
    ['INVALID_TOPIC_EXCEPTION', 'TOPIC_AUTHORIZATION_FAILED', 'GROUP_AUTHORIZATION_FAILED'].includes(
      String((error as { type?: string }).type),
    )
  );
}

/** A client's error as ours: Kafka did not answer, so not now. Bugs and our own errors stay what they are. */
export function unreachable(error: unknown): Error {
  if (error instanceof TypeError || error instanceof MusterError) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new NotNowError('MUSTER_KAFKA_UNREACHABLE', `Kafka did not answer: ${message}`, { cause: error });
}
