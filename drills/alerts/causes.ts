/**
 * What is done to a deployed environment so that alerts fire, by the causes that the alerts name in their proofs.
 * Each is taken back by what it registers with `undo`; `tidy` removes what only then may go.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import kafkajs, { type Admin as KafkaAdmin } from 'kafkajs';
import { type Kysely, sql } from 'kysely';
import { limits } from '../../catalog/alerting.ts';
import type { Environment } from '../../catalog/environments.ts';
import { topics } from '../../catalog/topics.ts';
import { writerOf } from '../../environment/guard.ts';
import { clusterState } from '../../environment/kafka.ts';
import { brokersOutside, reachFromHost, urlFromHost } from '../../stacks/config/topology.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { eventRecord } from '../../workers/kafka/records.ts';
import type { Faults } from '../faults.ts';
import { inPrometheus, look } from './sightings.ts';

/** What a cause has at hand. */
export interface Stage {
  readonly environment: Environment;
  readonly faults: Faults;
  readonly signal: AbortSignal;
  readonly kafka: Kafka;
  /** The environment's MySQL. */
  readonly database: Kysely<unknown>;
  /** Marks when the condition began; without it, when `begin` returned. */
  began(): void;
  /** Shown while the alerts are waited for. */
  tell(line: string): void;
  /** Takes the cause back; the last registered first. */
  undo(action: () => Promise<unknown>): void;
  /** Done after the end of the alerts was seen, or given up. */
  tidy(action: () => Promise<unknown>): void;
  /** Runs until the cause is taken back; what it throws is ignored, as in a client that tries again. */
  repeat(everyMs: number, action: () => Promise<unknown>): void;
}

export interface Cause {
  /** What is done, in words. */
  readonly does: string;
  /**
   * Causes of one wave do not touch each other and run at once; waves run one after the other. `alongside`: touches
   * nothing but what it has made itself, and runs beside the first waves (up to `lastSharedWave`).
   */
  readonly wave: number | 'alongside';
  /** This page, and no other, may arrive: everything else that the cause brings about is held back. */
  readonly onlyPage?: string;
  /** How long after its beginning the condition is one that the alerts are about; at once when left out. */
  readonly ripensMs?: number;
  begin(stage: Stage): Promise<void>;
}

/** Later waves stop parts that those alongside need: the lag worker, MySQL, Kafka as a whole. */
export const lastSharedWave = 3;

/** Everything that is made for proofs begins so; leftovers of a run that was cut off are known by it. */
export const scratch = 'muster-proof-';
const scratchName = (what: string) => `${scratch}${what}-${randomBytes(4).toString('hex')}`;

