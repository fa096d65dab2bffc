/**
 * For integration tests: delivery on a topic and a group of their own, in this process or, to be killed, in a child:
 * `node delivery.fixture.ts '<JSON of DeliverySpec>'`. And a world outside as a child process. Not part of the product.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { deadLetterTopic, retryTopics, topics } from '../../catalog/topics.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { emptyRegistry } from '../base/metrics.ts';
import type { Kafka } from '../kafka/kafka.ts';
import { createTopics, testKafka, testLog } from '../kafka/testing.ts';
import { spawnWorkers } from '../platform/child.fixture.ts';
import { serverSettings } from '../store/database.fixture.ts';
import { openDatabase } from '../store/database.ts';
import { deliverEvents } from './delivery-consumer.ts';

export interface DeliverySpec {
  readonly topic: string;
  readonly group: string;
  readonly retryDelaysMs: readonly number[];
  readonly baseUrl: string;
  readonly timeoutMs: number;
}

const groupOf = (spec: Pick<DeliverySpec, 'topic' | 'group' | 'retryDelaysMs'>): ConsumerGroup => ({
  id: spec.group,
  topics: [{ ...topics.externalEvents, name: spec.topic }],
  owner: 'test',
  description: '',
  lagSecondsHigh: 1,
  retryDelaysMs: spec.retryDelaysMs,
});

export function createDeliveryTopics(spec: Pick<DeliverySpec, 'topic' | 'group' | 'retryDelaysMs'>) {
  const group = groupOf(spec);
  const [topic] = group.topics;
  return createTopics([topic!, deadLetterTopic(topic!), ...retryTopics(topic!, group)]);
}

/** Delivers until stopped, with a Kafka client and a database pool of its own. */
export async function startDelivery(
  spec: DeliverySpec,
  settings: DatabaseSettings,
  onFatal: (error: Error) => void,
) {
  const kafka: Kafka = testKafka('outside');
  const db = openDatabase({ settings });
  const registry = emptyRegistry();
  const consumer = await deliverEvents({
    kafka,
    db,
    log: testLog,
    registry,
    group: groupOf(spec),
    webhook: { baseUrl: spec.baseUrl, timeoutMs: spec.timeoutMs },
    onFatal,
  });
  return {
    registry,
    ready: () => consumer.ready(),
    async stop() {
      await consumer.stop();
      await kafka.close();
      await db.destroy();
    },
  };
}

/** The delivery in a child process. */
export function spawnDelivery(spec: DeliverySpec, settings: DatabaseSettings): ChildProcess {
  return spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(spec)], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { ...process.env, MYSQL_DATABASE: settings.MYSQL_DATABASE },
  });
}

/** A webhook-stub in a child process on a port that stays the same over kill() and start(). */
export async function spawnOutsideWorld() {
  const child = await spawnWorkers(['webhook-stub'], { PROCESS_NAME: 'outside-world' }, '/behaviour');
  const world = {
    ...child,
    async behave(behaviour: object): Promise<void> {
      const response = await fetch(`${child.baseUrl}/behaviour`, {
        method: 'PUT',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(behaviour),
      });
      if (!response.ok) throw new Error(`PUT /behaviour: ${response.status} ${await response.text()}`);
    },
    async received(key: string): Promise<Receipt | undefined> {
      const response = await fetch(`${child.baseUrl}/received?key=${encodeURIComponent(key)}`);
      const { received } = (await response.json()) as { received: Receipt[] };
      return received[0];
    },
  };
  return world;
}

interface Receipt {
  readonly key: string;
  readonly effects: number;
  readonly attempts: readonly { readonly at: string; readonly answer: number | string }[];
}

if (import.meta.main) {
  await startDelivery(JSON.parse(process.argv[2]!) as DeliverySpec, serverSettings, (error) => {
    console.error(error);
    process.exit(70);
  });
}
