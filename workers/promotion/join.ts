/**
 * The join of purchases with the acts of the same user in the 5 minutes before: the state machine of one partition.
 * No I/O, and no clock of its own: time comes in as arguments.
 *
 * Four sources feed it: the two input topics and their repartition topics. Two kinds of time are kept apart:
 * - event time decides what belongs together: act in [purchase - window, purchase], both ends included;
 * - append time (the broker's stamp) bounds lateness: an act counts when it was appended at most `graceMs` after its
 *   purchase and at most window + grace before it. State is dropped by the other side's position in append time, never
 *   by the wall clock, so that a backlog of an hour is joined as rightly as live data.
 *
 * Version of an answer = 1 + the number of distinct acts it stands on. Acts only ever come to be known, so the highest
 * version is the whole truth. A user's acts come in partition order, so that the same version says the same thing, also
 * after a restart; only when some of them came with a foreign key, by the repartition topic, may two lives of the worker
 * know different ones of the same number for a moment (found by the simulation, seed 22), and a higher version follows.
 *
 * A purchase with acts is answered at once. Without, it is held until the act side has been read past where it ended
 * after the purchase had come (or has passed the purchase's append time, or `missHoldMs` went by), then answered with 0.
 * An act that comes later gives a correction.
 *
 * Restoring: there is no changelog; the input topics are. After an assignment the records below the committed offsets
 * are read again from `restoreFrom(...)` on while `restoring`; they fill the state and answer nothing, because a
 * committed offset means that what the record led to is acked. See tickets.
 */
import type { AgeBand, PromotionTouch, Purchase } from '../../catalog/events/promotion.ts';
import {
  actCount,
  addAct,
  dropActsBefore,
  eachWhat,
  findActs,
  firstAct,
  setSpare,
  spareOf,
  type UserActs,
} from './acts.ts';

/** Sources of a partition, as indexes. */
export const source = { purchase: 0, purchaseByUser: 1, act: 2, actByUser: 3 } as const;
export type Source = (typeof source)[keyof typeof source];
const sources: readonly Source[] = [0, 1, 2, 3];

export interface JoinOptions {
  /** How long before a purchase an act counts. */
  readonly windowMs: number;
  /** How much later than its purchase an act may be appended. */
  readonly graceMs: number;
  /** How long a purchase without acts waits at most for the act side (wall clock). */
  readonly missHoldMs: number;
  /** How far the brokers' clocks may differ. */
  readonly skewMs: number;
  /** Acts listed in an answer at most, the nearest; all are counted in its version. */
  readonly maxListedActs: number;
}

export const joinDefaults: JoinOptions = {
  windowMs: 300_000,
  graceMs: 300_000,
  missHoldMs: 1_200,
  skewMs: 1_000,
  maxListedActs: 100,
};

/** Beyond the rule's own bounds, state is kept this much longer, so that its edges never depend on when it is dropped. */
const keepMarginMs = 60_000;
const bucketMs = 60_000;

/** A run of records of one source; its offset may be committed when nothing is open any more. */
export interface Ticket {
  readonly source: Source;
  /** Offset after the last record. */
  readonly nextOffset: number;
  open: number;
}

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
  heldBy: Ticket | undefined;
  /** Tickets of repeated records that wait until the answers on their way are acked. */
  followers: Ticket[] | undefined;
}

export interface Answer {
  readonly purchase: HeldPurchase;
  readonly version: number;
  /** Nearest first; ties by promotion id, then action. */
  readonly touches: readonly PromotionTouch[];
  /** A later word on a purchase that was answered before. */
  readonly correction: boolean;
  readonly ticket: Ticket;
  readonly otherTicket: Ticket | undefined;
}

export type PurchaseOutcome = 'hit' | 'held' | 'duplicate' | 'conflict' | 'restored';
export type ActOutcome = 'new' | 'duplicate';

