/** Asks brokers in the flexible format: one by its id, or any that answers. */
import { MusterError } from '../base/errors.ts';
import { type FlexibleReader, type FlexibleWriter, flexibleRequest } from './flexible-format.ts';
import type { Broker } from './kafkajs-internals.ts';
import type { Wire } from './wire.ts';

/** Versions that every broker from 3.0 to 4.x speaks; all are flexible. */
export const apis = {
  fetch: { key: 1, version: 12, name: 'Fetch' },
  listOffsets: { key: 2, version: 6, name: 'ListOffsets' },
  metadata: { key: 3, version: 11, name: 'Metadata' },
  offsetFetch: { key: 9, version: 8, name: 'OffsetFetch' },
  describeGroups: { key: 15, version: 5, name: 'DescribeGroups' },
  listGroups: { key: 16, version: 4, name: 'ListGroups' },
  describeConfigs: { key: 32, version: 4, name: 'DescribeConfigs' },
  incrementalAlterConfigs: { key: 44, version: 1, name: 'IncrementalAlterConfigs' },
} as const;
type Api = (typeof apis)[keyof typeof apis];

/** What goes out, and what comes of the answer. */
type Write = (body: FlexibleWriter) => void;
type Read<T> = (body: FlexibleReader) => T;

export interface ClusterAsker {
  /** To one broker; connections to one that does not answer are dropped, so that the next call opens new ones. */
  one<T>(nodeId: number, api: Api, write: Write, read: Read<T>): Promise<T>;
  /** To any broker: the known ones take turns, and one that fails is skipped. */
  any<T>(api: Api, write: Write, read: Read<T>): Promise<T>;
  know(brokers: readonly number[]): void;
  /** Requests sent to each broker since the last call. */
  takeCounts(): ReadonlyMap<number, number>;
}

export function clusterAsker(wire: Wire): ClusterAsker {
  let brokers: readonly number[] = [];
  let turn = 0;
  let counts = new Map<number, number>();

  async function send<T>(broker: Broker, api: Api, write: Write, read: Read<T>): Promise<T> {
    const spoken = broker.versions?.[api.key];
    if (spoken === undefined || spoken.maxVersion < api.version) {
      throw new MusterError(
        'MUSTER_KAFKA_TOO_OLD',
        `the broker at ${broker.connectionPool.host}:${broker.connectionPool.port} speaks ${api.name} only up to version ${spoken?.maxVersion ?? 'none'}; ${api.version} is needed (Kafka 3.0 or later)`,
      );
    }
    if (broker.nodeId !== null) counts.set(broker.nodeId, (counts.get(broker.nodeId) ?? 0) + 1);
    return broker.connectionPool.send(flexibleRequest(api, write, read));
  }

  async function ask<T>(nodeId: number, api: Api, write: Write, read: Read<T>): Promise<T> {
    const broker = await wire.broker(nodeId);
    try {
      return await send(broker, api, write, read);
    } catch (error) {
      if ((error as Error).name === 'KafkaJSRequestTimeoutError') await wire.drop(nodeId);
      throw error;
    }
  }

  async function askAny<T>(api: Api, write: Write, read: Read<T>): Promise<T> {
    turn++;
    for (let i = 0; i < brokers.length; i++) {
      try {
        return await ask(brokers[(turn + i) % brokers.length]!, api, write, read);
      } catch (error) {
        if (error instanceof MusterError) throw error;
      }
    }
    return send(await wire.anyBroker(), api, write, read);
  }

  return {
    one: ask,
    any: askAny,
    know(known) {
      brokers = known;
    },
    takeCounts() {
      const taken = counts;
      counts = new Map();
      return taken;
    },
  };
}
