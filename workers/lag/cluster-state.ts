/**
 * What is known of the cluster, between one pass over it and the next. What a pass could not read keeps its last value;
 * only what is known to be gone goes: a topic or a group after several whole passes without it (metadata and group
 * coordinators move, and one answer may be too early), an offset when its group's coordinator no longer lists it.
 */
import type { ClusterTopic, FirstRecord, GroupDescription, TopicPartition } from '../platform/kafka.ts';
import { isPrecise, type Quality, waiting } from './lag-time.ts';
import { type Retention, retentionUsed } from './retention.ts';
import { TimeTable } from './time-table.ts';
import {
  firstMarks,
  type Marks,
  observe,
  type Status,
  type VerdictSettings,
  verdict,
  worse,
} from './verdict.ts';

/** Whole passes without a topic or group, and beside them a time, after which it is taken for gone. */
export const passesUntilGone = 3;

export interface ClusterStateSettings extends VerdictSettings {
  readonly goneAfterMs: number;
}

/** How long something has been missing; undefined: it is there. */
interface Missing {
  readonly sinceMs: number;
  passes: number;
}

export class PartitionState {
  leader = -1;
  replicas: readonly number[] = [];
  inSync: readonly number[] = [];
  /** Undefined: never read. */
  start: number | undefined;
  end: number | undefined;
  readonly table = new TimeTable();
  /** The oldest record that was there when it was last looked for. */
  oldest: { readonly offset: number; readonly timestampMs: number } | undefined;
  /** The log start for which `oldest` was looked for. */
  oldestAt: number | undefined;
  /** How often the end offset went back. */
  decreases = 0;

  /** Seconds since the oldest record was written; undefined when there is none or it was not read yet. */
  oldestAgeSeconds(nowMs: number): number | undefined {
    if (this.oldest === undefined || this.start === undefined || this.start === this.end) return undefined;
    return Math.max(0, (nowMs - this.oldest.timestampMs) / 1_000);
  }
}

export interface TopicState {
  readonly id: string;
  readonly partitions: Map<number, PartitionState>;
  /** Undefined: not read (yet). */
  retention: Retention | undefined;
  missing: Missing | undefined;
}

/** A group on a partition. The fields from `lag` on are what is shown: they change together at the end of a pass. */
export class GroupPartitionState {
  /** As read in the pass that runs; undefined: not listed in it. */
  read: number | undefined;
  committed = 0;
  /** The log was looked at from committed offset `lookedFor` on: up to `lookedUntil` there is no record to read. */
  lookedFor = -1;
  lookedUntil = -1;
  /** Timestamp of the record at `lookedUntil`; 0: that offset was not looked at; -1: the record has none. */
  recordMs = 0;
  marks: Marks | undefined;

  lag = 0;
  quality: Quality = 'unknown';
  sinceMs = 0;
  asOfMs = 0;
  /** The committed offset was another one in the pass before. */
  moving = true;
  retentionUsed = 0;

  /**
   * How long the next record has been waiting. A group that stands still goes on waiting after the last pass; one that
   * moves has the lag that it had then.
   */
  lagSeconds(nowMs: number): number {
    if (this.quality === 'caught_up' || this.quality === 'unknown') return 0;
    return Math.max(0, ((this.moving ? this.asOfMs : nowMs) - this.sinceMs) / 1_000);
  }
}

export interface GroupState {
  members: number;
  assigned: ReadonlyMap<string, readonly number[]>;
  readonly topics: Map<string, Map<number, GroupPartitionState>>;
  status: Status;
  missing: Missing | undefined;
}

export interface Wanted extends TopicPartition {
  readonly leader: number;
  readonly offset: number;
}

export class ClusterState {
  brokers: readonly number[] = [];
  readonly topics = new Map<string, TopicState>();
  readonly groups = new Map<string, GroupState>();
  readonly #settings: ClusterStateSettings;
  /** Where the choice of what to read goes on, so that everybody's turn comes. */
  #turn = 0;
  /** Asked for in vain, most often because a batch was too big to come beside others: next time first, where any comes. */
  #unanswered = new Set<string>();

  constructor(settings: ClusterStateSettings) {
    this.#settings = settings;
  }

