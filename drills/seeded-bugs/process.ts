/** A worker process on this machine, with a bug in it, in the place of a deployed one. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createWriteStream } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { pathToFileURL } from 'node:url';
import { checkout } from '../../environment/paths.ts';
import { MusterError } from '../../workers/base/errors.ts';

const readyWithinMs = 60_000;
const restartAfterMs = 300;
const drainMs = 5_000;

/** For `node --import`: what seeds the bug of this name into the process. */
export function hookOf(bug: string): string {
  const url = pathToFileURL(join(checkout, 'drills/seeded-bugs/hook.ts'));
  url.searchParams.set('bug', bug);
  return url.href;
}

export interface BuggyProcess {
  readonly url: string;
  /** SIGKILL; it starts again by itself, as it does when it ends for a reason of its own. */
  kill(): void;
  stop(): Promise<void>;
}

/**
 * Starts it and waits until it is ready. Throws MUSTER_SEEDED_BUG when it does not get ready, and the signal's reason.
 */
export async function startBuggy(options: {
  readonly bug: string;
  readonly workers: readonly string[];
  /** By its own address. */
  variables(url: string): Readonly<Record<string, string>>;
  /** Its name in logs and traces, and of its client at the brokers. */
  readonly name: string;
  /** What it says goes here. */
  readonly logFile: string;
  readonly signal: AbortSignal;
}): Promise<BuggyProcess> {
  const { bug, workers, name, signal } = options;
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const variables = options.variables(url);
  const log = createWriteStream(options.logFile, { flags: 'a' });
  await once(log, 'open');
  let child: ChildProcess | undefined;
  let stopping = false;

  const running = (async () => {
    while (!stopping) {
      child = spawn(
        process.execPath,
        ['--import', hookOf(bug), join(checkout, 'workers/main.ts'), ...workers],
        {
          cwd: checkout,
          stdio: ['ignore', log, log],
          env: {
            PATH: process.env.PATH,
            ...variables,
            PROCESS_NAME: name,
            HTTP_HOST: '127.0.0.1',
            HTTP_PORT: String(port),
            LOG_LEVEL: 'warn',
            DRAIN_DEADLINE_MS: String(drainMs),
          },
        },
      );
      await once(child, 'exit');
      if (!stopping) await sleep(restartAfterMs);
    }
  })();
  // When this process goes, it goes too.
  const atExit = () => child?.kill('SIGKILL');
  process.on('exit', atExit);

  async function stop(): Promise<void> {
    stopping = true;
    child?.kill('SIGTERM');
    const late = setTimeout(() => child?.kill('SIGKILL'), drainMs * 2);
    await running;
    clearTimeout(late);
    process.off('exit', atExit);
    log.close();
  }

  for (
    const untilMs = Date.now() + readyWithinMs;
    Date.now() < untilMs && !signal.aborted;
    await sleep(200)
  ) {
    const isReady = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).then(
      (response) => response.ok,
      () => false,
    );
    if (isReady) return { url, kill: () => child?.kill('SIGKILL'), stop };
  }
  await stop();
  signal.throwIfAborted();
  throw new MusterError(
    'MUSTER_SEEDED_BUG',
    `${workers.join(', ')} with bug ${bug} not ready within ${readyWithinMs / 1_000} s: see ${options.logFile}`,
  );
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
