/** Reads all balances again and again while a run goes on: in each moment they sum to zero, and nobody spends what is not there. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stores } from './stores.ts';
import { type Finding, found, type Verdict } from './verdict.ts';

/** Sums over all accounts of a currency at one moment, minor units. */
export interface Snapshot {
  readonly currency: string;
  readonly balancesMinor: number;
  /** What the accounts say is held, and what the open holds say. */
  readonly heldMinor: number;
  readonly openHoldsMinor: number;
  /** Accounts with less than nothing, or than what is held of them. */
  readonly overdrawn: number;
}

const everyMs = 1_000;
const findingsKept = 20;

export interface Snapshots {
  /** Of everything seen so far. */
  verdict(): Verdict;
  stop(): void;
}

/** A store that is away is looked at again: how often it answered is told. */
export function watchSnapshots({ snapshot }: Pick<Stores, 'snapshot'>, signal: AbortSignal): Snapshots {
  const ending = new AbortController();
  const over = AbortSignal.any([signal, ending.signal]);
  const findings: Finding[] = [];
  let taken = 0;
  async function watch(): Promise<void> {
    while (!over.aborted) {
      const seen = await snapshot().catch(() => undefined);
      if (seen !== undefined) taken += 1;
      const at = new Date().toISOString();
      if (findings.length < findingsKept)
        findings.push(...(seen ?? []).flatMap(wrongOf).map((what) => found('ledger', at, what)));
      await sleep(everyMs, undefined, { signal: over }).catch(() => undefined);
    }
  }
  void watch();
  return {
    verdict: () => ({
      subject: 'snapshots',
      acked: 0,
      looked: `all balances ${taken} times while it ran`,
      inDoubt: 0,
      repeats: 0,
      findings: taken === 0 ? [found('not-checked', 'snapshots', 'no snapshot could be read')] : findings,
    }),
    stop: () => ending.abort(),
  };
}

/** What is wrong in a snapshot, in words. */
function wrongOf({
  currency,
  balancesMinor,
  heldMinor,
  openHoldsMinor,
  overdrawn,
}: Snapshot): readonly string[] {
  return [
    ...(balancesMinor === 0 ? [] : [`all balances in ${currency} sum to ${balancesMinor}`]),
    ...(heldMinor === openHoldsMinor
      ? []
      : [`${heldMinor} ${currency} are held, the open holds sum to ${openHoldsMinor}`]),
    ...(overdrawn === 0 ? [] : [`${overdrawn} accounts in ${currency} have less than is held of them`]),
  ];
}
