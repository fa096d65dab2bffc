/**
 * The acts of one user, sorted by event time, lean: most users have a handful (one packed array of numbers, about 24
 * bytes an act), a few have a hundred thousand (the same arrays in blocks, so that nothing is linear in their number).
 * Pure data structure, no clock, no I/O.
 */

/** Numbers an act takes: event time (UTC ms), append time (UTC ms), what (a number for promotion and action). */
const width = 3;
/** Acts per block, at most. A user with more acts than this gets blocks. */
const blockActs = 256;

/** [spare, time, appended, what, time, appended, what, ...]: the first number is the owner's to use. */
type Small = number[];

interface Block {
  /** Like Small, without the spare number. */
  data: number[];
  minAppendedMs: number;
  maxAppendedMs: number;
}

export interface BlockedActs {
  spare: number;
  blocks: Block[];
}

export type UserActs = Small | BlockedActs;

/** What a window holds: the number of acts and the nearest of them as time, what, time, what, ... (latest first). */
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

/**
 * Adds an act. Returns the acts to keep from now on (the form may change), or undefined when the same act (time and
 * what) was there already: the first copy stays.
 */
export function addAct(
  acts: UserActs,
  timeMs: number,
  appendedMs: number,
  what: number,
): UserActs | undefined {
  if (Array.isArray(acts)) {
    const at = lowerBound(acts, 1, timeMs, what);
    if (acts[at] === timeMs && acts[at + 2] === what) return undefined;
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
  const at = lowerBound(data, 0, timeMs, what);
  if (data[at] === timeMs && data[at + 2] === what) return undefined;
  if (at === data.length) data.push(timeMs, appendedMs, what);
  else data.splice(at, 0, timeMs, appendedMs, what);
  if (appendedMs < block.minAppendedMs) block.minAppendedMs = appendedMs;
  if (appendedMs > block.maxAppendedMs) block.maxAppendedMs = appendedMs;
  if (data.length > blockActs * width) {
    const half = (blockActs >>> 1) * width;
    blocks.splice(index, 1, newBlock(data.slice(0, half)), newBlock(data.slice(half)));
  }
  return acts;
}

function toBlocks(acts: Small): BlockedActs {
  const half = 1 + (blockActs >>> 1) * width;
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
  return { data, minAppendedMs, maxAppendedMs };
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
    const { data, minAppendedMs: low, maxAppendedMs: high } = blocks[index]!;
    const last = data[data.length - width]!;
    if (last < fromMs) break;
    const whole = data[0]! >= fromMs && last <= toMs && low >= minAppendedMs && high <= maxAppendedMs;
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
  let at = lowerBound(data, start, toMs, Number.POSITIVE_INFINITY) - width;
  for (; at >= start; at -= width) {
    const time = data[at]!;
    if (time < fromMs) return;
    const appended = data[at + 1]!;
    if (appended < minAppendedMs || appended > maxAppendedMs) continue;
    found.count += 1;
    if (nearest.length < limit * 2 || nearest[nearest.length - 2] === time) nearest.push(time, data[at + 2]!);
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