  /** A pass begins with what topics and brokers there are. */
  seeTopology(brokers: readonly number[], topics: readonly ClusterTopic[], nowMs: number): void {
    this.brokers = brokers;
    const there = new Set<string>();
    for (const { name, id, partitions } of topics) {
      there.add(name);
      let topic = this.topics.get(name);
      if (topic === undefined || topic.id !== id) {
        if (topic !== undefined) this.#forgetOffsets(name);
        topic = { id, partitions: new Map(), retention: undefined, missing: undefined };
        this.topics.set(name, topic);
      }
      topic.missing = undefined;
      for (const { partition, leader, replicas, inSync } of partitions) {
        let state = topic.partitions.get(partition);
        if (state === undefined) {
          state = new PartitionState();
          topic.partitions.set(partition, state);
        }
        state.leader = leader;
        state.replicas = replicas;
        state.inSync = inSync;
      }
    }
    for (const [name, topic] of this.topics) {
      if (there.has(name) || !this.#isGone(topic, nowMs)) continue;
      this.topics.delete(name);
      this.#forgetOffsets(name);
    }
    for (const group of this.groups.values())
      for (const partitions of group.topics.values())
        for (const state of partitions.values()) state.read = undefined;
  }

  #isGone(which: { missing: Missing | undefined }, nowMs: number): boolean {
    which.missing ??= { sinceMs: nowMs, passes: 0 };
    which.missing.passes++;
    return (
      which.missing.passes >= passesUntilGone && nowMs - which.missing.sinceMs >= this.#settings.goneAfterMs
    );
  }