const table = {
  'nothing, it always fires': { does: 'nothing: it always fires', wave: 'alongside', begin: async () => {} },

  'broker killed': {
    does: 'one broker killed (not the controller)',
    wave: 1,
    onlyPage: 'BrokersMissing',
    async begin(stage) {
      await kill(stage, await followers(stage, 1));
    },
  },

  'poison message': {
    does: 'a record that is no JSON sent to an input topic',
    wave: 'alongside',
    async begin({ environment, signal, kafka, began }) {
      const producer = await kafka.producer('prove-alerts');
      // The alert goes on for a quarter of an hour, and fires once a topic: not again where it fires already.
      const { held = [] } = await look(environment, signal);
      const firing = new Set(held.map(({ labels }) => labels.messaging_destination_name));
      const inputs = [topics.purchase, topics.promoBehavior, topics.externalEvents].map(({ name }) => name);
      const topic = inputs.find((name) => !firing.has(`${name}.dlq`)) ?? topics.purchase.name;
      began();
      await producer.send([{ topic, key: scratch, value: '{"not json' }]);
    },
  },

  'worker stopped': {
    does: 'the process with the lag and canary workers stopped',
    wave: 4,
    begin: (stage) => stop(stage, processOf(stage.environment, 'lag')),
  },

  'gateway stopped': {
    does: 'the gateway stopped',
    wave: 2,
    begin: (stage) => stop(stage, 'gateway'),
  },

  /** Not named by an alert: for the short proof, in which lag must be measured on. */
  'log follower stopped': {
    does: 'the process that follows log files stopped',
    wave: 2,
    begin: (stage) => stop(stage, processOf(stage.environment, 'promotion-log')),
  },

  'consumer stopped': {
    does: 'a group reads a topic, then nobody does while records come',
    wave: 'alongside',
    // Nobody wrote down how far behind this group may be.
    ripensMs: limits.foreignGroupLagSeconds * 1_000,
    async begin(stage) {
      const { topic, group, send } = await scratchTopic(stage, 'stopped');
      await send();
      await eventually(stage, 'the group can commit', () => commitAt(stage, group, topic, 0));
      // Seen with a commit and without lag first, as a consumer that worked.
      await sleep(12_000, undefined, { signal: stage.signal });
      stage.began();
      stage.repeat(1_000, send);
      stage.undo(async () => {
        const [end] = await stage.kafka.admin.offsets(topic);
        await commitAt(stage, group, topic, end!.high + 1);
      });
    },
  },

  'offset reset': {
    does: 'the committed offset of a group set back, to records near the end of their retention',
    wave: 'alongside',
    async begin(stage) {
      const retentionMs = 20 * 60_000;
      const old = Date.now() - 0.75 * retentionMs;
      const { topic, group } = await scratchTopic(stage, 'reset', {
        'retention.ms': String(retentionMs),
        'message.timestamp.type': 'CreateTime',
      });
      await sendAged(stage.environment, topic, 10, old);
      await eventually(stage, 'the group can commit', () => commitAt(stage, group, topic, 9));
      // The rewind has to be seen as one: at least one look of the lag worker before.
      await sleep(15_000, undefined, { signal: stage.signal });
      stage.began();
      await commitAt(stage, group, topic, 2);
      // A group that goes on committing is no stopped one.
      let position = 2;
      stage.repeat(20_000, async () => {
        position = position === 2 ? 3 : 2;
        await commitAt(stage, group, topic, position);
      });
      stage.undo(() => commitAt(stage, group, topic, 10));
    },
  },

  'rule row in the database': {
    does: 'a coupon with more issued than there were, written into the database past all rules',
    wave: 'alongside',
    async begin({ database, undo, began }) {
      const id = scratchName('coupon');
      undo(() => sql`DELETE FROM coupon WHERE coupon_id = ${id}`.execute(database));
      await sql`
        INSERT INTO coupon (coupon_id, name, stock, issued, created_at)
        VALUES (${id}, ${'proof of CouponOverissued'}, 1, 2, UTC_TIMESTAMP(3))`.execute(database);
      began();
    },
  },

  'exporter stopped': {
    does: 'Jaeger, whose metrics Prometheus reads, stopped',
    wave: 2,
    begin: (stage) => stop(stage, 'jaeger'),
  },

  'worker paused': {
    does: 'the join frozen for 40 s while purchases come; and a consumer that hangs in a record',
    wave: 3,
    async begin(stage) {
      const producer = await stage.kafka.producer('prove-alerts');
      const purchase = () =>
        producer.send([
          {
            topic: topics.purchase.name,
            key: scratch,
            value: JSON.stringify({
              purchaseId: scratchName('purchase'),
              userId: scratch,
              productId: 'proof',
              quantity: 1,
              price: '₩1,000',
              purchasedAt: new Date().toISOString(),
            }),
          },
        ]);
      stage.repeat(200, purchase);
      const { topic, group, send } = await scratchTopic(stage, 'stalled');
      for (let n = 0; n < 5; n += 1) await send();
      await eventually(stage, 'the group can commit', () => commitAt(stage, group, topic, 1));
      const released = Promise.withResolvers<void>();
      const consumer = await stage.kafka.consumePartitions({
        groupId: group,
        topics: [topic],
        onBatch: async (batch, epoch) => {
          await released.promise;
          consumer.commit([{ topic, partition: 0, offset: batch.records.at(-1)!.offset + 1 }], epoch);
        },
        // Its own watchdog notices that it hangs: that is what we want.
        onFatal: () => {},
      });
      stage.undo(async () => {
        released.resolve();
        await sleep(2_000);
        await consumer.stop();
        const [end] = await stage.kafka.admin.offsets(topic);
        await eventually(stage, 'the group can commit', () => commitAt(stage, group, topic, end!.high));
      });
      stage.began();
      const frozen = await stage.faults.inject(processOf(stage.environment, 'promotion-join'), {
        kind: 'pause',
      });
      stage.undo(() => frozen.heal());
      await sleep(40_000, undefined, { signal: stage.signal });
      await frozen.heal();
    },
  },

  'failing webhook': {
    does: 'the receiver outside refuses every webhook',
    wave: 3,
    async begin(stage) {
      const { environment, kafka } = stage;
      const producer = await kafka.producer('prove-alerts');
      const { replayDeadLetters } = await import('../../workers/kafka/dead-letters.ts');
      const behave = (behaviour: object) =>
        request(`http://${reachFromHost(environment, 'outside-world', 'http')}/behaviour`, 'PUT', behaviour);
      // What was put aside is replayed to a receiver that is well again, as the runbook says.
      stage.undo(() => replayDeadLetters(kafka, producer, topics.externalEvents.name));
      stage.undo(() => behave({ mode: 'ok' }));
      await behave({ mode: 'fail', keyPrefix: scratch });
      stage.began();
      stage.repeat(1_000, () => {
        const id = scratchName('event');
        return producer.send([
          eventRecord({
            topic: topics.externalEvents.name,
            key: id,
            type: topics.externalEvents.event.type,
            source: '/muster/prove-alerts',
            id,
            timeMs: Date.now(),
            data: {
              paymentId: id,
              orderId: id,
              amount: { amountMinor: 1_000, currency: 'KRW' },
              timestamp: new Date().toISOString(),
            },
          }),
        ]);
      });
    },
  },

  'outbox relay stopped': {
    does: 'an event in the outbox for a topic that there is not, so that it cannot be published',
    wave: 3,
    async begin({ database, undo, began }) {
      const topic = scratchName('no-such-topic');
      undo(() => sql`DELETE FROM muster_outbox WHERE topic = ${topic}`.execute(database));
      await sql`
        INSERT INTO muster_outbox (shard, topic, record_key, value, headers, created_at)
        VALUES (0, ${topic}, NULL, NULL, '{}', UTC_TIMESTAMP(3))`.execute(database);
      began();
    },
  },

  'mysql stopped': {
    does: 'the entrance of MySQL stopped while customers ask for coupons',
    wave: 5,
    async begin(stage) {
      await stop(stage, 'mysql-entrance');
      const url = `${urlFromHost(stage.environment, 'api')}/coupons`;
      stage.repeat(500, () => request(url, 'GET'));
    },
  },

  'mysql writer stopped': {
    does: 'the member of MySQL that takes writes stopped',
    wave: 2,
    begin: async (stage) => stop(stage, await writerOf(stage.environment)),
  },

  'redis stopped': {
    does: 'Redis stopped',
    wave: 6,
    begin: (stage) => stop(stage, 'redis'),
  },

  'alertmanager stopped': {
    does: 'Alertmanager stopped until Prometheus says that it cannot reach it, then started: only then can it be told',
    wave: 7,
    async begin(stage) {
      const stopped = await stage.faults.inject('alertmanager', { kind: 'stop' });
      stage.undo(() => stopped.heal());
      stage.began();
      await eventually(
        stage,
        'Prometheus notices',
        async () => {
          const now = await inPrometheus(stage.environment, stage.signal);
          const isFiring = now.some(
            ({ labels, state }) => labels.alertname === 'AlertmanagerUnreachable' && state === 'firing',
          );
          if (!isFiring) throw new Error('not yet');
        },
        6 * 60_000,
      );
      await stopped.heal();
    },
  },

  'zookeeper killed': {
    does: 'one ZooKeeper killed',
    wave: 8,
    begin: (stage) => kill(stage, ['zookeeper-3']),
  },

  'two zookeepers killed': {
    does: 'two of three ZooKeepers killed, then the controller',
    wave: 9,
    async begin(stage) {
      const { controller } = await clusterState(stage.environment);
      // Alone it stays the controller, without anybody to ask; when it dies nobody can follow it.
      await kill(stage, ['zookeeper-2', 'zookeeper-3', `kafka-${controller}`]);
    },
  },

  'broker paused': {
    does: 'one broker frozen for three ZooKeeper sessions, then let go on',
    wave: 10,
    async begin(stage) {
      const [alias] = await followers(stage, 1);
      const frozen = await stage.faults.inject(alias!, { kind: 'pause' });
      stage.undo(() => frozen.heal());
      stage.began();
      const { zookeeperSessionTimeoutMs } = stage.environment.kafka;
      await sleep(3 * zookeeperSessionTimeoutMs + 3_000, undefined, { signal: stage.signal });
      await frozen.heal();
    },
  },

  'two brokers killed': {
    does: 'two of three brokers killed, with a topic of a single copy on one of them',
    wave: 11,
    async begin(stage) {
      const [first, second] = await followers(stage, 2);
      const idOf = (alias: string) => Number(alias.split('-').at(-1));
      const [a, b] = [idOf(first!), idOf(second!)];
      const left = stage.environment.kafka.nodes.map(({ id }) => id).find((id) => id !== a && id !== b)!;
      await scratchTopic(stage, 'offline', {}, [b]);
      // Takes records with one copy left: those are at risk.
      const { send } = await scratchTopic(stage, 'at-risk', { 'min.insync.replicas': '1' }, [left, a]);
      stage.repeat(1_000, send);
      await kill(stage, [first!, second!]);
    },
  },

  'all brokers stopped': {
    does: 'all three brokers stopped',
    wave: 12,
    begin: (stage) =>
      kill(
        stage,
        stage.environment.kafka.nodes.map(({ id }) => `kafka-${id}`),
      ),
  },
} satisfies Readonly<Record<string, Cause>>;

