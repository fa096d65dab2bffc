/**
 * Carries firm bankings out: takes those whose time has come, calls their bank, and writes down how that ended. Several
 * processes may do it at once; each bank has a lane of its own, so that a slow one holds nobody else up.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { context, propagation, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Registry } from 'prom-client';
import { metrics } from '../../catalog/metrics.ts';
import type { Logger } from '../base/log.ts';
import { counter, gauge } from '../base/metrics.ts';
import { untilUp } from '../base/not-now.ts';
import type { Banks } from './banks.ts';
import { openStates } from './firmbanking.ts';
import type { Claimed, RequestStore } from './requests.ts';

export interface SenderOptions {
  readonly requests: Pick<RequestStore, 'banksWithDue' | 'claim' | 'finish' | 'undecided'>;
  readonly banks: Pick<Banks, 'mayCall' | 'send' | 'ask'>;
  readonly registry: Registry;
  readonly log: Logger;
  /** Longer than a call and the commit after it: when it ends without either, the bank is asked by the id. */
  readonly leaseMs: number;
  /** Between two looks when nothing wakes it. Default 1,000. */
  readonly everyMs?: number;
}

/** Calls of a bank at once. */
const atOnce = 8;
const putOffAtOnce = 200;
const countEveryMs = 5_000;

export interface Sender {
  /** A request was accepted: no need to wait for the next look. */
  wake(): void;
  /** Ends after the calls that are under way. */
  stop(): Promise<void>;
}

export function startSender(options: SenderOptions): Sender {
  const { requests, log, registry, everyMs = 1_000 } = options;
  const entered = counter(registry, metrics.banking.firmbankings);
  const undecided = gauge(registry, metrics.banking.undecided);
  const stopping = new AbortController();
  const lanes = new Map<string, Promise<unknown>>();
  /** Calls that are under way, by bank. */
  const calls = new Map<string, Set<Promise<void>>>();
  let woken = Promise.withResolvers<void>();

  async function work(claimed: Claimed): Promise<void> {
    const carrier = claimed.traceparent === undefined ? {} : { traceparent: claimed.traceparent };
    await context.with(propagation.extract(ROOT_CONTEXT, carrier), async () => {
      const { call, one } = claimed;
      const said = await (call === 'SEND' ? options.banks.send(one) : options.banks.ask(one));
      // A bank's answer is not thrown away because the database is: should this process end first, the bank is asked again.
      const state = await untilUp(() => requests.finish(claimed, said), { signal: stopping.signal });
      if (state !== undefined) entered.inc({ bank: one.bank, state });
      if (said.word.kind === 'OTHER')
        log.error('a bank has another transfer under the id of a firm banking', {
          firmbankingId: one.firmbankingId,
          bank: one.bank,
        });
    });
  }

  function begin(bank: string, running: Set<Promise<void>>, claimed: Claimed): void {
    const call = work(claimed)
      .catch((error: unknown) => failed(bank, error))
      .finally(() => running.delete(call));
    running.add(call);
  }

  /**
   * Until none of the bank's is due. A call that the bank leaves hanging takes one place, and the others go on; half of the places
   * are filled together, or each request would cost a claim of its own.
   */
  async function lane(bank: string): Promise<void> {
    const running = calls.get(bank) ?? new Set();
    calls.set(bank, running);
    for (let more = true; more && !stopping.signal.aborted; ) {
      while (running.size > atOnce / 2) await Promise.race(running);
      const bankDown = !options.banks.mayCall(bank);
      const taken = await requests.claim(bank, {
        bankDown,
        most: bankDown ? putOffAtOnce : atOnce - running.size,
        leaseMs: options.leaseMs,
      });
      for (const claimed of taken.claimed) begin(bank, running, claimed);
      more = taken.more;
    }
  }

  function failed(bank: string, error: unknown): void {
    log.warn('firm bankings could not be worked on', { bank, error });
  }

  async function look(): Promise<void> {
    for (const bank of await requests.banksWithDue()) {
      if (lanes.has(bank)) continue;
      const running = lane(bank)
        .catch((error: unknown) => failed(bank, error))
        .finally(() => lanes.delete(bank));
      lanes.set(bank, running);
    }
  }

  /** From the store, so that it says the same after a restart. */
  async function count(): Promise<void> {
    const found = await requests.undecided();
    undecided.reset();
    for (const bank of new Set(found.map((each) => each.bank)))
      for (const state of openStates) undecided.set({ bank, state }, 0);
    for (const { bank, state, count: n } of found) undecided.set({ bank, state }, n);
  }

  async function run(): Promise<void> {
    let countedMs = Number.NEGATIVE_INFINITY;
    while (!stopping.signal.aborted) {
      woken = Promise.withResolvers();
      try {
        await look();
        if (performance.now() - countedMs >= countEveryMs) {
          await count();
          countedMs = performance.now();
        }
      } catch (error) {
        log.debug('firm bankings could not be looked at', { error });
      }
      await Promise.race([
        woken.promise,
        sleep(everyMs, undefined, { signal: stopping.signal }).catch(() => {}),
      ]);
    }
  }

  const running = run();
  return {
    wake: () => woken.resolve(),
    async stop() {
      stopping.abort();
      await running;
      await Promise.all(lanes.values());
      await Promise.all([...calls.values()].flatMap((running) => [...running]));
    },
  };
}
