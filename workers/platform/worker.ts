/** What a worker is: a plain object, typed against the catalog; workers/main.ts starts one or several in a process. */
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import type { RedisClientType } from 'redis';
import type { Static, TObject } from 'typebox';
import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import type { DatabaseName } from '../../catalog/tables.ts';
import type { Topic } from '../../catalog/topics.ts';
import type { Kafka } from '../kafka/kafka.ts';
import type { Relay } from '../store/relay.ts';

export interface Worker<Config extends TObject = TObject> {
  readonly name: string;
  /** Groups it consumes as; subscriptions, the service map and lag alerts follow. */
  readonly consumes: readonly ConsumerGroup[];
  /** Topics it reads without a group of its own (views, analysis). */
  readonly reads?: readonly Topic[];
  readonly produces: readonly Topic[];
  /**
   * It uses neither database nor Redis nor secrets. A process of such workers alone runs beside any cluster, with
   * KAFKA_BROKERS as the only setting that must be there.
   */
  readonly kafkaOnly?: true;
  /** The database that is its own; default: the shop's. */
  readonly database?: DatabaseName;
  /** Its memory counts for more than its time: a process with it in keeps V8's young generation small, busy or not. */
  readonly staysSmall?: true;
  /** Its own settings (environment variables), beside those of the platform; validated at boot. */
  readonly config: Config;
  start(deps: WorkerDeps<Static<Config>>): Promise<Started>;
}

export interface WorkerDeps<Config = Record<string, unknown>> {
  readonly config: Config;
  readonly log: Logger;
  readonly kafka: Kafka;
  /** The process's HTTP server: register routes; /metrics, /healthz, /readyz and /docs are there already. */
  readonly http: FastifyInstance;
  readonly metrics: Registry;
  /** The worker's. Connects at first use; rejects with MUSTER_DATABASE_DOWN when it cannot within its deadline. */
  database(): Promise<Kysely<unknown>>;
  redis(): Promise<RedisClientType>;
  /** Publishes the outbox in this process from now on, one relay for all its workers: for those that append to it. */
  relayOutbox(): Promise<Pick<Relay, 'publish'>>;
  readonly secrets: { readonly pseudonymKey: Buffer };
  /** Ends the process non-zero after a drain: the worker can no longer make progress. */
  fail(error: Error): void;
}

export interface Started {
  /** Whether work can be taken on: joined its group, caught its state up. Part of /readyz. */
  ready(): boolean;
  /** What it waits for, in a few words for people; shown by /readyz while not ready. */
  waitingFor?(): string;
  /** Finishes what runs, commits and closes; called once, on SIGTERM, within the stop grace. */
  stop(): Promise<void>;
}
