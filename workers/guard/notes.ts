/** What outlives the guard, in its folder: who writes, and what people want of it. */
import { mkdir, open, readFile, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { MusterError } from '../base/errors.ts';
import type { Note } from './decide.ts';

const isNote = Compile(
  Type.Object({
    writer: Type.String(),
    serverId: Type.Number(),
    copy: Type.Union([Type.Number(), Type.Null()]),
    heir: Type.Boolean(),
  }),
);
const isWish = Compile(
  Type.Object({
    id: Type.String(),
    to: Type.String(),
    lose: Type.Boolean(),
    untilMs: Type.Number(),
  }),
);
const isAnswer = Compile(
  Type.Object({ id: Type.String(), refused: Type.Union([Type.String(), Type.Null()]) }),
);

export interface WishOfPeople {
  readonly id: string;
  readonly to: string;
  readonly lose: boolean;
  /** Nobody waits for it after that (Unix time). */
  readonly untilMs: number;
}
export interface Answer {
  readonly id: string;
  /** Why not; null: it is done. */
  readonly refused: string | null;
}

export interface Notes {
  read(): Promise<Note | undefined>;
  /** On the disk when it resolves. */
  save(note: Note): Promise<void>;
  wish(): Promise<WishOfPeople | undefined>;
  setWish(wish: WishOfPeople): Promise<void>;
  answer(): Promise<Answer | undefined>;
  /** Ends the wish. */
  setAnswer(answer: Answer): Promise<void>;
}

/** Methods throw MUSTER_GUARD_NOTE when a file is there and cannot be understood: it is not overwritten. */
export function openNotes(folder: string): Notes {
  async function read<T>(name: string, shape: { Check(value: unknown): boolean }): Promise<T | undefined> {
    let text: string;
    try {
      text = await readFile(join(folder, name), 'utf8');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
      throw error;
    }
    try {
      const value: unknown = JSON.parse(text);
      if (shape.Check(value)) return value as T;
    } catch {
      // Said below.
    }
    throw new MusterError('MUSTER_GUARD_NOTE', `${join(folder, name)} cannot be understood`);
  }
  async function save(name: string, value: unknown): Promise<void> {
    await mkdir(folder, { recursive: true });
    const path = join(folder, name);
    const file = await open(`${path}.new`, 'w', 0o600);
    try {
      await file.writeFile(JSON.stringify(value));
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${path}.new`, path);
    const directory = await open(folder);
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
  return {
    read: () => read<Note>('note.json', isNote),
    save: (note) => save('note.json', note),
    wish: () => read<WishOfPeople>('wish.json', isWish),
    setWish: (wish) => save('wish.json', wish),
    answer: () => read<Answer>('answer.json', isAnswer),
    async setAnswer(answer) {
      await save('answer.json', answer);
      await rm(join(folder, 'wish.json'), { force: true });
    },
  };
}
