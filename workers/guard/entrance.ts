/**
 * The entrance is an HAProxy beside the guard: clients of the database know its address only. The guard tells it, by its socket,
 * which member they are sent to. It begins with none, and stays as it was told while the guard is away.
 */
import { once } from 'node:events';
import { connect } from 'node:net';
import { NotNowError } from '../base/errors.ts';

const answerWithinMs = 1_000;
/** As the configuration of the entrance calls them. */
const backend = 'members';

/** Runs commands on the socket. Throws MUSTER_GUARD_ENTRANCE (not now) when that does not answer, or does not know a member. */
async function command(path: string, commands: readonly string[]): Promise<void> {
  const socket = connect({ path });
  let said = '';
  socket.setEncoding('utf8').setTimeout(answerWithinMs, () => socket.destroy(new Error('no answer')));
  socket.on('data', (text: string) => {
    said += text;
  });
  try {
    socket.end(`${commands.join(';')}\n`);
    await once(socket, 'close');
  } catch (error) {
    throw new NotNowError(
      'MUSTER_GUARD_ENTRANCE',
      `the entrance does not answer: ${(error as Error).message}`,
    );
  }
  if (said.trim() !== '') throw new NotNowError('MUSTER_GUARD_ENTRANCE', `the entrance says: ${said.trim()}`);
}

/** Sends clients to one member, or to none; whoever is connected to another one is cut off. The same again does nothing. */
export async function pointEntrance(
  path: string,
  members: readonly string[],
  serving: string | undefined,
): Promise<void> {
  const others = members.filter((name) => name !== serving);
  await command(path, [
    ...others.flatMap((name) => [
      `set server ${backend}/${name} state maint`,
      `shutdown sessions server ${backend}/${name}`,
    ]),
    ...(serving === undefined ? [] : [`set server ${backend}/${serving} state ready`]),
  ]);
}
