/**
 * Who calls whom, over which topic or route, how often, how well and how fast: computed from spans. Pure.
 *
 * A message is one call from its sender to each service that took it; a request one from its client to the server.
 * What came from or went to something that writes no spans has an open end (undefined).
 */
import type { JaegerSpan, JaegerTrace } from './trace-tree.ts';

/** What a call goes over. */
export type Way =
  | { readonly kind: 'topic'; readonly topic: string }
  | { readonly kind: 'http'; readonly method: string; readonly route: string }
  /** A database or cache, by its system's name (`mysql`, `redis`). */
  | { readonly kind: 'store'; readonly system: string };

export interface ServiceCall {
  /** Service name; undefined: from outside, by a caller that writes no spans of ours. */
  readonly from: string | undefined;
  /** Service name; undefined: nobody was seen taking it. */
  readonly to: string | undefined;
  readonly way: Way;
  /** How many in the whole window, estimated where only some traces were looked at. */
  readonly calls: number;
  readonly perSecond: number;
  readonly errors: number;
  /** 0 to 1. */
  readonly errorRatio: number;
  /**
   * Request: from its arrival to its answer. Message: from the begin of sending until the receiver had handled it
   * (had it, when it handles batches). In ms; undefined where it could not be measured.
   */
  readonly p50Ms: number | undefined;
  readonly p95Ms: number | undefined;
}

export interface ServiceMap {
  readonly fromMs: number;
  readonly toMs: number;
  /** Traces it was computed from. */
  readonly traces: number;
  /** Sorted by name: processes that wrote spans. */
  readonly services: readonly string[];
  /** Most frequent first. */
  readonly calls: readonly ServiceCall[];
}

/** A trace and the number of traces that it stands for (1 when all were looked at). */
export interface WeightedTrace {
  readonly trace: JaegerTrace;
  readonly weight: number;
}

interface Seen {
  readonly span: JaegerSpan;
  readonly key: string;
  readonly service: string;
  readonly kind: string;
  readonly weight: number;
}

interface Sum {
  readonly from: string | undefined;
  readonly to: string | undefined;
  readonly way: Way;
  calls: number;
  errors: number;
  readonly tookMs: { readonly ms: number; readonly weight: number }[];
}

/** Spans of the tracing system itself say nothing about ours. */
const notOurs = new Set(['jaeger']);

/** Computes the map of a window. */
export function serviceMap(
  traces: readonly WeightedTrace[],
  window: { readonly fromMs: number; readonly toMs: number },
): ServiceMap {
  const spans = traces.flatMap(({ trace, weight }) =>
    trace.spans.map((span): Seen => {
      const service = trace.processes[span.processID]?.serviceName ?? 'unknown';
      const kind = String(tag(span, 'span.kind') ?? 'internal');
      return { span, key: `${span.traceID}:${span.spanID}`, service, kind, weight };
    }),
  );
  const ours = spans.filter(({ service }) => !notOurs.has(service));
  const byKey = new Map(ours.map((seen) => [seen.key, seen]));
  const sums = new Map<string, Sum>();
  const add = (
    call: Pick<Sum, 'from' | 'to' | 'way'>,
    count: { readonly weight: number; readonly failed: boolean; readonly ms: number | undefined },
  ): void => {
    const key = JSON.stringify([call.from ?? null, call.to ?? null, call.way]);
    const sum = sums.get(key) ?? { ...call, calls: 0, errors: 0, tookMs: [] };
    sums.set(key, sum);
    sum.calls += count.weight;
    if (count.failed) sum.errors += count.weight;
    if (count.ms !== undefined) sum.tookMs.push({ ms: count.ms, weight: count.weight });
  };
  requests(ours, byKey, add);
  messages(ours, byKey, add);
  const seconds = Math.max(0.001, (window.toMs - window.fromMs) / 1000);
  return {
    ...window,
    traces: traces.length,
    services: [...new Set(ours.map(({ service }) => service))].sort(),
    calls: [...sums.values()]
      .map(({ tookMs, ...sum }) => ({
        ...sum,
        perSecond: sum.calls / seconds,
        errorRatio: sum.calls === 0 ? 0 : sum.errors / sum.calls,
        p50Ms: quantile(tookMs, 0.5),
        p95Ms: quantile(tookMs, 0.95),
      }))
      .sort((a, b) => b.calls - a.calls || wayText(a.way).localeCompare(wayText(b.way))),
  };
}

type Add = (
  call: Pick<Sum, 'from' | 'to' | 'way'>,
  count: { readonly weight: number; readonly failed: boolean; readonly ms: number | undefined },
) => void;

/** HTTP and stores: server spans, and client spans that nobody of ours answered. */
function requests(spans: readonly Seen[], byKey: ReadonlyMap<string, Seen>, add: Add): void {
  const answered = new Set<string>();
  for (const { span, service, kind, weight } of spans) {
    if (kind !== 'server') continue;
    const client = referencesOf(span).find((key) => byKey.get(key)?.kind === 'client');
    if (client !== undefined) answered.add(client);
    add(
      {
        from: client === undefined ? undefined : byKey.get(client)!.service,
        to: service,
        way: httpWay(span),
      },
      { weight, failed: failed(span), ms: span.duration / 1000 },
    );
  }
  for (const { span, key, service, kind, weight } of spans) {
    if (kind !== 'client' || answered.has(key) || tag(span, 'messaging.system') !== undefined) continue;
    const system = tag(span, 'db.system.name') ?? tag(span, 'db.system');
    const count = { weight, failed: failed(span), ms: span.duration / 1000 };
    if (system !== undefined)
      add({ from: service, to: undefined, way: { kind: 'store', system: String(system) } }, count);
    else if (tag(span, 'http.request.method') !== undefined)
      add({ from: service, to: undefined, way: httpWay(span) }, count);
  }
}