  /** A topic created anew shares nothing but its name with the old one. */
  #forgetOffsets(topic: string): void {
    for (const group of this.groups.values()) group.topics.delete(topic);
  }

  /** The groups that exist; `whole`: every broker was asked and answered, so that an unlisted one is missing. */
  seeGroups(ids: ReadonlySet<string>, whole: boolean, nowMs: number): void {
    for (const id of ids) {
      const group = this.groups.get(id);
      if (group !== undefined) group.missing = undefined;
      else
        this.groups.set(id, {
          members: 0,
          assigned: new Map(),
          topics: new Map(),
          status: 'ok',
          missing: undefined,
        });
    }
    if (!whole) return;
    for (const [id, group] of this.groups)
      if (!ids.has(id) && this.#isGone(group, nowMs)) this.groups.delete(id);
  }

  seeDescription({ id, members, assigned }: GroupDescription): void {
    const group = this.groups.get(id);
    if (group === undefined) return;
    group.members = members;
    group.assigned = assigned;
  }

  seeCommitted(groupId: string, topic: string, partition: number, offset: number): void {
    const group = this.groups.get(groupId);
    if (group === undefined || !this.topics.get(topic)?.partitions.has(partition)) return;
    let partitions = group.topics.get(topic);
    if (partitions === undefined) {
      partitions = new Map();
      group.topics.set(topic, partitions);
    }
    let state = partitions.get(partition);
    if (state === undefined) {
      state = new GroupPartitionState();
      partitions.set(partition, state);
    }
    state.read = offset;
  }

  /** All of the group's offsets were told: what it no longer has was deleted or has expired. */
  seeAllCommitted(groupId: string): void {
    const group = this.groups.get(groupId);
    if (group === undefined) return;
    for (const [topic, partitions] of group.topics) {
      for (const [partition, state] of partitions) if (state.read === undefined) partitions.delete(partition);
      if (partitions.size === 0) group.topics.delete(topic);
    }
  }

  seeOffset(of: 'start' | 'end', { topic, partition }: TopicPartition, offset: number, atMs: number): void {
    const state = this.topics.get(topic)?.partitions.get(partition);
    if (state === undefined) return;
    if (of === 'start') {
      state.start = offset;
      return;
    }
    if (state.end !== undefined && offset < state.end) state.decreases++;
    state.end = offset;
    state.table.add(offset, atMs);
  }

  seeRetention(topic: string, retention: Retention | undefined): void {
    const state = this.topics.get(topic);
    if (state !== undefined) state.retention = retention;
  }

  /**
   * The records whose timestamps would help most: first of groups for which the table does not know well enough, then
   * of the other lagging ones, at most `budget`; and of log starts, at most a quarter of that beside them.
   */
  wanted(nowMs: number, budget: number): Wanted[] {
    const urgent = new Map<string, Wanted>();
    const others = new Map<string, Wanted>();
    // One offset a partition and pass: another group has the first choice each time.
    for (const group of rotated([...this.groups.values()], this.#turn)) {
      for (const [topic, partitions] of group.topics) {
        const known = this.topics.get(topic);
        for (const [partition, state] of partitions) {
          const log = known?.partitions.get(partition);
          if (log === undefined || log.leader < 0 || log.end === undefined || state.read === undefined)
            continue;
          const position = positionOf(state, state.read, log.start);
          if (position >= log.end || recordAt(state, state.read, position) !== 0) continue;
          const into = isPrecise(log.table, position, nowMs) ? others : urgent;
          const key = keyOf(topic, partition);
          if (!into.has(key)) into.set(key, { topic, partition, leader: log.leader, offset: position });
        }
      }
    }
    for (const key of urgent.keys()) others.delete(key);

    const chosen = new Map<string, Wanted>();
    const take = (from: ReadonlyMap<string, Wanted>, most: number) => {
      const inTurn = rotated([...from], this.#turn * most);
      const again = inTurn.filter(([key]) => this.#unanswered.has(key));
      for (const [key, wanted] of [...again, ...inTurn]) {
        if (most <= 0) return;
        if (chosen.has(key)) continue;
        chosen.set(key, wanted);
        most--;
      }
    };
    take(urgent, budget);
    take(others, budget - chosen.size);
    take(this.#oldestWanted(chosen), Math.ceil(budget / 4));
    const first = this.#unanswered;
    this.#unanswered = new Set();
    this.#turn++;
    return [...chosen]
      .sort(([a], [b]) => Number(first.has(b)) - Number(first.has(a)))
      .map(([, wanted]) => wanted);
  }

  #oldestWanted(but: ReadonlyMap<string, Wanted>): Map<string, Wanted> {
    const wanted = new Map<string, Wanted>();
    for (const [topic, { partitions }] of this.topics) {
      for (const [partition, { leader, start, end, oldestAt }] of partitions) {
        if (leader < 0 || start === undefined || end === undefined || start >= end || oldestAt === start)
          continue;
        const key = keyOf(topic, partition);
        if (!but.has(key)) wanted.set(key, { topic, partition, leader, offset: start });
      }
    }
    return wanted;
  }

  /** What was found of what was asked of one broker. */
  seeRecords(asked: readonly Wanted[], found: readonly FirstRecord[]): void {
    for (const { topic, partition } of asked) this.#unanswered.add(keyOf(topic, partition));
    for (const { topic, partition, from, nextOffset, record } of found) {
      this.#unanswered.delete(keyOf(topic, partition));
      const log = this.topics.get(topic)?.partitions.get(partition);
      if (log === undefined) continue;
      if (from === log.start) {
        log.oldestAt = from;
        if (record !== undefined && record.timestampMs > 0) log.oldest = record;
      }
      for (const group of this.groups.values()) {
        const state = group.topics.get(topic)?.get(partition);
        if (state?.read === undefined || positionOf(state, state.read, log.start) !== from) continue;
        state.lookedFor = state.read;
        state.lookedUntil = nextOffset;
        state.recordMs = record === undefined ? 0 : record.timestampMs > 0 ? record.timestampMs : -1;
      }
    }
  }

  /** The pass is over: works out what is shown. */
  settle(nowMs: number): void {
    for (const group of this.groups.values()) {
      let status: Status = 'ok';
      for (const [topic, partitions] of group.topics) {
        const known = this.topics.get(topic);
        const owned = group.assigned.get(topic);
        for (const [partition, state] of partitions) {
          const log = known?.partitions.get(partition);
          if (known === undefined || log === undefined) continue;
          this.#settlePartition(state, log, known.retention, owned?.includes(partition) === true, nowMs);
          if (state.marks !== undefined)
            status = worse(status, verdict(state.marks, state.lag, nowMs, this.#settings));
        }
      }
      group.status = status;
    }
  }

  #settlePartition(
    state: GroupPartitionState,
    log: PartitionState,
    retention: Retention | undefined,
    owned: boolean,
    nowMs: number,
  ): void {
    // Not read: the coordinator did not answer. The last offset holds, but nothing was observed.
    const observed = state.read !== undefined;
    const committed = state.read ?? state.committed;
    const position = positionOf(state, committed, log.start);
    state.moving = observed ? state.marks === undefined || committed !== state.committed : state.moving;
    state.committed = committed;
    state.lag = log.end === undefined ? 0 : Math.max(0, log.end - position);
    const { quality, sinceMs } = waiting({
      position,
      end: log.end,
      table: log.table,
      recordMs: recordAt(state, committed, position),
      oldest: log.oldest,
      nowMs,
    });
    state.quality = quality;
    state.sinceMs = sinceMs;
    if (observed) state.asOfMs = nowMs;
    state.retentionUsed =
      log.end === undefined || log.start === undefined
        ? 0
        : retentionUsed({
            committed,
            position,
            start: log.start,
            end: log.end,
            ageMs: quality === 'unknown' ? 0 : nowMs - sinceMs,
            retention,
          });
    if (!observed) return;
    const observation = { offset: committed, lag: state.lag, timeMs: nowMs, owned };
    if (state.marks === undefined) state.marks = firstMarks(observation, this.#settings);
    else observe(state.marks, observation, this.#settings);
  }
}

/** Offset of the next record to read: not below the log start, and past what is known to hold no record. */
function positionOf(state: GroupPartitionState, committed: number, start: number | undefined): number {
  const position = start === undefined ? committed : Math.max(committed, start);
  return state.lookedFor === committed ? Math.max(position, state.lookedUntil) : position;
}

/** Timestamp of the record at the position; 0: not looked at; -1: it has none. */
function recordAt(state: GroupPartitionState, committed: number, position: number): number {
  return state.lookedFor === committed && state.lookedUntil === position ? state.recordMs : 0;
}

function keyOf(topic: string, partition: number): string {
  return `${partition} ${topic}`;
}

function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const first = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}
