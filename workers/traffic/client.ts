/** A client of the API for many people at once: one pool of connections, patience with a server that is away, and figures. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';

export interface ClientOptions {
  /** For example http://127.0.0.1:8080 */
  readonly apiUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  /** Requests under way at the same time at most. */
  readonly connections: number;
  /** How long insist() tries again after 503 or a broken connection. Default 60,000. */
  readonly retryForMs?: number | undefined;
  /** Nothing is tried again after it. */
  readonly signal?: AbortSignal | undefined;
  readonly onInsisted?: OnInsisted | undefined;
}

/** Called with each request of insist() that is over: when it was first sent, and when it was answered or given up, UTC ms. */
export type OnInsisted = (sentAtMs: number, endedAtMs: number) => void;

export interface Answer {
  readonly status: number;
  readonly json: Record<string, unknown>;
}

type Headers = Readonly<Record<string, string>>;
export type Client = ReturnType<typeof openClient>;

export function openClient(options: ClientOptions) {
  const { apiUrl, token, connections, retryForMs = 60_000, signal, onInsisted } = options;
  const pool = new Pool(apiUrl, { connections, pipelining: 1, headersTimeout: 30_000, bodyTimeout: 30_000 });
  const problems: Record<string, number> = {};
  /** Counts something that went wrong. */
  const problem = (what: string) => {
    problems[what] = (problems[what] ?? 0) + 1;
  };

  /** @param body sent as JSON; bytes as they are, and `headers` say what they are */
  async function call(
    method: 'GET' | 'POST' | 'PUT',
    path: string,
    body?: object | Buffer,
    headers: Headers = {},
  ): Promise<Answer> {
    const isJson = body !== undefined && !Buffer.isBuffer(body);
    const answer = await pool.request({
      method,
      path,
      headers: {
        authorization: `Bearer ${token}`,
        ...(isJson ? { 'content-type': 'application/json' } : {}),
        ...headers,
      },
      ...(body === undefined ? {} : { body: isJson ? JSON.stringify(body) : (body as Buffer) }),
    });
    const text = await answer.body.text();
    return { status: answer.statusCode, json: JSON.parse(text || '{}') as Record<string, unknown> };
  }

  /**
   * Sends until there is an answer below 500 other than that the key is in use (an earlier try of ours is still being handled);
   * undefined: there was none in time. `tookMs`: from the first try to the answer.
   */
  async function insist(
    path: string,
    body: object | Buffer,
    headers?: Headers,
    method: 'POST' | 'PUT' = 'POST',
  ) {
    const sentAtMs = Date.now();
    const sentMs = performance.now();
    // In a long outage all who were ever refused come again: ever less often, else they are what keeps the server from coming back.
    const longestMs = () => Math.min(Math.max(1_000, (performance.now() - sentMs) / 8), 5_000);
    for (let tries = 1, waitMs = 50; ; tries++, waitMs = Math.min(waitMs * 2, longestMs())) {
      try {
        const answer = await call(method, path, body, headers);
        if (answer.status < 500 && codeOf(answer) !== 'MUSTER_IDEMPOTENCY_KEY_IN_USE') {
          onInsisted?.(sentAtMs, Date.now());
          return { ...answer, tries, tookMs: performance.now() - sentMs };
        }
        problem(codeOf(answer));
      } catch (error) {
        problem((error as { code?: string }).code ?? (error as Error).name);
      }
      if (performance.now() - sentMs + waitMs > retryForMs || signal?.aborted === true) {
        onInsisted?.(sentAtMs, Date.now());
        return undefined;
      }
      await sleep(waitMs);
    }
  }

  return { call, insist, problem, problems, close: () => pool.destroy() };
}

/** The code of an answer that is an error, else its status. */
export const codeOf = ({ status, json }: Answer): string =>
  (json.error as { code?: string } | undefined)?.code ?? `HTTP ${status}`;

export interface Percentiles {
  readonly count: number;
  readonly p50: number;
  readonly p95: number;
  readonly p99: number;
  readonly max: number;
}

/** Of values, to one decimal; undefined: there are none. */
export function percentiles(values: readonly number[]): Percentiles | undefined {
  if (values.length === 0) return undefined;
  const sorted = values.toSorted((a, b) => a - b);
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! * 10) / 10;
  return { count: sorted.length, p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1) };
}
