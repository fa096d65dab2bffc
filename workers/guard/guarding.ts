/** Looks at both members each second, decides (decide.ts), does it, and tells the entrance where to send clients. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../base/log.ts';
import { copyFrom } from './copy.ts';
import {
  acted,
  type Decision,
  decide,
  isBlind,
  type Memory,
  type Note,
  noMemory,
  otherOf,
  patience,
  remember,
  servingMember,
} from './decide.ts';
import { pointEntrance } from './entrance.ts';
import { lookWithinMs, type Member, openMember } from './member.ts';
import type { Notes } from './notes.ts';
import { type GuardSettings, membersOf } from './settings.ts';
import { openWishes } from './wishes.ts';

const lookEveryMs = 1_000;
const shortLookMs = 200;
/** After something was done: there is more to do, most times. */
const lookAgainMs = 50;
const trimEveryMs = 60_000;
/** As many as the writer keeps for a member that was away. */
const stayingFiles = 8;

export interface Guarding {
  readonly members: readonly string[];
  /** Both were asked once. */
  hasLooked(): boolean;
  /** The member to which clients are sent. */
  serving(): string | undefined;
  isUp(member: string): boolean;
  /** For how long what was acked may be on one member alone; Infinity before both were ever known to have it. */
  atRiskMs(): number;
  stop(): Promise<void>;
}

interface Options {
  readonly config: GuardSettings;
  readonly notes: Notes;
  readonly log: Logger;
  onChange(): void;
}

