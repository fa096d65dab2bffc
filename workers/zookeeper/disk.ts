/** How much a ZooKeeper has on its disk, asked by its four-letter word `dirs`. */
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { MusterError, NotNowError } from '../base/errors.ts';

const timeoutMs = 5_000;

/**
 * Bytes that snapshots and transaction log of a member (`host:port` of its clients) take. Rejects with
 * MUSTER_ZOOKEEPER_DOWN when it does not answer within 5 s (trying again helps), and with MUSTER_ZOOKEEPER_REFUSES when it
 * answers otherwise (it must be allowed by `4lw.commands.whitelist`).
 */
export async function diskBytes(server: string): Promise<number> {
  const at = server.lastIndexOf(':');
  const socket = connect({
    host: server.slice(0, at),
    port: Number(server.slice(at + 1)),
    signal: AbortSignal.timeout(timeoutMs),
  });
  let answer: string;
  try {
    socket.write('dirs');
    answer = await text(socket);
  } catch (error) {
    throw new NotNowError('MUSTER_ZOOKEEPER_DOWN', `${server} does not answer`, { cause: error });
  } finally {
    socket.destroy();
  }
  const sizeOf = (what: string) => Number(new RegExp(`^${what}_size: (\\d+)$`, 'm').exec(answer)?.[1]);
  // Without a folder of its own the log lies beside the snapshots, and both sizes are that of the one folder.
  const bytes = Math.max(sizeOf('datadir'), sizeOf('logdir'));
  if (Number.isNaN(bytes))
    throw new MusterError('MUSTER_ZOOKEEPER_REFUSES', `${server} says: ${answer.trim()}`);
  return bytes;
}
