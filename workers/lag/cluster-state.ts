/**
 * What is known of the cluster, between one pass over it and the next. What a pass could not read keeps its last value;
 * only what is known to be gone goes: a topic or a group after several whole passes without it (metadata and group
 * coordinators move, and one answer may be too early), an offset when its group's coordinator no longer lists it.
 */
import type { ClusterTopic, FirstRecord, GroupDescription, TopicPartition } from '../kafka/kafka.ts';
import { isPrecise, type Quality, qualities, waiting } from './lag-time.ts';
import { type NumberRows, numberRows, type Row } from './number-rows.ts';
import { type Retention, retentionUsed } from './retention.ts';
import { TimeTable } from './time-table.ts';
import { firstMarks, observe, type Status, type VerdictSettings, verdict, worse } from './verdict.ts';

/** Whole passes without a topic or group, and beside them a time, after which it is taken for gone. */
export const passesUntilGone = 3;

export interface ClusterStateSettings extends VerdictSettings {
  readonly goneAfterMs: number;
  /**
   * Groups that must be there, with their topics: on what they have never committed everything since the log start
   * counts as lag, whether the group exists or not.
   */
  readonly expected: ReadonlyMap<string, readonly string[]>;
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

/** A group on a partition. What is shown, from `lag` on, changes together at the end of a pass. */
const fields = [
  /** One of `presence`. */
  'there',
  /** As read in the pass that runs; NaN: not listed in it. 0 where it is only expected. */
  'read',
  /** The log was looked at from committed offset `lookedFor` on: up to `lookedUntil` there is no record to read. */
  'lookedFor',
  'lookedUntil',
  /** Like `lookedUntil`, but known from `lookedFor` on without a gap: what was deleted before it was looked at is not. */
  'lookedWhole',
  /** What there is at `lookedUntil`: one of `looked`. */
  'found',
  /** Timestamp of the record there. */
  'recordMs',
  // The verdict's marks; `committed` is shown too.
  'committed',
  'sampledLag',
  'sampledAtMs',
  'committedAtMs',
  'movedAtMs',
  'rewoundAtMs',
  'caughtUpAtMs',
  'shrankAtMs',
  /** 1: the marks are set, there is something to show. */
  'settled',
  'lag',
  /** Index into `qualities`. */
  'quality',
  'sinceMs',
  'asOfMs',
  /** 1: the committed offset was another one in the pass before. */
  'moving',
  'retentionUsed',
] as const;
type Field = (typeof fields)[number];
type GroupPartitionRow = Row<Field>;
const groupPartition = numberRows(fields);

/** Values of `there`; expected: the group should read the partition, and has never committed on it. */
const presence = { no: 0, committed: 1, expected: 2 } as const;

/** Values of `found`. */
const looked = { notYet: 0, timestamp: 1, noTimestamp: 2 } as const;

/** A group's partition as it is shown. */
export interface GroupPartition {
  /** Undefined: the group has never committed, and is expected to. */
  readonly committed: number | undefined;
  readonly lag: number;
  readonly quality: Quality;
  /** Since when the next record has been waiting, UTC ms. */
  readonly sinceMs: number;
  readonly retentionUsed: number;
  /**
   * How long the next record has been waiting. A group that stands still goes on waiting after the last pass; one that
   * moves has the lag that it had then.
   */
  lagSeconds(nowMs: number): number;
}

/** A group on the partitions of a topic. */
export class GroupTopicState {
  readonly #rows: NumberRows<Field>;

  constructor(partitions: number) {
    this.#rows = groupPartition(partitions);
  }

  /** The row, made when it is not there. */
  row(partition: number): GroupPartitionRow {
    return this.#rows.at(partition);
  }

  /** Those that the group has committed on, or should have. Each row is good until the next is taken. */
  *rows(): Generator<readonly [partition: number, row: GroupPartitionRow]> {
    for (let partition = 0; partition < this.#rows.capacity; partition++) {
      const row = this.#rows.at(partition);
      if (row.there !== presence.no) yield [partition, row];
    }
  }

