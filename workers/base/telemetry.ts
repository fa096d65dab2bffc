/**
 * Tracing to an OTLP/HTTP endpoint. This module is small; the SDK behind it is loaded only when an endpoint is set,
 * because it costs memory. Everybody else uses @opentelemetry/api, which does nothing until this has started.
 *
 * Only traces go through it: metrics are prom-client's and logs are winston's, so the SDK's other signals stay off. It
 * loads their exporters all the same (about 9 MB resident against the parts put together by hand); see docs.
 */
import type { Logger } from './log.ts';

export interface TelemetryOptions {
  readonly endpoint: string | undefined;
  readonly processName: string;
  readonly environment: string;
  /** Share of root traces that are kept, 0 to 1, as long as they are few (newTraces); a child follows its parent. */
  readonly sampleRatio: number;
  readonly log: Logger;
}

export interface Telemetry {
  /** Sends what is queued, for at most `deadlineMs`. Never rejects. */
  shutdown(deadlineMs: number): Promise<void>;
}

/** Spans kept while the endpoint is slow or away; more are dropped rather than grow the process. */
const maxQueueSize = 8_192;
/** Traces that may begin in a process, whatever the ratio says: most begin in the API, which has two. */
const newTraces = { perSecond: 12, burst: 120 };

export async function startTelemetry(options: TelemetryOptions): Promise<Telemetry> {
  const { endpoint, log } = options;
  if (endpoint === undefined) return { shutdown: async () => {} };
  const [{ OTLPTraceExporter }, { resourceFromAttributes }, { NodeSDK }, trace, core, api, { limitRate }] =
    await Promise.all([
      import('@opentelemetry/exporter-trace-otlp-proto'),
      import('@opentelemetry/resources'),
      import('@opentelemetry/sdk-node'),
      import('@opentelemetry/sdk-trace'),
      import('@opentelemetry/core'),
      import('@opentelemetry/api'),
      import('./sampler.ts'),
    ]);
  api.diag.setLogger(quietDiagnostics(log), { logLevel: api.DiagLogLevel.WARN });
  const sdk = new NodeSDK({
    resource: resourceFromAttributes({
      // Replicas (`api-2`) are one service.
      'service.name': options.processName.replace(/-\d+$/, ''),
      'service.instance.id': options.processName,
      'service.namespace': 'muster',
      'deployment.environment.name': options.environment,
    }),
    autoDetectResources: false,
    instrumentations: [],
    metricReaders: [],
    logRecordProcessors: [],
    // No baggage: what came from outside would be carried on to every topic.
    textMapPropagator: new core.W3CTraceContextPropagator(),
    sampler: new trace.ParentBasedSampler({
      root: limitRate(new trace.TraceIdRatioBasedSampler(options.sampleRatio), {
        ...newTraces,
        nowMs: () => performance.now(),
      }),
    }),
    spanProcessors: [
      new trace.BatchSpanProcessor({
        exporter: new OTLPTraceExporter({
          url: `${endpoint.replace(/\/+$/, '')}/v1/traces`,
          timeoutMillis: 5_000,
          concurrencyLimit: 4,
        }),
        maxQueueSize,
        maxExportBatchSize: 1_024,
        scheduledDelayMillis: 1_000,
        exportTimeoutMillis: 6_000,
      }),
    ],
  });
  sdk.start();
  return {
    async shutdown(deadlineMs) {
      let timer: NodeJS.Timeout | undefined;
      const deadline = new Promise<void>((resolve) => {
        timer = setTimeout(() => {
          log.warn('traces were not flushed in time', { deadlineMs });
          resolve();
        }, deadlineMs);
      });
      const flushed = sdk.shutdown().catch((error: unknown) => {
        log.warn('traces could not be flushed', { error });
      });
      await Promise.race([flushed, deadline]);
      clearTimeout(timer);
    },
  };
}

/** The SDK reports each failed export: once a minute is enough for people. */
function quietDiagnostics(log: Logger) {
  const lastMs = new Map<string, number>();
  const say =
    (level: 'warn' | 'debug') =>
    (message: string, ...details: unknown[]) => {
      const text = [message, ...details].map(String).join(' ').slice(0, 500);
      const kind = text.slice(0, 60);
      const now = Date.now();
      if (now - (lastMs.get(kind) ?? 0) < 60_000) return;
      if (lastMs.size > 100) lastMs.clear();
      lastMs.set(kind, now);
      log[level](`tracing: ${text}`);
    };
  return {
    error: say('warn'),
    warn: say('warn'),
    info: say('debug'),
    debug: say('debug'),
    verbose: say('debug'),
  };
}
