/** MariaDB's own programs, run to their end. */
import { type ChildProcess, type SpawnOptions, spawn } from 'node:child_process';
import { once } from 'node:events';
import { MusterError } from './errors.ts';

const keptBytes = 2_000;

/** A program that runs; `ended` rejects with MUSTER_PROGRAM and the last of what it said unless it ends well. */
export function program(
  name: string,
  args: readonly string[],
  options: SpawnOptions = {},
): { readonly child: ChildProcess; readonly ended: Promise<void> } {
  // They read MYSQL_HOST and others of our variables: a restored copy would be loaded into the running server.
  const env = { PATH: process.env.PATH };
  const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options, env });
  let said = '';
  child.stderr?.setEncoding('utf8').on('data', (text: string) => {
    said = (said + text).slice(-keptBytes);
  });
  const failed = (how: string) =>
    new MusterError('MUSTER_PROGRAM', `${name} ${how}: ${said.trim().split('\n').slice(-3).join(' ')}`);
  const ended = (async () => {
    const [code, signal] = await once(child, 'close').catch((error: Error) => {
      throw failed(`cannot be run (${error.message})`);
    });
    if (code !== 0) throw failed(`ended with ${code ?? signal}`);
  })();
  // Whoever waits for it hears of it.
  ended.catch(() => {});
  return { child, ended };
}
