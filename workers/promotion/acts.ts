/**
 * The acts of one user, sorted by event time, lean: most users have a handful (one packed array of numbers, about 24
 * bytes an act), a few have a hundred thousand (the same arrays in blocks, so that nothing is linear in their number).
 * Pure data structure, no clock, no I/O.
 */

/** Numbers an act takes: event time (UTC ms), append time (UTC ms), what (a number for promotion and action). */
const width = 3;
/** Acts per block, at most. A user with more acts than this gets blocks. */
const blockActs = 256;

/**
 * [spare, time, appended, what, time, appended, what, ...], sorted by time, what and append time: the first number is the
 * owner's to use. The same act (time and what) may be there several times, appended at different times.
 */
type Small = number[];

interface Block {
  /** Like Small, without the spare number. */
  data: number[];
  minAppendedMs: number;
  maxAppendedMs: number;
  /** Some act may be there more than once. An act never begins in one block and ends in the next. */
  hasCopies: boolean;
}

export interface BlockedActs {
  spare: number;
  blocks: Block[];
}

export type UserActs = Small | BlockedActs;

/** What a window holds: the number of different acts and the nearest of them as time, what, time, what, ... (latest first). */
export interface Found {
  count: number;
  readonly nearest: number[];
}

export function spareOf(acts: UserActs): number {
  return Array.isArray(acts) ? acts[0]! : acts.spare;
}

export function setSpare(acts: UserActs, value: number): void {
  if (Array.isArray(acts)) acts[0] = value;
  else acts.spare = value;
}

export function firstAct(spare: number, timeMs: number, appendedMs: number, what: number): UserActs {
  return [spare, timeMs, appendedMs, what];
}

/** First index in `data` (from `start`, in steps of an act) whose (time, what) is not before the given one. */
function lowerBound(data: readonly number[], start: number, timeMs: number, what: number): number {
  let low = 0;
  let high = (data.length - start) / width;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const at = start + middle * width;
    const time = data[at]!;
    if (time < timeMs || (time === timeMs && data[at + 2]! < what)) low = middle + 1;
    else high = middle;
  }
  return start + low * width;
}

/** Whether the same act is there already, whenever it was appended. */
export function hasAct(acts: UserActs, timeMs: number, what: number): boolean {
  const data = Array.isArray(acts) ? acts : acts.blocks[blockFor(acts.blocks, timeMs, what)]!.data;
  const at = lowerBound(data, Array.isArray(acts) ? 1 : 0, timeMs, what);
  return isSame(data, at, timeMs, what);
}

function isSame(data: readonly number[], at: number, timeMs: number, what: number): boolean {
  return data[at] === timeMs && data[at + 2] === what;
}

/**
 * Where an act is to be inserted; -1 when it says nothing new: it is there with this append time, or between two that
 * are at most `spanMs` apart. The outer ones of three so near are enough: one that the new one makes superfluous is
 * overwritten (-1, too).
 */
function placeFor(
  data: number[],
  start: number,
  timeMs: number,
  appendedMs: number,
  what: number,
  spanMs: number,
): number {
  const first = lowerBound(data, start, timeMs, what);
  let at = first;
  while (isSame(data, at, timeMs, what) && data[at + 1]! < appendedMs) at += width;
  const before = (steps: number) => (at - steps * width < first ? Number.NaN : data[at - steps * width + 1]!);
  const after = (steps: number) =>
    isSame(data, at + steps * width, timeMs, what) ? data[at + steps * width + 1]! : Number.NaN;
  if (after(0) === appendedMs || after(0) - before(1) <= spanMs) return -1;
  if (appendedMs - before(2) <= spanMs) data[at - width + 1] = appendedMs;
  else if (after(1) - appendedMs <= spanMs) data[at + 1] = appendedMs;
  else return at;
  return -1;
}

/**
 * Adds an act and returns the acts to keep from now on (the form may change). Copies of one act that were appended at
 * different times are kept as far as any window of append time of `spanMs` or longer tells them apart.
 */
