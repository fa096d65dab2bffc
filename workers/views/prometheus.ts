/** Questions to a Prometheus over its HTTP API. */
import { MusterError, NotNowError } from '../base/errors.ts';
import type { Exemplar } from './model.ts';

export interface Window {
  readonly fromMs: number;
  readonly toMs: number;
}

export interface RangeSample {
  readonly metric: Readonly<Record<string, string>>;
  readonly values: readonly (readonly [seconds: number, value: string])[];
}

export interface InstantSample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: readonly [seconds: number, value: string];
}

interface Exemplars {
  readonly exemplars: readonly {
    readonly labels: Readonly<Record<string, string>>;
    readonly value: string;
    readonly timestamp: number;
  }[];
}

export interface Prometheus {
  /** A value every `stepMs`. */
  range(expr: string, window: Window, stepMs: number): Promise<readonly RangeSample[]>;
  instant(expr: string, atMs: number): Promise<readonly InstantSample[]>;
  /** Values that a label has on a metric. */
  labelValues(metric: string, label: string, window: Window): Promise<readonly string[]>;
  /** Observations that carry a trace. */
  exemplars(expr: string, window: Window): Promise<readonly Exemplar[]>;
}

const timeoutMs = 30_000;
const atOnce = 4;

/** Throws MUSTER_PROMETHEUS_DOWN when it does not answer, MUSTER_PROMETHEUS_QUERY when it refuses a query. */
export function prometheusAt(url: string, signal?: AbortSignal): Prometheus {
  let running = 0;
  const waiting: (() => void)[] = [];

  async function ask<Data>(path: string, parameters: Record<string, string>, method = 'POST'): Promise<Data> {
    if (running >= atOnce) await new Promise<void>((resolve) => waiting.push(resolve));
    running += 1;
    try {
      const timeout = AbortSignal.timeout(timeoutMs);
      const text = new URLSearchParams(parameters);
      const response = await fetch(`${url}/api/v1/${path}${method === 'GET' ? `?${text}` : ''}`, {
        method,
        ...(method === 'GET' ? {} : { body: text }),
        signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
      });
      const answer = (await response.json()) as { status: string; data: Data; error?: string };
      if (answer.status !== 'success')
        throw new MusterError(
          'MUSTER_PROMETHEUS_QUERY',
          `Prometheus refuses ${parameters.query ?? path}: ${answer.error}`,
        );
      return answer.data;
    } catch (error) {
      if (error instanceof MusterError) throw error;
      throw new NotNowError('MUSTER_PROMETHEUS_DOWN', `Prometheus does not answer at ${url}. Is it up?`, {
        cause: error,
      });
    } finally {
      running -= 1;
      waiting.shift()?.();
    }
  }

  const secondsOf = (ms: number) => String(ms / 1000);
  return {
    async range(query, { fromMs, toMs }, stepMs) {
      const times = { start: secondsOf(fromMs), end: secondsOf(toMs), step: secondsOf(stepMs) };
      return (await ask<{ result: RangeSample[] }>('query_range', { query, ...times })).result;
    },
    async instant(query, atMs) {
      return (await ask<{ result: InstantSample[] }>('query', { query, time: secondsOf(atMs) })).result;
    },
    labelValues: (metric, label, { fromMs, toMs }) =>
      ask<string[]>(
        `label/${label}/values`,
        { 'match[]': metric, start: secondsOf(fromMs), end: secondsOf(toMs) },
        'GET',
      ),
    async exemplars(query, { fromMs, toMs }) {
      const times = { start: secondsOf(fromMs), end: secondsOf(toMs) };
      const series = await ask<Exemplars[] | null>('query_exemplars', { query, ...times });
      return (series ?? []).flatMap(({ exemplars }) =>
        exemplars.map(({ labels: { trace_id: traceId }, timestamp, value }): Exemplar => {
          const seen = [timestamp * 1000, Number(value)] as const;
          return traceId === undefined ? seen : [...seen, traceId];
        }),
      );
    },
  };
}
