/**
 * Files that last, by a key: a port, and a folder behind it. A key is made by us, never by who sent the file. What is there
 * under a key does not change: the same key again means the same file again.
 */
import { randomUUID } from 'node:crypto';
import { access, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MusterError, NotNowError } from '../base/errors.ts';

/** Methods throw MUSTER_FILE_STORE_REFUSES (not now) while there is no room, or the disk does not take or give, or is not there. */
export interface FileStore {
  /** Durable when it resolves, and whole for whoever reads meanwhile. */
  put(key: string, bytes: Uint8Array): Promise<void>;
  /** Undefined: there is none. */
  get(key: string): Promise<Buffer | undefined>;
  /** That there is none is no error. */
  remove(key: string): Promise<void>;
}

/** What is still coming in belongs to a request, and none lasts so long. */
const forgottenAfterMs = 3_600_000;

export interface FolderStore extends FileStore {
  readonly incoming: string;
  /** Rejects like the others while `incoming` cannot be written to, as far as is known. */
  ready(): Promise<void>;
}

/**
 * Files in a folder that outlives the process. What is not whole yet lies in its folder `incoming`: on the same disk, so that
 * it comes to its place by a rename. The folders are made when they are first needed: whoever starts while the disk is away
 * still starts. They are made once: when they vanish later, new ones would hide that, and what was kept would seem deleted.
 */
export function folderStore(folder: string): FolderStore {
  const incoming = join(folder, 'incoming');
  const files = join(folder, 'files');
  let isMade = false;
  const ready = () =>
    asNotNow(async () => {
      if (isMade) return;
      await mkdir(incoming, { recursive: true });
      await mkdir(files, { recursive: true });
      await removeForgotten(incoming);
      isMade = true;
    });
  const placeOf = (key: string) => {
    if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(key))
      throw new MusterError('MUSTER_FILE_KEY', 'a key has 1 to 64 lower-case letters, digits and hyphens');
    return join(files, key);
  };
  return {
    incoming,
    ready,
    put: (key, bytes) =>
      asNotNow(async () => {
        const place = placeOf(key);
        await ready();
        const unfinished = join(incoming, randomUUID());
        try {
          await writeDurably(unfinished, bytes, 'wx');
          await rename(unfinished, place);
        } finally {
          await rm(unfinished, { force: true });
        }
        await syncFolder(files);
      }),
    get: (key) =>
      asNotNow(async () => {
        const place = placeOf(key);
        await ready();
        try {
          return await readFile(place);
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
          // Where the folder is not there either, nothing is known of the file.
          await access(files);
          return undefined;
        }
      }),
    remove: (key) =>
      asNotNow(async () => {
        const place = placeOf(key);
        await ready();
        await access(files);
        await rm(place, { force: true });
      }),
  };
}

/** On disk when it resolves; so is its name once syncFolder() has. `flags`: as of open(). */
export async function writeDurably(
  path: string,
  content: string | Uint8Array,
  flags: 'w' | 'wx',
): Promise<void> {
  const file = await open(path, flags, 0o600);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Without it the name may be gone after a loss of power, though the bytes are there. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** What a process that died left behind. */
async function removeForgotten(incoming: string): Promise<void> {
  for (const name of await readdir(incoming)) {
    const path = join(incoming, name);
    const { mtimeMs } = await stat(path).catch(() => ({ mtimeMs: Date.now() }));
    if (mtimeMs < Date.now() - forgottenAfterMs) await rm(path, { force: true });
  }
}

/** No room (the disk's, or a quota's), read-only since an error, an error of the disk, too many open files; not there, or not ours. */
const refusals = new Set([
  ...['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ESTALE'],
  ...['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM'],
]);

/** MUSTER_FILE_STORE_REFUSES (not now) for what a disk may be able to do later; any other error as it is. */
export function translateFileError(error: unknown): unknown {
  const { code = '', message } = error as NodeJS.ErrnoException;
  return refusals.has(code)
    ? new NotNowError('MUSTER_FILE_STORE_REFUSES', `the store of files refuses for now: ${message}`, {
        cause: error,
      })
    : error;
}

async function asNotNow<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw translateFileError(error);
  }
}
