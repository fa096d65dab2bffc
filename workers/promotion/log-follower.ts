/**
 * Follows a directory of append-only log files: `<directory>/<folder>/*.log` or `*.jsonl` and their rotated
 * successors (`x.log.1`, `x.log-20261121`, `x.2026-11-21.log`).
 *
 * - A file is known by device, inode and a fingerprint of its first line, not by its name: a rename is the same file, another
 *   file under the same name is not, and a file truncated in place begins anew.
 * - The checkpoint (how far each file is done) moves only after the lines are acked, by write, fsync, rename. A crash at any
 *   point repeats lines, never skips one; a repeated line has the same id, because the id comes from the fingerprint, the
 *   line's offset and the line itself. A copy of a file (copytruncate) gives the same ids too.
 * - A line counts when its end is there. In a file that was rotated away the last line may lack it: once the file has been quiet
 *   for `quietMs`, the line is taken as it is.
 */
import { createHash } from 'node:crypto';
import { constants, type FSWatcher, watch } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, readFile, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { cutLines, type LogLine } from './log-lines.ts';

export interface LineOrigin {
  /** Stable across crashes, re-reads, renames and copies. */
  readonly id: string;
  /** `<folder>/<file name>@<byte offset>`. */
  readonly source: string;
  readonly kind: LogLine['kind'];
}

export interface LogFolder {
  readonly name: string;
  /** Makes the record of a line: an input or a dead letter. Must not throw. */
  toRecord(
    bytes: Buffer,
    origin: LineOrigin,
  ): { readonly record: OutgoingRecord; readonly result: 'published' | 'dead_letter' };
}

export interface LogFollowerOptions {
  readonly directory: string;
  readonly stateDirectory: string;
  readonly folders: readonly LogFolder[];
  /** Resolves when all are acked; whatever it rejects with, the same records are sent again later. */
  send(records: readonly OutgoingRecord[]): Promise<void>;
  onLines?(folder: string, result: 'published' | 'dead_letter' | 'blank', count: number): void;
  onLagBytes?(folder: string, bytes: number): void;
  onProblem?(message: string, error: unknown): void;
  /** Look at the directory at least this often; changes are noticed at once where the file system tells. Default 500. */
  readonly pollMs?: number;
  /** A rotated file that has not changed for so long is complete. Default 5,000. */
  readonly quietMs?: number;
  /** Checkpoints are written at most this often. Default 200. */
  readonly checkpointMs?: number;
  readonly maxLineBytes?: number;
  /** Bytes read at once. Default 256 KiB. */
  readonly chunkBytes?: number;
  /** How a checkpoint gets to disk; for tests. */
  saveCheckpoint?(path: string, text: string): Promise<void>;
  /** UTC ms; for tests. */
  now?(): number;
}

export interface LogFollower {
  /** One round over all files; true when something was read. Rejects when a send failed (nothing is lost: call again). */
  step(): Promise<boolean>;
  /** Rounds until stop(). */
  run(): Promise<void>;
  /** False while the directory cannot be read. */
  healthy(): boolean;
  /** Ends run() after its present send, writes the checkpoint and closes the files. */
  stop(): Promise<void>;
}

interface SavedFile {
  readonly folder: string;
  readonly name: string;
  /** device:inode */
  readonly file: string;
  readonly offset: number;
  readonly skipping: boolean;
  readonly head: Mark;
  readonly tail: Mark;
}

/** Hash of some bytes of a file; the bytes themselves may be personal. */
interface Mark {
  readonly length: number;
  readonly sha256: string;
}

