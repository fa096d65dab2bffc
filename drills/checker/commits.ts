/**
 * Were offsets committed beyond work that was not done? While a run goes on, the committed offsets of a group and then
 * the ends of the topics that it writes to are noted each second. What a worker commits is acked already: at every note,
 * what lies below a committed offset must have its effect below the ends. So a worker that commits too early is caught
 * without being killed in just that moment. Pure, but for the watching itself.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Reader, Offsets as TopicOffsets } from './reading.ts';
import { type Finding, found, NotChecked } from './verdict.ts';

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

/**
 * Work that had no effect when its inputs were first noted as committed, a finding each; and partitions with work whose
 * commits were never seen.
 */
export function committedBeyond(work: readonly Work[], notes: readonly CommitNote[]): readonly Finding[] {
  const firstNote = firstNoteOf(notes);
  const seen = new Set(notes.flatMap(({ committed }) => [...committed.keys()]));
  const worked = new Set(
    work.flatMap(({ inputs }) => inputs.map((place) => partitionKey(place.topic, place.partition))),
  );
  const unseen = [...worked]
    .filter((key) => !seen.has(key))
    .map((key) => found('not-checked', key, 'nothing was ever seen committed of it'));
  const beyond = work.flatMap(({ id, inputs, effects, traceId }) => {
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
    return [found('committed-beyond', id, detail, traceId)];
  });
  return [...unseen, ...beyond];
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

/** What a checker needs from the run that it judges later. */
export interface Watch {
  /** To be marked before it. */
  readonly topics: readonly string[];
  /** Whose commits are to be watched during it. */
  readonly groups: readonly { readonly id: string; readonly topics: readonly { readonly name: string }[] }[];
}

export interface CommitWatch {
  /** All notes so far, with one of just now. Rejects with NotChecked when there was none before, or cannot be one now. */
  notes(): Promise<readonly CommitNote[]>;
}

/** Takes a note each second until `signal`; a second in which the cluster does not answer is left out. */
export function watchCommits(
  reader: Pick<Reader, 'committed' | 'ends'>,
  { groups, topics }: Watch,
  signal: AbortSignal,
): CommitWatch {
  const notes: CommitNote[] = [];
  async function take(): Promise<CommitNote> {
    const committed = await Promise.all(
      groups.map(async ({ id, topics }) => {
        const names = topics.map(({ name }) => name);
        return [...flat(await reader.committed(id), (topic) => names.includes(topic))];
      }),
    );
    // Asked for after the commits.
    return { committed: new Map(committed.flat()), ends: flat(await reader.ends(topics), () => true) };
  }
  void (async () => {
    while (!signal.aborted) {
      await take().then(
        (note) => notes.push(note),
        () => undefined,
      );
      await sleep(1_000, undefined, { signal }).catch(() => undefined);
    }
  })();
  return {
    async notes() {
      if (notes.length === 0)
        throw new NotChecked(
          groups.map(({ id }) => id).join(', '),
          'its commits were not seen during the run',
        );
      return [...notes, await take()];
    },
  };
}

const flat = (offsets: TopicOffsets, isMeant: (topic: string) => boolean): Map<string, number> =>
  new Map(
    [...offsets].flatMap(([topic, own]) =>
      isMeant(topic)
        ? [...own].map(([partition, offset]) => [partitionKey(topic, partition), offset] as const)
        : [],
    ),
  );
