/** The webhook client: one POST, and how it ended. */
import { context, propagation, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
// Not fetch(): it costs twice the processor time.
import { request } from 'undici';
import { type Answer, outcomeOfStatus } from './delivery.ts';

export interface WebhookOptions {
  /** Base address of the receiver, without a slash at the end. */
  readonly baseUrl: string;
  /** Longest wait for the answer. */
  readonly timeoutMs: number;
}

const tracer = trace.getTracer('muster/outside');

/** Failures of which it is certain that the request was not sent. */
const notSent = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
]);

/**
 * Sends the body with the Idempotency-Key and the active trace. Never rejects. The key is the same for every attempt of an
 * event, so a receiver that keeps to it does the work once.
 */
export async function postWebhook(
  { baseUrl, timeoutMs }: WebhookOptions,
  webhook: {
    /** From the base address on. */
    readonly path: string;
    readonly idempotencyKey: string;
    /** JSON. */
    readonly body: Buffer;
    readonly attempt: number;
  },
): Promise<Answer> {
  const { path } = webhook;
  const url = new URL(`${baseUrl}${path}`);
  const span = tracer.startSpan(`POST ${path}`, {
    kind: SpanKind.CLIENT,
    attributes: {
      'http.request.method': 'POST',
      'url.template': path,
      'server.address': url.hostname,
      'server.port': Number(url.port || (url.protocol === 'https:' ? 443 : 80)),
      ...(webhook.attempt > 1 ? { 'http.request.resend_count': webhook.attempt - 1 } : {}),
    },
  });
  const carrier: Record<string, string> = {};
  propagation.inject(trace.setSpan(context.active(), span), carrier);
  const answer = await send(
    url,
    timeoutMs,
    {
      ...carrier,
      'content-type': 'application/json',
      'idempotency-key': webhook.idempotencyKey,
      'user-agent': 'muster-webhooks/1',
    },
    webhook.body,
  );
  if (answer.status !== null) span.setAttribute('http.response.status_code', answer.status);
  if (answer.outcome !== '2xx') {
    span.setAttribute('error.type', answer.status === null ? answer.outcome : String(answer.status));
    span.setStatus({ code: SpanStatusCode.ERROR });
  }
  span.end();
  return answer;
}

async function send(
  url: URL,
  timeoutMs: number,
  headers: Record<string, string>,
  body: Buffer,
): Promise<Answer> {
  const signal = AbortSignal.timeout(timeoutMs);
  try {
    const { statusCode, body: rest } = await request(url, { method: 'POST', headers, body, signal });
    // The status says it all; the rest is read only so that the connection can be used again.
    await rest.dump({ limit: 65_536 }).catch(() => undefined);
    return { outcome: outcomeOfStatus(statusCode), status: statusCode, inDoubt: false };
  } catch (error) {
    if (signal.aborted) return { outcome: 'timeout', status: null, inDoubt: true };
    return {
      outcome: 'network',
      status: null,
      inDoubt: !notSent.has(String((error as { code?: unknown }).code)),
    };
  }
}