  /** What is shown of a partition; undefined before the end of the first pass that saw it. */
  get(partition: number): GroupPartition | undefined {
    if (partition >= this.#rows.capacity) return undefined;
    const row = this.#rows.at(partition);
    return row.there !== presence.no && row.settled === 1 ? shown(row) : undefined;
  }

  *shown(): Generator<readonly [partition: number, state: GroupPartition]> {
    for (const [partition, row] of this.rows()) if (row.settled === 1) yield [partition, shown(row)];
  }
}

function shown(row: GroupPartitionRow): GroupPartition {
  const { committed, lag, sinceMs, retentionUsed, moving, asOfMs } = row;
  const quality = qualities[row.quality]!;
  return {
    committed: row.there === presence.committed ? committed : undefined,
    lag,
    quality,
    sinceMs,
    retentionUsed,
    lagSeconds(nowMs) {
      if (quality === 'caught_up' || quality === 'unknown') return 0;
      return Math.max(0, ((moving === 1 ? asOfMs : nowMs) - sinceMs) / 1_000);
    },
  };
}

export interface GroupState {
  members: number;
  assigned: ReadonlyMap<string, readonly number[]>;
  readonly topics: Map<string, GroupTopicState>;
  status: Status;
  /** False: only expected, no broker has listed it yet. */
  listed: boolean;
  missing: Missing | undefined;
}

function newGroup(listed: boolean): GroupState {
  return { members: 0, assigned: new Map(), topics: new Map(), status: 'ok', listed, missing: undefined };
}

export interface Wanted extends TopicPartition {
  readonly leader: number;
  readonly offset: number;
}

export class ClusterState {
  brokers: readonly number[] = [];
  /** Undefined: there was none when it was last asked for. */
  controller: number | undefined;
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
        for (const [, row] of partitions.rows()) if (row.there === presence.committed) row.read = Number.NaN;
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
      if (group === undefined) this.groups.set(id, newGroup(true));
      else {
        group.listed = true;
        group.missing = undefined;
      }
    }
    if (!whole) return;
    for (const [id, group] of this.groups)
      if (group.listed && !ids.has(id) && this.#isGone(group, nowMs)) this.groups.delete(id);
    for (const id of this.#settings.expected.keys()) {
      if (!this.groups.has(id)) this.groups.set(id, newGroup(false));
      if (!this.groups.get(id)!.listed) this.#expect(id);
    }
  }

  /** Where an expected group has not committed on a partition of its topics, it is as if it stood at the log start. */
  #expect(groupId: string): void {
    for (const topic of this.#settings.expected.get(groupId) ?? []) {
      for (const partition of this.topics.get(topic)?.partitions.keys() ?? []) {
        const row = this.#row(groupId, topic, partition);
        if (row.there !== presence.no) continue;
        begin(row, presence.expected);
        row.read = 0;
      }
    }
  }

