/** A disk of 300 KiB for a test: a process of its own sees it, nobody else does. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ExecutionContext } from 'ava';

/**
 * Runs a program with a folder on such a disk as its argument; what it wrote, from JSON. Undefined, with a passed test, where
 * none can be mounted (it takes Linux, and user namespaces or root).
 */
export function onSmallDisk(t: ExecutionContext, program: string): unknown {
  const folder = mkdtempSync(join(tmpdir(), 'small-disk-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const script = 'mount -t tmpfs -o size=300k none "$1" && shift && exec "$@"';
  const command = ['sh', '-c', script, 'sh', folder, process.execPath, program, folder];
  const ran = spawnSync('unshare', ['--map-root-user', '--mount', ...command], { encoding: 'utf8' });
  if (ran.status === 0) return JSON.parse(ran.stdout);
  if (ran.error !== undefined || /^(unshare|mount):/m.test(ran.stderr)) {
    t.log('no small disk can be mounted here: not tried');
    t.pass();
    return undefined;
  }
  throw new Error(ran.stderr);
}
