/**
 * Follows the binary log of a server into the archive, a second behind: MariaDB's own program fetches it into a spool, and what is
 * new there is sealed and kept. Whatever goes wrong, it begins again from what is kept.
 */
import { mkdir, open, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { MusterError, NotNowError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { program } from '../base/programs.ts';
import type { Archive } from './archive.ts';
import { type LogPosition, nextFile, numberOf, reaches } from './binlog.ts';
import { type SegmentWriter, segmentBytes } from './segments.ts';
import type { Source } from './server.ts';

const lookEveryMs = 1_000;
const againAfterMs = 2_000;
/** Files that stay on the server although they are kept: another member that was away goes on from them. */
const stayingFiles = 8;
/** That nothing was written for a while is noted this often. */
const headEveryMs = 10_000;

export interface Following {
  /** For how long what was committed may be on the server's disk alone; Infinity before it was ever known to be kept. */
  atRiskMs(): number;
  /** Once the log is followed: the server whose it is. */
  serverId(): number | undefined;
  stop(): Promise<void>;
}

interface FollowOptions {
  readonly connect: () => Promise<Source>;
  readonly archive: Archive;
  /** A folder of its own; what is in it is removed. */
  readonly spool: string;
  readonly clientFile: string;
  readonly log: Logger;
}

/** Follows until stopped. */
export function followLog(options: FollowOptions): Following {
  const stopping = new AbortController();
  const { signal } = stopping;
  const state: { safeAt: number | undefined; serverId: number | undefined } = {
    safeAt: undefined,
    serverId: undefined,
  };
  const ended = (async () => {
    let told = '';
    while (!signal.aborted) {
      try {
        await followOnce(options, state, signal);
      } catch (error) {
        const { message } = error as Error;
        if (message !== told)
          options.log.warn('the log of the database is not followed; it is tried again', { error });
        told = message;
      }
      await sleep(againAfterMs, undefined, { signal }).catch(() => {});
    }
  })();
  return {
    // A clock that is set does not put anything at risk.
    atRiskMs: () =>
      state.safeAt === undefined ? Number.POSITIVE_INFINITY : performance.now() - state.safeAt,
    serverId: () => state.serverId,
    async stop() {
      stopping.abort();
      await ended;
    },
  };
}

/** Follows until something fails or it is stopped. */
async function followOnce(
  { connect, archive, spool, clientFile, log }: FollowOptions,
  state: { safeAt: number | undefined; serverId: number | undefined },
  signal: AbortSignal,
): Promise<void> {
  const source = await connect();
  let keeper: Keeper | undefined;
  let fetching: ReturnType<typeof program> | undefined;
  try {
    if (!(await source.takeTurn('follow')))
      throw new NotNowError('MUSTER_BACKUP_TAKEN', 'another process makes the backup of this server');
    await rm(spool, { recursive: true, force: true });
    await mkdir(spool, { recursive: true });
    keeper = await beginKeeping(source, archive, log);
    fetching = program('mariadb-binlog', [
      `--defaults-file=${clientFile}`,
      ...['--read-from-remote-server', '--raw', '--stop-never'],
      // As a replica has an id of its own, or the server ends the older of two.
      `--stop-never-slave-server-id=${followerId(source.serverId)}`,
      `--result-file=${spool}/`,
      keeper.position().file,
    ]);
    let failed = false;
    fetching.ended
      .catch(() => {})
      .finally(() => {
        failed = true;
      });
    const release = async (file: string) => {
      try {
        const files = await source.files();
        const oldest = files[files.indexOf(file) - stayingFiles];
        if (oldest !== undefined) await source.release(oldest);
      } catch (error) {
        log.warn('the server keeps more of its log', { error });
      }
    };
    let head: LogPosition = { file: '', position: 0 };
    let headAt = Number.NEGATIVE_INFINITY;
    while (!signal.aborted) {
      // Asked before the spool is looked at: what had been written by then is kept afterwards.
      const askedAt = performance.now();
      const standing = await source.standing();
      await keeper.keep(spool, release);
      if (reaches(keeper.position(), standing)) {
        state.safeAt = askedAt;
        state.serverId = source.serverId;
        if (!reaches(head, standing) || askedAt - headAt > headEveryMs) {
          await archive.setHead(source.serverId, standing);
          [head, headAt] = [standing, askedAt];
        }
      }
      if (failed) await fetching.ended.then(() => Promise.reject(ended()));
      await sleep(lookEveryMs, undefined, { signal }).catch(() => {});
    }
  } finally {
    fetching?.child.kill('SIGKILL');
    await fetching?.ended.catch(() => {});
    await keeper?.close();
    source.close();
    await rm(spool, { recursive: true, force: true });
  }
}

const ended = () => new MusterError('MUSTER_PROGRAM', 'mariadb-binlog ended by itself');

/** Below 2^32, and another than the server's. */
const followerId = (serverId: number): number => (serverId % 4_000_000_000) + 100_000_001;

interface Keeper {
  /** Up to where the log is kept. */
  position(): LogPosition;
  /** Keeps what is new in the spool; a file that is complete is removed there, and `release` told which one follows it. */
  keep(spool: string, release: (file: string) => Promise<void>): Promise<void>;
  close(): Promise<void>;
}

/** Goes on where the archive ends; where the server has no longer what comes next, with the oldest that it has. */
async function beginKeeping(source: Source, archive: Archive, log: Logger): Promise<Keeper> {
  const { serverId } = source;
  const onServer = await source.files();
  const kept = (await archive.logs(serverId)).at(-1)?.file;
  let file = kept ?? (await source.standing()).file;
  let writer: SegmentWriter | undefined;
  try {
    writer = await archive.logWriter(serverId, file, await knownEnd(archive, serverId, file));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'MUSTER_BACKUP_ENDED') file = nextFile(file);
    else if (code === undefined || !/^MUSTER_BACKUP_/.test(code)) throw error;
    else {
      // It stays to be looked at. From the server comes the same again, while that has it.
      log.error('the newest file of the kept log is damaged: it is put aside', { file, error });
      const path = join(archive.folder, 'log', String(serverId), file);
      await rename(path, `${path}.damaged`);
    }
  }
  const standing = await source.standing();
  if (!reaches(standing, { file, position: writer?.place ?? 0 })) {
    await writer?.close();
    throw new MusterError(
      'MUSTER_BACKUP_WENT_BACK',
      `the log of the server ends at ${standing.file} ${standing.position}, before what is kept of it (${file}): its disks were put back. Remove the file server-id in its data folder and start it again: it is another server then`,
    );
  }
  const oldest = onServer[0];
  if (oldest !== undefined && numberOf(file) < numberOf(oldest)) {
    log.error('the server has no longer what comes next in its log: there is a gap', { file, oldest });
    await writer?.close();
    [file, writer] = [oldest, undefined];
  }
  writer ??= await archive.logWriter(serverId, file, 0);

  let current = { file, writer };
  return {
    position: () => ({ file: current.file, position: current.writer.place }),
    async keep(spool, release) {
      const files = (await readdir(spool)).sort((a, b) => numberOf(a) - numberOf(b));
      for (const [index, spooled] of files.entries()) {
        if (spooled !== current.file) {
          if (numberOf(spooled) < numberOf(current.file)) continue;
          if (spooled !== nextFile(current.file))
            throw new MusterError('MUSTER_BACKUP_MISSING', `${spooled} came after ${current.file}`);
          // Both there: the one before was complete when this one was seen.
          await current.writer.end();
          await current.writer.close();
          current = { file: spooled, writer: await archive.logWriter(serverId, spooled, 0) };
          await rm(join(spool, files[index - 1]!), { force: true });
          await release(spooled);
        }
        await copyNew(join(spool, spooled), current.writer);
      }
    },
    close: () => current.writer.close(),
  };
}

/** How far a file was known to be kept; 0 when that is not known. */
async function knownEnd(archive: Archive, serverId: number, file: string): Promise<number> {
  const head = await archive.head(serverId).catch(() => undefined);
  return head?.file === file ? head.position : 0;
}

async function copyNew(path: string, writer: SegmentWriter): Promise<void> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size <= writer.place) return;
    const buffer = Buffer.allocUnsafe(Math.min(size - writer.place, segmentBytes));
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, writer.place);
      if (bytesRead === 0) return;
      await writer.append(buffer.subarray(0, bytesRead));
    }
  } finally {
    await file.close();
  }
}