export function addAct(
  acts: UserActs,
  timeMs: number,
  appendedMs: number,
  what: number,
  spanMs: number,
): UserActs {
  if (Array.isArray(acts)) {
    const at = placeFor(acts, 1, timeMs, appendedMs, what, spanMs);
    if (at < 0) return acts;
    const length = acts.length;
    if (length <= 1 + 64 * width) {
      // An exact copy: growing in place would reserve room for 17 numbers and more.
      const grown = new Array<number>(length + width);
      for (let i = 0; i < at; i += 1) grown[i] = acts[i]!;
      grown[at] = timeMs;
      grown[at + 1] = appendedMs;
      grown[at + 2] = what;
      for (let i = at; i < length; i += 1) grown[i + width] = acts[i]!;
      return grown;
    }
    if (at === length) acts.push(timeMs, appendedMs, what);
    else acts.splice(at, 0, timeMs, appendedMs, what);
    return acts.length > 1 + blockActs * width ? toBlocks(acts) : acts;
  }
  const { blocks } = acts;
  const index = blockFor(blocks, timeMs, what);
  const block = blocks[index]!;
  const { data } = block;
  const at = placeFor(data, 0, timeMs, appendedMs, what, spanMs);
  if (at >= 0) {
    block.hasCopies ||= isSame(data, at, timeMs, what) || isSame(data, at - width, timeMs, what);
    if (at === data.length) data.push(timeMs, appendedMs, what);
    else data.splice(at, 0, timeMs, appendedMs, what);
  }
  if (appendedMs < block.minAppendedMs) block.minAppendedMs = appendedMs;
  if (appendedMs > block.maxAppendedMs) block.maxAppendedMs = appendedMs;
  if (data.length > blockActs * width) {
    const half = middleOf(data, 0);
    blocks.splice(index, 1, newBlock(data.slice(0, half)), newBlock(data.slice(half)));
  }
  return acts;
}

/** Where to cut in two, not within the copies of one act. */
function middleOf(data: readonly number[], start: number): number {
  let at = start + (blockActs >>> 1) * width;
  while (isSame(data, at, data[at - width]!, data[at - width + 2]!)) at += width;
  return at;
}

function toBlocks(acts: Small): BlockedActs {
  const half = middleOf(acts, 1);
  return { spare: acts[0]!, blocks: [newBlock(acts.slice(1, half)), newBlock(acts.slice(half))] };
}

function newBlock(data: number[]): Block {
  let minAppendedMs = Number.POSITIVE_INFINITY;
  let maxAppendedMs = Number.NEGATIVE_INFINITY;
  for (let at = 1; at < data.length; at += width) {
    const appended = data[at]!;
    if (appended < minAppendedMs) minAppendedMs = appended;
    if (appended > maxAppendedMs) maxAppendedMs = appended;
  }
  let hasCopies = false;
  for (let at = width; at < data.length; at += width)
    hasCopies ||= isSame(data, at, data[at - width]!, data[at - width + 2]!);
  return { data, minAppendedMs, maxAppendedMs, hasCopies };
}

/** The last block that begins at or before (time, what), else the first. */
function blockFor(blocks: readonly Block[], timeMs: number, what: number): number {
  let low = 0;
  let high = blocks.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const { data } = blocks[middle]!;
    if (data[0]! < timeMs || (data[0] === timeMs && data[2]! <= what)) low = middle + 1;
    else high = middle;
  }
  return Math.max(0, low - 1);
}

/**
 * The acts with event time in [fromMs, toMs] and append time in [minAppendedMs, maxAppendedMs], all ends included.
 * `nearest` gets the latest `limit` of them, and those that share the last one's time, so that the caller can cut ties
 * by an order of its own.
 */
