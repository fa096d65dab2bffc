/**
 * The bookkeeping of the canary: what becomes of every probe. Pure: all times are passed in, on one steady clock in ms.
 *
 * Each probe gets one verdict, good or bad (catalog/slos.ts says by what rule), and verdicts of a partition are given in
 * the order of its probes, so that an outage has a beginning and an end. Apart from that each probe is acked or failed,
 * received, lost, doubled or out of order.
 */
import { probeRules } from '../../catalog/slos.ts';

/** What is counted; each has a counter of that name in the catalog's `metrics.canary`. */
export const counted = [
  'sent',
  'failed',
  'received',
  'lost',
  'duplicated',
  'outOfOrder',
  'probes',
  'goodProbes',
] as const;
export type Counted = (typeof counted)[number];

export type ProbeRules = { readonly [Rule in keyof typeof probeRules]: number };

export interface ProbeBook {
  /** A probe goes out now; answers its sequence number. */
  sent(partition: number, nowMs: number): number;
  /** A probe was due and could not be sent: bad, without ever being on its way. */
  notSent(partition: number, nowMs: number): void;
  /** Answers the ms from sending to ack. */
  acked(partition: number, sequence: number, nowMs: number): number | undefined;
  /** It got no ack within its deadline. It may still have been written. */
  failed(partition: number, sequence: number): void;
  /** Answers the ms from sending to now when it is here for the first time and still remembered. */
  received(partition: number, sequence: number, nowMs: number): number | undefined;
  /** Time goes on: to be called several times a second. */
  tick(nowMs: number): void;
  /** Seconds of the outage that goes on (0: none), and of the last one that is over (0: none yet). */
  outage(nowMs: number): { readonly currentSeconds: number; readonly lastSeconds: number };
}

interface Probe {
  readonly sequence: number;
  readonly sentMs: number;
  /** When it is lost unless it has been received. */
  lostAtMs: number;
  answer: 'waiting' | 'acked' | 'failed';
  /** The later one of ack and receipt, once both are there. */
  doneMs: number;
  isReceived: boolean;
  verdict: 'good' | 'bad' | 'void' | undefined;
}

interface Partition {
  next: number;
  /** Of which something is still to come: ack or failure, receipt or loss. */
  readonly open: Map<number, Probe>;
  /** In order of sending; those at the front get their verdicts first. */
  readonly unjudged: Probe[];
  readonly seen: Set<number>;
  highest: number;
}

/** Sequence numbers a partition remembers, to tell a repeat from a late first arrival: an hour of them. */
const remembered = 3_600;

