/** Questions to the environment's Prometheus; it may be away during a drill, and whoever asks says what that means. */
import type { Environment } from '../../catalog/environments.ts';
import { urlFromHost } from '../../stacks/config/topology.ts';
import type { Curve } from '../drill.ts';

interface Answer {
  readonly data: {
    readonly result: readonly {
      readonly value?: readonly [number, string];
      readonly values?: readonly (readonly [number, string])[];
    }[];
  };
}

async function ask(environment: Environment, path: string, query: Record<string, string>) {
  const url = `${urlFromHost(environment, 'prometheus')}/api/v1/${path}?${new URLSearchParams(query)}`;
  try {
    const response = await fetch(url, { signal: AbortSignal.timeout(5_000) });
    return response.ok ? ((await response.json()) as Answer).data.result : undefined;
  } catch {
    return undefined;
  }
}

/** The value of an expression now (the first, when it has several); undefined: none, or no answer. */
export async function valueNow(environment: Environment, query: string): Promise<number | undefined> {
  const [first] = (await ask(environment, 'query', { query })) ?? [];
  return first?.value === undefined ? undefined : Number(first.value[1]);
}

/** The values of an expression that gives one series, each second; undefined: no answer. */
export async function valuesOver(
  environment: Environment,
  query: string,
  fromMs: number,
  untilMs: number,
): Promise<Curve['points'] | undefined> {
  const series = await ask(environment, 'query_range', {
    query,
    start: String(fromMs / 1_000),
    end: String(untilMs / 1_000),
    // Not more than 11,000 points are answered.
    step: String(Math.max(1, Math.ceil((untilMs - fromMs) / 1_000 / 10_000))),
  });
  if (series === undefined) return undefined;
  return (series[0]?.values ?? []).map(([seconds, value]) => ({
    atMs: Math.round(seconds * 1_000),
    value: Number(value),
  }));
}