/** Guards until stopped. Rejects with MUSTER_GUARD_NOTE when its note cannot be understood. */
export async function startGuarding({ config, notes, log, onChange }: Options): Promise<Guarding> {
  const addresses = membersOf(config);
  const names = [addresses[0].name, addresses[1].name] as const;
  const members = new Map(addresses.map((address) => [address.name, openMember(address, addresses, config)]));
  const wishes = openWishes(notes, log);
  const trim = trimmer(members, names);
  const stopping = new AbortController();
  const { signal } = stopping;

  let note: Note | undefined = await notes.read();
  let memory: Memory = noMemory(names, performance.now());
  let looked = false;
  let safeAtMs = Number.NEGATIVE_INFINITY;

  let entranceTold = '';
  /** Each time: an entrance that was started anew sends nobody anywhere. */
  async function point(): Promise<void> {
    if (config.GUARD_ENTRANCE === undefined || isBlind(memory)) return;
    const problem = await pointEntrance(config.GUARD_ENTRANCE, names, servingMember(note, memory)).then(
      () => '',
      (error: Error) => error.message,
    );
    if (problem !== entranceTold) log.warn('what the entrance was told', { problem: problem || 'none' });
    entranceTold = problem;
  }

  /** `again`: there was one just now. Nobody waits a second once more for who did not answer then. */
  async function look(again: boolean): Promise<void> {
    const seen = await Promise.all(
      names.map((name) => {
        const isShort = again && memory.seen[name] === undefined;
        return members.get(name)!.look(isShort ? shortLookMs : lookWithinMs);
      }),
    );
    const nowMs = performance.now();
    memory = remember(memory, note, { [names[0]]: seen[0], [names[1]]: seen[1] }, nowMs);
    // Only what was acked counts, and while both have everything nothing is acked that is not on both.
    if (note !== undefined && note.copy !== null) safeAtMs = nowMs;
    looked = true;
    await point();
  }

  let copying: Promise<void> | undefined;
  function copy(target: string): void {
    memory = { ...memory, copying: target };
    // With connections of their own: what takes long there is not in the way of a look.
    const [from, to] = [otherOf(names, target), target].map((name) =>
      openMember(members.get(name)!.address, addresses, config, true),
    ) as [Member, Member];
    copying = copyFrom(from, to, config)
      .then(() => {
        log.info('a member was made anew from the writer', { member: target });
      })
      .catch((error: unknown) => {
        log.error('a member could not be made anew', { member: target, error });
        memory = { ...memory, copyAgainAtMs: performance.now() + patience.copyAgainMs };
      })
      .finally(() => {
        for (const member of [from, to]) member.close();
        memory = { ...memory, copying: undefined };
      });
  }

  let told = '';
  /** True: something was done, and there may be more to do. */
  async function carryOut(next: Decision): Promise<boolean> {
    const say = `${next.kind}: ${next.why}`;
    if (say !== told && next.kind === 'wait') log.info('guard waits', { why: next.why });
    told = say;
    if (next.kind === 'wait') return false;
    if (next.kind === 'refuse') {
      log.warn('a change by hand is refused', { why: next.why });
      const isDone = memory.wish?.to === note?.writer;
      memory = { ...memory, wish: undefined };
      await wishes.end(isDone ? null : next.why);
      return true;
    }
    if (next.kind === 'note') {
      const before = note;
      await notes.save(next.note);
      note = next.note;
      log.warn('guard notes', { ...next.note, why: next.why });
      if (before?.writer !== note.writer) {
        if (before !== undefined) {
          onChange();
          log.warn('another member is the writer', { from: before.writer, to: note.writer });
        }
        // What it told while it followed means nothing for what it tells as the writer.
        memory = { ...memory, bound: undefined, servedAtMs: performance.now() };
        if (memory.wish?.to === note.writer) wishes.grant();
        memory = { ...memory, wish: undefined };
      }
      return true;
    }
    log.warn('guard acts', { action: next.action, member: next.on, why: next.why });
    if (next.action === 'copy') {
      copy(next.on);
      return true;
    }
    const source = addresses.find(({ name }) => name === otherOf(names, next.on))!;
    memory = acted(memory, next.action, performance.now());
    await members.get(next.on)!.act(next.action, source);
    return true;
  }

  const guarding = (async () => {
    let more = false;
    while (!signal.aborted) {
      const beganMs = performance.now();
      try {
        const wish = await wishes.take(performance.now());
        if (wish !== undefined) memory = { ...memory, wish };
        await look(more);
        if (servingMember(note, memory) !== undefined) await wishes.answer();
        more = false;
        more = await carryOut(decide(note, memory, performance.now()));
        if (!more) await trim(note, performance.now());
      } catch (error) {
        log.warn('the guard could not do what it decided', { error });
      }
      const pauseMs = more ? lookAgainMs : lookEveryMs - (performance.now() - beganMs);
      await sleep(Math.max(lookAgainMs, pauseMs), undefined, { signal }).catch(() => {});
    }
  })();

  return {
    members: names,
    hasLooked: () => looked,
    serving: () => (looked ? servingMember(note, memory) : undefined),
    isUp: (member) => memory.seen[member] !== undefined,
    atRiskMs: () => (note !== undefined && note.copy !== null ? 0 : performance.now() - safeAtMs),
    async stop() {
      stopping.abort();
      for (const member of members.values()) member.close();
      // A copy that is not finished counts for nothing, and is begun again by the next life.
      await Promise.race([Promise.all([guarding, copying]), sleep(1_000)]);
    },
  };
}

/**
 * The backup lets the files of the writer's log go when it has them. Nobody needs those of the other member but the last: it lets
 * them go once a minute.
 */
function trimmer(members: ReadonlyMap<string, Member>, names: readonly [string, string]) {
  let trimmedAtMs = performance.now();
  return async (note: Note | undefined, nowMs: number): Promise<void> => {
    if (note === undefined || note.copy === null || nowMs < trimmedAtMs + trimEveryMs) return;
    trimmedAtMs = nowMs;
    const other = members.get(otherOf(names, note.writer))!;
    const files = await other.query('SHOW BINARY LOGS');
    const oldest = files.at(-stayingFiles)?.Log_name as string | undefined;
    if (files.length > stayingFiles) await other.query('PURGE BINARY LOGS TO ?', [oldest]);
  };
}
