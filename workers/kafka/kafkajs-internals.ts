/**
 * The parts of kafkajs 2.2.4 below its public API that the producer and the consumer stand on: one connection to one
 * broker, and the wire protocol. The version is pinned exactly in package.json; everything used is named here.
 */
import { createRequire } from 'node:module';
import type { FetchedRecord } from './fetched-records.ts';

const require = createRequire(import.meta.url);

/** A request in the shape that kafkajs' connections send. */
export interface WireRequest<T> {
  readonly request: {
    readonly apiKey: number;
    readonly apiVersion: number;
    readonly apiName: string;
    encode(): Promise<WirePayload>;
  };
  readonly response: {
    decode(payload: Buffer): Promise<unknown>;
    parse(decoded: unknown): Promise<T>;
  };
}

/** What kafkajs' encoder offers to those that copy it on. */
export interface WirePayload {
  readonly buf: Buffer;
  readonly buffer: Buffer;
  size(): number;
}

export interface ConnectionPool {
  readonly host: string;
  readonly port: number;
  send<T>(request: WireRequest<T>): Promise<T>;
}

export interface MetadataResponse {
  readonly brokers: readonly { readonly nodeId: number; readonly host: string; readonly port: number }[];
  readonly topicMetadata: readonly {
    readonly topicErrorCode: number;
    readonly topic: string;
    readonly partitionMetadata: readonly {
      readonly partitionErrorCode: number;
      readonly partitionId: number;
      readonly leader: number;
    }[];
  }[];
}

type Define<T> = (arguments_: Record<string, unknown>) => WireRequest<T>;

export interface Broker {
  readonly nodeId: number | null;
  readonly connectionPool: ConnectionPool;
  /** By API key, what it said it speaks; null before the first connect has finished. */
  readonly versions: Readonly<
    Record<number, { readonly minVersion: number; readonly maxVersion: number }>
  > | null;
  lookupRequest(apiKey: number, definition: unknown): Define<unknown>;
  isConnected(): boolean;
  connect(): Promise<void>;
  disconnect(): Promise<void>;
  initProducerId(arguments_: {
    transactionalId?: string;
    transactionTimeout: number;
  }): Promise<{ readonly producerId: string; readonly producerEpoch: number }>;
  heartbeat(arguments_: unknown): Promise<unknown>;
  findGroupCoordinator(arguments_: { readonly groupId: string; readonly coordinatorType: number }): Promise<{
    readonly coordinator: { readonly nodeId: number; readonly host: string; readonly port: number };
  }>;
  leaveGroup(arguments_: { readonly groupId: string; readonly memberId: string }): Promise<unknown>;
  offsetCommit(arguments_: {
    readonly groupId: string;
    readonly memberId: string;
    readonly groupGenerationId: number;
    readonly topics: readonly {
      readonly topic: string;
      readonly partitions: readonly { readonly partition: number; readonly offset: string }[];
    }[];
  }): Promise<unknown>;
  listOffsets(arguments_: {
    readonly replicaId: number;
    readonly isolationLevel: number;
    readonly topics: readonly {
      readonly topic: string;
      readonly partitions: readonly { readonly partition: number; readonly timestamp: string }[];
    }[];
  }): Promise<{
    readonly responses: readonly {
      readonly topic: string;
      readonly partitions: readonly { readonly partition: number; readonly offset: string | number }[];
    }[];
  }>;
  fetch(arguments_: FetchRequest): Promise<FetchResponse>;
}

export interface FetchRequest {
  readonly replicaId: number;
  readonly isolationLevel: number;
  readonly maxWaitTime: number;
  readonly minBytes: number;
  readonly maxBytes: number;
  readonly topics: readonly {
    readonly topic: string;
    readonly partitions: readonly {
      readonly partition: number;
      readonly fetchOffset: string;
      readonly maxBytes: number;
    }[];
  }[];
}

export interface FetchResponse {
  readonly responses: readonly {
    readonly partitions: readonly {
      readonly messages: readonly FetchedRecord[];
      abortedTransactions?: readonly { readonly producerId: string; readonly firstOffset: string }[] | null;
    }[];
  }[];
}

/** A request says that it comes from no replica; and that it is to see committed transactions only. */
export const noReplica = -1;
export const readCommitted = 1;

/** What kafkajs hands to a partition assigner as `cluster`; the consumer swaps its findGroupCoordinator. */
export interface Cluster {
  findGroupCoordinator(arguments_: { readonly groupId: string }): Promise<Broker>;
  refreshMetadata(): Promise<void>;
  findTopicPartitionMetadata(topic: string): readonly { readonly partitionId: number }[];
}

interface Logger {
  namespace(name: string): Logger;
}

export const BrokerClass: (new (options: {
  readonly connectionPool: ConnectionPool;
  readonly logger: unknown;
  readonly nodeId?: number;
  readonly authenticationTimeout?: number;
  readonly allowAutoTopicCreation: boolean;
}) => Broker) & { readonly prototype: Broker } = require('kafkajs/src/broker/index.js');

export const connectionPoolBuilder: (options: {
  readonly socketFactory: unknown;
  readonly brokers: readonly string[];
  readonly clientId: string;
  readonly connectionTimeout: number;
  readonly requestTimeout: number;
  readonly enforceRequestTimeout: boolean;
  readonly logger: Logger;
}) => {
  build(address?: { readonly host: string; readonly port: number }): Promise<ConnectionPool>;
} = require('kafkajs/src/cluster/connectionPoolBuilder.js');

export const defaultSocketFactory: () => unknown = require('kafkajs/src/network/socketFactory.js');

export const requests: { readonly Metadata: unknown } = (
  require('kafkajs/src/protocol/requests/index.js') as { requests: { Metadata: unknown } }
).requests;

export const apiKeys: {
  readonly Produce: number;
  readonly Metadata: number;
} = require('kafkajs/src/protocol/requests/apiKeys.js');

const protocolErrors = require('kafkajs/src/protocol/error.js') as {
  createErrorFromCode(code: number): Error & { readonly type: string; readonly code: number };
};

/** A broker's error code as kafkajs' error, with `type` such as NOT_LEADER_FOR_PARTITION. */
export const errorFromCode = protocolErrors.createErrorFromCode;
