/**
 * What clients ask of the platform, as somebody sees it who asks once: each try is a request of its own, though the load's clients
 * try again so that promises can be judged. All HTTP clients of this process tell of theirs (undici's diagnostics channels).
 */
import diagnostics from 'node:diagnostics_channel';
import type { Attempt } from './measure.ts';
import { outagesOf, percentile } from './measure.ts';

export interface SeenRequest {
  /** What is asked for: the first word of the path at the API, `pay`, `delivery`, `kafka`. */
  readonly of: string;
  readonly sentAtMs: number;
  /** Until the answer begins, or until it is known that none comes. */
  readonly tookMs: number;
  /** Why it failed: `503`, `ECONNREFUSED`; undefined: it did not. */
  readonly problem?: string;
}

interface UndiciRequest {
  readonly origin: string | URL;
  readonly path: string;
}

/** Asked by those who look whether a process is there. */
const looks = /^\/(readyz|healthz|metrics)\b/;

/** `entrances`: names by origin; an empty one takes its name from the path. */
export function watchRequests(entrances: ReadonlyMap<string, string>): {
  readonly seen: readonly SeenRequest[];
  stop(): void;
} {
  const seen: SeenRequest[] = [];
  const underWay = new WeakMap<
    object,
    { readonly of: string; readonly sentAtMs: number; readonly ms: number }
  >();
  const end = (request: object, problem?: string): void => {
    const begun = underWay.get(request);
    if (begun === undefined) return;
    // A stream that is cut off later has been answered.
    underWay.delete(request);
    const { of, sentAtMs, ms } = begun;
    seen.push({
      of,
      sentAtMs,
      tookMs: performance.now() - ms,
      ...(problem === undefined ? {} : { problem }),
    });
  };
  const handlers = {
    'undici:request:create'({ request }: { request: UndiciRequest }) {
      const name = entrances.get(String(request.origin).replace(/\/$/, ''));
      if (name === undefined || looks.test(request.path)) return;
      const of = name === '' ? (/^\/([\w-]+)/.exec(request.path)?.[1] ?? '/') : name;
      underWay.set(request, { of, sentAtMs: Date.now(), ms: performance.now() });
    },
    'undici:request:headers'({ request, response }: { request: object; response: { statusCode: number } }) {
      const { statusCode } = response;
      end(request, statusCode >= 500 || statusCode === 429 ? String(statusCode) : undefined);
    },
    'undici:request:error'({ request, error }: { request: object; error: Error & { code?: string } }) {
      end(request, error.code ?? error.name);
    },
  };
  const all = Object.entries(handlers).map(
    ([name, handler]) => [name, (message: unknown) => handler(message as never)] as const,
  );
  for (const [name, handler] of all) diagnostics.subscribe(name, handler);
  return {
    seen,
    stop() {
      for (const [name, handler] of all) diagnostics.unsubscribe(name, handler);
    },
  };
}

/** What was sent to Kafka as requests. */
export const asRequests = (attempts: readonly Attempt[]): readonly SeenRequest[] =>
  attempts.map(({ sentAtMs, settledAtMs }) =>
    settledAtMs === undefined
      ? { of: 'kafka', sentAtMs, tookMs: 0, problem: 'no ack' }
      : { of: 'kafka', sentAtMs, tookMs: settledAtMs - sentAtMs },
  );

export interface Span {
  readonly fromMs: number;
  readonly untilMs: number;
}

export const phases = ['before', 'while', 'after'] as const;

/** Requests of one class in one phase of a change. */
export interface RequestCount {
  readonly phase: (typeof phases)[number];
  /** `all`: every class together. */
  readonly of: string;
  readonly sent: number;
  readonly failed: number;
  /** Why, with how often. */
  readonly problems: Readonly<Record<string, number>>;
  /** Of those that were answered. */
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/** By class before, while and after something was changed; a request belongs to when it was sent. */
export function countsOf(
  requests: readonly SeenRequest[],
  whole: Span,
  changed: Span,
): readonly RequestCount[] {
  const phaseOf = ({ sentAtMs }: SeenRequest) => {
    if (sentAtMs < whole.fromMs || sentAtMs > whole.untilMs) return undefined;
    return sentAtMs < changed.fromMs ? 'before' : sentAtMs <= changed.untilMs ? 'while' : 'after';
  };
  const classes = [...new Set(requests.map(({ of }) => of))].sort();
  return phases.flatMap((phase) => {
    const own = requests.filter((one) => phaseOf(one) === phase);
    return ['all', ...classes].flatMap((of) => {
      const some = of === 'all' ? own : own.filter((one) => one.of === of);
      return some.length === 0 ? [] : [countOf(phase, of, some)];
    });
  });
}

function countOf(phase: RequestCount['phase'], of: string, requests: readonly SeenRequest[]): RequestCount {
  const problems: Record<string, number> = {};
  for (const { problem } of requests)
    if (problem !== undefined) problems[problem] = (problems[problem] ?? 0) + 1;
  const took = requests.filter(({ problem }) => problem === undefined).map(({ tookMs }) => tookMs);
  return {
    phase,
    of,
    sent: requests.length,
    failed: requests.length - took.length,
    problems,
    p50Ms: percentile(took, 0.5) ?? 0,
    p99Ms: percentile(took, 0.99) ?? 0,
  };
}

/** The longest time in which requests failed without a second's pause; 0: none failed. */
export function longestFailureMs(requests: readonly SeenRequest[]): number {
  // Each failure is as long as it took to be known.
  const failed = requests.flatMap(({ sentAtMs, tookMs, problem }) =>
    problem === undefined ? [] : [{ observer: 'all', sentAtMs, settledAtMs: sentAtMs + Math.max(1, tookMs) }],
  );
  return Math.max(0, ...outagesOf(failed, 0).map(({ fromMs, untilMs }) => untilMs - fromMs));
}
