/**
 * What was seen of an alert, from what the receiver got and what Alertmanager holds. Pure, with the questions to both at
 * the end.
 */
import type { Environment } from '../../catalog/environments.ts';
import { urlFromHost } from '../../stacks/config/topology.ts';
import { MusterError } from '../../workers/base/errors.ts';

type Labels = Readonly<Record<string, string>>;

/** One alert of one notification that arrived at a receiver. */
export interface Arrival {
  /** `page`, `ticket`, `deadman`: the name of Alertmanager's receiver. */
  readonly receiver: string;
  readonly status: 'firing' | 'resolved';
  readonly labels: Labels;
  readonly arrivedAtMs: number;
  /** When it began to fire. */
  readonly startsAtMs: number;
  /** Equal for alerts of one notification. */
  readonly notification: string;
}

/** An alert that Alertmanager holds now. */
export interface Held {
  readonly labels: Labels;
  readonly startsAtMs: number;
  readonly state: 'active' | 'suppressed' | 'unprocessed';
  /** Names of the alerts that keep it back. */
  readonly inhibitedBy: readonly string[];
}

/** One look at both. */
export interface Look {
  readonly atMs: number;
  readonly arrivals: readonly Arrival[];
  /** Undefined: Alertmanager did not answer. */
  readonly held: readonly Held[] | undefined;
}

export interface Detected {
  readonly atMs: number;
  /** The receiver's name, `held back by <alert>`, or `fires, is not sent`. */
  readonly how: string;
  readonly arrived: boolean;
}

/** Alertmanager's and Prometheus' clocks are the host's, but a firing time may be that of an evaluation just before. */
const skewMs = 1_000;

/**
 * Whether and how an alert has shown itself since `sinceMs`; undefined: not yet. One that fired before does not count,
 * unless it always fires.
 */
export function detection(
  alert: { readonly name: string; readonly sent: boolean; readonly always?: boolean },
  sinceMs: number,
  { arrivals, held, atMs }: Look,
): Detected | undefined {
  const isNew = (startsAtMs: number) => alert.always === true || startsAtMs >= sinceMs - skewMs;
  const first = arrivals
    .filter(({ status, labels }) => status === 'firing' && labels.alertname === alert.name)
    .filter(({ arrivedAtMs, startsAtMs }) => arrivedAtMs >= sinceMs && isNew(startsAtMs))
    .sort((a, b) => a.arrivedAtMs - b.arrivedAtMs)[0];
  if (first !== undefined) return { atMs: first.arrivedAtMs, how: first.receiver, arrived: true };
  const now = held?.filter(({ labels, startsAtMs }) => labels.alertname === alert.name && isNew(startsAtMs));
  const kept = now?.find(({ state, inhibitedBy }) => state === 'suppressed' && inhibitedBy.length > 0);
  if (kept !== undefined)
    return { atMs, how: `held back by ${[...new Set(kept.inhibitedBy)].sort().join(', ')}`, arrived: false };
  if (!alert.sent && now?.some(({ state }) => state === 'active') === true)
    return { atMs, how: 'fires, is not sent', arrived: false };
  return undefined;
}

/**
 * When the end of an alert that began since `sinceMs` was seen: of one that arrived, when the receiver was told of the end
 * of each of its instances; of another, when Alertmanager holds it no more. Undefined: not yet.
 */
export function resolution(
  name: string,
  detected: Detected,
  sinceMs: number,
  { arrivals, held, atMs }: Look,
): number | undefined {
  if (!detected.arrived)
    return held?.some(
      ({ labels, startsAtMs }) => labels.alertname === name && startsAtMs >= sinceMs - skewMs,
    ) === false
      ? atMs
      : undefined;
  const newest = new Map<string, Arrival>();
  for (const arrival of [...arrivals].sort((a, b) => a.arrivedAtMs - b.arrivedAtMs))
    if (arrival.labels.alertname === name && arrival.startsAtMs >= sinceMs - skewMs)
      newest.set(instanceOf(arrival.labels), arrival);
  const ends = [...newest.values()];
  return ends.length > 0 && ends.every(({ status }) => status === 'resolved')
    ? Math.max(...ends.map(({ arrivedAtMs }) => arrivedAtMs))
    : undefined;
}

function instanceOf(labels: Labels): string {
  return JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}

/**
 * Notifications that page somebody about something that began since `sinceMs`, with the names of the alerts in each.
 * `except`: alerts that somebody else has caused meanwhile.
 */
