/** Which partitions topics have, and who leads them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'winston';
import { retryMs } from '../../catalog/clients.ts';
import { NotNowError } from '../base/errors.ts';
import type { TopicPartitions } from './accumulator.ts';
import type { MetadataResponse } from './kafkajs-internals.ts';
import type { Wire } from './wire.ts';

export interface LeaderTable {
  get(topic: string): TopicPartitions | undefined;
  /** Asks for a topic until it is there. MUSTER_KAFKA_SEND when it is not in time. */
  load(topic: string): Promise<void>;
  /** Asks who leads what now; never rejects. */
  refresh(): Promise<void>;
  /** When the last answer came; UTC ms. */
  learnedAtMs(): number;
  close(): void;
}

export function leaderTable(deps: {
  readonly wire: Wire;
  readonly log: Logger;
  readonly loadWithinMs: number;
  /** After each refresh, also one that failed. */
  onRefreshed(): void;
}): LeaderTable {
  const { wire, log } = deps;
  const topics = new Map<string, TopicPartitions>();
  const loading = new Map<string, Promise<void>>();
  let refreshing: Promise<void> | undefined;
  let learnedAtMs = 0;
  let closed = false;

  async function untilLoaded(topic: string): Promise<void> {
    const giveUpAt = Date.now() + deps.loadWithinMs;
    for (let waitMs: number = retryMs.first; ; waitMs = Math.min(waitMs * 2, retryMs.longest)) {
      let problem = 'no broker answers';
      if (closed) throw new NotNowError('MUSTER_KAFKA_SEND', 'the producer was closed');
      try {
        learn(await wire.metadata([...topics.keys(), topic]));
        if (topics.has(topic)) return;
        problem = 'the topic does not exist';
      } catch (error) {
        problem = (error as Error).message;
      }
      if (Date.now() > giveUpAt) {
        throw new NotNowError('MUSTER_KAFKA_SEND', `cannot send to ${topic}: ${problem}`);
      }
      await sleep(waitMs);
    }
  }

  function learn(response: MetadataResponse): void {
    learnedAtMs = Date.now();
    for (const { topic, topicErrorCode, partitionMetadata } of response.topicMetadata) {
      if (topicErrorCode !== 0 || partitionMetadata.length === 0) continue;
      let known = topics.get(topic);
      if (known === undefined) {
        known = { partitions: [], sticky: Math.floor(Math.random() * partitionMetadata.length) };
        topics.set(topic, known);
      }
      for (const { partitionId, leader } of partitionMetadata) {
        const partition = known.partitions[partitionId];
        if (partition) partition.leader = leader;
        else {
          known.partitions[partitionId] = {
            topic,
            id: partitionId,
            leader,
            queue: [],
            inFlight: false,
            retryAtMs: 0,
            producer: undefined,
            nextSequence: 0,
          };
        }
      }
    }
  }

  return {
    get: (topic) => topics.get(topic),
    load(topic) {
      let promise = loading.get(topic);
      if (promise === undefined) {
        promise = untilLoaded(topic).finally(() => loading.delete(topic));
        loading.set(topic, promise);
      }
      return promise;
    },
    refresh() {
      refreshing ??= wire
        .metadata([...topics.keys()])
        .then(learn)
        .catch((error: Error) => {
          log.debug('metadata refresh failed', { error: error.message });
        })
        .finally(() => {
          refreshing = undefined;
          deps.onRefreshed();
        });
      return refreshing;
    },
    learnedAtMs: () => learnedAtMs,
    close() {
      closed = true;
    },
  };
}