  #row(groupId: string, topic: string, partition: number): GroupPartitionRow {
    const { topics } = this.groups.get(groupId)!;
    let partitions = topics.get(topic);
    if (partitions === undefined) {
      partitions = new GroupTopicState(this.topics.get(topic)!.partitions.size);
      topics.set(topic, partitions);
    }
    return partitions.row(partition);
  }

  seeDescription({ id, members, assigned }: GroupDescription): void {
    const group = this.groups.get(id);
    if (group === undefined) return;
    group.members = members;
    group.assigned = assigned;
  }

  seeCommitted(groupId: string, topic: string, partition: number, offset: number): void {
    if (!this.groups.has(groupId) || !this.topics.get(topic)?.partitions.has(partition)) return;
    const row = this.#row(groupId, topic, partition);
    if (row.there !== presence.committed) begin(row, presence.committed);
    row.read = offset;
  }

  /** All of the group's offsets were told: what it no longer has was deleted or has expired. */
  seeAllCommitted(groupId: string): void {
    const group = this.groups.get(groupId);
    if (group === undefined) return;
    for (const [topic, partitions] of group.topics) {
      let left = 0;
      for (const [, row] of partitions.rows()) {
        if (Number.isNaN(row.read)) row.there = presence.no;
        else left++;
      }
      if (left === 0) group.topics.delete(topic);
    }
    this.#expect(groupId);
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
        for (const [partition, row] of partitions.rows()) {
          const log = known?.partitions.get(partition);
          if (log === undefined || log.leader < 0 || log.end === undefined || Number.isNaN(row.read))
            continue;
          const position = positionOf(row, row.read, log.start);
          if (position >= log.end || foundAt(row, row.read, position) !== looked.notYet) continue;
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
    const takeOldest = () => take(this.#oldestWanted(), Math.ceil(budget / 4));
    // A partition is read at one offset a pass. Where groups never stand still, the log starts would never come to it.
    const oldestFirst = this.#turn % 4 === 3;
    if (oldestFirst) takeOldest();
    const before = chosen.size;
    take(urgent, budget);
    take(others, budget - (chosen.size - before));
    if (!oldestFirst) takeOldest();
    const first = this.#unanswered;
    this.#unanswered = new Set();
    this.#turn++;
    return [...chosen]
      .sort(([a], [b]) => Number(first.has(b)) - Number(first.has(a)))
      .map(([, wanted]) => wanted);
  }

  #oldestWanted(): Map<string, Wanted> {
    const wanted = new Map<string, Wanted>();
    for (const [topic, { partitions }] of this.topics) {
      for (const [partition, { leader, start, end, oldestAt }] of partitions) {
        if (leader < 0 || start === undefined || end === undefined || start >= end || oldestAt === start)
          continue;
        wanted.set(keyOf(topic, partition), { topic, partition, leader, offset: start });
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
        const row = group.topics.get(topic)?.row(partition);
        if (row === undefined || row.there === presence.no || Number.isNaN(row.read)) continue;
        if (positionOf(row, row.read, log.start) !== from) continue;
        if (from === firstUnread(row, row.read)) row.lookedWhole = nextOffset;
        else if (row.lookedFor !== row.read) row.lookedWhole = row.read;
        row.lookedFor = row.read;
        row.lookedUntil = nextOffset;
        if (record === undefined) row.found = looked.notYet;
        else row.found = record.timestampMs > 0 ? looked.timestamp : looked.noTimestamp;
        row.recordMs = record?.timestampMs ?? 0;
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
        for (const [partition, row] of partitions.rows()) {
          const log = known?.partitions.get(partition);
          if (known === undefined || log === undefined) continue;
          this.#settleRow(row, log, known.retention, owned?.includes(partition) === true, nowMs);
          if (row.settled === 1) status = worse(status, verdict(row, row.lag, nowMs, this.#settings));
        }
      }
      group.status = status;
    }
  }

  #settleRow(
    row: GroupPartitionRow,
    log: PartitionState,
    retention: Retention | undefined,
    owned: boolean,
    nowMs: number,
  ): void {
    // Not read: the coordinator did not answer. The last offset holds, but nothing was observed.
    const observed = !Number.isNaN(row.read);
    if (!observed && row.settled === 0) return;
    const committed = observed ? row.read : row.committed;
    const position = positionOf(row, committed, log.start);
    if (observed) {
      row.moving = row.settled === 0 || committed !== row.committed ? 1 : 0;
      row.asOfMs = nowMs;
    }
    row.lag = log.end === undefined ? 0 : Math.max(0, log.end - position);
    const recordMs = foundAt(row, committed, position) === looked.timestamp ? row.recordMs : undefined;
    const { quality, sinceMs } = waiting({
      position,
      end: log.end,
      table: log.table,
      recordMs,
      oldest: log.oldest,
      nowMs,
    });
    const expected = row.there === presence.expected;
    row.quality = qualities.indexOf(
      expected && quality !== 'caught_up' && quality !== 'unknown' ? 'uncommitted' : quality,
    );
    row.sinceMs = sinceMs;
    row.retentionUsed =
      log.end === undefined || log.start === undefined
        ? 0
        : retentionUsed({
            // Who has never committed has lost nothing of what was deleted before.
            unread: expected ? position : firstUnread(row, committed),
            position,
            start: log.start,
            end: log.end,
            // Brokers delete by the timestamps of records: those that were old when they came go sooner.
            ageMs: nowMs - (recordMs ?? (quality === 'unknown' ? nowMs : sinceMs)),
            retention,
          });
    if (!observed) return;
    const observation = { offset: committed, lag: row.lag, timeMs: nowMs, owned };
    if (row.settled === 1) observe(row, observation, this.#settings);
    else Object.assign(row, firstMarks(observation, this.#settings));
    row.settled = 1;
  }
}

function begin(row: GroupPartitionRow, there: number): void {
  row.there = there;
  row.settled = 0;
  row.lookedFor = -1;
}

/** Offset of the next record to read: not below the log start, and past what is known to hold no record. */
function positionOf(row: GroupPartitionRow, committed: number, start: number | undefined): number {
  const position = Math.max(committed, start ?? 0);
  return row.lookedFor === committed ? Math.max(position, row.lookedUntil) : position;
}

/** The committed offset, past what was seen to hold no record from there on. */
function firstUnread(row: GroupPartitionRow, committed: number): number {
  return row.lookedFor === committed ? Math.max(committed, row.lookedWhole) : committed;
}

/** What was found at the position: one of `looked`. */
function foundAt(row: GroupPartitionRow, committed: number, position: number): number {
  return row.lookedFor === committed && row.lookedUntil === position ? row.found : looked.notYet;
}

function keyOf(topic: string, partition: number): string {
  return `${partition} ${topic}`;
}

function rotated<T>(list: readonly T[], by: number): readonly T[] {
  const first = list.length === 0 ? 0 : by % list.length;
  return [...list.slice(first), ...list.slice(0, first)];
}
