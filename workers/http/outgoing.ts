/**
 * Calls to systems outside. They fail in ways of their own, so a call answers how it ended and never rejects: a status, or no
 * answer in time, or no connection; and whether it is in doubt, which means that the other side may have done the work.
 *
 * What is tried again is what the other side can know again (a GET, or a call with an idempotency key), and no more of it than
 * a share of all calls: retries must not double the load of a system that is on its knees. One that has failed for a while is
 * left alone by the circuit breaker (cockatiel).
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import {
  BrokenCircuitError,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
} from 'cockatiel';
import type { Registry } from 'prom-client';
// Not fetch(): it costs twice the processor time.
import { request } from 'undici';
import { metrics } from '../../catalog/metrics.ts';
import { counter, gauge } from '../base/metrics.ts';

export const outcomes = ['2xx', '3xx', '4xx', '5xx', 'timeout', 'network', 'breaker', 'unreadable'] as const;
/**
 * `breaker`: not sent, because the other side is known to be down. `unreadable`: a 2xx whose body was wanted and is no JSON,
 * too large, or cut off.
 */
export type Outcome = (typeof outcomes)[number];

/** How a call ended. */
export interface Answer {
  readonly outcome: Outcome;
  /** HTTP status; null when there was no answer. */
  readonly status: number | null;
  /** True when a request may have reached the other side and no answer of its own came back. */
  readonly inDoubt: boolean;
  /** JSON of the answer, where it was wanted and could be read; of any status. Nobody has looked at its fields. */
  readonly body?: unknown;
}

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Below the base address. */
  readonly path: string;
  /** The path as traces show it. Default: the path, which must hold nothing personal then. */
  readonly template?: string;
  /** JSON. */
  readonly body?: string | Buffer;
  /** The answer's JSON is wanted, up to 64 KiB. Default: its body is passed over. */
  readonly wantsBody?: true;
  /** The same for every attempt of a piece of work: the other side does it once. */
  readonly idempotencyKey?: string;
  /** Attempts of this piece of work before this call. Default 0. */
  readonly sentBefore?: number;
  /** Also to a system that is known to be down: for what has a schedule of its own. */
  readonly evenIfDown?: boolean;
}

export interface OutgoingOptions {
  /** Of the system outside, in metrics. */
  readonly name: string;
  /** Base address, without a slash at the end. */
  readonly baseUrl: string;
  /** Says who calls (`Authorization: Bearer`); unset: nothing does. */
  readonly token?: string;
  /** Longest wait for the answer of a call, its tries together. */
  readonly timeoutMs: number;
  readonly registry: Registry;
  /** Most requests of a call. Default 1: the caller tries again, or nobody does. */
  readonly tries?: number;
  /** Calls in a row that fail before the other side counts as down. Default 10. */
  readonly failuresInARow?: number;
  /** How long it is left alone then, before a call finds out whether it is back. Default 30,000. */
  readonly leftAloneMs?: number;
}

export interface Outgoing {
  /** Never rejects. */
  call(call: Call): Promise<Answer>;
  /**
   * Whether work may begin that needs a call. While the other side is down: once in a while, to find out whether it is back
   * (who is told so is the one who tries), else not.
   */
  mayCall(): boolean;
}

const tracer = trace.getTracer('muster/http');
const userAgent = 'muster/1';
/** Of all calls, this share may be tried again; so many at once after a quiet time. */
const retryShare = 0.1;
const retriesAtOnce = 10;
const utf8 = new TextDecoder('utf-8', { fatal: true });
const mostBodyBytes = 65_536;

/** Of a gateway on the way: it has sent the request on, and got no answer, or none in time. */
const lostBehindGateway = new Set([502, 504]);

/** Failures of which it is certain that the request was not sent. */
const notSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

export function createOutgoing(options: OutgoingOptions): Outgoing {
  const { name, registry, tries = 1, leftAloneMs = 30_000 } = options;
  const calls = counter(registry, metrics.http.clientCalls);
  const open = gauge(registry, metrics.http.clientBreakerOpen);
  const inARow = new ConsecutiveBreaker(options.failuresInARow ?? 10);
  const breaker = circuitBreaker(handleWhenResult(isDown), { halfOpenAfter: leftAloneMs, breaker: inARow });
  let nextTryMs = 0;
  open.set({ client: name }, 0);
  breaker.onBreak(() => {
    nextTryMs = Date.now() + leftAloneMs;
    open.set({ client: name }, 1);
  });
  breaker.onReset(() => open.set({ client: name }, 0));
  let retriesLeft = retriesAtOnce;

  async function attempts(call: Call): Promise<Answer> {
    const endMs = Date.now() + options.timeoutMs;
    retriesLeft = Math.min(retriesAtOnce, retriesLeft + retryShare);
    let inDoubt = false;
    for (let n = 1; ; n += 1) {
      const answer = await send(options, { ...call, sentBefore: (call.sentBefore ?? 0) + n - 1 }, endMs);
      inDoubt = answer.outcome !== '2xx' && (inDoubt || answer.inDoubt);
      // Not all at the same moment.
      const waitMs = 100 * 2 ** (n - 1) * (0.5 + Math.random());
      const again = n < tries && mayBeRepeated(call) && isWorthRetrying(answer);
      if (!again || retriesLeft < 1 || Date.now() + waitMs >= endMs) return { ...answer, inDoubt };
      retriesLeft -= 1;
      await sleep(waitMs);
    }
  }

  return {
    async call(call) {
      let answer: Answer;
      try {
        answer = await breaker.execute(() => attempts(call));
      } catch (error) {
        if (!(error instanceof BrokenCircuitError)) throw error;
        answer = call.evenIfDown
          ? await attempts(call)
          : { outcome: 'breaker', status: null, inDoubt: false };
        if (call.evenIfDown && !isDown(answer)) {
          inARow.success();
          // cockatiel's way to close a breaker from outside.
          breaker.isolate().dispose();
        }
      }
      calls.inc({ client: name, outcome: answer.outcome });
      return answer;
    },
    mayCall() {
      if (breaker.state === CircuitState.Closed) return true;
      if (Date.now() < nextTryMs) return false;
      nextTryMs = Date.now() + leftAloneMs;
      return true;
    },
  };
}

