/** What a drill is, and what its run leaves behind. Data only: the runner reads a Drill and writes a DrillReport. */
import type { Verdict } from './checker/verdict.ts';
import type { Fault } from './faults.ts';
import type { LinkFault } from './links/proxy.ts';
import type { Loads } from './loads/index.ts';
import type { RequestCount } from './runner/requests.ts';

/** Times are ms from the begin of the load. Without `healAfterMs` a fault stays until the load is over. */
export type DrillStep =
  | {
      readonly atMs: number;
      readonly inject: Fault;
      readonly on: Target;
      readonly healAfterMs?: number;
      /** Name of the case that it is a part of, where a drill has several. */
      readonly of?: string;
    }
  /** Changes what the world outside does: the webhook receiver's behaviour. */
  | {
      readonly atMs: number;
      readonly outside: Readonly<Record<string, unknown>>;
      readonly healAfterMs?: number;
    }
  /** Makes the ways from the load's clients (HTTP and Kafka) to the platform bad; other clients do not notice. */
  | { readonly atMs: number; readonly link: LinkFault; readonly healAfterMs?: number }
  /** Something that has its own procedure: `rolling-restart`, `scale-workers`, `fill-disk` ... */
  | { readonly atMs: number; readonly procedure: string; readonly healAfterMs?: number };

/** An alias of the environment, or a role that is looked up when the step is due. */
export type Target =
  | { readonly alias: string }
  | {
      readonly role: 'controller' | 'zookeeper-leader' | 'zookeeper-follower' | 'mysql-writer' | 'mysql-copy';
    };

export interface Drill {
  readonly name: string;
  /** One sentence: what breaks, and what must not. */
  readonly about: string;
  readonly loadMs: number;
  /** Unset: the load lasts for `loadMs`. Set: until so long after the last step is over, and `loadMs` is the most. */
  readonly afterMs?: number;
  /** What is sent meanwhile, by part (loads/index.ts). */
  readonly loads: Loads;
  readonly steps: readonly DrillStep[];
  /** Faults one after the other that are judged each by itself, with the RTO of each. */
  readonly cases?: readonly { readonly name: string; readonly rtoMs: number }[];
  readonly expect: {
    /** From the fault to the first moment after which neither canary nor load sees a failure. */
    readonly rtoMs: number;
    /** The same for answers of workers, where they may take longer than publishing; unset: they are part of the RTO. */
    readonly answersMs?: number;
    /** Names of alerts that must arrive at the receiver, and within what time of the fault. */
    readonly alerts?: readonly { readonly name: string; readonly withinMs: number }[];
    /** Share of requests that may fail for good (without a retry that went well). Default 0. */
    readonly failedShare?: number;
    /** Tries that may fail, also those of requests that went well later. Unset: any number. */
    readonly failedTries?: number;
    /** ZooKeeper sessions of brokers that may end beside those of brokers that a step freezes or cuts off. Default 0. */
    readonly sessionsLost?: number;
    /** Of the time from sending to ack, over the whole load. */
    readonly p99Ms?: number;
    /**
     * Of one that changes what runs. Each try is a request, as of clients that ask once, and is counted by class before, while and
     * after the steps.
     */
    readonly requests?: {
      /** Of all of them together, while; `as before`: no more than twice what it was before, or 100 ms more. Unset: any. */
      readonly p99Ms?: number | 'as before';
      /** Classes of which some may fail with 503, for so long without a pause; unset: none fails. */
      readonly mayAnswer503?: { readonly classes: readonly string[]; readonly forMs: number };
    };
    /** Processes that may have ended beside those that a step ends itself. Unset: any number. */
    readonly restarts?: number;
    /** Records that may have been put aside beside those that the load sends for that. Unset: any number. */
    readonly deadLetters?: number;
  };
}

/** What one of several cases of a drill has cost. */
export interface CaseReport {
  readonly name: string;
  readonly beganAtMs: number;
  /** undefined: nobody saw a failure. */
  readonly rtoMs: number | undefined;
  readonly wantedMs: number;
  /** Findings about what was sent while it was the case. */
  readonly lost: number;
  readonly wrong: number;
  /** Processes that ended although the case does not end them. */
  readonly restarted: readonly string[];
  /** Dead letters that are not owed. */
  readonly deadLetters: number;
  readonly passed: boolean;
}

/** A value over time; `atMs` is UTC. */
export interface Curve {
  readonly name: string;
  readonly unit: 'per second' | 'ms' | 's' | 'count';
  readonly points: readonly { readonly atMs: number; readonly value: number }[];
}

export interface DrillEvent {
  readonly atMs: number;
  readonly kind: 'load' | 'fault' | 'heal' | 'detected' | 'alert' | 'recovered' | 'check' | 'note';
  readonly what: string;
}

export interface DrillReport {
  readonly drill: string;
  readonly about: string;
  readonly environment: string;
  /** Commit, machine and versions, for comparisons. */
  readonly context: Readonly<Record<string, string>>;
  readonly startedAtMs: number;
  readonly endedAtMs: number;
  readonly events: readonly DrillEvent[];
  readonly curves: readonly Curve[];
  /** undefined: there was no outage that anybody saw. */
  readonly rtoMs: number | undefined;
  /** The same for answers of workers, where the drill keeps them apart. */
  readonly answersMs?: number;
  readonly rpo: { readonly lost: number; readonly oldestLostAgeMs: number };
  /** From the fault to the first page at the receiver that the drill expects; undefined: none came (or none is expected). */
  readonly detectionMs: number | undefined;
  readonly alerts: readonly {
    readonly name: string;
    readonly receiver: string;
    readonly firedAtMs: number;
    readonly resolvedAtMs?: number;
  }[];
  readonly sent: number;
  readonly failed: number;
  /** Accepted, and never decided. */
  readonly undecided: number;
  /** Records that the load has sent to be put aside, and were. */
  readonly deadLettersOwed: number;
  /** Of a drill with several. */
  readonly cases?: readonly CaseReport[];
  /** Of one that changes what runs. */
  readonly requests?: readonly RequestCount[];
  readonly latencyMs: { readonly p50: number; readonly p99: number; readonly max: number };
  readonly verdicts: readonly Verdict[];
  /** Expectations with what was measured. */
  readonly targets: readonly {
    readonly name: string;
    readonly target: string;
    readonly measured: string;
    readonly met: boolean;
  }[];
  readonly passed: boolean;
}