export type CauseName = keyof typeof table;

export const causes: Readonly<Record<CauseName, Cause>> = table;

/** Brokers that are not the controller now. */
async function followers({ environment }: Stage, count: number): Promise<readonly string[]> {
  const { controller } = await clusterState(environment);
  return environment.kafka.nodes
    .filter(({ id }) => id !== controller)
    .slice(-count)
    .map(({ id }) => `kafka-${id}`);
}

async function kill(stage: Stage, aliases: readonly string[]): Promise<void> {
  for (const alias of aliases) {
    const injected = await stage.faults.inject(alias, { kind: 'kill' });
    stage.undo(() => injected.heal());
    stage.began();
  }
}

async function stop(stage: Stage, alias: string): Promise<void> {
  const injected = await stage.faults.inject(alias, { kind: 'stop' });
  stage.undo(() => injected.heal());
  stage.began();
}

/** The container in which a worker runs (the first replica). Throws MUSTER_PLACEMENT_UNKNOWN. */
function processOf({ name, processes }: Environment, worker: string): string {
  const found = processes.list.find(({ workers }) => workers.includes(worker));
  if (found === undefined)
    throw new MusterError('MUSTER_PLACEMENT_UNKNOWN', `environment ${name} runs no worker ${worker}`);
  return found.name;
}

