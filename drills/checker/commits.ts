/**
 * Were offsets committed beyond work that was not done? While a run goes on, the committed offsets of a group and then
 * the ends of the topics that it writes to are noted each second. What a worker commits is acked already: at every note,
 * what lies below a committed offset must have its effect below the ends. So a worker that commits too early is caught
 * without being killed in just that moment. Pure, but for the watching itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { type Finding, found } from './verdict.ts';

export interface Place {
  readonly topic: string;
  readonly partition: number;
  readonly offset: number;
}

/** Offsets by partition (`partitionKey`). */
type Offsets = ReadonlyMap<string, number>;

/** `ends` were asked for after `committed`. */
export interface CommitNote {
  readonly committed: Offsets;
  readonly ends: Offsets;
}

export const partitionKey = (topic: string, partition: number): string => `${topic}-${partition}`;

/** Input records whose offsets may be committed once something has come of them. */
export interface Work {
  /** Business id of what is worked on. */
  readonly id: string;
  /** All of them are below the committed offsets: the work must be done. */
  readonly inputs: readonly Place[];
  /** Any of them is enough. */
  readonly effects: readonly Place[];
  readonly traceId: string | undefined;
}

/** Work that had no effect when its inputs were first noted as committed; a finding each. */
export function committedBeyond(
  work: readonly Work[],
  notes: readonly CommitNote[],
): readonly (Finding & { readonly kind: 'committed-beyond' })[] {
  const firstNote = firstNoteOf(notes);
  return work.flatMap(({ id, inputs, effects, traceId }) => {
    const at = Math.max(...inputs.map(firstNote));
    const note = notes[at];
    // Not committed, as far as was seen: then it may still be under way.
    if (note === undefined) return [];
    const isDone = effects.some(
      ({ topic, partition, offset }) =>
        offset < (note.ends.get(partitionKey(topic, partition)) ?? Number.POSITIVE_INFINITY),
    );
    if (isDone) return [];
    const records = inputs
      .map(({ topic, partition, offset }) => `${topic}-${partition}-${offset}`)
      .join(', ');
    const detail = `${records} committed ${effects.length === 0 ? 'and nothing came of it' : 'before its effect was there'}`;
    return [{ ...found('committed-beyond', id, detail, traceId), kind: 'committed-beyond' }];
  });
}

/** Index of the first note in which a place is below the committed offset; infinite when there is none. */
function firstNoteOf(notes: readonly CommitNote[]): (place: Place) => number {
  const rises = new Map<string, { readonly committed: number; readonly index: number }[]>();
  for (const [index, note] of notes.entries())
    for (const [key, committed] of note.committed) {
      const list = rises.get(key) ?? [];
      if (list.length === 0) rises.set(key, list);
      if (committed > (list.at(-1)?.committed ?? -1)) list.push({ committed, index });
    }
  return ({ topic, partition, offset }) => {
    const list = rises.get(partitionKey(topic, partition)) ?? [];
    let [low, high] = [0, list.length];
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (list[middle]!.committed > offset) high = middle;
      else low = middle + 1;
    }
    return list[low]?.index ?? Number.POSITIVE_INFINITY;
  };
}

export interface WatchedGroup {
  readonly id: string;
  readonly topics: readonly { readonly name: string }[];
}

/** What a checker needs from the run that it judges later. */
export interface Watch {
  /** To be marked before it. */
  readonly topics: readonly string[];
  /** Whose commits are to be watched during it. */
  readonly groups: readonly WatchedGroup[];
}

export interface CommitWatch {
  /** All notes so far, with one of just now. Rejects when the cluster cannot be asked. */
  notes(): Promise<readonly CommitNote[]>;
}

/** Takes a note each second until `signal`; a second in which the cluster does not answer is left out. */
export function watchCommits(
  kafka: Kafka,
  watched: {
    readonly groups: readonly WatchedGroup[];
    readonly outputs: readonly string[];
  },
  signal: AbortSignal,
): CommitWatch {
  const notes: CommitNote[] = [];
  async function take(): Promise<void> {
    const committed = new Map<string, number>();
    await Promise.all(
      watched.groups.flatMap(({ id, topics }) =>
        topics.map(async ({ name }) => {
          for (const [partition, offset] of await kafka.admin.committed(id, name))
            if (offset !== undefined) committed.set(partitionKey(name, partition), offset);
        }),
      ),
    );
    const ends = new Map<string, number>();
    await Promise.all(
      watched.outputs.map(async (topic) => {
        for (const { partition, high } of await kafka.admin.offsets(topic))
          ends.set(partitionKey(topic, partition), high);
      }),
    );
    notes.push({ committed, ends });
  }
  void (async () => {
    while (!signal.aborted) {
      await take().catch(() => undefined);
      await sleep(1_000, undefined, { signal }).catch(() => undefined);
    }
  })();
  return {
    async notes() {
      await take();
      return notes;
    },
  };
}