/** An answer that says "not now" or "not you" comes from a system that is up. */
function isDown(answer: unknown): boolean {
  const { outcome } = answer as Answer;
  return outcome === '5xx' || outcome === 'timeout' || outcome === 'network' || outcome === 'unreadable';
}

const mayBeRepeated = ({ method, idempotencyKey }: Call) => method === 'GET' || idempotencyKey !== undefined;

/** A refusal (3xx, 4xx) stays one however often it is asked for; 408 and 429 say "not now". */
export function isWorthRetrying({ outcome, status }: Answer): boolean {
  if (outcome === '3xx' || outcome === '4xx') return status === 408 || status === 429;
  return outcome !== '2xx';
}

async function send(
  { baseUrl, token }: Pick<OutgoingOptions, 'baseUrl' | 'token'>,
  call: Call,
  endMs: number,
): Promise<Answer> {
  const { method, path, template = path, idempotencyKey, sentBefore = 0 } = call;
  const url = new URL(`${baseUrl}${path}`);
  const span = tracer.startSpan(`${method} ${template}`, {
    kind: SpanKind.CLIENT,
    attributes: {
      'http.request.method': method,
      'url.template': template,
      'server.address': url.hostname,
      'server.port': Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
      ...(sentBefore > 0 ? { 'http.request.resend_count': sentBefore } : {}),
    },
  });
  const headers: Record<string, string> = { 'user-agent': userAgent };
  propagation.inject(trace.setSpan(context.active(), span), headers);
  if (call.body !== undefined) headers['content-type'] = 'application/json';
  if (token !== undefined) headers.authorization = `Bearer ${token}`;
  if (idempotencyKey !== undefined) headers['idempotency-key'] = idempotencyKey;
  const answer = await answerTo(url, call, headers, Math.max(1, endMs - Date.now()));
  if (answer.status !== null) span.setAttribute('http.response.status_code', answer.status);
  if (answer.outcome !== '2xx') {
    const status = answer.outcome === 'unreadable' ? null : answer.status;
    span.setAttribute('error.type', status === null ? answer.outcome : String(status));
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
  return answer;
}

const timedOut: Answer = { outcome: 'timeout', status: null, inDoubt: true };

async function answerTo(
  url: URL,
  { method, body, wantsBody }: Call,
  headers: Record<string, string>,
  timeoutMs: number,
): Promise<Answer> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const { statusCode, body: rest } = await request(url, {
      method,
      headers,
      signal,
      ...(body === undefined ? {} : { body }),
    });
    const answer = {
      outcome: outcomeOfStatus(statusCode),
      status: statusCode,
      inDoubt: lostBehindGateway.has(statusCode),
    };
    if (!wantsBody) {
      // The status says it all; the rest is read only so that the connection can be used again.
      await rest.dump({ limit: mostBodyBytes }).catch(() => undefined);
      return answer;
    }
    const json = await jsonOf(rest);
    if (json !== undefined) return { ...answer, body: json };
    // A refusal is told by its status; of a success that cannot be read nobody knows what it was.
    if (answer.outcome !== '2xx') return answer;
    return signal.aborted ? timedOut : { ...answer, outcome: 'unreadable', inDoubt: true };
  } catch (error) {
    if (signal.aborted) return timedOut;
    return {
      outcome: 'network',
      status: null,
      inDoubt: !notSent.has(String((error as { code?: unknown }).code)),
    };
  }
}

/** The JSON of a body; undefined when it is none, larger than it may be, or cut off. */
async function jsonOf(body: AsyncIterable<Uint8Array>): Promise<unknown> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  try {
    for await (const chunk of body) {
      bytes += chunk.byteLength;
      // Leaving the loop ends the connection.
      if (bytes > mostBodyBytes) return undefined;
      chunks.push(chunk);
    }
    return JSON.parse(utf8.decode(Buffer.concat(chunks)));
  } catch {
    return undefined;
  }
}

function outcomeOfStatus(status: number): Outcome {
  if (status >= 500) return '5xx';
  if (status >= 400) return '4xx';
  return status >= 300 ? '3xx' : '2xx';
}