/** A topic of one partition with a group of the same name; both go when the stage is tidied. */
async function scratchTopic(
  stage: Stage,
  what: string,
  config: Readonly<Record<string, string>> = {},
  replicas?: readonly number[],
): Promise<{ topic: string; group: string; send(): Promise<void> }> {
  const topic = scratchName(what);
  stage.tidy(() => removeScratch(stage.environment, (name) => name === topic));
  await withAdmin(stage.environment, (admin) =>
    admin.createTopics({
      waitForLeaders: true,
      topics: [
        {
          topic,
          ...(replicas === undefined
            ? { numPartitions: 1, replicationFactor: stage.environment.kafka.nodes.length }
            : { replicaAssignment: [{ partition: 0, replicas: [...replicas] }] }),
          configEntries: Object.entries(config).map(([name, value]) => ({ name, value })),
        },
      ],
    }),
  );
  const producer = await stage.kafka.producer('prove-alerts');
  let n = 0;
  return {
    topic,
    group: topic,
    async send() {
      n += 1;
      await producer.send([{ topic, key: null, value: String(n) }], { deadlineMs: 10_000 });
    },
  };
}

/** Records that were made at a given time, by their own word. */
async function sendAged(
  environment: Environment,
  topic: string,
  count: number,
  timestampMs: number,
): Promise<void> {
  const producer = client(environment).producer();
  await producer.connect();
  try {
    const timestamp = String(Math.round(timestampMs));
    const messages = Array.from({ length: count }, (_, n) => ({ value: String(n), timestamp }));
    await producer.send({ topic, messages });
  } finally {
    await producer.disconnect();
  }
}

