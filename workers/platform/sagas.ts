/**
 * One store for sagas: what happens to rows that say what is to be done next and when. They are accepted once, claimed under a
 * lease when their time has come, changed by what came of a call or is told by an event, and tell how they ended through the
 * outbox, in the transaction that ends them. Everything comes in groups: what arrives while a transaction runs shares the next.
 *
 * What differs (columns, states, decisions, events) is the capability's. Rows come and go through a port; saga-rows.ts says it
 * in SQL.
 */
import type { Refused } from '../base/refusal.ts';
import { traceparentNow } from '../base/traceparent.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { inGroups } from '../store/group-commit.ts';
import { type OnceCall, type OnceRows, onceAll } from '../store/once.ts';
import { type Handled, handleAllOnce, type Message } from '../store/queue-log.ts';
import { bankDown } from './due-work.ts';

/** What the store itself looks at. */
export interface Saga {
  readonly state: string;
  /** Calls in a row that led nowhere. */
  readonly tries: number;
  /** Grows with each claim. */
  readonly claim: number;
}

/** A saga as it stands. `own`: what the capability keeps beside it in its row. */
export interface Found<One, Own = undefined> {
  readonly one: One;
  readonly own: Own;
  readonly requestedAtMs: number;
  readonly decidedAtMs: number | undefined;
  /** Of the request that made it. */
  readonly traceparent: string | undefined;
}

/** A saga whose time has come, taken by this process: nobody else is at it until its lease ends. */
export type Claimed<One> = Pick<Found<One>, 'one' | 'traceparent'>;

export interface Change<One> {
  readonly next: One;
  /** 0: at once. Undefined: it has ended. */
  readonly againInMs: number | undefined;
}

/** `asked`: as it was claimed for the call that the word answers; undefined: an event. */
export interface Answer<One, Own, Word> {
  readonly row: Found<One, Own>;
  readonly asked: One | undefined;
  readonly word: Word;
  /** Of the call or the event. */
  readonly traceparent: string | undefined;
}

export interface Begun<One, Own = undefined> {
  readonly one: One;
  readonly own: Own;
}

export interface Save<One, Own> extends Change<One> {
  readonly row: Found<One, Own>;
  /** It waited for a bank that was known to be down, and does so no longer: its limit counts from now on. */
  readonly excused: boolean;
  readonly traceparent: string | undefined;
}

export interface Added<One, Own> extends Begun<One, Own> {
  readonly dueInMs: number;
  readonly traceparent: string | undefined;
}

/** The rows within one transaction. */
export interface SagaRows<One, Own = undefined> {
  readonly once: OnceRows;
  /** Those whose time has come, locked; those that another transaction has locked are passed over. */
  due(most: number, nowMs: number): Promise<readonly Found<One, Own>[]>;
  /** Those that there are, locked in the order of their ids: two groups never wait for each other. */
  lock(ids: readonly string[]): Promise<readonly Found<One, Own>[]>;
  /** Ids by the value of a column that is unique and never changes again; not locked. */
  idsBy(column: string, values: readonly string[]): Promise<ReadonlyMap<string, string>>;
  add(added: readonly Added<One, Own>[], nowMs: number): Promise<void>;
  save(saves: readonly Save<One, Own>[], nowMs: number): Promise<void>;
  /** Published if the transaction commits. */
  tell(records: readonly OutgoingRecord[]): Promise<void>;
}

export interface Asked<Wish> {
  /** Of the saga that it makes. */
  readonly id: string;
  readonly wish: Wish;
}

/** What an event is about. Undefined: of none of these. */
export type Target = { readonly column: string; readonly id: string } | undefined;

