/**
 * Connections of one producer to the brokers, and where each partition's leader is. kafkajs' own cluster throws the
 * whole metadata away while any one partition has no leader and asks a broker that may hang; during a failover that
 * is most of the outage. Here all connected brokers are asked at once and the first answer counts.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import {
  apiKeys,
  type Broker,
  BrokerClass,
  connectionPoolBuilder,
  defaultSocketFactory,
  type MetadataResponse,
  requests,
} from './kafkajs-internals.ts';

export interface Wire {
  /** A connected broker, connecting when needed; rejects when that fails. */
  broker(nodeId: number): Promise<Broker>;
  /** Whether broker() has one without connecting. */
  isConnected(nodeId: number): boolean;
  /** Any connected broker. */
  anyBroker(): Promise<Broker>;
  /** Closes the connections to a broker that misbehaved, so that the next use opens new ones. */
  drop(nodeId: number): Promise<void>;
  /** All connected brokers are asked; `sparing`: one, and the others only when it does not answer at once. */
  metadata(topics: readonly string[], options?: { readonly sparing?: true }): Promise<MetadataResponse>;
  /** Takes over what a metadata answer that the caller asked for himself says of the brokers. */
  learn(response: Pick<MetadataResponse, 'brokers'>): Promise<void>;
  close(): Promise<void>;
}

export interface WireOptions {
  readonly brokers: readonly string[];
  readonly clientId: string;
  /** kafkajs' root logger. */
  readonly logger: unknown;
  readonly connectionTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

export function openWire(options: WireOptions): Wire {
  const builder = connectionPoolBuilder({
    socketFactory: defaultSocketFactory(),
    brokers: options.brokers,
    clientId: options.clientId,
    connectionTimeout: options.connectionTimeoutMs,
    requestTimeout: options.requestTimeoutMs,
    enforceRequestTimeout: true,
    logger: options.logger as Parameters<typeof connectionPoolBuilder>[0]['logger'],
  });
  const nodes = new Map<number, Broker>();
  const seeds = new Map<string, Promise<Broker>>();
  let learning: Promise<void> = Promise.resolve();
  let closed = false;

  async function create(host: string, port: number, nodeId?: number): Promise<Broker> {
    // A retry that comes after the end must not open what nobody will close.
    if (closed) throw new Error('the connections are closed');
    return new BrokerClass({
      connectionPool: await builder.build({ host, port }),
      logger: options.logger,
      allowAutoTopicCreation: false,
      ...(nodeId === undefined ? {} : { nodeId }),
    });
  }

  /** One at a time: two answers that come together must not make two objects of one broker. */
  function learn(response: Pick<MetadataResponse, 'brokers'>): Promise<void> {
    learning = learning.then(async () => {
      for (const { nodeId, host, port } of response.brokers) {
        const known = nodes.get(nodeId);
        if (known && known.connectionPool.host === host && known.connectionPool.port === port) continue;
        nodes.set(nodeId, await create(host, port, nodeId));
        if (known) void known.disconnect().catch(() => undefined);
      }
    });
    const learned = learning;
    learning = learning.catch(() => undefined);
    return learned;
  }

  /**
   * Waits for a connect that somebody else has begun; one that got a socket and no versions is given up, not kept. What is
   * connected only after the end is closed here: nobody else will.
   */
  async function connect(broker: Broker): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      if (closed) throw new Error('the connections are closed');
      await broker.connect();
      if (!closed && (broker.versions !== null || attempt === 2)) return;
      await broker.disconnect();
    }
  }

  async function ask(broker: Broker, topics: readonly string[]): Promise<MetadataResponse> {
    const define = broker.lookupRequest(apiKeys.Metadata, requests.Metadata);
    const { request, response } = define({ topics, allowAutoTopicCreation: false });
    return broker.connectionPool.send<MetadataResponse>({
      request,
      // No parse of kafkajs': it throws when any partition has no leader.
      response: { decode: response.decode, parse: async (decoded) => decoded as MetadataResponse },
    });
  }

  async function connectedSeed(): Promise<Broker> {
    let last: unknown;
    for (const address of options.brokers) {
      const [host, port] = splitAddress(address);
      const seed = seeds.get(address) ?? create(host, port);
      seeds.set(address, seed);
      try {
        const broker = await seed;
        await connect(broker);
        return broker;
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }

  async function anyBroker(): Promise<Broker> {
    for (const broker of nodes.values()) if (isReady(broker)) return broker;
    for (const broker of nodes.values()) {
      try {
        await connect(broker);
        return broker;
      } catch {
        // The next one may be up.
      }
    }
    return connectedSeed();
  }

  return {
    async broker(nodeId) {
      const broker = nodes.get(nodeId);
      if (!broker) throw new Error(`broker ${nodeId} is not known`);
      if (!isReady(broker)) await connect(broker);
      return broker;
    },
    isConnected(nodeId) {
      const broker = nodes.get(nodeId);
      return broker !== undefined && isReady(broker);
    },
    anyBroker,
    learn,
    async drop(nodeId) {
      const broker = nodes.get(nodeId);
      if (!broker) return;
      nodes.set(nodeId, await create(broker.connectionPool.host, broker.connectionPool.port, nodeId));
      // Not awaited: it waits for answers that will not come. A new broker object has its own sockets.
      void broker.disconnect().catch(() => undefined);
    },
    async metadata(topics, { sparing } = {}) {
      const connected = [...nodes.values()].filter(isReady);
      const from = Math.floor(Math.random() * connected.length);
      const turned = [...connected.slice(from), ...connected.slice(0, from)];
      const asked = (broker: Broker) => ask(broker, topics);
      let response: MetadataResponse;
      try {
        response = await (sparing ? sparingly(turned, asked) : Promise.any(turned.map(asked)));
      } catch {
        response = await ask(await anyBroker(), topics);
      }
      await learn(response);
      return response;
    },
    async close() {
      closed = true;
      const made = await Promise.allSettled(seeds.values());
      const all = [
        ...nodes.values(),
        ...made.flatMap((seed) => (seed.status === 'fulfilled' ? [seed.value] : [])),
      ];
      nodes.clear();
      seeds.clear();
      const disconnected = Promise.all(all.map((broker) => broker.disconnect().catch(() => undefined)));
      await Promise.race([disconnected, new Promise((resolve) => setTimeout(resolve, 1_000).unref())]);
    },
  };
}

const atOnceMs = 100;

/** What the first of them answers; when it fails, or lets wait, that of whichever answers. */
export async function sparingly<Broker, Answer>(
  [first, ...others]: readonly Broker[],
  ask: (broker: Broker) => Promise<Answer>,
): Promise<Answer> {
  const answer = first === undefined ? Promise.reject(new Error('nobody to ask')) : ask(first);
  const isAnswered = answer.then(
    () => true,
    () => false,
  );
  if (await Promise.race([isAnswered, sleep(atOnceMs, false)])) return answer;
  return Promise.any([answer, ...others.map(ask)]);
}

/**
 * kafkajs calls a broker connected as soon as its socket is open; it can be asked only when it has said which versions
 * it speaks. Between the two are some ms in which requests fail with "Broker not connected".
 */
function isReady(broker: Broker): boolean {
  return broker.isConnected() && broker.versions !== null;
}

function splitAddress(address: string): [host: string, port: number] {
  const colon = address.lastIndexOf(':');
  return [address.slice(0, colon), Number(address.slice(colon + 1))];
}