export interface Join {
  /** True until `restored()`: records fill the state and answer nothing. */
  readonly restoring: boolean;
  restored(): void;
  /** Where reading of a source begins, so that one with nothing new has a position too. */
  startAt(from: Source, offset: number): void;
  /** Begins a run of records of a source; `finish` must follow. */
  begin(from: Source, nextOffset: number): Ticket;
  purchase(
    ticket: Ticket,
    record: Purchase,
    purchasedMs: number,
    appendedMs: number,
    nowMs: number,
    trace?: string,
  ): PurchaseOutcome;
  act(
    ticket: Ticket,
    userId: string,
    promotionId: string,
    action: 'click' | 'view',
    actedMs: number,
    appendedMs: number,
  ): ActOutcome;
  /** Ends a run: positions move on (`appendedMs`: of its last record), corrections are made, state is dropped. */
  finish(ticket: Ticket, appendedMs: number, nowMs: number): void;
  /** Keeps a run's offset from being committed until `release`: for dead letters and forwarded records. */
  retain(ticket: Ticket): void;
  release(ticket: Ticket): void;
  /** End offsets of the act sources, observed by a request that began at `askedMs` (same clock as nowMs). */
  observeEnds(askedMs: number, actEnd: number, actByUserEnd: number): void;
  /** A source was read to its end: everything that comes later is appended after `appendedMs`. */
  caughtUp(from: Source, appendedMs: number): void;
  /** Answers misses whose wait is over. */
  tick(nowMs: number): void;
  /** Answers made since the last call, to be sent in this order. */
  take(): Answer[];
  /** An answer is durable. */
  acked(answer: Answer): void;
  /** Calls `commit` for each source whose committable offset moved on. */
  commits(commit: (from: Source, offset: number) => void): void;
  /** Next offset to be read of a source, undefined before the first run. */
  position(from: Source): number | undefined;
  /** How far a source was read in append time. */
  appendPosition(from: Source): number;
  /** Whether misses are held that came after the last observation of the ends. */
  waitsForEnds(): boolean;
  /** The purchase that was taken in last, answered or held. */
  lastPurchase(): HeldPurchase | undefined;
  /** Purchases that wait as misses. */
  heldCount(): number;
  counts(): {
    readonly held: number;
    readonly purchases: number;
    readonly users: number;
    readonly acts: number;
  };
}

/**
 * From which append time on the two sides must be read again, given a lower bound of the append time of the first
 * uncommitted record of each source (or, with none, of what may still come).
 */
export function restoreFrom(
  uncommittedMs: readonly [purchase: number, purchaseByUser: number, act: number, actByUser: number],
  options: Pick<JoinOptions, 'windowMs' | 'graceMs'>,
): { readonly purchaseMs: number; readonly actMs: number } {
  const purchases = Math.min(uncommittedMs[0], uncommittedMs[1]);
  const acts = Math.min(uncommittedMs[2], uncommittedMs[3]);
  // An act to come still meets purchases up to the grace before it, and these must know all of their acts.
  const purchaseMs = acts - options.graceMs - keepMarginMs;
  const actMs = Math.min(purchases, purchaseMs) - options.windowMs - options.graceMs - keepMarginMs;
  return { purchaseMs, actMs };
}

