/** A followed log file: who it is, how far it is done, and its next lines. */
import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { type Cut, cutLines } from './log-lines.ts';

/** Hash of some bytes of a file; the bytes themselves may be personal. */
export interface Mark {
  readonly length: number;
  readonly sha256: string;
}

export interface TrackedFile {
  /** Name of its folder. */
  readonly folder: string;
  readonly file: string;
  name: string;
  size: number;
  modifiedMs: number;
  /** When size or modification time last changed, by our clock. */
  changedAtMs: number;
  /** Since when the directory no longer shows it. */
  missingSinceMs?: number;
  offset: number;
  skipping: boolean;
  /** First line (at most headBytes of it): known as soon as something of the file is done. */
  head?: Mark;
  /** The last bytes before offset. */
  tail?: Mark;
  handle?: FileHandle;
  /** Everything up to here was looked at; what is left is an unfinished line. */
  lookedAt?: { readonly size: number; readonly modifiedMs: number; readonly final: boolean };
}

const headBytes = 1024;
const tailBytes = 256;
/** Lines taken from a file at once, and what is kept of one that is too long. */
const maxLines = 1_000;
const keepBytes = 64 * 1024;

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64url');
const mark = (bytes: Buffer): Mark => ({ length: bytes.length, sha256: sha256(bytes) });

async function readAt(handle: FileHandle, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafe(length);
  let filled = 0;
  while (filled < length) {
    const { bytesRead } = await handle.read(buffer, filled, length - filled, position + filled);
    if (bytesRead === 0) break;
    filled += bytesRead;
  }
  return buffer.subarray(0, filled);
}

export async function closeFile(file: TrackedFile): Promise<void> {
  const handle = file.handle;
  delete file.handle;
  await handle?.close().catch(() => {});
}

/** Opens the file unless it is open; undefined when it is gone, or another file has its name by now. */
export async function openFile(
  file: TrackedFile,
  directory: string,
  problem: (message: string, error: unknown) => void,
): Promise<FileHandle | undefined> {
  if (file.handle !== undefined) return file.handle;
  if (file.missingSinceMs !== undefined) return undefined;
  const path = join(directory, file.folder, file.name);
  let handle: FileHandle;
  try {
    // Without O_NONBLOCK a pipe put in the file's place would hold us forever.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') problem(`cannot open ${file.name}`, error);
    return undefined;
  }
  const info = await handle.stat({ bigint: true });
  if (`${info.dev}:${info.ino}` !== file.file || !info.isFile()) {
    await handle.close();
    return undefined;
  }
  file.handle = handle;
  return handle;
}

/** Whether the bytes done with are still the ones that were read: not when the file was truncated or its inode reused. */
export async function isSameContent(file: TrackedFile, handle: FileHandle): Promise<boolean> {
  for (const [expected, position] of [
    [file.head, 0],
    [file.tail, file.offset - (file.tail?.length ?? 0)],
  ] as const) {
    if (expected === undefined) continue;
    const bytes = await readAt(handle, position, expected.length);
    if (bytes.length !== expected.length || sha256(bytes) !== expected.sha256) return false;
  }
  return true;
}

/** Position of the first byte that is not NUL; undefined when there is none up to the end. */
async function endOfHole(handle: FileHandle, from: number, chunkBytes: number): Promise<number | undefined> {
  for (let position = from; ; ) {
    const bytes = await readAt(handle, position, chunkBytes);
    if (bytes.length === 0) return undefined;
    const index = bytes.findIndex((byte) => byte !== 0);
    if (index !== -1) return position + index;
    position += bytes.length;
  }
}

/** The next lines from where the file is done. `final`: nobody writes to it any more, and it has `size` bytes. */
export async function nextLines(
  file: TrackedFile,
  handle: FileHandle,
  {
    size,
    final,
    chunkBytes,
    maxLineBytes,
  }: {
    readonly size: number;
    readonly final: boolean;
    readonly chunkBytes: number;
    readonly maxLineBytes: number;
  },
): Promise<Cut> {
  const cut = (buffer: Buffer) =>
    cutLines(buffer, file, {
      maxLineBytes,
      keepBytes,
      maxLines,
      final: final && file.offset + buffer.length >= size,
    });
  const buffer = await readAt(handle, file.offset, chunkBytes);
  const result = cut(buffer);
  if (result.consumed > 0 || buffer.length < chunkBytes) return result;
  if (buffer[0] !== 0) return cut(await readAt(handle, file.offset, maxLineBytes + 1));
  const end = await endOfHole(handle, file.offset, chunkBytes);
  return end === undefined || end === file.offset
    ? result
    : { lines: [], consumed: end - file.offset, skipping: false };
}

/** Marks of the first line and of the last bytes of what is done when it reaches to `offset`. */
export async function marksAt(
  file: TrackedFile,
  handle: FileHandle,
  offset: number,
): Promise<{ readonly head: Mark; readonly tail: Mark }> {
  const tailLength = Math.min(tailBytes, offset);
  return {
    head: file.head ?? (await headOf(handle, offset)),
    tail: mark(await readAt(handle, offset - tailLength, tailLength)),
  };
}

async function headOf(handle: FileHandle, done: number): Promise<Mark> {
  const bytes = await readAt(handle, 0, Math.min(headBytes, done));
  const end = bytes.indexOf(0x0a);
  return mark(end === -1 ? bytes : bytes.subarray(0, end + 1));
}

/** Nothing of it is done. */
export function beginAnew(file: TrackedFile): void {
  file.offset = 0;
  file.skipping = false;
  delete file.head;
  delete file.tail;
  delete file.lookedAt;
}