/** What is a capability's own. */
export interface SagaKind<One extends Saga, Own, Wish, Word, Told, Rows extends SagaRows<One, Own>> {
  idOf(one: One): string;
  isOpen(one: One): boolean;
  waitsFor(one: One): string | undefined;
  /** What is answered to who asked for it: the same for as long as keys are kept. */
  answer(asked: Asked<Wish>): Told;
  /** Sagas that begin, or why not; in the order of what was asked. */
  begin(rows: Rows, asked: readonly Asked<Wish>[]): Promise<readonly (Begun<One, Own> | Refused)[]>;
  /** As they are claimed; one that is not open any more has ended by that. Default: as they are, with one try more. */
  claim?(rows: Rows, found: readonly Found<One, Own>[]): Promise<readonly One[]>;
  /** What words lead to, each about another row, which is locked; undefined: to nothing. */
  decide(
    rows: Rows,
    answers: readonly Answer<One, Own, Word>[],
    nowMs: number,
  ): Promise<readonly (Change<One> | undefined)[]>;
  /** What their end means to others, in the same transaction: the rows are written. */
  ended(rows: Rows, ended: readonly Save<One, Own>[], nowMs: number): Promise<void>;
  /** How events are noted in the queue log: by which group, and as most of them are. */
  readonly hears: { readonly group: string; readonly usually: Handled };
  target(id: string, word: Word): Target;
}

export interface SagaOptions<Rows> {
  /** Runs `work` in a transaction, perhaps more than once (a deadlock). */
  within<T>(work: (rows: Rows, nowMs: number) => Promise<T>): Promise<T>;
  newId(): string;
  /** This process works on them, too: those that it accepts while it has room are claimed as they are written. */
  readonly claiming?: Claiming | undefined;
}

export interface Claiming {
  readonly leaseMs: number;
  room(): number;
}

/** What an event has led to. Undefined: it was of no saga here, or of one that knew. */
export const handledAs = (change: { readonly next: Pick<Saga, 'state'> } | undefined): Handled => ({
  status: change?.next.state === 'FAILED' ? 'failure' : 'success',
  result: change?.next.state ?? 'PASSED_OVER',
});

/** Writes rows as they are from now on; of those that have ended also what that means to others. */
async function saveAll<One extends Saga, Own, Wish, Word, Told, Rows extends SagaRows<One, Own>>(
  kind: SagaKind<One, Own, Wish, Word, Told, Rows>,
  rows: Rows,
  now: number,
  saves: readonly Omit<Save<One, Own>, 'excused'>[],
): Promise<void> {
  if (saves.length === 0) return;
  const whole = saves.map((each) => ({
    ...each,
    excused: kind.waitsFor(each.row.one) === bankDown && kind.waitsFor(each.next) !== bankDown,
  }));
  await rows.save(whole, now);
  const ended = whole.filter(({ next }) => !kind.isOpen(next));
  if (ended.length > 0) await kind.ended(rows, ended, now);
}

