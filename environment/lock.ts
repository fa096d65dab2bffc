/** A lock between processes, and the look-ups in /proc that tell a live process from the memory of one. */

import { readFileSync } from 'node:fs';
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { cacheDirectory } from './paths.ts';

/** What is known of a process: `undefined` means that no such process runs. */
export interface ProcessFacts {
  /** Name as in /proc/<pid>/comm. */
  readonly name: string;
  /** Start time in clock ticks since boot: tells a process from a later one with the same id. */
  readonly startTicks: string;
}

/** Looks a process up in /proc; undefined when it does not run, is a zombie, or there is no /proc. */
export function processFacts(pid: number): ProcessFacts | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name is in parentheses and may itself hold blanks and parentheses.
    const end = stat.lastIndexOf(')');
    const fields = stat.slice(end + 2).split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    return { name: stat.slice(stat.indexOf('(') + 1, end), startTicks: fields[19] ?? '' };
  } catch {
    return undefined;
  }
}

interface Holder {
  readonly pid: number;
  readonly startTicks: string;
}

/** Whether the process that wrote a lock file is still the same and alive. */
export function holderAlive(content: string, lookUp: typeof processFacts = processFacts): boolean {
  try {
    const { pid, startTicks } = JSON.parse(content) as Holder;
    // Without /proc (macOS) only the id can be asked for.
    if (process.platform !== 'linux') {
      process.kill(pid, 0);
      return true;
    }
    return lookUp(pid)?.startTicks === startTicks;
  } catch {
    return false;
  }
}

/** Removes what processes that were cut off have left, except the locks themselves, which are taken over. */
async function sweep(folder: string): Promise<void> {
  for (const name of await readdir(folder)) {
    if (!/\.\d+\.[0-9a-z]+(\.dead)?$/.test(name)) continue;
    const content = await readFile(join(folder, name), 'utf8').catch(() => undefined);
    // Empty: its owner has made it and not yet written to it.
    if (content && !holderAlive(content)) await rm(join(folder, name), { force: true });
  }
}

/** Removes a dead holder's lock; when another was quicker and the file is a live lock by now, puts that back. */
async function removeDead(file: string, aside: string): Promise<void> {
  try {
    await rename(file, aside);
    if (holderAlive(await readFile(aside, 'utf8'))) await link(aside, file);
  } catch {
    // Gone or replaced in between: the next attempt sees what is there.
  } finally {
    await rm(aside, { force: true });
  }
}

/**
 * Runs `action` while holding a lock that other processes respect; waits for it (until `signal` says stop), and takes
 * over a dead one's.
 */
export async function withLock<T>(
  name: string,
  action: () => Promise<T>,
  report: (line: string) => void = () => {},
  signal?: AbortSignal,
): Promise<T> {
  const folder = join(cacheDirectory(), 'locks');
  await mkdir(folder, { recursive: true });
  await sweep(folder);
  const file = join(folder, name.replaceAll('/', '-'));
  const mine = `${file}.${process.pid}.${Math.random().toString(36).slice(2)}`;
  const holder: Holder = { pid: process.pid, startTicks: processFacts(process.pid)?.startTicks ?? '' };
  // Written first and linked then: a lock file never exists without its holder's name in it.
  await writeFile(mine, JSON.stringify(holder));
  try {
    for (let waited = 0; ; waited++) {
      try {
        await link(mine, file);
        break;
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      const content = await readFile(file, 'utf8').catch(() => undefined);
      if (content !== undefined && !holderAlive(content)) await removeDead(file, `${mine}.dead`);
      else {
        if (waited === 0) report('waiting for another muster that does the same');
        signal?.throwIfAborted();
        await sleep(300);
      }
    }
    try {
      return await action();
    } finally {
      await rm(file, { force: true });
    }
  } finally {
    await rm(mine, { force: true });
  }
}
