/**
 * Child processes: each in a process group of its own, so that a Ctrl-C in the terminal reaches it once, from us,
 * and not twice (terraform takes a second SIGINT for "drop everything", which loses its state).
 */
import type { Readable } from 'node:stream';
import { execa, type Options } from 'execa';
import { MusterError } from '../workers/base/errors.ts';

export interface RunOptions {
  readonly cwd?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
  /** Called for each line of stdout and stderr while it runs. */
  onLine?(line: string, from: 'stdout' | 'stderr'): void;
  /** How long a child may take to finish after SIGINT before its whole group is killed. Default 30 s. */
  readonly graceMs?: number;
  /** Sent on interruption. Default SIGINT. */
  readonly stopSignal?: 'SIGINT' | 'SIGTERM';
  /** A stream: for a program that waits for more. */
  readonly input?: string | Readable;
}

export interface Finished {
  /** 128 + signal number when a signal ended it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

const groups = new Set<number>();

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal);
  } catch {
    // Gone already.
  }
}

/** Kills every child that still runs, with all that it started. */
export function killChildren(): void {
  for (const pid of groups) signalGroup(pid, 'SIGKILL');
  groups.clear();
}

/**
 * Runs a program to its end and never throws for its exit code.
 * Throws MUSTER_TOOL_MISSING when there is no such program.
 */
export async function run(
  file: string,
  args: readonly string[],
  options: RunOptions = {},
): Promise<Finished> {
  const settings = {
    detached: true,
    reject: false,
    stripFinalNewline: true,
    stdin: options.input === undefined ? 'ignore' : 'pipe',
    ...(options.input === undefined ? {} : { input: options.input }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
    maxBuffer: 200_000_000,
  } satisfies Options;
  const child = execa(file, args, settings);
  const { pid } = child;
  let killTimer: NodeJS.Timeout | undefined;
  const stop = (): void => {
    if (pid === undefined) return;
    signalGroup(pid, options.stopSignal ?? 'SIGINT');
    killTimer = setTimeout(() => signalGroup(pid, 'SIGKILL'), options.graceMs ?? 30_000);
    killTimer.unref();
  };
  if (pid !== undefined) groups.add(pid);
  if (options.signal?.aborted === true) stop();
  options.signal?.addEventListener('abort', stop, { once: true });
  try {
    if (options.onLine !== undefined) {
      const { onLine } = options;
      const read = async (from: 'stdout' | 'stderr'): Promise<void> => {
        for await (const line of child.iterable({ from })) onLine(line, from);
      };
      await Promise.all([read('stdout'), read('stderr')]).catch(() => undefined);
    }
    const result = await child;
    if (result.code === 'ENOENT')
      throw new MusterError('MUSTER_TOOL_MISSING', `The program "${file}" is not installed or not on PATH.`);
    return {
      exitCode: result.exitCode ?? 128,
      stdout: result.stdout ?? '',
      stderr: result.stderr ?? '',
    };
  } finally {
    if (pid !== undefined) groups.delete(pid);
    clearTimeout(killTimer);
    options.signal?.removeEventListener('abort', stop);
  }
}
