/** What the world outside keeps on disk, a line an entry: it must not forget because we deploy. Never part of `prod`. */
import {
  closeSync,
  fdatasyncSync,
  ftruncateSync,
  mkdirSync,
  openSync,
  readFileSync,
  writeSync,
} from 'node:fs';
import { dirname } from 'node:path';

export interface Journal<Entry> {
  /** What was there at the start, in order. */
  readonly entries: readonly Entry[];
  keep(entry: Entry): void;
  /** These, and none before them. */
  replace(entries: readonly Entry[]): void;
  close(): void;
}

/**
 * Half a line is what a crash left, and nobody was told of it. `synced`: on the disk before anybody is told; else it survives this
 * process, and not the machine's power.
 */
export function openJournal<Entry>(path: string, { synced }: { readonly synced: boolean }): Journal<Entry> {
  mkdirSync(dirname(path), { recursive: true });
  const file = openSync(path, 'a+', 0o600);
  const text = readFileSync(path, 'utf8');
  const whole = text.slice(0, text.lastIndexOf('\n') + 1);
  ftruncateSync(file, Buffer.byteLength(whole));
  const write = (entries: readonly Entry[]): void => {
    writeSync(file, entries.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    if (synced) fdatasyncSync(file);
  };
  return {
    entries: whole
      .split('\n')
      .filter(Boolean)
      .map((line) => JSON.parse(line) as Entry),
    keep: (entry) => write([entry]),
    replace(entries) {
      ftruncateSync(file, 0);
      if (entries.length > 0) write(entries);
    },
    close: () => closeSync(file),
  };
}
