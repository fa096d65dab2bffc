/**
 * What an alert is: an expression, and beside it everything that makes it trustworthy at three in the morning.
 * Without a runbook and a proof it does not compile.
 */
import type { Cause } from '../catalog/alerting.ts';

/** A length of time as Prometheus writes it, in one unit. */
export type Duration = `${number}${'s' | 'm' | 'h' | 'd'}`;

const unitSeconds = { s: 1, m: 60, h: 3_600, d: 86_400 } as const;

/** Seconds of `1.5h`. */
export function seconds(duration: Duration): number {
  return Number(duration.slice(0, -1)) * unitSeconds[duration.slice(-1) as keyof typeof unitSeconds];
}

/** A stretch of a series in a proof. Without `lasts` it goes on to the end. */
export type Segment =
  | { readonly value: number; readonly lasts?: Duration }
  /** Goes on from the value reached before (0 at the start). */
  | { readonly perSecond: number; readonly lasts?: Duration }
  /** The target is not scraped any more: a stale marker and then nothing. */
  | { readonly gone: true; readonly lasts?: Duration };

/** A constant value. */
export function at(value: number, lasts?: Duration): Segment {
  return lasts === undefined ? { value } : { value, lasts };
}

/** A counter, or anything that grows (or shrinks) steadily, from the value reached before. */
export function growing(perSecond: number, lasts?: Duration): Segment {
  return lasts === undefined ? { perSecond } : { perSecond, lasts };
}

/** No samples, as after a failed scrape. */
export function gone(lasts?: Duration): Segment {
  return lasts === undefined ? { gone: true } : { gone: true, lasts };
}

interface Case {
  /** What is the case: "a broker is gone", "two of three, but for 45 s only". */
  readonly when: string;
  /** `metric{label="value"}` -> what it does from the start on. */
  readonly series: Readonly<Record<string, readonly Segment[]>>;
  /** Time between two samples and between two evaluations; 15s when left out, longer for windows of hours. */
  readonly step?: Duration;
}

/** The alert is silent until `trueFrom` + `for`, and fires then, with exactly these labels. */
export interface FiringCase extends Case {
  /** Since when the expression is true. */
  readonly trueFrom: Duration;
  /**
   * Leeway after that, and after the end, for ranges: whether a sample exactly at the far edge of `[15m]` counts differs between Prometheus
   * 2 and 3. Shorter than `for`.
   */
  readonly within?: Duration;
  /** Since when it is false again: the alert fires on for `keepFiringFor`, and not a step longer. */
  readonly falseFrom?: Duration;
  /**
   * Labels of each firing alert beyond those that its rule adds; one without labels when left out.
   */
  readonly alerts?: readonly Readonly<Record<string, string>>[];
}

/** A near miss: the alert never fires. */
export interface QuietCase extends Case {
  /** How long it is watched; when left out until well past the last change and `for`. */
  readonly watchedFor?: Duration;
}

/** What `./muster prove-alerts` does to the deployed environment so that the alert fires. */
export type LiveCause =
  | 'broker killed'
  | 'two brokers killed'
  | 'broker paused'
  | 'all brokers stopped'
  | 'broker restarted again and again'
  | 'zookeeper killed'
  | 'two zookeepers killed'
  | 'worker stopped'
  | 'worker paused'
  | 'consumer stopped'
  | 'offset reset'
  | 'poison message'
  | 'failing webhook'
  | 'mysql stopped'
  | 'mysql writer stopped'
  | 'redis stopped'
  | 'gateway stopped'
  | 'alertmanager stopped'
  | 'jaeger stopped'
  | 'exporter stopped'
  | 'rule row in the database'
  | 'outbox relay stopped'
  | 'nothing, it always fires';

export interface Proof {
  readonly fires: readonly [FiringCase, ...FiringCase[]];
  readonly staysQuiet: readonly [QuietCase, ...QuietCase[]] | { readonly never: string };
  readonly live: { readonly cause: LiveCause } | { readonly notLive: string };
}

export interface AlertSpec<Name extends string = string> {
  /** UpperCamelCase; the name of the runbook too. */
  readonly name: Name;
  /** page: somebody gets up. ticket: somebody looks during the day. none: is not sent. */
  readonly severity: 'page' | 'ticket' | 'none';
  /** PromQL; metric names from the catalog only. */
  readonly expr: string;
  /** How long the expression must hold; `0s` says "at once" aloud. */
  readonly for: Duration;
  /** How long the alert goes on after the expression has become false: for conditions that flap. */
  readonly keepFiringFor?: Duration;
  /** One line; may name labels and the value: `{{ $labels.topic }}`, `{{ $value | humanizeDuration }}`. */
  readonly summary: string;
  /** What it means for the people who use the platform. */
  readonly meaning: string;
  /** The first thing to do. */
  readonly firstStep: string;
  readonly runbook: `alerts/runbooks/${NoInfer<Name>}.md`;
  /**
   * Alerts that explain this one: while one of them fires, this one is not sent. With `where` only those instances
   * whose label has the value.
   */
  readonly inhibitedBy?: readonly (
    | Cause
    | { readonly cause: Cause; readonly where: { readonly label: string; readonly value: string } }
  )[];
  readonly proof: Proof;
}

/** A rule that stores its result under a new name, for alerts and dashboards to share. */
export interface RecordingRule {
  readonly record: string;
  readonly expr: string;
  readonly labels?: Readonly<Record<string, string>>;
}

export type AlertRule = AlertSpec;

/** A group of a Prometheus rule file: its rules are evaluated in order, at one time. */
export interface RuleGroup {
  readonly name: string;
  /** Time between two evaluations; unset: as often as targets are scraped. */
  readonly interval?: Duration;
  readonly rules: readonly (AlertRule | RecordingRule)[];
}

/** An alert. The type asks for what is easily forgotten: a runbook of the same name, and a proof of both sides. */
export function rule<const Name extends string>(spec: AlertSpec<Name>): AlertRule {
  return spec;
}

/** True for alerts, false for recording rules. */
export function isAlert(either: AlertRule | RecordingRule): either is AlertRule {
  return 'name' in either;
}
