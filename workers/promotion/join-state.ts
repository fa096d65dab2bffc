/** What the join knows of one partition: acts and purchases by user. No clock, no I/O; dropped by append time. */
import type { AgeBand, PromotionTouch, Purchase } from '../../catalog/events/promotion.ts';
import {
  actCount,
  addAct,
  dropActsBefore,
  eachWhat,
  findActs,
  firstAct,
  hasAct,
  setSpare,
  spareOf,
  type UserActs,
} from './acts.ts';
import type { ReadRun } from './join-runs.ts';

/** What is kept of a purchase: enough to answer again, in far less room than the record took. */
export interface HeldPurchase {
  readonly purchaseId: string;
  /** In clear: never leaves this process. */
  readonly userId: string;
  readonly productId: string;
  readonly productName: string | undefined;
  readonly quantity: number;
  readonly amountMinor: number;
  readonly currency: string;
  readonly ageBand: AgeBand | undefined;
  readonly cardLast4: string | undefined;
  readonly purchasedMs: number;
  readonly appendedMs: number;
  /** W3C traceparent of the record, to carry the trace on. */
  readonly trace: string | undefined;
  /** Highest version answered in this life; 0: none (held, or restored). */
  version: number;
  /** Answers on their way. */
  unacked: number;
  dirty: boolean;
  /** Set while it waits as a miss. */
  heldBy: ReadRun | undefined;
  /** Runs with repetitions of it, which wait until the answers on their way are acked. */
  followers: ReadRun[] | undefined;
}

export interface StateOptions {
  readonly windowMs: number;
  readonly graceMs: number;
  readonly maxListedActs: number;
}

// --- acts ----------------------------------------------------------------------------------------------------------

export interface ActStore {
  /** False when the same act was known; a copy that was appended at another time is kept all the same. */
  add(
    userId: string,
    promotionId: string,
    action: 'click' | 'view',
    actedMs: number,
    appendedMs: number,
  ): boolean;
  /** The acts that affect a purchase: how many different ones, and the nearest of them in the order of an answer. */
  find(purchase: HeldPurchase): { readonly count: number; readonly touches: PromotionTouch[] };
  dropBefore(appendedMs: number): void;
  counts(): { readonly users: number; readonly acts: number };
}

export function createActStore({ windowMs, graceMs, maxListedActs }: StateOptions): ActStore {
  const reachMs = windowMs + graceMs;
  const byUser = new Map<string, UserActs>();
  /** By the minute of their latest act's append time. */
  const users = createMinutes<string>();
  const promotions = createNumbers();

  return {
    add(userId, promotionId, action, actedMs, appendedMs) {
      const what = promotions.number(promotionId) * 2 + (action === 'click' ? 0 : 1);
      const minute = minuteOf(appendedMs);
      const acts = byUser.get(userId);
      if (acts === undefined) {
        byUser.set(userId, firstAct(minute, actedMs, appendedMs, what));
        users.add(userId, minute);
        return true;
      }
      const isNew = !hasAct(acts, actedMs, what);
      const grown = addAct(acts, actedMs, appendedMs, what, reachMs + graceMs);
      if (spareOf(grown) !== minute) {
        setSpare(grown, minute);
        users.add(userId, minute);
      }
      if (grown !== acts) byUser.set(userId, grown);
      return isNew;
    },
    find({ userId, purchasedMs, appendedMs }) {
      const acts = byUser.get(userId);
      if (acts === undefined) return { count: 0, touches: [] };
      const { count, nearest } = findActs(
        acts,
        purchasedMs - windowMs,
        purchasedMs,
        appendedMs - reachMs,
        appendedMs + graceMs,
        maxListedActs,
      );
      const touches: PromotionTouch[] = [];
      let ties = false;
      for (let i = 0; i < nearest.length; i += 2) {
        const what = nearest[i + 1]!;
        if (i > 0 && nearest[i] === nearest[i - 2]) ties = true;
        touches.push({
          promotionId: promotions.name(what >>> 1),
          action: (what & 1) === 0 ? 'click' : 'view',
          secondsBefore: (purchasedMs - nearest[i]!) / 1000,
        });
      }
      if (ties) touches.sort(inOrder);
      if (touches.length > maxListedActs) touches.length = maxListedActs;
      return { count, touches };
    },
    dropBefore(boundMs) {
      const dropped = users.takeBefore(boundMs, (userId, endMs) => {
        const own = byUser.get(userId);
        if (own === undefined) return;
        const left = dropActsBefore(own, endMs);
        if (left === undefined) byUser.delete(userId);
        else if (left !== own) byUser.set(userId, left);
      });
      if (!dropped || promotions.size() <= 20_000) return;
      const live = new Set<number>();
      for (const own of byUser.values()) eachWhat(own, (what) => live.add(what >>> 1));
      promotions.keepOnly(live);
    },
    counts() {
      let acts = 0;
      for (const own of byUser.values()) acts += actCount(own);
      return { users: byUser.size, acts };
    },
  };
}