export function findActs(
  acts: UserActs,
  fromMs: number,
  toMs: number,
  minAppendedMs: number,
  maxAppendedMs: number,
  limit: number,
): Found {
  const found: Found = { count: 0, nearest: [] };
  if (Array.isArray(acts)) {
    scan(acts, 1, fromMs, toMs, minAppendedMs, maxAppendedMs, limit, found);
    return found;
  }
  const { blocks } = acts;
  for (let index = blockFor(blocks, toMs, Number.POSITIVE_INFINITY); index >= 0; index -= 1) {
    const { data, hasCopies, minAppendedMs: low, maxAppendedMs: high } = blocks[index]!;
    const last = data[data.length - width]!;
    if (last < fromMs) break;
    const whole =
      !hasCopies && data[0]! >= fromMs && last <= toMs && low >= minAppendedMs && high <= maxAppendedMs;
    const { nearest } = found;
    // Once enough are listed, a block that lies within the window altogether is counted without looking.
    if (whole && nearest.length >= limit * 2 && nearest[nearest.length - 2]! > last)
      found.count += data.length / width;
    else scan(data, 0, fromMs, toMs, minAppendedMs, maxAppendedMs, limit, found);
  }
  return found;
}

function scan(
  data: readonly number[],
  start: number,
  fromMs: number,
  toMs: number,
  minAppendedMs: number,
  maxAppendedMs: number,
  limit: number,
  found: Found,
): void {
  const { nearest } = found;
  let countedTime = Number.NaN;
  let countedWhat = Number.NaN;
  let at = lowerBound(data, start, toMs, Number.POSITIVE_INFINITY) - width;
  for (; at >= start; at -= width) {
    const time = data[at]!;
    if (time < fromMs) return;
    const appended = data[at + 1]!;
    if (appended < minAppendedMs || appended > maxAppendedMs) continue;
    const what = data[at + 2]!;
    if (time === countedTime && what === countedWhat) continue;
    countedTime = time;
    countedWhat = what;
    found.count += 1;
    if (nearest.length < limit * 2 || nearest[nearest.length - 2] === time) nearest.push(time, what);
  }
}

/** Drops the acts appended before a time. Returns what is left, undefined when nothing is. */
export function dropActsBefore(acts: UserActs, appendedMs: number): UserActs | undefined {
  if (Array.isArray(acts)) {
    let kept = 0;
    for (let at = 1; at < acts.length; at += width) if (acts[at + 1]! >= appendedMs) kept += 1;
    if (kept === 0) return undefined;
    if (kept * width === acts.length - 1) return acts;
    const left = new Array<number>(1 + kept * width);
    left[0] = acts[0]!;
    copyKept(acts, 1, appendedMs, left, 1);
    return left;
  }
  const blocks: Block[] = [];
  let total = 0;
  for (const block of acts.blocks) {
    if (block.maxAppendedMs < appendedMs) continue;
    if (block.minAppendedMs < appendedMs) {
      const data: number[] = [];
      copyKept(block.data, 0, appendedMs, data, 0);
      blocks.push(newBlock(data));
      total += data.length;
    } else {
      blocks.push(block);
      total += block.data.length;
    }
  }
  if (total === 0) return undefined;
  if (total > (blockActs >>> 1) * width) {
    acts.blocks = blocks;
    return acts;
  }
  const small: number[] = [acts.spare];
  for (const { data } of blocks) for (const number of data) small.push(number);
  return small;
}

function copyKept(
  from: readonly number[],
  start: number,
  appendedMs: number,
  to: number[],
  at: number,
): void {
  let put = at;
  for (let i = start; i < from.length; i += width) {
    if (from[i + 1]! < appendedMs) continue;
    to[put] = from[i]!;
    to[put + 1] = from[i + 1]!;
    to[put + 2] = from[i + 2]!;
    put += width;
  }
}

/** Calls `see` with what each act is. */
export function eachWhat(acts: UserActs, see: (what: number) => void): void {
  if (Array.isArray(acts)) for (let at = 3; at < acts.length; at += width) see(acts[at]!);
  else for (const { data } of acts.blocks) for (let at = 2; at < data.length; at += width) see(data[at]!);
}

export function actCount(acts: UserActs): number {
  if (Array.isArray(acts)) return (acts.length - 1) / width;
  let count = 0;
  for (const { data } of acts.blocks) count += data.length / width;
  return count;
}
