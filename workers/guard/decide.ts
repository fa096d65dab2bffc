/**
 * Which of two database servers may write, decided from what both say. Pure: time, looks and the note come from outside.
 *
 * Why no commit that was acked is lost, whatever dies, freezes or is cut off, and why two never ack:
 * - A server that is opened waits, with each commit, until the other has received it, for ever if need be. One that nobody follows
 *   therefore acks nothing, wherever it believes to be.
 * - Only `release` lets it ack alone, and before that the note says so: from then on the other one is no copy any more.
 * - The other one becomes the writer only while the note says that it is a copy, as the process it was then (one that was started
 *   anew has thrown away what it had received and not applied), when it receives nothing any more and has applied all it had.
 * No clock is part of that: the times below only say when it is worth while.
 */

/** What a server has in its log: of each server that ever wrote, how far. */
export type LogState = ReadonlyMap<number, number>;

/** What a server says of itself. */
export interface Look {
  /** Unix time of the start of its process, to the second. */
  readonly start: number;
  /** Another one where data were made or restored anew. */
  readonly serverId: number;
  /** It takes writes. */
  readonly open: boolean;
  /** Its commits wait for the other one. */
  readonly waits: boolean;
  readonly log: LogState;
  /** There is nothing in it. */
  readonly blank: boolean;
  /** Servers that say what they have received; commits that wait for that; how often one said so. */
  readonly followers: number;
  readonly waiting: number;
  readonly acks: number;
  readonly follows: Following | undefined;
}

export interface Following {
  /** Name of the member. */
  readonly source: string;
  readonly receiving: boolean;
  readonly applying: boolean;
  /** Somebody has stopped it: it goes on when it is told to. */
  readonly stopped: boolean;
  /** What it has and what the source has do not fit together. */
  readonly broken: boolean;
}

/** What outlives the guard. It is on the disk before anything is done about it. */
export interface Note {
  /** The only one that may be opened. */
  readonly writer: string;
  /** Of the writer's data: another one has not what was acked. */
  readonly serverId: number;
  /** The other one has all that was acked, and goes on to have it, as the process that was started then. Null: it may not. */
  readonly copy: number | null;
  /** The other one is taking over: it was not opened yet. */
  readonly heir: boolean;
}

/** By hand. */
export interface Wish {
  readonly to: string;
  /** Even if it has not all that was acked. */
  readonly lose: boolean;
  readonly sinceMs: number;
}

/** What the guard knows since it was started. */
export interface Memory {
  readonly members: readonly [string, string];
  readonly seen: Readonly<Record<string, Look | undefined>>;
  /** The look before the last one. */
  readonly before: Readonly<Record<string, Look | undefined>>;
  /** When each was last seen, later by the time in which nobody looked. */
  readonly seenAtMs: Readonly<Record<string, number>>;
  readonly lookedAtMs: number;
  /** When the writer last got what its commits wait for, or did not wait. */
  readonly servedAtMs: number;
  /** Since when the writer was seen closed. */
  readonly closedAtMs: number;
  /** The writer's log when its commits were first seen to wait: who has this has everything since, too. */
  readonly bound: LogState | undefined;
  /** The member that is being made anew from the writer. */
  readonly copying: string | undefined;
  /** No copy is begun before that. */
  readonly copyAgainAtMs: number;
  /** The writer does not wait again before that. */
  readonly bindAgainAtMs: number;
  /** It was told to wait, because the other one had caught up, since it was opened. */
  readonly wasBound: boolean;
  readonly wish: Wish | undefined;
}

export const patience = {
  /** Who has not answered for so long is gone. */
  goneMs: 4_000,
  /** One look follows another within this, unless the guard is held up. */
  nextLookMs: 2_000,
  /** Commits wait so long for a copy that does not come. */
  copyMs: 5_000,
  /** And so long for one that does not answer the guard either, and is not connected. */
  copyGoneMs: 2_000,
  /** A change by hand is given up after that. */
  wishMs: 8_000,
  /** Who was waited for in vain is waited for again after that, and who could not be made anew is made anew. */
  bindAgainMs: 10_000,
  copyAgainMs: 30_000,
} as const;

