/** Two database servers, the way between them, clients that write wherever they may, and the guard: in a time of their own, from a seed. */
import {
  type Action,
  acted,
  decide,
  type LogState,
  type Look,
  type Memory,
  type Note,
  noMemory,
  otherOf,
  patience,
  remember,
} from './decide.ts';

const tickMs = 100;
const members = ['mysql-1', 'mysql-2'] as const;
type Name = (typeof members)[number];

/** Reproducible: mulberry32. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Entry {
  readonly id: number;
  readonly server: number;
  readonly seq: number;
}

interface Server {
  up: boolean;
  frozen: boolean;
  start: number;
  serverId: number;
  open: boolean;
  waits: boolean;
  log: Entry[];
  /** Received, not applied. */
  relay: Entry[];
  /** `failed`: it stopped applying, and goes on to receive. */
  follows: { source: Name; io: boolean; sql: boolean; broken: boolean; failed?: boolean } | undefined;
  /** Committed, and not acked to whoever waits for it. */
  waiting: Set<Entry>;
  acks: number;
  /** It applies something long until then. */
  busyUntilMs: number;
  /** Statements that came while it was frozen: it does them when it thaws. */
  queued: (() => void)[];
}

export interface Lived {
  readonly acked: ReadonlySet<number>;
  readonly note: Note | undefined;
  readonly servers: Readonly<Record<Name, Server>>;
  /** What went wrong, in words. */
  readonly broken: readonly string[];
  readonly story: readonly string[];
  readonly handovers: number;
}

export interface WorldOptions {
  /** Breaks a rule of the guard on purpose. */
  readonly bug?: 'restarted-counts' | 'release-first' | 'no-drain' | 'half-drain';
}

