/** What machines ask a process: is it alive, is it ready, its metrics. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { exposition } from '../base/metrics.ts';
import { bodyOf } from './errors.ts';
import type { HttpOptions, HttpServer, Readiness } from './server.ts';

/** Routes that machines poll: no spans, no durations, open while draining. */
export const probes = new Set(['/metrics', '/healthz', '/readyz']);

export function serveProbes(app: HttpServer, options: HttpOptions): void {
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  app.addHook('onClose', async () => void delay.disable());
  const hidden = { schema: { hide: true }, config: { callers: 'anyone' } } as const;
  app.get('/metrics', hidden, async (_request, reply) => {
    reply.type(options.registry.contentType);
    return reply.send(Readable.from(exposition(options.registry)));
  });
  app.get('/healthz', hidden, async () => {
    // Answering at all shows that the event loop moves; the lag says how well it did since the last question.
    const lagMs = Math.round(delay.max / 1e6);
    delay.reset();
    return { status: 'ok', uptimeSeconds: Math.round(process.uptime()), eventLoopLagMaxMs: lagMs };
  });
  app.get('/readyz', hidden, async (_request, reply) => {
    const { ready, reasons } = options.readiness();
    if (ready) return { status: 'ready' };
    return reply.code(503).send(notReady(reasons));
  });
}

const notReady = (reasons: Readiness['reasons']) =>
  bodyOf(
    'MUSTER_NOT_READY',
    'not ready',
    reasons.map(({ worker, reason }) => ({ field: worker, reason })),
  );

export function answerWhileStarting(
  request: IncomingMessage,
  response: ServerResponse,
  options: HttpOptions,
): void {
  const path = request.url?.split('?')[0];
  const json = (status: number, value: unknown) => {
    response.writeHead(status, { 'content-type': 'application/json; charset=utf-8', 'retry-after': '1' });
    response.end(JSON.stringify(value));
    request.resume();
  };
  if (path === '/healthz') json(200, { status: 'ok', uptimeSeconds: Math.round(process.uptime()) });
  else if (path === '/metrics') {
    options.registry.metrics().then(
      (text) => {
        response.writeHead(200, { 'content-type': options.registry.contentType });
        response.end(text);
      },
      () => json(500, bodyOf('MUSTER_INTERNAL', 'metrics could not be read')),
    );
  } else json(503, notReady(options.readiness().reasons));
}