/** `detach`: it follows nobody any more, when it has applied all it has; `drop`: whatever it has not applied. */
export type Action = 'open' | 'quiet' | 'fence' | 'bind' | 'release' | 'follow' | 'copy' | 'detach' | 'drop';

export type Decision =
  | { readonly kind: 'note'; readonly note: Note; readonly why: string }
  | { readonly kind: 'act'; readonly action: Action; readonly on: string; readonly why: string }
  | { readonly kind: 'refuse'; readonly why: string }
  | { readonly kind: 'wait'; readonly why: string };

/** Whether `a` has all that `b` has. */
export function contains(a: LogState, b: LogState): boolean {
  for (const [server, last] of b) if ((a.get(server) ?? 0) < last) return false;
  return true;
}

/** The second of its start is computed from two figures of the server, and may be one off. */
const sameProcess = (a: number, b: number) => Math.abs(a - b) <= 1;

export const otherOf = ([one, two]: readonly [string, string], name: string): string =>
  name === one ? two : one;

export function noMemory(members: readonly [string, string], nowMs: number): Memory {
  const each = <T>(value: T) => ({ [members[0]]: value, [members[1]]: value });
  return {
    members,
    seen: each(undefined),
    before: each(undefined),
    // Nobody is gone before there was time to ask.
    seenAtMs: each(nowMs),
    lookedAtMs: nowMs,
    servedAtMs: nowMs,
    closedAtMs: nowMs,
    bound: undefined,
    copying: undefined,
    copyAgainAtMs: nowMs,
    bindAgainAtMs: nowMs,
    wasBound: false,
    wish: undefined,
  };
}

/** What is known after one more look at both. */
export function remember(
  memory: Memory,
  note: Note | undefined,
  looks: Readonly<Record<string, Look | undefined>>,
  nowMs: number,
): Memory {
  // A guard that was frozen, or waited for a processor, or for what it had told somebody to do, has not asked meanwhile.
  const heldUpMs = Math.max(0, nowMs - memory.lookedAtMs - patience.nextLookMs);
  const seenAtMs = Object.fromEntries(
    memory.members.map((name) => [
      name,
      looks[name] === undefined ? memory.seenAtMs[name]! + heldUpMs : nowMs,
    ]),
  );
  const writer = note === undefined ? undefined : looks[note.writer];
  const earlier = note === undefined ? undefined : memory.seen[note.writer];
  const served =
    writer === undefined ||
    !writer.open ||
    !writer.waits ||
    (writer.followers > 0 && (writer.waiting === 0 || writer.acks !== earlier?.acks));
  const bound = writer?.open === true && writer.waits ? (memory.bound ?? writer.log) : undefined;
  return {
    ...memory,
    seen: looks,
    before: memory.seen,
    seenAtMs,
    lookedAtMs: nowMs,
    servedAtMs: served ? nowMs : memory.servedAtMs,
    closedAtMs: earlier?.open === false && writer?.open === false ? memory.closedAtMs : nowMs,
    bound: earlier !== undefined && writer?.start !== earlier.start ? undefined : bound,
  };
}

/**
 * What is known once a member was told to do something. Who was released because a copy that had caught up is away again does not
 * wait for it again at once: it may come and go. Who was just opened, before anybody followed, does.
 */
export function acted(memory: Memory, action: Action, nowMs: number): Memory {
  if (action === 'open' || action === 'bind') return { ...memory, wasBound: action === 'bind' };
  if (action === 'release' && memory.wasBound)
    return { ...memory, bindAgainAtMs: nowMs + patience.bindAgainMs };
  return memory;
}

