/**
 * Everything that is kept of a database beside it, in a folder: base copies, and the binary log of each life of a server since.
 *
 * - `base/<UTC time>`: first a manifest (JSON), then the dump, deflated
 * - `log/<server id>/binlog.<number>`: the bytes of that file of the server's log
 * - `log/<server id>/head`: how far the log was known to be complete, and when
 *
 * A server that is made anew has another id: its log begins again, and never goes on where another's ended.
 */
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MusterError } from '../base/errors.ts';
import { syncFolder } from '../store/files.ts';
import { type LogPosition, numberOf } from './binlog.ts';
import { readSegments, type SegmentWriter, segmentBytes, writeSegments } from './segments.ts';

export interface Manifest {
  readonly serverId: number;
  readonly serverVersion: string;
  /** Of the server's log, at the moment of which the copy is. */
  readonly position: LogPosition;
  readonly databases: readonly string[];
  readonly takenAtMs: number;
}

export interface Base extends Manifest {
  /** In the folder, and in its own seals. */
  readonly name: string;
  readonly bytes: number;
}

/** The server's log was complete up to this position at that time. */
export interface Head extends LogPosition {
  readonly atMs: number;
}

export interface LogFile {
  readonly file: string;
  readonly bytes: number;
}

const basePattern = /^\d{8}T\d{6}Z$/;
const logPattern = /^binlog\.\d{6,}$/;

const isDamage = (code: string | undefined) => /^MUSTER_BACKUP_(CUT|MISSING|ALTERED)$/.test(code ?? '');

/** A time as a part of names, to the second: 20261129T010203Z. */
export const timeName = (ms: number): string => new Date(ms).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');

/** Pieces of any size, joined to those of a segment: each is written to the disk by itself. */
async function* inSegments(pieces: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let waiting: Buffer[] = [];
  let bytes = 0;
  for await (const piece of pieces) {
    waiting.push(piece);
    bytes += piece.length;
    if (bytes < segmentBytes) continue;
    yield Buffer.concat(waiting);
    [waiting, bytes] = [[], 0];
  }
  if (bytes > 0) yield Buffer.concat(waiting);
}

export type Archive = ReturnType<typeof openArchive>;

/** The archive in a folder; `key`: 32 bytes. Nothing is read or made yet. */
export function openArchive(folder: string, key: Buffer) {
  const pathOf = (name: string) => join(folder, name);
  const logFolder = (serverId: number) => `log/${serverId}`;
  const listed = (name: string) =>
    readdir(pathOf(name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return [] as string[];
      throw error;
    });

  /** Writes a file that is there whole or not at all. */
  async function whole(name: string, write: (writer: SegmentWriter) => Promise<void>): Promise<void> {
    const path = pathOf(name);
    const aside = `${path}.new`;
    await mkdir(join(path, '..'), { recursive: true });
    await rm(aside, { force: true });
    const writer = await writeSegments(aside, name, key);
    try {
      await write(writer);
      await writer.end();
    } catch (error) {
      await rm(aside, { force: true });
      throw error;
    } finally {
      await writer.close();
    }
    await rename(aside, path);
    await syncFolder(join(path, '..'));
  }

  async function firstSegment<T>(name: string): Promise<T> {
    for await (const { content } of readSegments(pathOf(name), name, key))
      return JSON.parse(content.toString()) as T;
    throw new MusterError('MUSTER_BACKUP_CUT', `${name} is empty`);
  }
  const firstIfThere = <T>(name: string): Promise<T | undefined> =>
    firstSegment<T>(name).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });

  async function readBases() {
    const names = (await listed('base')).filter((name) => basePattern.test(name)).sort();
    const bases: Base[] = [];
    const damaged: string[] = [];
    for (const file of names) {
      const name = `base/${file}`;
      try {
        const { size } = await stat(pathOf(name));
        bases.push({ ...(await firstSegment<Manifest>(name)), name, bytes: size });
      } catch (error) {
        if (!isDamage((error as NodeJS.ErrnoException).code)) throw error;
        damaged.push(name);
      }
    }
    return { bases, damaged };
  }

  return {
    folder,

    /** Base copies whose manifest can be read, oldest first. Those of another key are an error. */
    bases: async (): Promise<readonly Base[]> => (await readBases()).bases,

    /** Names of base copies of which not even the manifest can be read: they count for nothing, and stay to be looked at. */
    damaged: async (): Promise<readonly string[]> => (await readBases()).damaged,

    /** Keeps a base copy; `dump` is its content. It is there when all of that has come, and not before. */
    async addBase(manifest: Manifest, dump: AsyncIterable<Buffer>): Promise<string> {
      const name = `base/${timeName(manifest.takenAtMs)}`;
      await whole(name, async (writer) => {
        await writer.append(Buffer.from(JSON.stringify(manifest)));
        for await (const piece of inSegments(dump)) await writer.append(piece);
      });
      return name;
    },

    /** The dump of a base copy, deflated. Throws what readSegments() throws, and MUSTER_BACKUP_CUT when its end is missing. */
    async *dumpOf(base: Base): AsyncGenerator<Buffer> {
      let complete = false;
      for await (const { place, content, last } of readSegments(pathOf(base.name), base.name, key)) {
        complete = last;
        if (place > 0) yield content;
      }
      if (!complete) throw new MusterError('MUSTER_BACKUP_CUT', `${base.name} is cut: its end is missing`);
    },

    /** Files of a server's log, oldest first. */
    async logs(serverId: number): Promise<readonly LogFile[]> {
      const files = (await listed(logFolder(serverId))).filter((file) => logPattern.test(file));
      files.sort((a, b) => numberOf(a) - numberOf(b));
      return Promise.all(
        files.map(async (file) => ({
          file,
          bytes: (await stat(pathOf(`${logFolder(serverId)}/${file}`))).size,
        })),
      );
    },

    /** Goes on with a file of a server's log, or begins it. `atLeast`: as of writeSegments(). */
    async logWriter(serverId: number, file: string, atLeast: number): Promise<SegmentWriter> {
      const name = `${logFolder(serverId)}/${file}`;
      await mkdir(pathOf(logFolder(serverId)), { recursive: true });
      const writer = await writeSegments(pathOf(name), name, key, atLeast);
      await syncFolder(pathOf(logFolder(serverId)));
      return writer;
    },

    /** The segments of a file of a server's log. */
    logSegments: (serverId: number, file: string) =>
      readSegments(pathOf(`${logFolder(serverId)}/${file}`), `${logFolder(serverId)}/${file}`, key),

    /** Undefined: nothing of this server's log was ever complete. */
    head: (serverId: number) => firstIfThere<Head>(`${logFolder(serverId)}/head`),

    setHead: (serverId: number, head: Head) =>
      whole(`${logFolder(serverId)}/head`, (writer) => writer.append(Buffer.from(JSON.stringify(head)))),

    /** What was last restored and found to be what was there; undefined: nothing yet. */
    verified: () => firstIfThere<Record<string, unknown> & { readonly atMs: number }>('verified'),

    noteVerified: (what: object & { readonly atMs: number }) =>
      whole('verified', (writer) => writer.append(Buffer.from(JSON.stringify(what)))),

    /** Server ids of which there is a log. */
    lives: async (): Promise<readonly number[]> => (await listed('log')).map(Number),

    /** Removes something by its name in the folder. */
    remove: (name: string) => rm(pathOf(name), { recursive: true, force: true }),
  };
}
