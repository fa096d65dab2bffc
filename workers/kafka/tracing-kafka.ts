/**
 * Spans around messages by the messaging semantic conventions, over the OpenTelemetry API. Nothing is made for a
 * message whose sender's trace is not sampled: at 30,000 records a second a look at one byte is all that it may cost.
 */
import {
  type Attributes,
  context,
  type Link,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import type { Batch, IncomingRecord } from './kafka.ts';

const tracer = trace.getTracer('muster.kafka');
const maxLinks = 32;

/** The sender's context in a record's traceparent header (W3C), when the sender's trace is sampled. */
export function sampledSender(record: Pick<IncomingRecord, 'headers'>): SpanContext | undefined {
  const header = record.headers.traceparent;
  if (header === undefined || (typeof header === 'object' && !Buffer.isBuffer(header))) return undefined;
  const bytes = header as Buffer | string;
  if (bytes.length !== 55) return undefined;
  const lastDigit = typeof bytes === 'string' ? bytes.charCodeAt(54) : bytes[54]!;
  // The flag is the lowest bit of the last hex digit; '0'-'9' and 'b', 'd', 'f' keep parity apart.
  if (Number.isNaN(Number.parseInt(String.fromCharCode(lastDigit), 16))) return undefined;
  if ((Number.parseInt(String.fromCharCode(lastDigit), 16) & 1) === 0) return undefined;
  return parseTraceparent(bytes.toString());
}

/** Reads a W3C traceparent; undefined when it is not one. */
export function parseTraceparent(text: string): SpanContext | undefined {
  const match = /^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/.exec(text);
  if (!match || text.startsWith('ff') || /^0+$/.test(match[1]!) || /^0+$/.test(match[2]!)) return undefined;
  return {
    traceId: match[1]!,
    spanId: match[2]!,
    traceFlags: Number.parseInt(match[3]!, 16),
    isRemote: true,
  };
}

/** Of a traceparent that is kept with what a request has made: what people are told of it. */
export function traceIdIn(traceparent: string | undefined): { readonly traceId?: string } {
  const found = traceparent === undefined ? undefined : parseTraceparent(traceparent);
  return found === undefined ? {} : { traceId: found.traceId };
}

/** The traceparent header that makes a receiver continue from this span. */
export function traceparentOf(spanContext: SpanContext): string {
  const flags = (spanContext.traceFlags & 0xff).toString(16).padStart(2, '0');
  return `00-${spanContext.traceId}-${spanContext.spanId}-${flags}`;
}

export interface MessageSpan {
  readonly span: Span;
  /** To be put on messages that this work causes. */
  readonly traceparent: string;
  /** Ends the span; with an error its code (or name) becomes error.type. */
  end(error?: unknown): void;
}

/** `send <topic>` under the active span; undefined when there is none or it is not sampled. */
export function startSend(topic: string, records: number, clientId: string): MessageSpan | undefined {
  const active = trace.getActiveSpan();
  if (active === undefined || !active.isRecording()) return undefined;
  return wrap(
    tracer.startSpan(`send ${topic}`, {
      kind: SpanKind.PRODUCER,
      attributes: {
        ...attributes('send', 'send', topic),
        'messaging.client.id': clientId,
        ...(records > 1 ? { 'messaging.batch.message_count': records } : {}),
      },
    }),
  );
}

/**
 * `send <topic>` of a record that was made before (it comes from the outbox): child of the work that made it, which its
 * traceparent header names. Undefined when that trace is not sampled.
 */
export function startLaterSend(
  topic: string,
  headers: IncomingRecord['headers'],
  clientId: string,
): MessageSpan | undefined {
  const maker = sampledSender({ headers });
  if (maker === undefined) return undefined;
  return wrap(
    tracer.startSpan(
      `send ${topic}`,
      {
        kind: SpanKind.PRODUCER,
        attributes: { ...attributes('send', 'send', topic), 'messaging.client.id': clientId },
      },
      trace.setSpanContext(ROOT_CONTEXT, maker),
    ),
  );
}

/**
 * `process <topic>` of one record that is handled alone: child of its sender. Undefined when the sender's trace is not
 * sampled. Run the work under `context.with(trace.setSpan(context.active(), it.span), ...)` or use inSpan.
 */
export function startProcess(
  record: IncomingRecord,
  groupId: string,
  extra: Attributes = {},
): MessageSpan | undefined {
  const sender = sampledSender(record);
  if (sender === undefined) return undefined;
  return wrap(
    tracer.startSpan(
      `process ${record.topic}`,
      {
        kind: SpanKind.CONSUMER,
        links: [{ context: sender }],
        attributes: {
          ...attributes('process', 'process', record.topic),
          'messaging.destination.partition.id': String(record.partition),
          'messaging.kafka.offset': record.offset,
          'messaging.consumer.group.name': groupId,
          ...extra,
        },
      },
      trace.setSpanContext(ROOT_CONTEXT, sender),
    ),
  );
}

/** Runs `work` with the span active, so that spans and logs made in it belong to it. */
export function inSpan<T>(span: MessageSpan | undefined, work: () => T): T {
  return span === undefined ? work() : context.with(trace.setSpan(context.active(), span.span), work);
}

/** `poll <topic>`: made only when a record of the batch comes from a sampled trace, and linked to those. */
export function recordPoll(batch: Batch, groupId: string, clientId: string): readonly Link[] {
  let links: Link[] | undefined;
  for (const record of batch.records) {
    if (record.headers.traceparent === undefined) continue;
    const sender = sampledSender(record);
    if (sender === undefined) continue;
    links ??= [];
    links.push({ context: sender });
    if (links.length >= maxLinks) break;
  }
  if (links === undefined) return [];
  const alone = batch.records.length === 1;
  tracer
    .startSpan(
      `poll ${batch.topic}`,
      {
        kind: SpanKind.CLIENT,
        links,
        attributes: {
          ...attributes('poll', 'receive', batch.topic),
          'messaging.destination.partition.id': String(batch.partition),
          'messaging.consumer.group.name': groupId,
          'messaging.client.id': clientId,
          'messaging.batch.message_count': batch.records.length,
          'messaging.kafka.offset': batch.records[0]!.offset,
        },
      },
      alone ? trace.setSpanContext(ROOT_CONTEXT, links[0]!.context) : ROOT_CONTEXT,
    )
    .end();
  return links;
}

/** `commit <topic>` with its duration, linked to the sampled senders whose records it covers. */
export function recordCommit(
  topic: string,
  partition: number,
  offset: number,
  groupId: string,
  links: readonly Link[],
  startMs: number,
): void {
  if (links.length === 0) return;
  tracer
    .startSpan(
      `commit ${topic}`,
      {
        kind: SpanKind.CLIENT,
        startTime: startMs,
        links: [...links],
        attributes: {
          ...attributes('commit', 'settle', topic),
          'messaging.destination.partition.id': String(partition),
          'messaging.consumer.group.name': groupId,
          'messaging.kafka.offset': offset,
        },
      },
      links.length === 1 ? trace.setSpanContext(ROOT_CONTEXT, links[0]!.context) : ROOT_CONTEXT,
    )
    .end();
}

function attributes(name: string, type: string, topic: string): Attributes {
  return {
    'messaging.system': 'kafka',
    'messaging.operation.name': name,
    'messaging.operation.type': type,
    'messaging.destination.name': topic,
  };
}

function wrap(span: Span): MessageSpan {
  return {
    span,
    traceparent: traceparentOf(span.spanContext()),
    end(error) {
      if (error !== undefined) {
        const type = (error as { code?: unknown }).code ?? (error instanceof Error ? error.name : 'error');
        span.setAttribute('error.type', String(type));
        span.setStatus({ code: SpanStatusCode.ERROR });
      }
      span.end();
    },
  };
}