export function sagas<One extends Saga, Own, Wish, Word, Told, Rows extends SagaRows<One, Own>>(
  kind: SagaKind<One, Own, Wish, Word, Told, Rows>,
  { within, newId, claiming }: SagaOptions<Rows>,
) {
  interface Wanted extends OnceCall, Asked<Wish> {
    readonly expected: Told | Refused;
    readonly keepsRefusal: boolean;
    readonly traceparent: string | undefined;
  }
  /** `id` undefined: about none of these. */
  type Spoken = Omit<Answer<One, Own, Word>, 'row'> & { readonly id: string | undefined };

  /** Writes down what words lead to. A second word about a row is taken when the first has been written. */
  async function take(rows: Rows, now: number, words: readonly Spoken[]) {
    const changes = new Map<Spoken, Change<One> | undefined>();
    let left = words.filter(({ id }) => id !== undefined);
    while (left.length > 0) {
      const first = [...new Map(left.toReversed().map((each) => [each.id, each])).values()];
      const found = await rows.lock(first.map(({ id }) => id!));
      const locked = new Map(found.map((row) => [kind.idOf(row.one), row]));
      const there = first.filter(({ id }) => locked.has(id!));
      const answers = there.map((each) => ({ ...each, row: locked.get(each.id!)! }));
      const decided = await kind.decide(rows, answers, now);
      const saves = answers.flatMap(({ row, traceparent = row.traceparent }, index) => {
        const change = decided[index];
        return change === undefined ? [] : [{ ...change, row, traceparent }];
      });
      await saveAll(kind, rows, now, saves);
      for (const [index, each] of there.entries()) changes.set(each, decided[index]);
      const taken = new Set(first);
      left = left.filter((each) => !taken.has(each));
    }
    return changes;
  }

  /** Those that come for the first time are written; as many as there is room for are this process's own at once. */
  const accepting = inGroups((wanted: readonly Wanted[]) =>
    within(async (rows, now) => {
      const claimed = new Map<Wanted, Claimed<One>>();
      const room = claiming?.room() ?? 0;
      const outcomes = await onceAll<Told | Refused, Wanted>(
        rows.once,
        wanted,
        async (first) => {
          const added: Added<One, Own>[] = [];
          const begun = await kind.begin(rows, first);
          const answers = first.map((each, index) => {
            const how = begun[index]!;
            if ('refusal' in how) return how;
            const isOwn = added.length < room;
            const one: One = isOwn ? { ...how.one, tries: 1, claim: 1 } : how.one;
            const { traceparent, expected } = each;
            added.push({ one, own: how.own, dueInMs: isOwn ? claiming!.leaseMs : 0, traceparent });
            if (isOwn) claimed.set(each, { one, traceparent });
            return expected;
          });
          if (added.length > 0) await rows.add(added, now);
          return answers;
        },
        (answer, { expected, keepsRefusal }) => answer === expected || keepsRefusal,
      );
      return outcomes.map((outcome, index) => ({ ...outcome, claimed: claimed.get(wanted[index]!) }));
    }),
  );

  const finishing = inGroups((words: readonly Spoken[]) =>
    within(async (rows, now) => {
      const changes = await take(rows, now, words);
      return words.map((each) => changes.get(each));
    }),
  );

  interface Heard {
    readonly message: Message;
    readonly target: Target;
    readonly spoken: Omit<Spoken, 'id'>;
  }
  const hearing = inGroups((heard: readonly Heard[]) =>
    within((rows, now) => {
      const work = async (first: readonly Heard[]) => {
        const ids = new Map<string, string>();
        for (const [column, own] of Map.groupBy(first, ({ target }) => target?.column))
          if (column !== undefined)
            for (const [value, id] of await rows.idsBy(
              column,
              own.map(({ target }) => target!.id),
            ))
              ids.set(value, id);
        const words = first.map(({ target, spoken }) => ({ ...spoken, id: target && ids.get(target.id) }));
        const changes = await take(rows, now, words);
        return words.map((each) => changes.get(each));
      };
      return handleAllOnce(rows.once, kind.hears, heard, work, handledAs);
    }),
  );

  return {
    /** Accepts one, or says why not; durable when it resolves. `claimed`: this process is to work on it at once. */
    async accept(
      wish: Wish,
      call: OnceCall,
      { keepsRefusal = false } = {},
    ): Promise<{ readonly answer: Told | Refused; readonly claimed: Claimed<One> | undefined }> {
      const id = newId();
      const expected = kind.answer({ id, wish });
      const outcome = await accepting({
        ...call,
        id,
        wish,
        expected,
        keepsRefusal,
        traceparent: traceparentNow(),
      });
      if ('error' in outcome) throw outcome.error;
      return outcome;
    },

    /** Takes those whose time has come. What is about to be done is in their rows already. */
    claim: (most: number, leaseMs: number): Promise<readonly Claimed<One>[]> =>
      within(async (rows, now) => {
        const found = await rows.due(most, now);
        if (found.length === 0) return [];
        const steps = kind.claim
          ? await kind.claim(rows, found)
          : found.map(({ one }): One => ({ ...one, tries: one.tries + 1, claim: one.claim + 1 }));
        const saves = found.map((row, index) => {
          const next = steps[index]!;
          const againInMs = kind.isOpen(next) ? leaseMs : undefined;
          return { row, next, againInMs, traceparent: row.traceparent };
        });
        await saveAll(kind, rows, now, saves);
        return saves.flatMap(({ next: one, traceparent }) =>
          kind.isOpen(one) ? [{ one, traceparent }] : [],
        );
      }),

    /** Writes down what came of a call. */
    finish: ({ one, traceparent }: Claimed<One>, word: Word): Promise<Change<One> | undefined> =>
      finishing({ id: kind.idOf(one), asked: one, word, traceparent: traceparentNow() ?? traceparent }),

    /** Writes down what an event says; one that is of none of these changes nothing. */
    told(
      { id, word }: { readonly id: string; readonly word: Word },
      message: Message,
    ): Promise<Change<One> | undefined> {
      const spoken = { asked: undefined, word, traceparent: traceparentNow() };
      return hearing({ message, target: kind.target(id, word), spoken });
    },
  };
}
