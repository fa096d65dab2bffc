/** How far each log file is done, on disk. */
import { mkdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { syncFolder, writeDurably } from '../store/files.ts';
import type { Mark, TrackedFile } from './log-file.ts';

export interface SavedFile {
  readonly folder: string;
  readonly name: string;
  /** device:inode */
  readonly file: string;
  readonly offset: number;
  readonly skipping: boolean;
  readonly head: Mark;
  readonly tail: Mark;
}

/** Writes a file so that after a crash there is either the old content or the new one. */
export async function writeAtomically(path: string, text: string): Promise<void> {
  const temporary = `${path}.new`;
  await writeDurably(temporary, text, 'w');
  await rename(temporary, path);
  await syncFolder(join(path, '..'));
}

function parseCheckpoint(text: string): SavedFile[] {
  const parsed = JSON.parse(text) as { version?: unknown; files?: unknown };
  if (parsed.version !== 1 || !Array.isArray(parsed.files)) throw new Error('unknown checkpoint format');
  return parsed.files as SavedFile[];
}

export interface Checkpoint {
  /** What was saved, by folder and file. Makes the directory. */
  load(): Promise<Map<string, SavedFile>>;
  /** Something is done that is not saved. */
  touch(): void;
  /** Saves when there is something to save and, unless `force`, the last time is `everyMs` ago. Never rejects. */
  save(files: Iterable<TrackedFile>, force: boolean): Promise<void>;
}

export interface CheckpointOptions {
  readonly directory: string;
  readonly everyMs: number;
  write(path: string, text: string): Promise<void>;
  problem(message: string, error: unknown): void;
  now(): number;
}

export function createCheckpoint({ directory, everyMs, write, problem, now }: CheckpointOptions): Checkpoint {
  const checkpointPath = join(directory, 'checkpoint.json');
  let dirty = false;
  let savedAtMs = Number.NEGATIVE_INFINITY;
  return {
    touch() {
      dirty = true;
    },
    async load(): Promise<Map<string, SavedFile>> {
      await mkdir(directory, { recursive: true });
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
        problem(
          'the checkpoint cannot be read; it is kept aside and all files are read from the start',
          error,
        );
        await rename(checkpointPath, `${checkpointPath}.unreadable-${now()}`);
        return new Map();
      }
    },
    async save(files, force) {
      if (!dirty || (!force && now() - savedAtMs < everyMs)) return;
      const done: SavedFile[] = [];
      for (const { folder, name, file, offset, skipping, head, tail } of files) {
        if (head === undefined || tail === undefined) continue;
        done.push({ folder, name, file, offset, skipping, head, tail });
      }
      dirty = false;
      savedAtMs = now();
      try {
        await write(checkpointPath, `${JSON.stringify({ version: 1, files: done }, undefined, 1)}\n`);
      } catch (error) {
        // Going on is right: without a checkpoint lines get repeated after a crash, not lost.
        dirty = true;
        problem('the checkpoint cannot be written; after a restart lines will be repeated', error);
      }
    },
  };
}