interface Tracked {
  readonly folder: LogFolder;
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

const fileName = /\.(log|jsonl)([.-]?\d[\dT:_.-]*)?$/;
const activeName = /\.(log|jsonl)$/;
const headBytes = 1024;
const tailBytes = 256;
const idleCloseMs = 60_000;
const checkpointName = 'checkpoint.json';

const sha256 = (bytes: Buffer) => createHash('sha256').update(bytes).digest('base64url');
const mark = (bytes: Buffer): Mark => ({ length: bytes.length, sha256: sha256(bytes) });

/** Writes a file so that after a crash there is either the old content or the new one. */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(temporary, path);
  const directory = await open(join(path, '..'), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

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

function parseCheckpoint(text: string): SavedFile[] {
  const parsed = JSON.parse(text) as { version?: unknown; files?: unknown };
  if (parsed.version !== 1 || !Array.isArray(parsed.files)) throw new Error('unknown checkpoint format');
  return parsed.files as SavedFile[];
}

/** Nothing is opened or created before the first step. */
export function createLogFollower(options: LogFollowerOptions): LogFollower {
  const pollMs = options.pollMs ?? 500;
  const quietMs = options.quietMs ?? 5_000;
  const checkpointMs = options.checkpointMs ?? 200;
  const maxLineBytes = options.maxLineBytes ?? 1024 * 1024;
  const chunkBytes = options.chunkBytes ?? 256 * 1024;
  const now = options.now ?? Date.now;
  const save = options.saveCheckpoint ?? writeAtomically;
  const problem = options.onProblem ?? (() => {});
  const checkpointPath = join(options.stateDirectory, checkpointName);

  const files = new Map<string, Tracked>();
  let saved: Map<string, SavedFile> | undefined;
  let dirty = false;
  let savedAtMs = Number.NEGATIVE_INFINITY;
  let healthy = false;
  let stopping = false;
  let running: Promise<void> | undefined;
  let wake: (() => void) | undefined;
  /** The file system told of a change since the last round began. */
  let changed = false;
  const watchers: FSWatcher[] = [];

  async function load(): Promise<Map<string, SavedFile>> {
    await mkdir(options.stateDirectory, { recursive: true });
    let text: string;
    try {
      text = await readFile(checkpointPath, 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return new Map();
      throw error;
    }
    try {
      return new Map(parseCheckpoint(text).map((file) => [`${file.folder}/${file.file}`, file]));
    } catch (error) {
      // Reading everything again only repeats ids that are known; going on without would lose nothing either.
      problem('the checkpoint cannot be read; it is kept aside and all files are read from the start', error);
      await rename(checkpointPath, `${checkpointPath}.unreadable-${now()}`);
      return new Map();
    }
  }

  async function checkpoint(force: boolean): Promise<void> {
    if (!dirty || (!force && now() - savedAtMs < checkpointMs)) return;
    const done: SavedFile[] = [];
    for (const { folder, name, file, offset, skipping, head, tail } of files.values()) {
      if (head === undefined || tail === undefined) continue;
      done.push({ folder: folder.name, name, file, offset, skipping, head, tail });
    }
    dirty = false;
    savedAtMs = now();
    try {
      await save(checkpointPath, `${JSON.stringify({ version: 1, files: done }, undefined, 1)}\n`);
    } catch (error) {
      // Going on is right: without a checkpoint lines get repeated after a crash, not lost.
      dirty = true;
      problem('the checkpoint cannot be written; after a restart lines will be repeated', error);
    }
  }

  function beginAnew(file: Tracked): void {
    file.offset = 0;
    file.skipping = false;
    delete file.head;
    delete file.tail;
    delete file.lookedAt;
    dirty = true;
  }

  /** Finds out which files there are and what became of the known ones. */
  async function scan(): Promise<void> {
    saved ??= await load();
    let allReadable = true;
    for (const folder of options.folders) {
      const path = join(options.directory, folder.name);
      let names: string[];
      try {
        names = await readdir(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
          await mkdir(path, { recursive: true }).catch(() => {});
        }
        allReadable = false;
        continue;
      }
      const present = new Set<string>();
      // Names that are still written to come last, so that they win when a file has two names.
      names.sort((a, b) => Number(activeName.test(a)) - Number(activeName.test(b)) || (a < b ? -1 : 1));
      for (const name of names) {
        if (!fileName.test(name)) continue;
        const info = await stat(join(path, name), { bigint: true }).catch(() => undefined);
        if (info === undefined || !info.isFile()) continue;
        const file = `${info.dev}:${info.ino}`;
        const key = `${folder.name}/${file}`;
        const size = Number(info.size);
        const modifiedMs = Number(info.mtimeNs / 1_000_000n);
        present.add(key);
        let known = files.get(key);
        if (known === undefined) {
          const before = saved.get(key);
          known = {
            folder,
            file,
            name,
            size,
            modifiedMs,
            changedAtMs: now(),
            offset: before?.offset ?? 0,
            skipping: before?.skipping ?? false,
            ...(before === undefined ? {} : { head: before.head, tail: before.tail }),
          };
          files.set(key, known);
        }
        if (known.size !== size || known.modifiedMs !== modifiedMs) {
          known.size = size;
          known.modifiedMs = modifiedMs;
          known.changedAtMs = now();
        }
        known.name = name;
        delete known.missingSinceMs;
      }
      for (const [key, file] of files) {
        if (file.folder === folder && !present.has(key)) file.missingSinceMs ??= now();
      }
    }
    healthy = allReadable;
  }

  const isQuiet = (file: Tracked) => now() - Math.max(file.changedAtMs, file.missingSinceMs ?? 0) >= quietMs;
  /** Renamed away from its active name, or gone from the directory. */
  const isRotated = (file: Tracked) => file.missingSinceMs !== undefined || !activeName.test(file.name);

  async function close(file: Tracked): Promise<void> {
    const handle = file.handle;
    delete file.handle;
    await handle?.close().catch(() => {});
  }

  /** Opens the file unless it is open; false when another file has its name by now. */
  async function opened(file: Tracked): Promise<FileHandle | undefined> {
    if (file.handle !== undefined) return file.handle;
    if (file.missingSinceMs !== undefined) return undefined;
    const path = join(options.directory, file.folder.name, file.name);
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
  async function isSameContent(file: Tracked, handle: FileHandle): Promise<boolean> {
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
  async function endOfHole(handle: FileHandle, from: number): Promise<number | undefined> {
    for (let position = from; ; ) {
      const bytes = await readAt(handle, position, chunkBytes);
      if (bytes.length === 0) return undefined;
      const index = bytes.findIndex((byte) => byte !== 0);
      if (index !== -1) return position + index;
      position += bytes.length;
    }
  }

  /** Sends the next lines of a file; false when there are none. */
  async function advance(file: Tracked): Promise<boolean> {
    const rotated = isRotated(file) && isQuiet(file);
    if (
      file.lookedAt?.size === file.size &&
      file.lookedAt.modifiedMs === file.modifiedMs &&
      file.lookedAt.final === rotated &&
      // A file that is gone no longer shows its size: only its handle tells.
      file.missingSinceMs === undefined
    ) {
      return false;
    }
    const handle = await opened(file);
    if (handle === undefined) return false;
    const { size } = await handle.stat();
    if (file.missingSinceMs !== undefined && size !== file.size) {
      file.size = size;
      file.changedAtMs = now();
    }
    if (size < file.offset) {
      beginAnew(file);
      return true;
    }
    const final = rotated && size === file.size && isQuiet(file);
    const looked = { size: file.size, modifiedMs: file.modifiedMs, final: rotated };
    let buffer = await readAt(handle, file.offset, chunkBytes);
    const limits = { maxLineBytes, keepBytes: 64 * 1024, maxLines: 1000 };
    const cut = () =>
      cutLines(buffer, file, { ...limits, final: final && file.offset + buffer.length >= size });
    let result = cut();
    if (result.consumed === 0 && buffer.length === chunkBytes) {
      if (buffer[0] === 0) {
        const end = await endOfHole(handle, file.offset);
        if (end !== undefined && end > file.offset) {
          buffer = Buffer.alloc(0);
          result = { lines: [], consumed: end - file.offset, skipping: false };
        }
      } else {
        buffer = await readAt(handle, file.offset, maxLineBytes + 1);
        result = cut();
      }
    }
    // After the read, so that a truncation under it cannot pass for new lines.
    if (!(await isSameContent(file, handle))) {
      beginAnew(file);
      return true;
    }
    if (result.consumed === 0) {
      file.lookedAt = looked;
      return false;
    }

    const head = file.head ?? (await headOf(handle, file.offset + result.consumed));
    const records: OutgoingRecord[] = [];
    const counts = { published: 0, dead_letter: 0, blank: 0 };
    for (const line of result.lines) {
      if (line.kind === 'line' && isBlank(line.bytes)) {
        counts.blank += 1;
        continue;
      }
      const id = createHash('sha256')
        .update(`${file.folder.name}\0${head.sha256}\0${line.offset}\0`)
        .update(line.bytes)
        .digest('base64url')
        .slice(0, 27);
      const made = file.folder.toRecord(line.bytes, {
        id: `log-${id}`,
        source: `${file.folder.name}/${file.name}@${line.offset}`,
        kind: line.kind,
      });
      records.push(made.record);
      counts[made.result] += 1;
    }
    const offset = file.offset + result.consumed;
    const tailLength = Math.min(tailBytes, offset);
    const tail = await readAt(handle, offset - tailLength, tailLength);
    if (records.length > 0) await options.send(records);
    file.offset = offset;
    file.skipping = result.skipping;
    file.head = head;
    file.tail = mark(tail);
    delete file.lookedAt;
    dirty = true;
    for (const [name, count] of Object.entries(counts) as [keyof typeof counts, number][]) {
      if (count > 0) options.onLines?.(file.folder.name, name, count);
    }
    return true;
  }

  async function headOf(handle: FileHandle, done: number): Promise<Mark> {
    const bytes = await readAt(handle, 0, Math.min(headBytes, done));
    const end = bytes.indexOf(0x0a);
    return mark(end === -1 ? bytes : bytes.subarray(0, end + 1));
  }

  async function tidy(): Promise<void> {
    for (const [key, file] of files) {
      const missing = file.missingSinceMs !== undefined;
      const finished = file.handle === undefined || file.offset >= file.size;
      if (missing && isQuiet(file) && finished) {
        await close(file);
        files.delete(key);
        dirty = true;
      } else if (!missing && finished && now() - file.changedAtMs > idleCloseMs) {
        await close(file);
      }
    }
  }

  function reportLag(): void {
    for (const folder of options.folders) {
      let bytes = 0;
      for (const file of files.values()) {
        if (file.folder === folder) bytes += Math.max(0, file.size - file.offset);
      }
      options.onLagBytes?.(folder.name, bytes);
    }
  }

  async function step(): Promise<boolean> {
    await scan();
    let moved = false;
    // Older files first, so that a user's lines mostly come in order; one chunk each, so that no file starves the others.
    const order = [...files.values()].sort((a, b) => a.modifiedMs - b.modifiedMs);
    try {
      for (const file of order) {
        if (stopping) break;
        if (await advance(file)) moved = true;
      }
    } finally {
      reportLag();
      await checkpoint(false);
    }
    if (!moved) {
      await tidy();
      await checkpoint(false);
    }
    return moved;
  }

  function watchFolders(): void {
    for (const folder of options.folders) {
      try {
        const watcher = watch(join(options.directory, folder.name), () => {
          changed = true;
          wake?.();
        });
        watcher.on('error', () => watcher.close());
        watchers.push(watcher);
      } catch {
        // Polling does it alone: network file systems tell nothing, and watches may be used up.
      }
    }
  }

  async function pause(ms: number): Promise<void> {
    if (stopping) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    wake = undefined;
  }

  async function loop(): Promise<void> {
    let retryMs = 100;
    while (!stopping) {
      try {
        changed = false;
        const moved = await step();
        retryMs = 100;
        if (watchers.length === 0 && healthy) watchFolders();
        if (!moved) {
          if (!changed) await pause(pollMs);
          // Writers often write in small pieces: a short rest turns many rounds into one.
          await new Promise((resolve) => setTimeout(resolve, 10));
        }
      } catch (error) {
        problem(`cannot go on; lines wait in their files, next try in ${retryMs} ms`, error);
        const until = now() + retryMs;
        // Changes of the files are no reason to try sooner.
        while (!stopping && now() < until) await pause(until - now());
        retryMs = Math.min(retryMs * 2, 5_000);
      }
    }
  }

  return {
    step,
    run() {
      running ??= loop();
      return running;
    },
    healthy: () => healthy,
    async stop() {
      stopping = true;
      wake?.();
      await running;
      for (const watcher of watchers) watcher.close();
      for (const file of files.values()) await close(file);
      await checkpoint(true);
    },
  };
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
