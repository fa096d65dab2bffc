/**
 * A group coordinator that survives the death of the broker it lives on. kafkajs keeps talking to the dead one until
 * its retries are used up, leaves and joins anew, and then waits for its own old member to time out: some 10 s. The
 * new coordinator knows member and generation, so it is enough to find it and go on.
 */
import type { Logger } from 'winston';
import type { Broker, Cluster } from './kafkajs-internals.ts';

interface CoordinatorOptions {
  readonly cluster: Cluster;
  readonly groupId: string;
  readonly log: Logger;
  readonly sessionTimeoutMs: number;
}

const movedTypes = new Set([
  'NOT_COORDINATOR_FOR_GROUP',
  'GROUP_COORDINATOR_NOT_AVAILABLE',
  'GROUP_LOAD_IN_PROGRESS',
]);

/**
 * Makes `cluster.findGroupCoordinator` return a stand-in. Its heartbeats swallow a lost coordinator while the session
 * can still be saved; commits and offset fetches are tried once more at the new one; join and sync report
 * NOT_COORDINATOR_FOR_GROUP, at which kafkajs starts the join over.
 */
export function followCoordinator({ cluster, groupId, log, sessionTimeoutMs }: CoordinatorOptions): void {
  const find = cluster.findGroupCoordinator.bind(cluster);
  let current: Broker | undefined;
  let finding: Promise<Broker> | undefined;
  let lastHeartbeatMs = Date.now();

  const locate = (): Promise<Broker> => {
    finding ??= find({ groupId })
      .then((broker) => {
        current = broker;
        return broker;
      })
      .finally(() => {
        finding = undefined;
      });
    return finding;
  };

  cluster.findGroupCoordinator = async (arguments_) => {
    if (arguments_.groupId !== groupId) return find(arguments_);
    await locate();
    lastHeartbeatMs = Date.now();
    return standIn;
  };

  const lost = (error: unknown): boolean => {
    const { name, type } = error as { name?: string; type?: string };
    return (
      name === 'KafkaJSConnectionError' ||
      name === 'KafkaJSConnectionClosedError' ||
      name === 'KafkaJSRequestTimeoutError' ||
      name === 'KafkaJSLockTimeout' ||
      (type !== undefined && movedTypes.has(type))
    );
  };

  const call = (method: string, arguments_: unknown) =>
    (current as unknown as Record<string, (argument: unknown) => Promise<unknown>>)[method]!(arguments_);

  async function heartbeat(arguments_: unknown): Promise<unknown> {
    try {
      const answer = await call('heartbeat', arguments_);
      lastHeartbeatMs = Date.now();
      return answer;
    } catch (error) {
      if (!lost(error) || Date.now() - lastHeartbeatMs > sessionTimeoutMs) throw error;
      log.info('the group coordinator is gone, looking for the new one', { groupId });
      void locate().catch(() => undefined);
      return undefined;
    }
  }

  async function twice(method: string, arguments_: unknown): Promise<unknown> {
    try {
      return await call(method, arguments_);
    } catch (error) {
      if (!lost(error)) throw error;
      await locate();
      return call(method, arguments_);
    }
  }

  async function orStartOver(method: string, arguments_: unknown): Promise<unknown> {
    try {
      return await call(method, arguments_);
    } catch (error) {
      if (!lost(error)) throw error;
      throw Object.assign(new Error('the group coordinator is gone'), {
        name: 'KafkaJSProtocolError',
        type: 'NOT_COORDINATOR_FOR_GROUP',
        retriable: true,
      });
    }
  }

  const overrides: Record<string, (arguments_: unknown) => Promise<unknown>> = {
    heartbeat,
    offsetCommit: (arguments_) => twice('offsetCommit', arguments_),
    offsetFetch: (arguments_) => twice('offsetFetch', arguments_),
    joinGroup: (arguments_) => orStartOver('joinGroup', arguments_),
    syncGroup: (arguments_) => orStartOver('syncGroup', arguments_),
  };

  const standIn = new Proxy({} as Broker, {
    get(_, property) {
      if (typeof property === 'string' && property in overrides) return overrides[property];
      // The stand-in reconnects by itself; kafkajs must not swap it for a broker object of its pool.
      if (property === 'isConnected') return () => true;
      // Or a promise would take it for a thenable.
      if (property === 'then') return undefined;
      const value = (current as unknown as Record<string | symbol, unknown>)[property];
      return typeof value === 'function' ? value.bind(current) : value;
    },
  });
}