/** What to do next: one thing, after which both are looked at again. */
export function decide(note: Note | undefined, memory: Memory, nowMs: number): Decision {
  if (note === undefined) return first(memory, nowMs);
  const { writer } = note;
  const other = otherOf(memory.members, writer);
  const w = memory.seen[writer];
  const o = memory.seen[other];
  const gone = (name: string) => nowMs - memory.seenAtMs[name]! >= patience.goneMs;
  const noCopy = (why: string): Decision => ({
    kind: 'note',
    note: { ...note, copy: null, heir: false },
    why,
  });

  if (o?.open === true) return act('fence', other, 'it may not write');
  if (note.heir) {
    if (o === undefined)
      return gone(other) && w !== undefined
        ? noCopy(`${other}, which was to take over, is gone, and ${writer} is back`)
        : wait(`${other} is to take over and does not answer`);
    if (note.copy === null || !sameProcess(o.start, note.copy))
      return noCopy(
        `${other} was started anew before it had taken over: it may have lost what it had received`,
      );
    if (o.follows?.applying === false) return noCopy(`${other} does not apply what it has received`);
    if (o.follows !== undefined) return act('detach', other, 'it takes over');
    return {
      kind: 'note',
      note: { writer: other, serverId: o.serverId, copy: null, heir: false },
      why: `${other} has everything, and is the writer now`,
    };
  }

  const isCopy = note.copy !== null && o !== undefined && sameProcess(o.start, note.copy);
  const canTakeOver = isCopy && o.follows?.applying === true;
  const heir = (why: string): Decision => ({ kind: 'note', note: { ...note, heir: true }, why });
  const lostData =
    w !== undefined && (w.serverId !== note.serverId || (!w.open && canTakeOver && !contains(w.log, o.log)));

  const { wish } = memory;
  if (wish !== undefined) {
    if (nowMs - wish.sinceMs >= patience.wishMs) return refuse('it took too long');
    if (wish.to === writer) return refuse(`${writer} is the writer already`);
    if (wish.lose) {
      if (o === undefined) return wait(`${other} does not answer`);
      if (w?.open === true) return act('fence', writer, `${other} is to take over, by hand`);
      if (o.follows?.applying === false)
        return note.copy === null
          ? act('drop', other, 'it takes over with what it has, by hand')
          : noCopy(`${other} does not apply what it has received`);
      return {
        kind: 'note',
        note: { ...note, copy: o.start, heir: true },
        why: `${other} takes over, by hand: what it has not is lost`,
      };
    }
    if (!canTakeOver) return refuse(`${other} has not all that was acked, or does not follow`);
    if (w === undefined) return wait(`${writer} does not answer`);
    if (w.open) return act('quiet', writer, `${other} is to take over, by hand`);
    if (contains(o.log, w.log)) return heir(`${other} takes over, by hand`);
    return wait(`${other} gets the rest`);
  }

  if (w === undefined || lostData) {
    if (w === undefined && !gone(writer)) return wait(`${writer} does not answer`);
    const why = w === undefined ? `${writer} is gone` : `the data of ${writer} are not those that were acked`;
    if (canTakeOver) return heir(`${why}: ${other} takes over`);
    return wait(
      `${why}, and ${other} ${o === undefined ? 'does not answer' : 'has not all that was acked'}: it takes ${writer}, or a person`,
    );
  }
  if (w.open) return whileOpen();

  if (w.follows !== undefined) return act('drop', writer, 'it is the writer');
  // What it has committed and not acked, when it died, people may see now: so the other one has it first, or is no copy.
  if (note.copy !== null && !(isCopy && contains(o.log, w.log))) {
    if (canTakeOver && nowMs - memory.closedAtMs < patience.copyMs) return wait(`${other} gets the rest`);
    return noCopy(`${other} does not get the rest of ${writer}`);
  }
  // At the very first start, before there is anything that would have to be copied.
  if (o?.blank === true && w.blank && o.follows === undefined) return act('follow', other, 'both are empty');
  return act('open', writer, 'it is the writer');

  function whileOpen(): Decision {
    const { waits, log } = w!;
    if (note!.copy !== null && o !== undefined && !isCopy) return noCopy(`${other} was started anew`);
    const isGone = o === undefined && w!.followers === 0;
    const inVain = nowMs - memory.servedAtMs >= (isGone ? patience.copyGoneMs : patience.copyMs);
    if (waits && note!.copy !== null && inVain) return noCopy(`${other} receives nothing`);
    if (waits && note!.copy === null && (inVain || w!.followers === 0))
      return act('release', writer, `${other} receives nothing`);
    if (o === undefined || memory.copying === other) return wait('there is one copy only');
    const { follows } = o;
    if (follows?.source !== writer || !follows.applying || follows.stopped || follows.broken) {
      if (note!.copy !== null) return noCopy(`${other} does not follow any more`);
      // Of the look before: what it had then, the writer has had by now if it is from there.
      const had = memory.before[other]?.log;
      if (had === undefined) return wait(`${other} is looked at once more`);
      if (follows?.broken !== true && contains(log, had) && (had.size > 0 || w!.blank))
        return act('follow', other, 'it has nothing that the writer has not');
      return nowMs < memory.copyAgainAtMs
        ? wait(`${other} is made anew in a while`)
        : act('copy', other, 'it cannot go on from what it has');
    }
    if (note!.copy !== null) return wait('both have everything');
    const earlier = memory.before[writer];
    if (!waits)
      return follows.receiving &&
        nowMs >= memory.bindAgainAtMs &&
        earlier !== undefined &&
        contains(o.log, earlier.log)
        ? act('bind', writer, `${other} has caught up`)
        : wait(`${other} is catching up`);
    return memory.bound !== undefined && contains(o.log, memory.bound)
      ? { kind: 'note', note: { ...note!, copy: o.start }, why: `${other} has everything` }
      : wait(`${other} is catching up`);
  }
}