/** Nearest first; ties by promotion id, then action. */
function inOrder(a: PromotionTouch, b: PromotionTouch): number {
  if (a.secondsBefore !== b.secondsBefore) return a.secondsBefore - b.secondsBefore;
  if (a.promotionId !== b.promotionId) return a.promotionId < b.promotionId ? -1 : 1;
  return a.action < b.action ? -1 : 1;
}

// --- purchases -----------------------------------------------------------------------------------------------------

export interface PurchaseStore {
  /** A purchase id is its user's: two users may have the same. */
  find(userId: string, purchaseId: string): HeldPurchase | undefined;
  add(record: Purchase, purchasedMs: number, appendedMs: number, trace: string | undefined): HeldPurchase;
  /** A user's purchases from one time of purchase to another, both ends included. */
  eachOf(userId: string, fromMs: number, toMs: number, see: (purchase: HeldPurchase) => void): void;
  /** Those that wait as misses stay. */
  dropBefore(appendedMs: number): void;
  count(): number;
}

/** A user with more purchases than these gets an index by id. */
const busyAbove = 16;

export function createPurchaseStore(): PurchaseStore {
  /** Sorted by time of purchase. */
  const byUser = new Map<string, HeldPurchase[]>();
  const indexOfBusy = new Map<string, Map<string, HeldPurchase>>();
  const minutes = createMinutes<HeldPurchase>();
  const texts = createPool();
  let count = 0;

  function remember(purchase: HeldPurchase): void {
    const { userId, purchaseId } = purchase;
    count += 1;
    minutes.add(purchase, minuteOf(purchase.appendedMs));
    const own = byUser.get(userId);
    if (own === undefined) {
      byUser.set(userId, [purchase]);
      return;
    }
    own.splice(firstAtOrAfter(own, purchase.purchasedMs + 1), 0, purchase);
    if (own.length === busyAbove + 1)
      indexOfBusy.set(userId, new Map(own.map((one) => [one.purchaseId, one])));
    else indexOfBusy.get(userId)?.set(purchaseId, purchase);
  }

  function forget(purchase: HeldPurchase): void {
    const own = byUser.get(purchase.userId)!;
    count -= 1;
    if (own.length === 1) {
      byUser.delete(purchase.userId);
      return;
    }
    let at = firstAtOrAfter(own, purchase.purchasedMs);
    while (own[at] !== purchase) at += 1;
    own.splice(at, 1);
    if (own.length === busyAbove) indexOfBusy.delete(purchase.userId);
    else indexOfBusy.get(purchase.userId)?.delete(purchase.purchaseId);
  }

  return {
    find(userId, purchaseId) {
      const own = byUser.get(userId);
      if (own === undefined) return undefined;
      if (own.length > busyAbove) return indexOfBusy.get(userId)!.get(purchaseId);
      for (let i = 0; i < own.length; i += 1) if (own[i]!.purchaseId === purchaseId) return own[i];
      return undefined;
    },
    add(record, purchasedMs, appendedMs, trace) {
      const purchase: HeldPurchase = {
        purchaseId: record.purchaseId,
        userId: record.userId,
        productId: texts(record.productId),
        productName: record.productName === undefined ? undefined : texts(record.productName),
        quantity: record.quantity,
        amountMinor: record.price.amountMinor,
        currency: texts(record.price.currency),
        ageBand: record.ageBand === undefined ? undefined : (texts(record.ageBand) as AgeBand),
        cardLast4: record.cardLast4,
        purchasedMs,
        appendedMs,
        trace,
        version: 0,
        unacked: 0,
        dirty: false,
        heldBy: undefined,
        followers: undefined,
      };
      remember(purchase);
      return purchase;
    },
    eachOf(userId, fromMs, toMs, see) {
      const own = byUser.get(userId);
      if (own === undefined) return;
      for (let i = firstAtOrAfter(own, fromMs); i < own.length && own[i]!.purchasedMs <= toMs; i += 1)
        see(own[i]!);
    },
    dropBefore(boundMs) {
      const kept: HeldPurchase[] = [];
      minutes.takeBefore(boundMs, (purchase) => {
        if (purchase.heldBy === undefined) forget(purchase);
        else kept.push(purchase);
      });
      for (const purchase of kept) minutes.add(purchase, minuteOf(boundMs) + 1);
    },
    count: () => count,
  };
}

