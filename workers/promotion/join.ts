/**
 * The join of purchases with the acts of the same user in the 5 minutes before: the state machine of one partition.
 * No I/O, and no clock of its own: time comes in as arguments.
 *
 * Four sources feed it: the two input topics and their repartition topics. Two kinds of time are kept apart:
 * - event time decides what belongs together: act in [purchase - window, purchase], both ends included;
 * - append time (the broker's stamp) bounds lateness: an act counts when it, or a copy of it, was appended at most `graceMs`
 *   after its purchase and at most window + grace before it. State is dropped by the other side's position in append time, never
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
 * committed offset means that what the record led to is acked (join-runs.ts).
 */
import { listedActs, type PromotionTouch, type Purchase } from '../../catalog/events/promotion.ts';
import { createMisses, type Misses } from './join-misses.ts';
import { createReadRuns, type ReadRun, type Source, source } from './join-runs.ts';
import {
  type ActStore,
  createActStore,
  createPurchaseStore,
  type HeldPurchase,
  sameContent,
} from './join-state.ts';

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
  maxListedActs: listedActs,
};

/** Beyond the rule's own bounds, state is kept this much longer, so that its edges never depend on when it is dropped. */
const keepMarginMs = 60_000;

export interface Answer {
  readonly purchase: HeldPurchase;
  readonly version: number;
  /** Nearest first; ties by promotion id, then action. */
  readonly touches: readonly PromotionTouch[];
  /** A later word on a purchase that was answered before. */
  readonly correction: boolean;
  /** The run that led to it. */
  readonly run: ReadRun;
  /** The run that the purchase came in, when it was held. */
  readonly heldBy: ReadRun | undefined;
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
  begin(from: Source, nextOffset: number): ReadRun;
  purchase(
    run: ReadRun,
    record: Purchase,
    purchasedMs: number,
    appendedMs: number,
    nowMs: number,
    trace?: string,
  ): PurchaseOutcome;
  act(
    userId: string,
    promotionId: string,
    action: 'click' | 'view',
    actedMs: number,
    appendedMs: number,
  ): ActOutcome;
  /** Ends a run: positions move on (`appendedMs`: of its last record), corrections are made, state is dropped. */
  finish(run: ReadRun, appendedMs: number, nowMs: number): void;
  /** Keeps a run's offset from being committed until `release`: for dead letters and forwarded records. */
  retain(run: ReadRun): void;
  release(run: ReadRun): void;
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

/** What is said of purchases, and which runs wait until it is acked. */
function createAnswering(acts: ActStore, misses: Misses) {
  let answers: Answer[] = [];

  function answer(purchase: HeldPurchase, version: number, touches: PromotionTouch[], run: ReadRun): void {
    const { heldBy } = purchase;
    run.open += 1;
    // The hold's own share of its run goes over to the answer.
    if (heldBy !== undefined) {
      purchase.heldBy = undefined;
      misses.answered();
    }
    const correction = heldBy === undefined && purchase.version > 0;
    answers.push({ purchase, version, touches, correction, run, heldBy });
    purchase.version = version;
    purchase.unacked += 1;
  }

  /** Answers when there is more to say than before; else waits with what is on its way. */
  function reconsider(purchase: HeldPurchase, run: ReadRun): void {
    const { count, touches } = acts.find(purchase);
    if (count === 0 && purchase.heldBy !== undefined) follow(purchase, run);
    else if (count + 1 > purchase.version) answer(purchase, count + 1, touches, run);
    else if (purchase.unacked > 0) follow(purchase, run);
  }

  function follow(purchase: HeldPurchase, run: ReadRun): void {
    run.open += 1;
    if (purchase.followers === undefined) purchase.followers = [run];
    else purchase.followers.push(run);
  }

  function repeated(known: HeldPurchase, run: ReadRun): void {
    // A restored one may stand on a copy while this, the first one, was never answered for: answer once more.
    if (known.version === 0 && known.heldBy === undefined) reconsider(known, run);
    else if (known.heldBy !== undefined || known.unacked > 0) follow(known, run);
  }

  return {
    answer,
    reconsider,
    repeated,
    take(): Answer[] {
      const taken = answers;
      if (taken.length > 0) answers = [];
      return taken;
    },
    acked({ purchase, run, heldBy }: Answer): void {
      run.open -= 1;
      if (heldBy !== undefined) heldBy.open -= 1;
      purchase.unacked -= 1;
      if (purchase.unacked === 0 && purchase.followers !== undefined) {
        for (const follower of purchase.followers) follower.open -= 1;
        purchase.followers = undefined;
      }
    },
  };
}

/** The join of one partition. `nowMs` is of one clock that never steps back; append times are the brokers'. */
export function createJoin(options: JoinOptions): Join {
  const { windowMs, graceMs, missHoldMs, skewMs } = options;
  const reachMs = windowMs + graceMs;
  const acts = createActStore(options);
  const purchases = createPurchaseStore();
  const misses = createMisses(missHoldMs);
  const runs = createReadRuns();
  const { answer, reconsider, repeated, take, acked } = createAnswering(acts, misses);
  const nextOffsets: (number | undefined)[] = [undefined, undefined, undefined, undefined];
  const appendPositions = [0, 0, 0, 0].fill(Number.NEGATIVE_INFINITY);
  let restoring = true;
  let dirty: HeldPurchase[] = [];
  let last: HeldPurchase | undefined;

  function dropOld(): void {
    const ofActs = Math.min(appendPositions[source.act]!, appendPositions[source.actByUser]!);
    const ofPurchases = Math.min(appendPositions[source.purchase]!, appendPositions[source.purchaseByUser]!);
    const purchaseBound = ofActs - graceMs - keepMarginMs;
    purchases.dropBefore(purchaseBound);
    // Purchases that are still kept may be answered again: their acts must be here.
    acts.dropBefore(Math.min(ofPurchases, purchaseBound) - reachMs - keepMarginMs);
  }

  /** Whether all acts that were there before a miss came have been read. */
  function passed(from: Source, purchase: HeldPurchase, end: number | undefined): boolean {
    if (appendPositions[from]! > purchase.appendedMs + skewMs) return true;
    if (end === undefined) return false;
    return end === 0 || (nextOffsets[from] ?? 0) >= end;
  }

  function answerMisses(nowMs: number): void {
    misses.takeOver(
      nowMs,
      (purchase, ends) =>
        passed(source.act, purchase, ends?.act) && passed(source.actByUser, purchase, ends?.actByUser),
      (purchase) => {
        const { count, touches } = acts.find(purchase);
        answer(purchase, count + 1, touches, purchase.heldBy!);
      },
    );
  }

  function movedTo(from: Source, appendedMs: number): void {
    if (appendedMs > appendPositions[from]!) appendPositions[from] = appendedMs;
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
    begin: (from, nextOffset) => runs.begin(from, nextOffset, !restoring),
    purchase(run, record, purchasedMs, appendedMs, nowMs, trace) {
      const known = purchases.find(record.userId, record.purchaseId);
      if (known !== undefined) {
        if (!sameContent(known, record, purchasedMs)) return 'conflict';
        if (!restoring) repeated(known, run);
        return 'duplicate';
      }
      const purchase = purchases.add(record, purchasedMs, appendedMs, trace);
      last = purchase;
      if (restoring) return 'restored';
      const { count, touches } = acts.find(purchase);
      if (count > 0) {
        answer(purchase, count + 1, touches, run);
        return 'hit';
      }
      run.open += 1;
      purchase.heldBy = run;
      misses.hold(purchase, nowMs);
      return 'held';
    },
    act(userId, promotionId, action, actedMs, appendedMs) {
      const isNew = acts.add(userId, promotionId, action, actedMs, appendedMs);
      if (!restoring)
        purchases.eachOf(userId, actedMs, actedMs + windowMs, (purchase) => {
          if (purchase.dirty) return;
          if (appendedMs < purchase.appendedMs - reachMs || appendedMs > purchase.appendedMs + graceMs)
            return;
          purchase.dirty = true;
          dirty.push(purchase);
        });
      return isNew ? 'new' : 'duplicate';
    },
    finish(run, appendedMs, nowMs) {
      nextOffsets[run.source] = run.nextOffset;
      movedTo(run.source, appendedMs);
      if (dirty.length > 0) {
        for (const purchase of dirty) {
          purchase.dirty = false;
          reconsider(purchase, run);
        }
        dirty = [];
      }
      run.open -= 1;
      if (!restoring) answerMisses(nowMs);
      dropOld();
    },
    retain(run) {
      run.open += 1;
    },
    release(run) {
      run.open -= 1;
    },
    observeEnds: (askedMs, act, actByUser) => misses.observeEnds(askedMs, { act, actByUser }),
    caughtUp: movedTo,
    tick(nowMs) {
      if (!restoring) answerMisses(nowMs);
      dropOld();
    },
    take,
    acked,
    commits: runs.commits,
    lastPurchase: () => last,
    heldCount: misses.count,
    position: (from) => nextOffsets[from],
    appendPosition: (from) => appendPositions[from]!,
    waitsForEnds: misses.waitForEnds,
    counts: () => ({ held: misses.count(), purchases: purchases.count(), ...acts.counts() }),
  };
}