/** `count` is called once for each thing that happened. */
export function openProbeBook(
  count: (what: Counted, partition: number) => void,
  rules: ProbeRules = probeRules,
): ProbeBook {
  const partitions = new Map<number, Partition>();
  const outages = openOutages(rules.settledAfterMs);
  let lastTickMs: number | undefined;

  function of(partition: number): Partition {
    let state = partitions.get(partition);
    if (state === undefined) {
      state = { next: 0, open: new Map(), unjudged: [], seen: new Set(), highest: -1 };
      partitions.set(partition, state);
    }
    return state;
  }

  function add(state: Partition, nowMs: number): Probe {
    const probe: Probe = {
      sequence: state.next++,
      sentMs: nowMs,
      lostAtMs: nowMs + rules.lostAfterMs,
      answer: 'waiting',
      doneMs: nowMs,
      isReceived: false,
      verdict: undefined,
    };
    state.unjudged.push(probe);
    return probe;
  }

  function settle(probe: Probe): void {
    if (probe.verdict !== undefined || !probe.isReceived || probe.answer !== 'acked') return;
    probe.verdict = probe.doneMs - probe.sentMs <= rules.goodWithinMs ? 'good' : 'bad';
  }

  function judge(partition: number, state: Partition): void {
    while (state.unjudged[0]?.verdict !== undefined) {
      const { verdict, sentMs, doneMs } = state.unjudged.shift()!;
      if (verdict === 'void') continue;
      count('probes', partition);
      if (verdict === 'good') {
        count('goodProbes', partition);
        outages.good(partition, doneMs);
      } else {
        outages.bad(partition, sentMs);
      }
    }
  }

  return {
    sent(partition, nowMs) {
      const state = of(partition);
      const probe = add(state, nowMs);
      state.open.set(probe.sequence, probe);
      count('sent', partition);
      return probe.sequence;
    },
    notSent(partition, nowMs) {
      const state = of(partition);
      add(state, nowMs).verdict = 'bad';
      judge(partition, state);
    },
    acked(partition, sequence, nowMs) {
      const state = of(partition);
      const probe = state.open.get(sequence);
      if (probe === undefined || probe.answer !== 'waiting') return undefined;
      probe.answer = 'acked';
      probe.doneMs = Math.max(probe.doneMs, nowMs);
      if (probe.isReceived) state.open.delete(sequence);
      settle(probe);
      judge(partition, state);
      return nowMs - probe.sentMs;
    },
    failed(partition, sequence) {
      const state = of(partition);
      const probe = state.open.get(sequence);
      if (probe === undefined || probe.answer !== 'waiting') return;
      probe.answer = 'failed';
      if (probe.isReceived) state.open.delete(sequence);
      probe.verdict ??= 'bad';
      count('failed', partition);
      judge(partition, state);
    },
    received(partition, sequence, nowMs) {
      const state = of(partition);
      if (sequence >= state.next) return undefined;
      if (state.seen.has(sequence) || sequence <= state.highest - remembered) {
        count('duplicated', partition);
        return undefined;
      }
      state.seen.add(sequence);
      count('received', partition);
      if (sequence < state.highest) count('outOfOrder', partition);
      while (state.highest < sequence) state.seen.delete(++state.highest - remembered);
      const probe = state.open.get(sequence);
      if (probe === undefined) return undefined;
      if (probe.answer !== 'waiting') state.open.delete(sequence);
      probe.isReceived = true;
      probe.doneMs = Math.max(probe.doneMs, nowMs);
      settle(probe);
      judge(partition, state);
      return nowMs - probe.sentMs;
    },
    tick(nowMs) {
      const stalled = lastTickMs !== undefined && nowMs - lastTickMs > rules.stalledAfterMs;
      lastTickMs = nowMs;
      for (const [partition, state] of partitions) {
        for (const probe of state.unjudged) {
          if (probe.verdict !== undefined) continue;
          if (stalled) probe.verdict = 'void';
          else if (nowMs - probe.sentMs > rules.goodWithinMs) probe.verdict = 'bad';
        }
        judge(partition, state);
        for (const [sequence, probe] of state.open) {
          // What came while the canary did not run is still to be read.
          if (stalled) probe.lostAtMs = nowMs + rules.lostAfterMs;
          if (probe.lostAtMs > nowMs || probe.answer === 'waiting' || probe.isReceived) continue;
          state.open.delete(sequence);
          if (probe.answer === 'acked') count('lost', partition);
        }
      }
      outages.tick(nowMs);
    },
    outage: (nowMs) => outages.seconds(nowMs),
  };
}

/**
 * An outage begins with the sending of the first bad probe and ends with the first good one after which no partition
 * fails for `settledAfterMs`; failures that follow sooner belong to it.
 */
function openOutages(settledAfterMs: number) {
  const failing = new Set<number>();
  let beganMs: number | undefined;
  let recoveredMs = 0;
  let lastMs = 0;

  return {
    bad(partition: number, sentMs: number): void {
      failing.add(partition);
      beganMs = Math.min(beganMs ?? sentMs, sentMs);
    },
    good(partition: number, doneMs: number): void {
      if (failing.delete(partition)) recoveredMs = Math.max(recoveredMs, doneMs);
    },
    tick(nowMs: number): void {
      if (beganMs === undefined || failing.size > 0 || nowMs - recoveredMs < settledAfterMs) return;
      lastMs = recoveredMs - beganMs;
      beganMs = undefined;
      recoveredMs = 0;
    },
    seconds(nowMs: number) {
      const isOn = beganMs !== undefined && failing.size > 0;
      return { currentSeconds: isOn ? (nowMs - beganMs!) / 1_000 : 0, lastSeconds: lastMs / 1_000 };
    },
  };
}
