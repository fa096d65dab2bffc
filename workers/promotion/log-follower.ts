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
import { type FSWatcher, watch } from 'node:fs';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { createCheckpoint, type SavedFile, writeAtomically } from './log-checkpoint.ts';
import {
  beginAnew,
  closeFile,
  isSameContent,
  type Mark,
  marksAt,
  nextLines,
  openFile,
  type TrackedFile,
} from './log-file.ts';
import type { LogLine } from './log-lines.ts';

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

const fileName = /\.(log|jsonl)([.-]?\d[\dT:_.-]*)?$/;
const activeName = /\.(log|jsonl)$/;
const idleCloseMs = 60_000;

/** Nothing is opened or created before the first step. */
export function createLogFollower(options: LogFollowerOptions): LogFollower {
  const { directory, folders } = options;
  const pollMs = options.pollMs ?? 500;
  const quietMs = options.quietMs ?? 5_000;
  const limits = {
    maxLineBytes: options.maxLineBytes ?? 1024 * 1024,
    chunkBytes: options.chunkBytes ?? 256 * 1024,
  };
  const now = options.now ?? Date.now;
  const problem = options.onProblem ?? (() => {});
  const checkpoint = createCheckpoint({
    directory: options.stateDirectory,
    everyMs: options.checkpointMs ?? 200,
    write: options.saveCheckpoint ?? writeAtomically,
    problem,
    now,
  });
  const files = new Map<string, TrackedFile>();
  let saved: Map<string, SavedFile> | undefined;
  let healthy = false;
  let stopping = false;

  async function scan(): Promise<void> {
    saved ??= await checkpoint.load();
    let allReadable = true;
    for (const folder of folders)
      if (!(await scanFolder(join(directory, folder.name), folder.name, files, saved, now)))
        allReadable = false;
    healthy = allReadable;
  }

  const isQuiet = (file: TrackedFile) =>
    now() - Math.max(file.changedAtMs, file.missingSinceMs ?? 0) >= quietMs;

  /** Sends the next lines of a file; false when there are none. */
  async function advance(file: TrackedFile): Promise<boolean> {
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
    const handle = await openFile(file, directory, problem);
    if (handle === undefined) return false;
    const { size } = await handle.stat();
    if (file.missingSinceMs !== undefined && size !== file.size) {
      file.size = size;
      file.changedAtMs = now();
    }
    const looked = { size: file.size, modifiedMs: file.modifiedMs, final: rotated };
    const final = rotated && size === file.size && isQuiet(file);
    const next = size < file.offset ? undefined : await nextLines(file, handle, { size, final, ...limits });
    // After the read, so that a truncation under it cannot pass for new lines.
    if (next === undefined || !(await isSameContent(file, handle))) {
      beginAnew(file);
      checkpoint.touch();
      return true;
    }
    if (next.consumed === 0) {
      file.lookedAt = looked;
      return false;
    }
    const offset = file.offset + next.consumed;
    const { head, tail } = await marksAt(file, handle, offset);
    await sendLines(file, next.lines, head);
    Object.assign(file, { offset, skipping: next.skipping, head, tail });
    delete file.lookedAt;
    checkpoint.touch();
    return true;
  }

  async function sendLines(file: TrackedFile, lines: readonly LogLine[], head: Mark): Promise<void> {
    const folder = folders.find(({ name }) => name === file.folder)!;
    const { records, counts } = recordsOf(folder, file, lines, head);
    if (records.length > 0) await options.send(records);
    for (const [name, count] of Object.entries(counts) as [keyof typeof counts, number][])
      if (count > 0) options.onLines?.(folder.name, name, count);
  }

  async function tidy(): Promise<void> {
    for (const [key, file] of files) {
      const missing = file.missingSinceMs !== undefined;
      const finished = file.handle === undefined || file.offset >= file.size;
      if (missing && isQuiet(file) && finished) {
        await closeFile(file);
        files.delete(key);
        checkpoint.touch();
      } else if (!missing && finished && now() - file.changedAtMs > idleCloseMs) {
        await closeFile(file);
      }
    }
  }

  function reportLag(): void {
    for (const folder of folders) {
      let bytes = 0;
      for (const file of files.values()) {
        if (file.folder === folder.name) bytes += Math.max(0, file.size - file.offset);
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
      await checkpoint.save(files.values(), false);
    }
    if (!moved) {
      await tidy();
      await checkpoint.save(files.values(), false);
    }
    return moved;
  }

  const rounds = createRounds({
    paths: folders.map(({ name }) => join(directory, name)),
    pollMs,
    step,
    healthy: () => healthy,
    problem,
    now,
  });
  return {
    step,
    run: rounds.run,
    healthy: () => healthy,
    async stop() {
      stopping = true;
      await rounds.stop();
      for (const file of files.values()) await closeFile(file);
      await checkpoint.save(files.values(), true);
    },
  };
}

/** Renamed away from its active name, or gone from the directory. */
const isRotated = (file: TrackedFile) => file.missingSinceMs !== undefined || !activeName.test(file.name);

function recordsOf(folder: LogFolder, file: TrackedFile, lines: readonly LogLine[], head: Mark) {
  const records: OutgoingRecord[] = [];
  const counts = { published: 0, dead_letter: 0, blank: 0 };
  for (const line of lines) {
    if (line.kind === 'line' && isBlank(line.bytes)) {
      counts.blank += 1;
      continue;
    }
    const made = folder.toRecord(line.bytes, {
      id: lineId(file, line, head),
      source: `${file.folder}/${file.name}@${line.offset}`,
      kind: line.kind,
    });
    records.push(made.record);
    counts[made.result] += 1;
  }
  return { records, counts };
}

function lineId({ folder }: TrackedFile, { offset, bytes }: LogLine, head: Mark): string {
  const id = createHash('sha256')
    .update(`${folder}\0${head.sha256}\0${offset}\0`)
    .update(bytes)
    .digest('base64url')
    .slice(0, 27);
  return `log-${id}`;
}

/** Finds out which files a folder has and what became of the known ones; false when it cannot be read. */
async function scanFolder(
  path: string,
  folder: string,
  files: Map<string, TrackedFile>,
  saved: ReadonlyMap<string, SavedFile>,
  now: () => number,
): Promise<boolean> {
  let names: string[];
  try {
    names = await readdir(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') {
      await mkdir(path, { recursive: true }).catch(() => {});
    }
    return false;
  }
  const present = new Set<string>();
  // Names that are still written to come last, so that they win when a file has two names.
  names.sort((a, b) => Number(activeName.test(a)) - Number(activeName.test(b)) || (a < b ? -1 : 1));
  for (const name of names) {
    if (!fileName.test(name)) continue;
    const info = await stat(join(path, name), { bigint: true }).catch(() => undefined);
    if (info === undefined || !info.isFile()) continue;
    const file = `${info.dev}:${info.ino}`;
    const key = `${folder}/${file}`;
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
  return true;
}

interface RoundsOptions {
  readonly paths: readonly string[];
  readonly pollMs: number;
  step(): Promise<boolean>;
  healthy(): boolean;
  problem(message: string, error: unknown): void;
  now(): number;
}

/** Rounds for as long as it runs: at once while there is more, when the file system tells of a change, or by polling. */
function createRounds({ paths, pollMs, step, healthy, problem, now }: RoundsOptions) {
  const watchers: FSWatcher[] = [];
  let stopping = false;
  let running: Promise<void> | undefined;
  let wake: (() => void) | undefined;
  /** The file system told of a change since the last round began. */
  let changed = false;

  function watchFolders(): void {
    for (const path of paths) {
      try {
        const watcher = watch(path, () => {
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
        if (watchers.length === 0 && healthy()) watchFolders();
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
    run(): Promise<void> {
      running ??= loop();
      return running;
    },
    async stop(): Promise<void> {
      stopping = true;
      wake?.();
      await running;
      for (const watcher of watchers) watcher.close();
    },
  };
}

function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}
