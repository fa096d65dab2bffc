/** How to come to a moment with what is kept, and what is kept no longer. */
import { MusterError } from '../base/errors.ts';
import type { Archive, Base, Head } from './archive.ts';
import { nextFile, numberOf, reaches } from './binlog.ts';

/** What a restore takes: a base, and files of the log from its position on. */
export interface Plan {
  readonly base: Base;
  /** In order; the first has the base's position in it. */
  readonly files: readonly string[];
  readonly head: Head;
  /** The moment to which it brings the data: what was asked for, or all there is. */
  readonly toMs: number;
  /** What began later is left out; undefined: nothing is, whatever the server's clock said then. */
  readonly stopAtMs: number | undefined;
}

/**
 * How to come to a moment, or to the newest there is (undefined). The files that it names are looked at when they are read.
 * Throws MUSTER_BACKUP_NONE (no base before it), MUSTER_BACKUP_MISSING (a file of the log that is needed is not there),
 * MUSTER_BACKUP_FUTURE (later than anything is known).
 */
export async function planRestore(archive: Archive, toMs: number | undefined): Promise<Plan> {
  const before = (await archive.bases()).filter(({ takenAtMs }) => toMs === undefined || takenAtMs <= toMs);
  const base = before.at(-1);
  if (base === undefined)
    throw new MusterError(
      'MUSTER_BACKUP_NONE',
      toMs === undefined
        ? 'there is no base copy yet'
        : `there is no base copy of ${new Date(toMs).toISOString()} or before`,
    );
  const head = await archive.head(base.serverId);
  if (head === undefined || !reaches(head, base.position))
    throw new MusterError('MUSTER_BACKUP_MISSING', `no log since ${base.name} is there`);
  if (toMs !== undefined && toMs > head.atMs)
    throw new MusterError(
      'MUSTER_BACKUP_FUTURE',
      `what is known ends at ${new Date(head.atMs).toISOString()}`,
    );
  const files: string[] = [];
  const there = new Set((await archive.logs(base.serverId)).map(({ file }) => file));
  for (let file = base.position.file; numberOf(file) <= numberOf(head.file); file = nextFile(file)) {
    if (!there.has(file))
      throw new MusterError(
        'MUSTER_BACKUP_MISSING',
        `log/${base.serverId}/${file} is missing: nothing after it can be restored from ${base.name}`,
      );
    files.push(file);
  }
  return { base, files, head, toMs: toMs ?? head.atMs, stopAtMs: toMs };
}

/**
 * The content of a file of the log that a plan names. Throws what readSegments() throws, and MUSTER_BACKUP_CUT when it ends before
 * its end, the last one before what was known of it.
 */
export async function* logContent(
  archive: Archive,
  { base, head }: Plan,
  file: string,
): AsyncGenerator<Buffer> {
  const wanted = file === head.file ? head.position : undefined;
  let ended = false;
  let bytes = 0;
  for await (const { content, last } of archive.logSegments(base.serverId, file)) {
    bytes += content.length;
    ended = last;
    yield content;
    // What follows may be half there: somebody writes it just now.
    if (wanted !== undefined && bytes >= wanted) return;
  }
  if (wanted === undefined ? !ended : bytes < wanted)
    throw new MusterError(
      'MUSTER_BACKUP_CUT',
      `log/${base.serverId}/${file} is cut: it ends at byte ${bytes}, ${wanted === undefined ? 'before its end' : `and was known to reach to ${wanted}`}`,
    );
}

/**
 * Removes base copies that are older than `olderThanMs` and what only they need of logs; the newest base copy always stays.
 * Resolves to the names of what went.
 */
export async function pruneArchive(archive: Archive, olderThanMs: number): Promise<readonly string[]> {
  const bases = await archive.bases();
  const old = bases.filter(({ takenAtMs }, index) => takenAtMs < olderThanMs && index < bases.length - 1);
  const kept = bases.filter((base) => !old.includes(base));
  const gone = old.map(({ name }) => name);
  for (const serverId of await archive.lives()) {
    // By the log and not by their names: a copy that was taken while the clock was ahead bears a later one than those after it.
    const needed = kept
      .filter((base) => base.serverId === serverId)
      .map(({ position }) => numberOf(position.file));
    if (needed.length === 0) {
      // One that no base is of may be the one that goes on right now: its base is still being made.
      const head = await archive.head(serverId);
      if (head !== undefined && head.atMs < olderThanMs) gone.push(`log/${serverId}`);
    } else {
      for (const { file } of await archive.logs(serverId))
        if (numberOf(file) < Math.min(...needed)) gone.push(`log/${serverId}/${file}`);
    }
  }
  for (const name of gone) await archive.remove(name);
  return gone;
}
