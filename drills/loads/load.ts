/** What a part of the load is: a capability's own traffic with known ids, what is seen of it, and what its checker is told. */
import { probeRules } from '../../catalog/slos.ts';
import type { Role } from '../../workers/http/tokens.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import type { OnInsisted } from '../../workers/traffic/client.ts';
import type { Told } from '../checker/check.ts';
import type { Curve } from '../drill.ts';
import { type Attempt, curvesOf, type Outage, outagesOf } from '../runner/measure.ts';

export interface LoadStage {
  /** Where the environment is, and its secrets. */
  readonly variables: Readonly<Record<string, string>>;
  /** A token of somebody in a role. */
  tokenOf(role: Role, subject: string): Promise<string>;
  /** Where the load's clients send; not always straight to the environment. */
  readonly entrances: { readonly apiUrl: string; readonly kafka: Kafka };
  /** What ids of this run begin with. */
  readonly run: string;
  /** What ids of its people begin with, and what they pay with: must not be on any output. */
  readonly person: string;
  readonly seed: number;
  readonly loadMs: number;
  /** A part that has `loadMs` begins nothing new after it. */
  readonly closing?: AbortSignal | undefined;
  /** How long a message without an ack is tried again, and an outcome waited for; longer than any fault. */
  readonly retryForMs: number;
  readonly signal: AbortSignal;
}

/** What was seen of a part when it is over. Whatever is left out there was none of. */
export interface Seen {
  /** Messages whose way is timed one by one. */
  readonly attempts?: readonly Attempt[];
  /** When each purchase was first acked, by its id. */
  readonly purchases?: ReadonlyMap<string, number>;
  /** When what has an id was sent, UTC ms: findings name these ids. */
  readonly sentAtMs?: ReadonlyMap<string, number>;
  readonly sent: number;
  /** Without an ack after all tries. */
  readonly failed: number;
  /** Tries that failed, also of what went well later. */
  readonly failedTries: number;
  /** Ids of what was accepted, and had no outcome when the patience was over. */
  readonly undecided?: readonly string[];
  readonly latencyMs?: { readonly p50: number; readonly p99: number; readonly max: number };
}

export interface RunningPart {
  /** Of one that goes on until it is told to; others end by themselves after `loadMs`. */
  end?(): void;
  readonly done: Promise<Seen>;
  /** What its checker is told, when it is done. */
  told(): Promise<Partial<Told>>;
  /** Told once a second; undefined: each message is timed. */
  readonly progress?: Progress;
}

/** A capability joins the load of drills by one of these in loads/index.ts. `Rates` is what a drill says of it. */
export interface Part<Rates> {
  /** Those that work on what it sends. */
  readonly groups: readonly { readonly id: string }[];
  /** The variable that says where it sends; an environment without it has nobody there. Unset: each has. */
  readonly entrance?: string;
  start(rates: Rates, stage: LoadStage): Promise<RunningPart>;
}

export interface Progress {
  /** Times in which whoever used the part had to wait for longer than the objective allows. */
  stalls(): readonly Outage[];
  curves(): readonly Curve[];
}

/** Follows the requests of a part: each is timed from its first try to its answer, however few there are of them. */
export function followRequests(name: string): Progress & { readonly onInsisted: OnInsisted } {
  const fromMs = Date.now();
  const limitMs = probeRules.goodWithinMs;
  const attempts: Attempt[] = [];
  return {
    onInsisted(sentAtMs, settledAtMs) {
      attempts.push({ observer: name, sentAtMs, settledAtMs });
    },
    stalls: () => outagesOf(attempts, limitMs),
    curves: () =>
      curvesOf(attempts, { fromMs, untilMs: attempts.at(-1)?.settledAtMs ?? fromMs, limitMs, name }),
  };
}

/** A count that is told about once a second: its growth, and when it stood still. */
export function followProgress(name: string): Progress & { at(count: number): void } {
  const points: { atMs: number; count: number }[] = [];
  /** Told once a second: two without growth are no accident. */
  const stallMs = 2_500;
  return {
    at(count) {
      points.push({ atMs: Date.now(), count });
    },
    stalls(): readonly Outage[] {
      const found: Outage[] = [];
      let grewAtMs = points[0]?.atMs ?? 0;
      for (const [index, { atMs, count }] of points.entries()) {
        if (index > 0 && count === points[index - 1]!.count) continue;
        if (atMs - grewAtMs > stallMs) found.push({ observer: name, fromMs: grewAtMs, untilMs: atMs });
        grewAtMs = atMs;
      }
      return found;
    },
    curves(): readonly Curve[] {
      if (points.length < 2) return [];
      const growth = points.slice(1).map(({ atMs, count }, index) => {
        const before = points[index]!;
        const value = ((count - before.count) * 1_000) / Math.max(1, atMs - before.atMs);
        return { atMs, value: Math.round(value * 10) / 10 };
      });
      return [{ name, unit: 'per second', points: growth }];
    },
  };
}

/** How many tries failed, by what they failed of. */
export function triesOf(problems: Readonly<Record<string, number>>): number {
  return Object.values(problems).reduce((sum, count) => sum + count, 0);
}