/** The join of one partition. */
export function createJoin(options: JoinOptions): Join {
  const { windowMs, graceMs, missHoldMs, skewMs, maxListedActs } = options;
  const reachMs = windowMs + graceMs;

  const actsByUser = new Map<string, UserActs>();
  const purchasesById = new Map<string, HeldPurchase>();
  /** Sorted by event time. */
  const purchasesByUser = new Map<string, HeldPurchase[]>();

  // What is dropped when: users and purchases by the minute of their append time.
  const userBuckets = new Map<number, string[]>();
  const purchaseBuckets = new Map<number, HeldPurchase[]>();
  let oldestUserBucket = Number.POSITIVE_INFINITY;
  let oldestPurchaseBucket = Number.POSITIVE_INFINITY;

  const promotions = createNames();
  const productIds = createPool();
  const currencies = createPool();

  let restoring = true;
  const nextOffsets: (number | undefined)[] = [undefined, undefined, undefined, undefined];
  const appendPositions = [
    Number.NEGATIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
  ];
  const tickets: Ticket[][] = [[], [], [], []];

  let dirty: HeldPurchase[] = [];
  let answers: Answer[] = [];

  // Misses in the order they came; `targets` say which ends cover those before `upTo`.
  let held: { readonly purchase: HeldPurchase; readonly sinceMs: number }[] = [];
  let heldHead = 0;
  let heldBase = 0;
  let heldCount = 0;
  let last: HeldPurchase | undefined;
  const targets: { readonly upTo: number; readonly act: number; readonly actByUser: number }[] = [];

  function look(purchase: HeldPurchase): { count: number; touches: PromotionTouch[] } {
    const acts = actsByUser.get(purchase.userId);
    if (acts === undefined) return { count: 0, touches: [] };
    const { purchasedMs, appendedMs } = purchase;
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
    if (ties)
      touches.sort(
        (a, b) =>
          a.secondsBefore - b.secondsBefore ||
          (a.promotionId < b.promotionId
            ? -1
            : a.promotionId > b.promotionId
              ? 1
              : a.action < b.action
                ? -1
                : 1),
      );
    if (touches.length > maxListedActs) touches.length = maxListedActs;
    return { count, touches };
  }

  function answer(purchase: HeldPurchase, version: number, touches: PromotionTouch[], ticket: Ticket): void {
    const { heldBy } = purchase;
    ticket.open += 1;
    // The hold's own share of its ticket goes over to the answer.
    const otherTicket = heldBy;
    if (heldBy !== undefined) {
      purchase.heldBy = undefined;
      heldCount -= 1;
    }
    answers.push({
      purchase,
      version,
      touches,
      correction: heldBy === undefined && purchase.version > 0,
      ticket,
      otherTicket,
    });
    purchase.version = version;
    purchase.unacked += 1;
  }

  /** Answers when there is more to say than before; else waits with what is on its way. */
  function reconsider(purchase: HeldPurchase, ticket: Ticket): void {
    const { count, touches } = look(purchase);
    if (count === 0 && purchase.heldBy !== undefined) follow(purchase, ticket);
    else if (count + 1 > purchase.version) answer(purchase, count + 1, touches, ticket);
    else if (purchase.unacked > 0) follow(purchase, ticket);
  }

  function follow(purchase: HeldPurchase, ticket: Ticket): void {
    ticket.open += 1;
    if (purchase.followers === undefined) purchase.followers = [ticket];
    else purchase.followers.push(ticket);
  }

  function remember(purchase: HeldPurchase): void {
    purchasesById.set(purchase.purchaseId, purchase);
    const own = purchasesByUser.get(purchase.userId);
    if (own === undefined) purchasesByUser.set(purchase.userId, [purchase]);
    else own.splice(firstAtOrAfter(own, purchase.purchasedMs + 1), 0, purchase);
    bucketPurchase(purchase, Math.floor(purchase.appendedMs / bucketMs));
  }

  function bucketPurchase(purchase: HeldPurchase, bucket: number): void {
    const list = purchaseBuckets.get(bucket);
    if (list === undefined) {
      purchaseBuckets.set(bucket, [purchase]);
      if (bucket < oldestPurchaseBucket) oldestPurchaseBucket = bucket;
    } else list.push(purchase);
  }

  function forget(purchase: HeldPurchase): void {
    purchasesById.delete(purchase.purchaseId);
    const own = purchasesByUser.get(purchase.userId);
    if (own === undefined) return;
    let at = firstAtOrAfter(own, purchase.purchasedMs);
    while (at < own.length && own[at] !== purchase) at += 1;
    if (at === own.length) return;
    if (own.length === 1) purchasesByUser.delete(purchase.userId);
    else own.splice(at, 1);
  }

  function bucketUser(userId: string, bucket: number): void {
    const list = userBuckets.get(bucket);
    if (list === undefined) {
      userBuckets.set(bucket, [userId]);
      if (bucket < oldestUserBucket) oldestUserBucket = bucket;
    } else list.push(userId);
  }

  function dropOld(): void {
    const acts = Math.min(appendPositions[2]!, appendPositions[3]!);
    const purchases = Math.min(appendPositions[0]!, appendPositions[1]!);
    const purchaseBound = acts - graceMs - keepMarginMs;
    while ((oldestPurchaseBucket + 1) * bucketMs <= purchaseBound) {
      const list = purchaseBuckets.get(oldestPurchaseBucket);
      purchaseBuckets.delete(oldestPurchaseBucket);
      for (const purchase of list ?? [])
        if (purchase.heldBy !== undefined) bucketPurchase(purchase, Math.ceil(purchaseBound / bucketMs));
        else forget(purchase);
      oldestPurchaseBucket = oldest(purchaseBuckets);
    }
    // Purchases that are still kept may be answered again: their acts must be here.
    const actBound = Math.min(purchases, acts - graceMs - keepMarginMs) - reachMs - keepMarginMs;
    let dropped = false;
    while ((oldestUserBucket + 1) * bucketMs <= actBound) {
      const bucketEnd = (oldestUserBucket + 1) * bucketMs;
      const list = userBuckets.get(oldestUserBucket);
      userBuckets.delete(oldestUserBucket);
      for (const userId of list ?? []) {
        const own = actsByUser.get(userId);
        if (own === undefined) continue;
        const left = dropActsBefore(own, bucketEnd);
        if (left === undefined) actsByUser.delete(userId);
        else if (left !== own) actsByUser.set(userId, left);
      }
      oldestUserBucket = oldest(userBuckets);
      dropped = true;
    }
    if (dropped && promotions.size() > 20_000) {
      const live = new Set<number>();
      for (const own of actsByUser.values()) eachWhat(own, (what) => live.add(what >>> 1));
      promotions.keepOnly(live);
    }
  }

  /** Whether all acts that were there before this miss came have been read. */
  function passed(from: 2 | 3, purchase: HeldPurchase, end: number | undefined): boolean {
    if (appendPositions[from]! > purchase.appendedMs + skewMs) return true;
    if (end === undefined) return false;
    return end === 0 || (nextOffsets[from] ?? 0) >= end;
  }

  function answerMisses(nowMs: number): void {
    while (heldHead < held.length) {
      const { purchase, sinceMs } = held[heldHead]!;
      if (purchase.heldBy !== undefined) {
        const index = heldBase + heldHead;
        while (targets.length > 0 && targets[0]!.upTo <= index) targets.shift();
        const target = targets[0];
        const over =
          nowMs - sinceMs >= missHoldMs ||
          (passed(2, purchase, target?.act) && passed(3, purchase, target?.actByUser));
        if (!over) break;
        const ticket = purchase.heldBy;
        const { count, touches } = look(purchase);
        answer(purchase, count + 1, touches, ticket);
      }
      heldHead += 1;
    }
    if (heldHead === held.length || (heldHead > 1024 && heldHead * 2 > held.length)) {
      held = held.slice(heldHead);
      heldBase += heldHead;
      heldHead = 0;
    }
  }

  return {
    get restoring() {
      return restoring;
    },
    restored() {
      restoring = false;
    },
    startAt(from, offset) {
      nextOffsets[from] = offset;
    },
    begin(from, nextOffset) {
      const ticket: Ticket = { source: from, nextOffset, open: 1 };
      if (!restoring) tickets[from]!.push(ticket);
      return ticket;
    },
    purchase(ticket, record, purchasedMs, appendedMs, nowMs, trace) {
      const known = purchasesById.get(record.purchaseId);
      if (known !== undefined) {
        if (!sameContent(known, record, purchasedMs)) return 'conflict';
        if (restoring) return 'duplicate';
        // A restored one may stand on a copy while this, the first one, was never answered for: answer once more.
        if (known.version === 0 && known.heldBy === undefined) {
          reconsider(known, ticket);
        } else if (known.heldBy !== undefined || known.unacked > 0) follow(known, ticket);
        return 'duplicate';
      }
      const purchase: HeldPurchase = {
        purchaseId: record.purchaseId,
        userId: record.userId,
        productId: productIds(record.productId),
        productName: record.productName === undefined ? undefined : productIds(record.productName),
        quantity: record.quantity,
        amountMinor: record.price.amountMinor,
        currency: currencies(record.price.currency),
        ageBand: record.ageBand === undefined ? undefined : (currencies(record.ageBand) as AgeBand),
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
      last = purchase;
      if (restoring) return 'restored';
      const { count, touches } = look(purchase);
      if (count > 0) {
        answer(purchase, count + 1, touches, ticket);
        return 'hit';
      }
      ticket.open += 1;
      purchase.heldBy = ticket;
      heldCount += 1;
      held.push({ purchase, sinceMs: nowMs });
      return 'held';
    },
    act(_ticket, userId, promotionId, action, actedMs, appendedMs) {
      const what = promotions.number(promotionId) * 2 + (action === 'click' ? 0 : 1);
      const bucket = Math.floor(appendedMs / bucketMs);
      const acts = actsByUser.get(userId);
      let outcome: ActOutcome = 'new';
      if (acts === undefined) {
        actsByUser.set(userId, firstAct(bucket, actedMs, appendedMs, what));
        bucketUser(userId, bucket);
      } else {
        const grown = addAct(acts, actedMs, appendedMs, what);
        if (grown === undefined) outcome = 'duplicate';
        else {
          if (spareOf(grown) !== bucket) {
            setSpare(grown, bucket);
            bucketUser(userId, bucket);
          }
          if (grown !== acts) actsByUser.set(userId, grown);
        }
      }
      if (restoring) return outcome;
      const own = purchasesByUser.get(userId);
      if (own === undefined) return outcome;
      for (let i = firstAtOrAfter(own, actedMs); i < own.length; i += 1) {
        const purchase = own[i]!;
        if (purchase.purchasedMs > actedMs + windowMs) break;
        if (purchase.dirty) continue;
        if (appendedMs < purchase.appendedMs - reachMs || appendedMs > purchase.appendedMs + graceMs)
          continue;
        purchase.dirty = true;
        dirty.push(purchase);
      }
      return outcome;
    },
    finish(ticket, appendedMs, nowMs) {
      const from = ticket.source;
      nextOffsets[from] = ticket.nextOffset;
      if (appendedMs > appendPositions[from]!) appendPositions[from] = appendedMs;
      if (dirty.length > 0) {
        for (const purchase of dirty) {
          purchase.dirty = false;
          reconsider(purchase, ticket);
        }
        dirty = [];
      }
      ticket.open -= 1;
      if (!restoring) answerMisses(nowMs);
      dropOld();
    },
    retain(ticket) {
      ticket.open += 1;
    },
    release(ticket) {
      ticket.open -= 1;
    },
    observeEnds(askedMs, act, actByUser) {
      // Covers those that were held before the question was asked.
      let index = held.length;
      while (index > heldHead && held[index - 1]!.sinceMs > askedMs) index -= 1;
      const upTo = heldBase + index;
      const last = targets[targets.length - 1];
      if (index > heldHead && (last === undefined || upTo > last.upTo))
        targets.push({ upTo, act, actByUser });
    },
    caughtUp(from, appendedMs) {
      if (appendedMs > appendPositions[from]!) appendPositions[from] = appendedMs;
    },
    tick(nowMs) {
      if (!restoring) answerMisses(nowMs);
      dropOld();
    },
    take() {
      const taken = answers;
      if (taken.length > 0) answers = [];
      return taken;
    },
    acked({ purchase, ticket, otherTicket }) {
      ticket.open -= 1;
      if (otherTicket !== undefined) otherTicket.open -= 1;
      purchase.unacked -= 1;
      if (purchase.unacked === 0 && purchase.followers !== undefined) {
        for (const follower of purchase.followers) follower.open -= 1;
        purchase.followers = undefined;
      }
    },
    commits(commit) {
      for (const from of sources) {
        const queue = tickets[from]!;
        let done = 0;
        while (done < queue.length && queue[done]!.open === 0) done += 1;
        if (done === 0) continue;
        const { nextOffset } = queue[done - 1]!;
        queue.splice(0, done);
        commit(from, nextOffset);
      }
    },
    lastPurchase: () => last,
    heldCount: () => heldCount,
    position: (from) => nextOffsets[from],
    appendPosition: (from) => appendPositions[from]!,
    waitsForEnds() {
      if (heldCount === 0) return false;
      const last = targets[targets.length - 1];
      return last === undefined || last.upTo < heldBase + held.length;
    },
    counts() {
      let acts = 0;
      for (const own of actsByUser.values()) acts += actCount(own);
      return { held: heldCount, purchases: purchasesById.size, users: actsByUser.size, acts };
    },
  };
}

function oldest(buckets: ReadonlyMap<number, unknown>): number {
  let least = Number.POSITIVE_INFINITY;
  for (const bucket of buckets.keys()) if (bucket < least) least = bucket;
  return least;
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

function sameContent(known: HeldPurchase, record: Purchase, purchasedMs: number): boolean {
  return (
    known.userId === record.userId &&
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

/** Numbers for names, so that an act holds 8 bytes instead of a string. */
function createNames() {
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
