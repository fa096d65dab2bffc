/** Workers as a process of this machine: what is measured is this one, on the checkout's own code. */
import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { pause } from '../../environment/interruption.ts';
import { root } from './bench.ts';

export interface WorkerOrder {
  /** Those that share the process; it is called by the first. */
  readonly workers: readonly [string, ...string[]];
  /** Settings; HTTP address and log level are given. */
  readonly env: Readonly<Record<string, string>>;
  /** Settings that get the address of this process: it asks itself. */
  readonly ownUrlAs?: readonly string[];
  /** Flags of the runtime. */
  readonly nodeFlags?: readonly string[];
  readonly signal: AbortSignal;
}

export interface RunningWorker {
  readonly name: string;
  readonly pid: number;
  readonly url: string;
  stop(): Promise<void>;
}

const readyWithinMs = 60_000;

/** Settings that a worker has to have and does not use when it works on Kafka alone. */
export const noStores = {
  MYSQL_HOST: '127.0.0.1',
  MYSQL_USER: 'unused',
  MYSQL_PASSWORD: 'unused',
  MYSQL_DATABASE: 'unused',
  REDIS_HOST: '127.0.0.1',
  REDIS_PASSWORD: 'unused',
} as const;

/** Starts them and waits until they are ready; rejects when it ends before, is not within 60 s, or is not wanted any more. */
export async function startWorker({
  workers,
  env,
  ownUrlAs = [],
  nodeFlags = [],
  signal,
}: WorkerOrder): Promise<RunningWorker> {
  const [name] = workers;
  const port = 28_500 + Math.floor(Math.random() * 400);
  const url = `http://127.0.0.1:${port}`;
  const child: ChildProcess = spawn(
    process.execPath,
    [...nodeFlags, join(root, 'workers/main.ts'), ...workers],
    {
      cwd: root,
      // Its log goes to where people look for trouble, not into the report.
      stdio: ['ignore', 2, 'inherit'],
      signal,
      env: {
        PATH: process.env.PATH,
        // To try flags of the runtime out on the worker alone.
        NODE_OPTIONS: process.env.BENCH_NODE_OPTIONS ?? '',
        PROCESS_NAME: `bench-${name}`,
        ...env,
        ...Object.fromEntries(ownUrlAs.map((setting) => [setting, url])),
        HTTP_HOST: '127.0.0.1',
        HTTP_PORT: String(port),
        LOG_LEVEL: 'warn',
      },
    },
  );
  child.on('error', () => undefined);
  // Not once(): that rejects on the abort of Ctrl-C, which comes before anybody awaits it.
  const ended = new Promise((resolve) => child.once('exit', resolve));
  try {
    for (
      const until = Date.now() + readyWithinMs;
      Date.now() < until && child.exitCode === null;
      await pause(100, signal)
    ) {
      const ready = await fetch(`${url}/readyz`).then(
        (response) => response.ok,
        () => false,
      );
      if (ready)
        return {
          name,
          pid: child.pid!,
          url,
          async stop() {
            child.kill('SIGTERM');
            await ended;
          },
        };
    }
    if (child.exitCode !== null) throw new Error(`${name} ended with ${child.exitCode} before it was ready`);
    throw new Error(`${name} was not ready within ${readyWithinMs / 1_000} s`);
  } catch (error) {
    child.kill('SIGKILL');
    await ended;
    throw error;
  }
}
