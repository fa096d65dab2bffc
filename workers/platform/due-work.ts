/**
 * Work that lies in rows until its time comes, a step at a time: sagas. A row says when it is due and is claimed with a lease,
 * so whoever dies leaves it to the next, and no queue and no timer outside of the row can lose it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { context, propagation, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { Gauge } from 'prom-client';
import type { Logger } from '../base/log.ts';

/** Of a row: the trace that its steps are part of, that of the request which made it. */
interface Traced {
  readonly traceparent: string | undefined;
}

export interface DueWorkOptions<Claimed extends Traced> {
  /** For log lines and spans: `recharges`. */
  readonly what: string;
  /** In how many ms a row is due, at a look without locks: 0 or less, now. */
  nextInMs(): Promise<number>;
  /** Takes up to so many rows that are due, and commits what is about to be done before it is. */
  claim(most: number): Promise<readonly Claimed[]>;
  /**
   * Does one step and writes down how it ended; `stopping` is aborted when nobody waits for that any more. Rejects: the row comes
   * again when its lease ends.
   */
  work(claimed: Claimed, stopping: AbortSignal): Promise<void>;
  /** Steps side by side. */
  readonly atOnce: number;
  readonly log: Logger;
  /** Between two looks at most, when nothing wakes it before and nothing that it knows of is due before. Default 1,000. */
  readonly everyMs?: number;
}

export interface DueWork<Claimed> {
  /** How many steps more may run just now. */
  room(): number;
  /** Begins a step of a row that was claimed as it was written, while there was room. */
  begin(claimed: Claimed): void;
  /** Something is due: no need to wait for the next look. */
  wake(): void;
  /** Ends after the steps that are under way. */
  stop(): Promise<void>;
}

/** How long after its `tries`-th call in a row without an end a row is due again, in ms. */
export function gapMs(tries: number): number {
  const gaps = [1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000] as const;
  return gaps[Math.min(tries, gaps.length) - 1] ?? gaps[0];
}

/** A bank that is known to be down: who waits for it is told so. */
export const bankDown = 'BANK_DOWN';

/** When a row is due again whose call was none, because the other side is known to be away: that costs nothing. */
export const putOffMs = 10_000;

/** How soon somebody is asked whose event does not come. */
export const eventWithinMs = 5_000;

/** What any call of a saga can come to. */
export type CallWord =
  /** Done; the id of what was made or found. */
  | { readonly kind: 'OK'; readonly id: string }
  | { readonly kind: 'REFUSED'; readonly reason: string }
  | NoWord;
/** It has led nowhere yet. */
export type NoWord =
  /** Not ended yet. */
  | { readonly kind: 'OPEN'; readonly waitsFor: string | undefined }
  /** No answer that could be acted on. */
  | { readonly kind: 'UNCLEAR' }
  /** The other side is away: the call did not leave. */
  | { readonly kind: 'AWAY' };

/** A saga that a call has led nowhere: it is made again. */
export function again<One extends { readonly tries: number; readonly waitsFor: string | undefined }>(
  now: One,
  word: NoWord,
): { readonly next: One; readonly againInMs: number } {
  // A call that was none does not make the next one later.
  if (word.kind === 'AWAY')
    return { next: { ...now, waitsFor: undefined, tries: now.tries - 1 }, againInMs: putOffMs };
  // What was said last of a bank that is down may be old: nobody is excused by it.
  const waitsFor = word.kind === 'OPEN' ? word.waitsFor : undefined;
  return { next: { ...now, waitsFor }, againInMs: gapMs(now.tries) };
}

const tracer = trace.getTracer('muster/due-work');

/** Runs a step as a span of its row's trace; without one there is none to begin. */
async function inTrace({ traceparent }: Traced, name: string, step: () => Promise<void>): Promise<void> {
  if (traceparent === undefined) return context.with(ROOT_CONTEXT, step);
  const parent = propagation.extract(ROOT_CONTEXT, { traceparent });
  const span = tracer.startSpan(name, {}, parent);
  try {
    await context.with(trace.setSpan(parent, span), step);
  } finally {
    span.end();
  }
}

const countEveryMs = 5_000;
/**
 * From a claim to the look that says when the next row is due: a row may be so much late. What others hold just now is due and
 * yet not claimed, and who is busy is woken again and again: neither asks without a pause.
 */
const pauseMs = 50;

/** Keeps a gauge of how many have not ended, by state, until stopped. While they cannot be counted it stays. */
export function countOpen<State extends string>(options: {
  /** For log lines: `recharges`. */
  readonly what: string;
  open(): Promise<ReadonlyMap<State, number>>;
  /** Those that are shown, with 0 when there is none. */
  readonly states: readonly State[];
  readonly gauge: Gauge<'state'>;
  readonly log: Logger;
}): { stop(): void } {
  const look = async () => {
    try {
      const found = await options.open();
      for (const state of options.states) options.gauge.set({ state }, found.get(state) ?? 0);
    } catch (error) {
      options.log.debug('what is open could not be counted', { what: options.what, error });
    }
  };
  void look();
  const timer = setInterval(look, countEveryMs).unref();
  return { stop: () => clearInterval(timer) };
}

/** Works on what is due until stopped; several processes may. */
export function startDueWork<Claimed extends Traced>(options: DueWorkOptions<Claimed>): DueWork<Claimed> {
  const { what, atOnce, log, everyMs = 1_000 } = options;
  const stopping = new AbortController();
  const running = new Set<Promise<void>>();
  let woken = Promise.withResolvers<void>();
  let mayBeMore = false;

  function begin(claimed: Claimed): void {
    const step = inTrace(claimed, `step ${what}`, () => options.work(claimed, stopping.signal))
      .catch((error: unknown) => {
        log.warn('a step did not end; it comes again', { what, error });
      })
      .finally(() => {
        running.delete(step);
        if (mayBeMore) woken.resolve();
      });
    running.add(step);
  }

  /** Begins what is due; resolves to when the next look is worth its while, in ms. */
  async function look(isWoken: boolean): Promise<number> {
    const free = atOnce - running.size;
    if (free <= 0) {
      mayBeMore = true;
      return everyMs;
    }
    // Most looks find nothing: those cost one statement. Who is woken knows that there is something.
    const inMs = isWoken ? 0 : await options.nextInMs();
    if (inMs > 0) return Math.max(1, Math.min(inMs, everyMs));
    const claimed = await options.claim(free);
    mayBeMore = claimed.length === free;
    for (const one of claimed) begin(one);
    return Math.min(everyMs, pauseMs);
  }

  async function run(): Promise<void> {
    let isWoken = false;
    while (!stopping.signal.aborted) {
      woken = Promise.withResolvers();
      let waitMs = everyMs;
      try {
        waitMs = await look(isWoken);
      } catch (error) {
        log.debug('what is due could not be looked at', { what, error });
      }
      isWoken = await Promise.race([
        woken.promise.then(() => true),
        sleep(waitMs, false, { signal: stopping.signal }).catch(() => false),
      ]);
    }
  }

  const looking = run();
  return {
    room: () => Math.max(0, atOnce - running.size),
    begin,
    wake: () => woken.resolve(),
    async stop() {
      stopping.abort();
      await looking;
      await Promise.all(running);
    },
  };
}
