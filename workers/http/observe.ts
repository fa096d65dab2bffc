/** What is seen of requests: a span, a duration and a line of the access log each. */
import type { ServerResponse } from 'node:http';
import {
  type Context,
  context,
  propagation,
  ROOT_CONTEXT,
  type Span,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { FastifyRequest } from 'fastify';
import { metrics } from '../../catalog/metrics.ts';
import { durationHistogram } from '../base/metrics.ts';
import { HttpError } from './errors.ts';
import { probes } from './probes.ts';
import { isStream } from './realtime.ts';
import type { HttpOptions, HttpServer } from './server.ts';

const contexts = new WeakMap<FastifyRequest, Context>();

/** The trace that a request is part of. */
export const contextOf = (request: FastifyRequest): Context => contexts.get(request) ?? ROOT_CONTEXT;

/**
 * A span per request (HTTP semantic conventions, without address, query and concrete path: those may be personal),
 * the duration histogram and the access log (level `http`).
 */
export function observeRequests(
  app: HttpServer,
  options: HttpOptions,
  running: Set<ServerResponse>,
  isDraining: () => boolean,
): void {
  const durations = durationHistogram(options.registry, metrics.http.requestDuration);
  const tracer = trace.getTracer('muster/http');
  const logsRequests = options.log.isLevelEnabled('http');

  app.addHook('onRequest', (request, reply, done) => {
    const route = request.routeOptions.url ?? 'unmatched';
    if (probes.has(route) || route.startsWith('/docs')) {
      done();
      return;
    }
    running.add(reply.raw);
    const startedMs = performance.now();
    const method = knownMethods.has(request.method) ? request.method : '_OTHER';
    const parent = propagation.extract(ROOT_CONTEXT, request.headers);
    const span = tracer.startSpan(
      route === 'unmatched' ? method : `${method} ${route}`,
      {
        kind: SpanKind.SERVER,
        attributes: {
          'http.request.method': method,
          'url.scheme': 'http',
          ...(route === 'unmatched' ? {} : { 'http.route': route }),
        },
      },
      parent,
    );
    const spanContext = span.spanContext();
    if (spanContext.spanId !== '0000000000000000') {
      const flags = spanContext.traceFlags.toString(16).padStart(2, '0');
      reply.header('traceparent', `00-${spanContext.traceId}-${spanContext.spanId}-${flags}`);
    }
    const active = trace.setSpan(parent, span);
    contexts.set(request, active);
    reply.raw.once('close', () => {
      running.delete(reply.raw);
      finish(span, method, route, reply.raw, performance.now() - startedMs);
    });
    if (isDraining()) {
      reply.header('connection', 'close');
      done(new HttpError(503, 'MUSTER_DRAINING', 'this process is shutting down; try again'));
      return;
    }
    context.with(active, done);
  });
  // The body arrives in the socket's own context: enter ours again for validation and the handler.
  app.addHook('preValidation', (request, _reply, done) => {
    const active = contexts.get(request);
    if (active === undefined) done();
    else context.with(active, done);
  });

  function finish(span: Span, method: string, route: string, response: ServerResponse, durationMs: number) {
    // 499, as nginx logs a caller that left before its answer.
    const status = response.headersSent || isStream(response) ? response.statusCode : 499;
    span.setAttribute('http.response.status_code', status);
    if (status >= 500) {
      span.setAttribute('error.type', String(status));
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end();
    // A stream lasts as long as its reader likes: that is no duration of ours.
    if (!isStream(response))
      durations.observe(
        { http_request_method: method, http_route: route, http_response_status_code: status },
        durationMs / 1_000,
        span,
      );
    if (!logsRequests) return;
    context.with(trace.setSpan(ROOT_CONTEXT, span), () =>
      options.log.http('request', { method, route, status, durationMs: Math.round(durationMs * 10) / 10 }),
    );
  }
}

const knownMethods = new Set([
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'PATCH',
  'CONNECT',
]);
