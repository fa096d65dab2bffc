/** The ways from clients on this host to an environment, with proxies in between that can make them bad. */
import type { Environment } from '../../catalog/environments.ts';
import { reachFromHost, urlFromHost } from '../../stacks/config/topology.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { type Address, kafkaDialogue } from './kafka-dialogue.ts';
import { type LinkFault, type LinkProxy, plainDialogue, startProxy } from './proxy.ts';

export interface Links {
  /** Addresses of the proxies; everything else as it was given. */
  readonly variables: Readonly<Record<string, string>>;
  /**
   * Makes all links bad, open connections too, until what it returns is called; that says how many answers were lost.
   * Throws MUSTER_LINK_IDLE then when answers were to be lost and none was: nothing has been tried.
   */
  spoil(fault: LinkFault): () => string;
  close(): Promise<void>;
}

/**
 * A proxy before each broker and one before the API.
 * @param variables with which a client on this host reaches the environment
 * @param random 0 to 1, decides which answers are lost and how late the pieces are
 * Throws MUSTER_LINK_PROXY when they cannot listen.
 */
export async function startLinks(
  environment: Environment,
  variables: Readonly<Record<string, string>>,
  random: () => number,
): Promise<Links> {
  const proxies: LinkProxy[] = [];
  const places = new Map<string, Address>();
  const nameOf = ({ host, port }: Address) => `${host}:${port}`;
  async function before(target: Address, dialogue: Parameters<typeof startProxy>[0]['dialogue']) {
    const proxy = await startProxy({ target, dialogue, random });
    proxies.push(proxy);
    const place = { host: '127.0.0.1', port: proxy.port };
    places.set(nameOf(target), place);
    return nameOf(place);
  }
  try {
    const brokers: string[] = [];
    for (const { id } of environment.kafka.nodes) {
      const broker = addressOf(reachFromHost(environment, `kafka-${id}`, 'external'));
      brokers.push(await before(broker, () => kafkaDialogue((told) => places.get(nameOf(told)) ?? told)));
    }
    const api = await before(addressOf(new URL(urlFromHost(environment, 'api')).host), plainDialogue);
    return {
      variables: { ...variables, KAFKA_BROKERS: brokers.join(','), MUSTER_API_URL: `http://${api}` },
      spoil(fault) {
        const before = lost();
        for (const proxy of proxies) proxy.set(fault);
        return () => {
          for (const proxy of proxies) proxy.set({});
          const count = lost() - before;
          if (count === 0 && (fault.loseAnswers ?? 0) > 0)
            throw new MusterError('MUSTER_LINK_IDLE', 'No answer was lost: nobody waited for one.');
          return `${count} answers lost`;
        };
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }

  function lost(): number {
    return proxies.reduce((sum, proxy) => sum + proxy.lost(), 0);
  }

  async function close(): Promise<void> {
    await Promise.all(proxies.map((proxy) => proxy.close()));
  }
}

function addressOf(hostAndPort: string): Address {
  const colon = hostAndPort.lastIndexOf(':');
  return { host: hostAndPort.slice(0, colon), port: Number(hostAndPort.slice(colon + 1)) };
}
