/** Mends what cannot be got round from outside. Imported for its effect wherever a kafkajs client is made. */
import { createRequire } from 'node:module';
import { consumerProfile } from '../../catalog/clients.ts';
import { codecs } from './compression.ts';
import { decodeRecordSet, hideAborted, maxBatchBytes } from './fetched-records.ts';
import { type Broker, BrokerClass } from './kafkajs-internals.ts';

const require = createRequire(import.meta.url);

/**
 * kafkajs looks for throttled requests every millisecond for ever, on every connection that has ever been used: the
 * wait it computes is negative when nothing is throttled. That costs an idle process several per cent of a core and
 * keeps it from ending. Here it looks only while something waits.
 */
const RequestQueue = require('kafkajs/src/network/requestQueue/index.js') as {
  prototype: {
    scheduleCheckPendingRequests(this: {
      pending: readonly unknown[];
      throttledUntil: number;
      throttleCheckTimeoutId: NodeJS.Timeout | null;
      checkPendingRequests(): void;
    }): void;
  };
};
RequestQueue.prototype.scheduleCheckPendingRequests = function () {
  if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return;
  this.throttleCheckTimeoutId = setTimeout(
    () => {
      this.throttleCheckTimeoutId = null;
      this.checkPendingRequests();
    },
    Math.max(10, this.throttledUntil - Date.now()),
  );
};

/**
 * Two requests that come while a connection is not open yet make kafkajs open two sockets for it; the first is
 * forgotten but alive, and when the broker closes it for idleness, it takes the requests of the other with it. Here
 * those that come during a connect wait for it.
 */
const Connection = require('kafkajs/src/network/connection.js') as {
  prototype: { connect(this: object): Promise<unknown> };
};
const openConnection = Connection.prototype.connect;
const opening = new WeakMap<object, Promise<unknown>>();
Connection.prototype.connect = function () {
  const begun = opening.get(this);
  if (begun !== undefined) return begun;
  const connecting = openConnection.call(this).finally(() => opening.delete(this));
  opening.set(this, connecting);
  return connecting;
};

/**
 * A broker whose socket is open and who has not said yet which versions it speaks is "not connected" by a plain error, which
 * kafkajs takes for one that no later try mends: it ends the consumer. While all brokers start again that is met easily.
 */
const { KafkaJSConnectionError } = require('kafkajs/src/errors.js') as {
  KafkaJSConnectionError: new (message: string) => Error;
};
type Lookup = Broker['lookupRequest'];
const lookup = Symbol('lookupRequest');
const notYetKnown: Lookup = () => {
  throw new KafkaJSConnectionError('Broker not connected');
};
Object.defineProperty(BrokerClass.prototype, 'lookupRequest', {
  get(this: { [lookup]: Lookup }) {
    return this[lookup];
  },
  set(this: { [lookup]: Lookup }, known: Lookup) {
    this[lookup] = known.name === 'notInitializedLookup' ? notYetKnown : known;
  },
});

/**
 * When of the brokers that answer none knows who coordinates a group, kafkajs ends the consumer: it takes that for an error which no
 * later try mends. With two brokers of three frozen it is met easily.
 */
const Cluster = require('kafkajs/src/cluster/index.js') as {
  prototype: { findGroupCoordinatorMetadata(group: object): Promise<unknown> };
};
const findCoordinator = Cluster.prototype.findGroupCoordinatorMetadata;
Cluster.prototype.findGroupCoordinatorMetadata = async function (group) {
  try {
    return await findCoordinator.call(this, group);
  } catch (error) {
    const { name } = error as Error;
    throw name === 'KafkaJSGroupCoordinatorNotFound'
      ? Object.assign(error as Error, { retriable: true })
      : error;
  }
};

/** kafkajs decodes fetched records through this module, required at the first fetch: ours is put in its place. */
const decodeMessagesPath = require.resolve('kafkajs/src/protocol/requests/fetch/v4/decodeMessages.js');
require(decodeMessagesPath);
require.cache[decodeMessagesPath]!.exports = async (decoder: {
  readInt32(): number;
  readBytes(length: number): Buffer;
  canReadBytes(length: number): boolean;
}): Promise<readonly unknown[]> => {
  const size = decoder.readInt32();
  if (size <= 0 || !decoder.canReadBytes(size)) return [];
  return decodeRecordSet(decoder.readBytes(size));
};

/**
 * Whoever fetches gets the records of aborted transactions as he gets the markers of transactions: not for consumers. The
 * list of those transactions is taken away, so that kafkajs' own filter, which lets some of them through, has nothing to do.
 */
const fetchFrom = BrokerClass.prototype.fetch;
BrokerClass.prototype.fetch = async function (request) {
  const answer = await fetchFrom.call(this, request);
  for (const { partitions } of answer.responses) {
    for (const partition of partitions) {
      if (!partition.abortedTransactions?.length) continue;
      hideAborted(partition.messages, partition.abortedTransactions);
      partition.abortedTransactions = [];
    }
  }
  return answer;
};