/** Whether a record says what is kept of the purchase. */
export function sameContent(known: HeldPurchase, record: Purchase, purchasedMs: number): boolean {
  return (
    known.purchasedMs === purchasedMs &&
    known.productId === record.productId &&
    known.productName === record.productName &&
    known.quantity === record.quantity &&
    known.amountMinor === record.price.amountMinor &&
    known.currency === record.price.currency &&
    known.ageBand === record.ageBand &&
    known.cardLast4 === record.cardLast4
  );
}

/** First index whose purchase was made at or after a time. */
function firstAtOrAfter(purchases: readonly HeldPurchase[], timeMs: number): number {
  let low = 0;
  let high = purchases.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (purchases[middle]!.purchasedMs < timeMs) low = middle + 1;
    else high = middle;
  }
  return low;
}

// --- what both stand on ----------------------------------------------------------------------------------------------

const minuteMs = 60_000;
const minuteOf = (timeMs: number): number => Math.floor(timeMs / minuteMs);

/** What is to be dropped when: things by a minute. */
function createMinutes<T>() {
  const lists = new Map<number, T[]>();
  let oldest = Number.POSITIVE_INFINITY;
  return {
    add(item: T, minute: number): void {
      const list = lists.get(minute);
      if (list !== undefined) {
        list.push(item);
        return;
      }
      lists.set(minute, [item]);
      if (minute < oldest) oldest = minute;
    },
    /** Takes out all minutes that ended by `boundMs`; whether there were any. `endMs` is the end of an item's minute. */
    takeBefore(boundMs: number, take: (item: T, endMs: number) => void): boolean {
      let some = false;
      while ((oldest + 1) * minuteMs <= boundMs) {
        some = true;
        const list = lists.get(oldest) ?? [];
        lists.delete(oldest);
        for (const item of list) take(item, (oldest + 1) * minuteMs);
        oldest = Number.POSITIVE_INFINITY;
        for (const minute of lists.keys()) if (minute < oldest) oldest = minute;
      }
      return some;
    },
  };
}

/** Numbers for names, so that an act holds 8 bytes instead of a string. */
function createNumbers() {
  const numbers = new Map<string, number>();
  const names: string[] = [];
  let free: number[] = [];
  return {
    number(name: string): number {
      const known = numbers.get(name);
      if (known !== undefined) return known;
      const number = free.pop() ?? names.length;
      names[number] = name;
      numbers.set(name, number);
      return number;
    },
    name: (number: number): string => names[number]!,
    size: () => numbers.size,
    keepOnly(live: ReadonlySet<number>): void {
      free = [];
      for (let number = 0; number < names.length; number += 1) {
        if (live.has(number)) continue;
        numbers.delete(names[number]!);
        names[number] = '';
        free.push(number);
      }
    },
  };
}

/** One copy of equal strings, of the last few thousand. */
function createPool(): (text: string) => string {
  const size = 4_096;
  let young = new Map<string, string>();
  let old = new Map<string, string>();
  return (text) => {
    const known = young.get(text);
    if (known !== undefined) return known;
    const kept = old.get(text) ?? text;
    if (young.size >= size) {
      old = young;
      young = new Map();
    }
    young.set(kept, kept);
    return kept;
  };
}