/** Messages: what was sent, joined with who took it by parents and links. */
function messages(spans: readonly Seen[], byKey: ReadonlyMap<string, Seen>, add: Add): void {
  const sends = spans.filter(({ span, kind }) => kind === 'producer' && topicOf(span) !== undefined);
  const sendersOf = new Map<string, Map<string, number>>();
  for (const { span, service, weight } of sends) {
    const senders = sendersOf.get(topicOf(span)!) ?? new Map<string, number>();
    senders.set(service, (senders.get(service) ?? 0) + weight);
    sendersOf.set(topicOf(span)!, senders);
  }
  /** Sender and receiving service and group -> how it was received: handled alone says more than polled. */
  const receipts = new Map<
    string,
    { readonly receiver: Seen; readonly sender: string; readonly handled: boolean }
  >();
  for (const receiver of spans) {
    const operation = tag(receiver.span, 'messaging.operation.type');
    if (operation !== 'process' && operation !== 'receive') continue;
    const group = String(tag(receiver.span, 'messaging.consumer.group.name') ?? '');
    for (const sender of referencesOf(receiver.span)) {
      const seen = byKey.get(sender);
      if (seen !== undefined && seen.kind !== 'producer') continue;
      const key = `${sender} ${receiver.service} ${group}`;
      const handled = operation === 'process';
      if (handled || !receipts.has(key)) receipts.set(key, { receiver, sender, handled });
    }
  }
  const read = new Set<string>();
  for (const { receiver, sender: key, handled } of receipts.values()) {
    const topic = topicOf(receiver.span);
    if (topic === undefined) continue;
    read.add(topic);
    const way: Way = { kind: 'topic', topic };
    const to = receiver.service;
    const wrong = failed(receiver.span);
    const sender = byKey.get(key);
    if (sender !== undefined) {
      const endUs = receiver.span.startTime + (handled ? receiver.span.duration : 0);
      const ms = Math.max(0, (endUs - sender.span.startTime) / 1000);
      add({ from: sender.service, to, way }, { weight: receiver.weight, failed: wrong, ms });
      continue;
    }
    // The sender's trace was not among those looked at: shared out among those seen sending to this topic.
    const senders = [...(sendersOf.get(topic) ?? [])];
    const all = senders.reduce((sum, [, weight]) => sum + weight, 0);
    if (all === 0)
      add({ from: undefined, to, way }, { weight: receiver.weight, failed: wrong, ms: undefined });
    for (const [from, share] of senders)
      add({ from, to, way }, { weight: (receiver.weight * share) / all, failed: wrong, ms: undefined });
  }
  for (const { span, service, weight } of sends) {
    const way: Way = { kind: 'topic', topic: topicOf(span)! };
    if (read.has(way.topic)) continue;
    add({ from: service, to: undefined, way }, { weight, failed: failed(span), ms: undefined });
  }
}

/** `purchase`, `POST /purchases`, `mysql`: for tables and edges' labels. */
export function wayText(way: Way): string {
  if (way.kind === 'topic') return way.topic;
  return way.kind === 'http' ? `${way.method} ${way.route}` : way.system;
}

function httpWay(span: JaegerSpan): Way {
  const method = String(tag(span, 'http.request.method') ?? span.operationName.split(' ')[0]);
  const route = tag(span, 'http.route') ?? tag(span, 'url.template') ?? span.operationName.split(' ')[1];
  return { kind: 'http', method, route: String(route ?? tag(span, 'server.address') ?? '?') };
}

function topicOf(span: JaegerSpan): string | undefined {
  const topic = tag(span, 'messaging.destination.name');
  return topic === undefined ? undefined : String(topic);
}

/** Each span that it is a child of or linked to, once. */
function referencesOf(span: JaegerSpan): readonly string[] {
  return [...new Set((span.references ?? []).map(({ traceID, spanID }) => `${traceID}:${spanID}`))];
}

function failed(span: JaegerSpan): boolean {
  const error = tag(span, 'error');
  const status = Number(tag(span, 'http.response.status_code') ?? 0);
  return error === true || error === 'true' || tag(span, 'otel.status_code') === 'ERROR' || status >= 500;
}

function tag(span: JaegerSpan, name: string): unknown {
  return span.tags?.find(({ key }) => key === name)?.value;
}

/** The smallest value that at least the share `q` of the weight does not exceed. */
function quantile(values: readonly { ms: number; weight: number }[], q: number): number | undefined {
  const sorted = [...values].sort((a, b) => a.ms - b.ms);
  const all = sorted.reduce((sum, { weight }) => sum + weight, 0);
  let below = 0;
  for (const { ms, weight } of sorted) {
    below += weight;
    if (below >= all * q - 1e-9) return ms;
  }
  return undefined;
}