/** kafkajs itself knows gzip only, and still reads messages of the formats before batches for us. */
const { Codecs } = require('kafkajs/src/protocol/message/compression/index.js') as {
  readonly Codecs: Record<number, () => { decompress(bytes: Buffer): Promise<Buffer> }>;
};
for (const [id, codec] of codecs) {
  Codecs[id] = () => ({ decompress: async (bytes) => codec.decompress(bytes, maxBatchBytes) });
}

/**
 * How long a broker holds a fetch that finds nothing. kafkajs has one setting for three things: data ends the wait at once,
 * so it may be long, and every empty round costs both sides (ten groups asked three brokers 300 times a second for
 * nothing); but a partition that is resumed waits for the fetch under way, and so does one whose leader has moved, and whoever
 * stops or joins. So the wait is short while something is paused, and long when the group has found nothing for a while.
 */
export function fetchTerms({
  configured,
  paused,
  silentMs,
}: {
  readonly configured: FetchTerms;
  /** Partitions. */
  readonly paused: number;
  /** Since it found something, or failed. */
  readonly silentMs: number;
}): FetchTerms {
  if (paused > 0) return { ...configured, maxWaitTime: pausedWaitMs };
  // Who gathers many bytes takes what comes first at once, and gathers what follows.
  return silentMs >= silentFromMs ? { maxWaitTime: silentWaitMs, minBytes: 1 } : configured;
}
interface FetchTerms {
  /** For so long it is held, in ms, unless there are so many bytes. */
  readonly maxWaitTime: number;
  readonly minBytes: number;
}
const pausedWaitMs = 100;
const silentFromMs = 5_000;
const { silentWaitMs } = consumerProfile;
const ConsumerGroup = require('kafkajs/src/consumer/consumerGroup.js') as {
  prototype: {
    fetch(this: FetchingGroup, nodeId: number): Promise<readonly FetchedBatch[]>;
  };
};
interface FetchedBatch {
  readonly messages: readonly unknown[];
  /** With markers, and what transactions have taken back. */
  readonly rawMessages: readonly unknown[];
}
interface FetchingGroup {
  maxWaitTime: number;
  minBytes: number;
  readonly groupId: string;
  readonly logger: { warn(message: string, about: object): void };
  readonly subscriptionState: { paused(): readonly unknown[] };
  readonly cluster: {
    removeBroker(address: { readonly host: string; readonly port: number }): void;
    readonly brokerPool: { readonly brokers: Readonly<Record<string, Broker>> };
  };
}
const states = new WeakMap<FetchingGroup, { readonly configured: FetchTerms; heardMs: number }>();
const fetchOnce = ConsumerGroup.prototype.fetch;
ConsumerGroup.prototype.fetch = async function (nodeId) {
  const { maxWaitTime, minBytes } = this;
  const state = states.get(this) ?? {
    configured: { maxWaitTime, minBytes },
    heardMs: performance.now(),
  };
  states.set(this, state);
  const { configured, heardMs } = state;
  const paused = this.subscriptionState.paused().length;
  Object.assign(this, fetchTerms({ configured, paused, silentMs: performance.now() - heardMs }));
  const [beganMs, waitMs] = [performance.now(), this.maxWaitTime];
  let heard = true;
  try {
    const batches = await fetchOnce.call(this, nodeId);
    // What comes back empty before its time had an error that kafkajs has dealt with.
    const isWhole = performance.now() - beganMs > 0.9 * waitMs;
    heard = !isWhole || batches.some(({ messages }) => messages.length > 0);
    // Partitions without news would each be handed to a worker of kafkajs', for nothing but a heartbeat, and all workers woken
    // for that (70 KB of garbage with 64 of them). With no batch at all the heartbeat is sent all the same.
    return batches.filter(({ rawMessages }) => rawMessages.length > 0);
  } catch (error) {
    const { name, broker } = error as { readonly name: string; readonly broker?: string };
    if (name !== 'KafkaJSRequestTimeoutError' || !forget(this.cluster, broker)) throw error;
    this.logger.warn('A broker does not answer: the others are asked who leads', {
      groupId: this.groupId,
      broker,
    });
    return [];
  } finally {
    if (heard) state.heardMs = performance.now();
  }
};

/**
 * A broker that freezes keeps its connections open. kafkajs gives a fetch from it up after five seconds and sends the next
 * one to the same broker: what it led is not read until the metadata is a minute old, though others lead it since
 * long. Here a broker that does not answer is forgotten, and kafkajs asks those that are left who leads. False: it is not
 * known (any more), or there is no other to ask.
 */
function forget(cluster: FetchingGroup['cluster'], address: string | undefined): boolean {
  const brokers = Object.values(cluster.brokerPool.brokers);
  const broker = brokers.find(({ connectionPool: { host, port } }) => `${host}:${port}` === address);
  if (broker === undefined || brokers.length === 1) return false;
  cluster.removeBroker(broker.connectionPool);
  void broker.disconnect().catch(() => undefined);
  return true;
}