/** Nobody knows who wrote: both are asked, and the one that has what the other has is it, or a person says. */
function first({ members, seen, wish }: Memory, nowMs: number): Decision {
  const [one, two] = members;
  const [a, b] = [seen[one], seen[two]];
  const choose = (name: string, { serverId }: Look, why: string): Decision => ({
    kind: 'note',
    note: { writer: name, serverId, copy: null, heir: false },
    why,
  });
  if (wish !== undefined) {
    if (!wish.lose) return refuse('nobody knows who wrote last');
    if (nowMs - wish.sinceMs >= patience.wishMs) return refuse('it took too long');
    const wanted = seen[wish.to];
    return wanted === undefined
      ? wait(`${wish.to} does not answer`)
      : choose(wish.to, wanted, 'it is the writer, by hand: what it has not is lost');
  }
  if (a === undefined || b === undefined)
    return wait(`nobody knows who wrote last, and ${a === undefined ? one : two} does not answer`);
  const [aHasAll, bHasAll] = [contains(a.log, b.log), contains(b.log, a.log)];
  if (aHasAll && bHasAll) {
    if (a.open !== b.open) return choose(a.open ? one : two, a.open ? a : b, 'it takes writes');
    if (a.blank !== b.blank)
      return a.blank ? choose(two, b, `${one} is empty`) : choose(one, a, `${two} is empty`);
    if (a.log.size > 0 || a.blank) return choose(one, a, 'both have the same');
  } else if (aHasAll && !a.blank) return choose(one, a, `it has all that ${two} has`);
  else if (bHasAll && !b.blank) return choose(two, b, `it has all that ${one} has`);
  return wait(
    `nobody knows who wrote last, and ${one} and ${two} have each what the other has not: a person has to say`,
  );
}

/** The member to which clients are sent; undefined: to none. */
export function servingMember(note: Note | undefined, { seen, before, wish }: Memory): string | undefined {
  if (note === undefined || note.heir) return undefined;
  // Closed for a change by hand: there they are told so, and that nothing took place, instead of being cut off.
  if (wish?.lose === false && seen[note.writer] !== undefined) return note.writer;
  // One look that got no answer is nothing yet.
  return (seen[note.writer] ?? before[note.writer])?.open === true ? note.writer : undefined;
}

/** Nobody answers: as a rule it is the guard that is cut off, and clients stay where they are. Two never ack, wherever those are. */
export const isBlind = ({ members, seen, before }: Memory): boolean =>
  members.every((name) => (seen[name] ?? before[name]) === undefined);

const act = (action: Action, on: string, why: string): Decision => ({ kind: 'act', action, on, why });
const wait = (why: string): Decision => ({ kind: 'wait', why });
const refuse = (why: string): Decision => ({ kind: 'refuse', why });
