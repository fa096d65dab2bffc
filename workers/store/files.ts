/**
 * Files that last, by a key: a port, and a folder behind it. A key is made by us, never by who sent the file. What is there
 * under a key does not change: the same key again means the same file again.
 */
import { randomUUID } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { MusterError, NotNowError } from '../base/errors.ts';

/** Methods throw MUSTER_FILE_STORE_REFUSES (not now) while there is no room or the disk does not take or give. */
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

/**
 * Files in a folder that outlives the process. What is not whole yet lies in its folder `incoming`: on the same disk, so that
 * it comes to its place by a rename.
 */
export async function folderStore(folder: string): Promise<FileStore & { readonly incoming: string }> {
  const incoming = join(folder, 'incoming');
  const files = join(folder, 'files');
  await asNotNow(async () => {
    await mkdir(incoming, { recursive: true });
    await mkdir(files, { recursive: true });
    await removeForgotten(incoming);
  });
  const placeOf = (key: string) => {
    if (!/^[a-z0-9][a-z0-9-]{0,63}$/.test(key))
      throw new MusterError('MUSTER_FILE_KEY', 'a key has 1 to 64 lower-case letters, digits and hyphens');
    return join(files, key);
  };
  return {
    incoming,
    put: (key, bytes) =>
      asNotNow(async () => {
        const place = placeOf(key);
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
        try {
          return await readFile(placeOf(key));
        } catch (error) {
          if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
          throw error;
        }
      }),
    remove: (key) => asNotNow(() => rm(placeOf(key), { force: true })),
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

/** No room (the disk's, or a quota's), read-only since an error, an error of the disk, too many open files. */
const refusals = new Set(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO', 'EMFILE', 'ENFILE', 'ESTALE']);

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