/** Lives through `faultMs` of faults and a calm of 60 s. */
export function live(seed: number, faultMs: number, options: WorldOptions = {}): Lived {
  const random = randomOf(seed);
  const chance = (perSecond: number) => random() < (perSecond * tickMs) / 1_000;
  const pick = <T>(list: readonly T[]): T => list[Math.floor(random() * list.length)]!;
  const story: string[] = [];
  const broken: string[] = [];
  const acked = new Set<number>();
  let nowMs = 0;
  let ids = 0;
  let serverIds = 10;
  let handovers = 0;
  const tell = (line: string) => story.push(`${(nowMs / 1_000).toFixed(1)} ${line}`);

  const server = (): Server => ({
    up: true,
    frozen: false,
    start: 0,
    serverId: ++serverIds,
    open: false,
    waits: true,
    log: [],
    relay: [],
    follows: undefined,
    waiting: new Set(),
    acks: 0,
    busyUntilMs: 0,
    queued: [],
  });
  const servers: Record<Name, Server> = { 'mysql-1': server(), 'mysql-2': server() };
  const cut = { between: false, 'mysql-1': false, 'mysql-2': false };
  const alive = (name: Name) => servers[name].up && !servers[name].frozen;

  let note: Note | undefined;
  function ack(name: Name, entry: Entry): void {
    acked.add(entry.id);
    if (note?.writer !== name) broken.push(`${name} acked ${entry.id} and is not the writer`);
  }

  function crash(name: Name): void {
    const one = servers[name];
    Object.assign(one, { up: false, frozen: false, open: false, waits: true });
    Object.assign(one, { relay: [], queued: [], busyUntilMs: 0 });
    one.waiting.clear();
    if (one.follows !== undefined)
      Object.assign(one.follows, { io: false, sql: false, broken: false, failed: false });
  }
  function startAgain(name: Name): void {
    Object.assign(servers[name], { up: true, start: Math.floor(nowMs / 1_000) });
  }

  function replicate(name: Name): void {
    const one = servers[name];
    const { follows } = one;
    if (follows === undefined || !alive(name)) return;
    const source = servers[follows.source];
    if (follows.io && !follows.broken && alive(follows.source) && !cut.between) {
      const have = one.log.length + one.relay.length;
      const last = one.relay.at(-1) ?? one.log.at(-1);
      if (have > source.log.length || (have > 0 && source.log[have - 1] !== last)) follows.broken = true;
      else {
        const got = source.log.slice(have, have + 1 + Math.floor(random() * 5));
        one.relay.push(...got);
        // Told at once, or with what comes next.
        if (random() < 0.9 && one.relay.length + one.log.length > 0) {
          const known = new Set([...one.relay, ...got]);
          for (const entry of source.waiting)
            if (known.has(entry) || one.log.includes(entry)) {
              source.waiting.delete(entry);
              source.acks++;
              ack(follows.source, entry);
            }
        }
      }
    }
    if (follows.sql && nowMs >= one.busyUntilMs && random() < 0.35)
      one.log.push(...one.relay.splice(0, 1 + Math.floor(random() * 4)));
  }

  /** Clients write wherever they are let, also behind the entrance's back. */
  function write(name: Name): void {
    const one = servers[name];
    if (!alive(name) || !one.open || random() > 0.4) return;
    const entry = { id: ++ids, server: one.serverId, seq: (one.log.at(-1)?.seq ?? 0) + 1 };
    one.log.push(entry);
    if (one.waits) one.waiting.add(entry);
    else ack(name, entry);
  }

  const logOf = ({ log }: Server): LogState => {
    const state = new Map<number, number>();
    for (const { server: from, seq } of log) state.set(from, seq);
    return state;
  };
  function look(name: Name): Look | undefined {
    if (!alive(name) || cut[name]) return undefined;
    const one = servers[name];
    const { follows } = one;
    const listening = members.filter((other) => {
      const { follows: theirs } = servers[other];
      return theirs?.source === name && theirs.io && !theirs.broken && servers[other].up && !cut.between;
    });
    return {
      start: one.start,
      serverId: one.serverId,
      open: one.open,
      waits: one.waits,
      log: logOf(one),
      blank: one.log.length === 0,
      followers: listening.length,
      waiting: one.waiting.size,
      acks: one.acks,
      follows:
        follows === undefined
          ? undefined
          : {
              source: follows.source,
              receiving: follows.io && !cut.between && alive(follows.source),
              applying: follows.sql,
              stopped: !follows.io || !follows.sql,
              broken: follows.broken || follows.failed === true,
            },
    };
  }

  // The guard: a statement at a time, each of which may be the last.
  let memory: Memory | undefined;
  let guardUp = true;
  let steps: { on: Name; does: () => boolean }[] = [];
  let nextLookAtMs = 0;
  let copy:
    | { member: Name; source: Name; endsAtMs: number; entries: Entry[]; sourceStart: number }
    | undefined;

  const closed = (one: Server) => {
    one.waiting.clear();
    one.open = false;
  };
  const dropped = (one: Server) => {
    one.relay = [];
    one.follows = undefined;
  };
  const stepsOf: Record<Action, (name: Name) => (() => boolean)[]> = {
    // On one connection, in order.
    open: (name) => [
      () => {
        servers[name].waits = true;
        return true;
      },
      () => {
        servers[name].open = true;
        return true;
      },
    ],
    quiet: (name) => [
      () => {
        // It waits for commits that run.
        const one = servers[name];
        if (one.waiting.size > 0) return false;
        one.open = false;
        return true;
      },
    ],
    fence: (name) => [
      () => {
        closed(servers[name]);
        return true;
      },
    ],
    bind: (name) => [
      () => {
        servers[name].waits = true;
        return true;
      },
    ],
    release: (name) => [
      () => {
        const one = servers[name];
        one.waits = false;
        for (const entry of one.waiting) ack(name, entry);
        one.waiting.clear();
        return true;
      },
    ],
    detach: (name) => [
      () => {
        const { follows } = servers[name];
        if (follows !== undefined) follows.io = false;
        return true;
      },
      () => {
        const { follows, relay } = servers[name];
        // As long as it applies there is an end.
        return options.bug === 'no-drain' || follows?.sql !== true || relay.length === 0;
      },
      () => {
        const one = servers[name];
        const isWhole = one.relay.length === 0 && one.follows?.sql === true;
        if (!isWhole && options.bug !== 'no-drain' && options.bug !== 'half-drain') return true;
        dropped(one);
        return true;
      },
    ],
    drop: (name) => [
      () => {
        dropped(servers[name]);
        return true;
      },
    ],
    follow: (name) => [
      () => {
        closed(servers[name]);
        return true;
      },
      () => {
        servers[name].waits = false;
        return true;
      },
      () => {
        const one = servers[name];
        one.relay = [];
        one.follows = { source: otherOf(members, name) as Name, io: true, sql: true, broken: false };
        return true;
      },
    ],
    copy: (name) => [
      () => {
        const one = servers[name];
        closed(one);
        Object.assign(one, { waits: false, relay: [], follows: undefined, log: [] });
        return true;
      },
      () => {
        const source = otherOf(members, name) as Name;
        copy = {
          member: name,
          source,
          endsAtMs: nowMs + 1_000 + random() * 5_000,
          entries: [...servers[source].log],
          sourceStart: servers[source].start,
        };
        memory = { ...memory!, copying: name };
        return true;
      },
    ],
  };

  function endCopy(): void {
    if (copy === undefined || nowMs < copy.endsAtMs) return;
    const { member, source, entries, sourceStart } = copy;
    const one = servers[member];
    const ok = alive(member) && !cut[member] && alive(source) && servers[source].start === sourceStart;
    copy = undefined;
    memory = { ...memory!, copying: undefined, copyAgainAtMs: ok ? nowMs : nowMs + patience.copyAgainMs };
    if (!ok) return;
    one.log = entries;
    one.follows = { source, io: true, sql: true, broken: false };
  }

  function guard(): void {
    if (!guardUp) return;
    endCopy();
    const [step] = steps;
    if (step !== undefined) {
      const one = servers[step.on];
      if (!one.up || cut[step.on]) steps = [];
      else if (one.frozen) {
        one.queued.push(() => void step.does());
        steps = [];
        nextLookAtMs = nowMs + 1_000;
      } else if (step.does()) steps.shift();
      else if (random() < 0.02) steps = [];
      return;
    }
    if (nowMs < nextLookAtMs) return;
    memory ??= noMemory([...members], nowMs);
    const looks = { 'mysql-1': look('mysql-1'), 'mysql-2': look('mysql-2') };
    // A look of somebody who does not answer takes its second.
    nextLookAtMs = nowMs + 1_000;
    memory = remember(memory, note, looks, nowMs);
    if (memory.wish === undefined && note !== undefined && nowMs < faultMs && chance(0.3)) {
      tell('by hand');
      memory = { ...memory, wish: { to: otherOf(members, note.writer), lose: false, sinceMs: nowMs } };
    }
    const next = decide(note, memory, nowMs);
    if (next.kind === 'refuse') memory = { ...memory, wish: undefined };
    else if (next.kind === 'note') {
      if (next.note.writer !== note?.writer) {
        handovers++;
        memory = { ...memory, wish: undefined };
      }
      ({ note } = next);
      if (options.bug === 'restarted-counts' && note.copy === null && !note.heir) {
        const other = look(otherOf(members, note.writer) as Name);
        note = { ...note, copy: other?.start ?? null };
      }
      tell(`note ${JSON.stringify(note)}: ${next.why}`);
      nextLookAtMs = nowMs;
    } else if (next.kind === 'act') {
      tell(`${next.action} ${next.on}: ${next.why}`);
      const on = next.on as Name;
      memory = acted(memory, next.action, nowMs);
      steps = stepsOf[next.action](on).map((does) => ({ on, does }));
      nextLookAtMs = nowMs;
    }
    if (options.bug === 'release-first' && note !== undefined) {
      const w = servers[note.writer as Name];
      if (w.waiting.size > 0 && nowMs - memory.servedAtMs >= 1_000)
        stepsOf.release(note.writer as Name)[0]!();
    }
  }

  /** What is broken, and when it is whole again. */
  const heals: { atMs: number; heal: () => void }[] = [];
  let calmSinceMs = 0;
  let spared: Name | undefined;
  const away = () => nowMs + (random() < 0.5 ? random() * 4_000 : random() * 30_000);
  function stopApplying(name: Name): void {
    const { follows } = servers[name];
    if (follows?.sql !== true) return;
    tell(`${name} cannot apply what it receives`);
    Object.assign(follows, { sql: false, failed: true });
    heals.push({ atMs: away(), heal: () => {} });
  }
  function break_(): void {
    const name = pick(members);
    const kind = pick(['crash', 'freeze', 'cut', 'cut-guard', 'guard', 'wipe', 'both', 'apply'] as const);
    const hurts = (one: Name) => one === spared;
    // The last that it got takes long, as often as not: it is to be applied before anything else.
    if ((kind === 'crash' || kind === 'freeze') && random() < 0.5) {
      const other = otherOf(members, name) as Name;
      tell(`${other} has something long to apply`);
      servers[other].busyUntilMs = away();
    }
    if (kind === 'crash' && !hurts(name)) {
      tell(`${name} crashes`);
      crash(name);
      heals.push({ atMs: away(), heal: () => startAgain(name) });
    } else if (kind === 'both' && spared === undefined) {
      tell('both crash');
      for (const one of members) {
        crash(one);
        heals.push({ atMs: away(), heal: () => startAgain(one) });
      }
    } else if (kind === 'freeze' && servers[name].up && !hurts(name)) {
      tell(`${name} freezes`);
      servers[name].frozen = true;
      heals.push({
        atMs: away(),
        heal: () => {
          const one = servers[name];
          if (!one.frozen) return;
          one.frozen = false;
          tell(`${name} thaws`);
          for (const statement of one.queued.splice(0)) statement();
        },
      });
    } else if (kind === 'cut') {
      if (spared !== undefined) return;
      tell('the link between them is cut');
      cut.between = true;
      heals.push({
        atMs: away(),
        heal: () => {
          cut.between = false;
        },
      });
    } else if (kind === 'cut-guard' && !hurts(name)) {
      tell(`the guard is cut from ${name}`);
      cut[name] = true;
      heals.push({
        atMs: away(),
        heal: () => {
          cut[name] = false;
        },
      });
    } else if (kind === 'apply' && !hurts(name)) {
      stopApplying(name);
    } else if (kind === 'guard') {
      tell('the guard crashes');
      guardUp = false;
      memory = undefined;
      steps = [];
      copy = undefined;
      heals.push({
        atMs: nowMs + random() * 8_000,
        heal: () => {
          guardUp = true;
        },
      });
    } else if (kind === 'wipe' && note !== undefined && !note.heir) {
      // Only what there is twice may go, and not with another fault in the same seconds.
      const other = otherOf(members, name) as Name;
      const twice =
        note.copy !== null &&
        calmSinceMs <= nowMs - 12_000 &&
        alive(other) &&
        guardUp &&
        spared === undefined;
      if (!twice || (note.writer === name && Math.abs(servers[other].start - note.copy!) > 1)) return;
      tell(`${name} dies, and its disk`);
      crash(name);
      Object.assign(servers[name], { log: [], follows: undefined, serverId: ++serverIds });
      if (note.writer === name) spared = other;
      heals.push({ atMs: away(), heal: () => startAgain(name) });
    }
  }

  for (const endMs = faultMs + 60_000; nowMs < endMs; nowMs += tickMs) {
    for (const due of heals.filter(({ atMs }) => atMs <= nowMs || nowMs >= faultMs)) {
      due.heal();
      heals.splice(heals.indexOf(due), 1);
    }
    if (heals.length > 0) calmSinceMs = nowMs;
    if (spared !== undefined && note?.writer === spared && note.copy !== null) spared = undefined;
    if (nowMs < faultMs && nowMs > 3_000 && heals.length < 3 && chance(0.15)) break_();
    if (nowMs < faultMs && note?.heir === true && spared === undefined && chance(0.3))
      stopApplying(otherOf(members, note.writer) as Name);
    for (const name of random() < 0.5 ? members : [...members].reverse()) {
      write(name);
      replicate(name);
    }
    guard();
  }

  const open = members.filter((name) => servers[name].open);
  if (open.length !== 1 || open[0] !== note?.writer)
    broken.push(`open at the end: ${open.join(' and ') || 'none'}`);
  if (note?.copy === null || note === undefined) broken.push('there is one copy only at the end');
  const end = servers[(note?.writer ?? 'mysql-1') as Name];
  const kept = new Set(end.log.map(({ id }) => id));
  for (const id of acked) if (!kept.has(id)) broken.push(`${id} was acked and is lost`);
  return { acked, note, servers, broken: broken.slice(0, 5), story, handovers };
}