export function pagesSince(
  sinceMs: number,
  { arrivals }: Look,
  except: (labels: Labels) => boolean = () => false,
): readonly (readonly string[])[] {
  const pages = new Map<string, Set<string>>();
  for (const { labels, status, startsAtMs, notification } of arrivals) {
    if (status !== 'firing' || labels.severity !== 'page' || startsAtMs < sinceMs - skewMs) continue;
    if (except(labels)) continue;
    pages.set(notification, (pages.get(notification) ?? new Set()).add(labels.alertname ?? '?'));
  }
  return [...pages.values()].map((names) => [...names].sort());
}

/** Prometheus' lengths of time, in ms. */
const units: Readonly<Record<string, number>> = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

export function lengthMs(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text);
  return match === null ? 0 : Number(match[1]) * units[match[2]!]!;
}

/** How long an expression remembers what is over: its longest range and offset together. */
export function memoryMs(expr: string): number {
  const longest = (pattern: RegExp) =>
    Math.max(0, ...[...expr.matchAll(pattern)].map(([, text]) => lengthMs(text!)));
  return longest(/\[(\w+?)(?::\w*)?\]/g) + longest(/offset (\w+)/g);
}

interface AlertmanagerAlert {
  readonly fingerprint: string;
  readonly labels: Labels;
  readonly startsAt: string;
  readonly status: { readonly state: Held['state']; readonly inhibitedBy: readonly string[] };
}

/** What `GET /api/v2/alerts` answers, with the names of what keeps an alert back in place of fingerprints. */
export function heldFrom(alerts: readonly AlertmanagerAlert[]): readonly Held[] {
  const names = new Map(alerts.map(({ fingerprint, labels }) => [fingerprint, labels.alertname ?? '?']));
  return alerts.map(({ labels, startsAt, status }) => ({
    labels,
    startsAtMs: Date.parse(startsAt),
    state: status.state,
    inhibitedBy: status.inhibitedBy.map((fingerprint) => names.get(fingerprint) ?? fingerprint),
  }));
}

interface StubNotification {
  readonly receiver: string;
  readonly receivedAt: string;
  readonly alerts: readonly {
    readonly status: 'firing' | 'resolved';
    readonly labels: Labels;
    readonly startsAt?: string;
  }[];
}

/** What the webhook-stub's `GET /alerts` answers. */
export function arrivalsFrom(notifications: readonly StubNotification[]): readonly Arrival[] {
  return notifications.flatMap(({ receiver, receivedAt, alerts }, index) =>
    alerts.map(({ status, labels, startsAt }) => ({
      receiver,
      status,
      labels,
      arrivedAtMs: Date.parse(receivedAt),
      startsAtMs: startsAt === undefined ? 0 : Date.parse(startsAt),
      notification: `${receivedAt} ${receiver} ${notifications.length - index}`,
    })),
  );
}

async function json<Data>(url: string, signal: AbortSignal): Promise<Data> {
  const response = await fetch(url, { signal: AbortSignal.any([signal, AbortSignal.timeout(5_000)]) });
  if (!response.ok) throw new Error(`${url} answers ${response.status}`);
  return (await response.json()) as Data;
}

/** Asks both. Throws MUSTER_UNAVAILABLE_RECEIVER: without the receiver nothing can be proven. */
export async function look(environment: Environment, signal: AbortSignal): Promise<Look> {
  const receiver = `${urlFromHost(environment, 'outside-world')}/alerts`;
  const alertmanager = `${urlFromHost(environment, 'alertmanager')}/api/v2/alerts`;
  const [arrivals, held] = await Promise.all([
    json<{ notifications: StubNotification[] }>(receiver, signal).catch((error: unknown) => {
      throw new MusterError(
        'MUSTER_UNAVAILABLE_RECEIVER',
        `The receiver of alerts does not answer at ${receiver}. Is environment ${environment.name} up? See ./muster --env ${environment.name} status.`,
        { cause: error },
      );
    }),
    json<AlertmanagerAlert[]>(alertmanager, signal).catch(() => undefined),
  ]);
  return {
    atMs: Date.now(),
    arrivals: arrivalsFrom(arrivals.notifications),
    held: held === undefined ? undefined : heldFrom(held),
  };
}

interface PrometheusAlert {
  readonly labels: Labels;
  readonly state: 'pending' | 'firing';
}

/** What Prometheus itself says of alerts: those about to fire, and those that cannot be delivered, are known only there. */
export async function inPrometheus(
  environment: Environment,
  signal: AbortSignal,
): Promise<readonly PrometheusAlert[]> {
  const url = `${urlFromHost(environment, 'prometheus')}/api/v1/alerts`;
  return (await json<{ data: { alerts: PrometheusAlert[] } }>(url, signal)).data.alerts;
}