function commitAt({ kafka }: Stage, group: string, topic: string, offset: number): Promise<void> {
  return kafka.admin.setCommitted(group, topic, new Map([[0, offset]]));
}

/** Topics and groups that proofs have made. */
export async function removeScratch(
  environment: Environment,
  which: (name: string) => boolean = () => true,
): Promise<void> {
  const ours = (name: string) => name.startsWith(scratch) && which(name);
  await withAdmin(environment, async (admin) => {
    const { groups: known } = await admin.listGroups();
    const left = known.map(({ groupId }) => groupId).filter(ours);
    if (left.length > 0) await admin.deleteGroups(left).catch(() => undefined);
    const made = (await admin.listTopics()).filter(ours);
    if (made.length > 0) await admin.deleteTopics({ topics: made });
  });
}

/** For what the platform's own port does not do: making and removing topics, and records of a chosen age. */
function client(environment: Environment) {
  return new kafkajs.Kafka({
    brokers: brokersOutside(environment).split(','),
    clientId: 'prove-alerts',
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 15 },
    logLevel: kafkajs.logLevel.NOTHING,
  });
}

export async function withAdmin<Result>(
  environment: Environment,
  work: (admin: KafkaAdmin) => Promise<Result>,
): Promise<Result> {
  const admin = client(environment).admin();
  await admin.connect();
  try {
    return await work(admin);
  } finally {
    await admin.disconnect();
  }
}

async function request(url: string, method: string, body?: object): Promise<void> {
  await fetch(url, {
    method,
    signal: AbortSignal.timeout(5_000),
    ...(body === undefined
      ? {}
      : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });
}

/** Tries until it goes well; the cluster may still be settling. Throws what it threw last. */
async function eventually(
  { signal }: Pick<Stage, 'signal'>,
  what: string,
  action: () => Promise<unknown>,
  withinMs = 60_000,
): Promise<void> {
  for (const until = Date.now() + withinMs; ; ) {
    try {
      await action();
      return;
    } catch (error) {
      if (Date.now() > until)
        throw new MusterError('MUSTER_PROOF_CAUSE', `not within ${withinMs / 1000} s: ${what}`, {
          cause: error,
        });
      await sleep(1_000, undefined, { signal });
    }
  }
}
