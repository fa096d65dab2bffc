/**
 * Log lines on their way to Kafka, beside stdout: bounded in memory, and whoever logs never waits.
 *
 * Each line has a number in the life of its process. One send is in flight at a time, and what was not acked goes again, as
 * long as the process lives: so lines lie on the topic in order, some perhaps twice, and the numbers that are missing are
 * exactly those of lines that were dropped before they were ever sent. How many those are, each record says itself.
 */
import { context, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Registry } from 'prom-client';
import { type LogDropReason, logDropReasons, logHeaders, logPublishing } from '../../catalog/logs.ts';
import { metrics } from '../../catalog/metrics.ts';
import { isNotNow } from '../base/errors.ts';
import { uuidV7 } from '../base/ids.ts';
import { counter, gauge } from '../base/metrics.ts';
import type { Kafka, OutgoingRecord, Producer } from '../kafka/kafka.ts';
import { eventRecord } from '../kafka/records.ts';

export interface LogPublisher {
  /** Takes a line as it is on stdout. Never waits, never throws. */
  take(line: string, level: string): void;
  /** From now on lines go out. The client is this publisher's own and must not log: its troubles would be lines again. */
  connect(kafka: Pick<Kafka, 'producer'>): Promise<void>;
  /** Resolves when all lines so far are on the topic, or after `withinMs`. */
  flush(withinMs: number): Promise<void>;
  /** Takes no more lines, and flushes. What is left counts as dropped. */
  close(withinMs: number): Promise<void>;
}

export interface LogPublisherOptions {
  readonly topic: string;
  readonly process: string;
  readonly registry: Registry;
  /** Told when lines get through again after some were dropped: how many, by reason, since it was told last. */
  onDropped(dropped: Readonly<Partial<Record<LogDropReason, number>>>): void;
  readonly settings?: Partial<typeof settingsOfCatalog>;
}

const settingsOfCatalog: Record<keyof typeof logPublishing, number> = logPublishing;

interface Waiting {
  readonly line: string;
  readonly sequence: number;
  readonly timeMs: number;
  /** Lines before this one that found no room. */
  readonly noRoomBefore: number;
  readonly bytes: number;
}

/** Of one send; the producer makes batches of it. */
const linesAtOnce = 2_000;
const sendWithinMs = 10_000;
/** An object, its numbers and what a string has beside its characters. */
const besideLineBytes = 200;
/** At most so often people are told that lines were dropped. */
const tellEveryMs = 10_000;

export function startLogPublisher(options: LogPublisherOptions): LogPublisher {
  const { lingerMs, bufferBytes, maxLineBytes, retryMs } = { ...logPublishing, ...options.settings };
  const { registry } = options;
  const lines = counter(registry, metrics.log.lines);
  const published = counter(registry, metrics.log.published);
  const droppedLines = counter(registry, metrics.log.dropped);
  gauge(registry, metrics.log.waitingBytes, (waitingBytes) => waitingBytes.set(held));
  const instance = uuidV7(Date.now());
  const dropped: Record<LogDropReason, number> = { 'no-room': 0, refused: 0, ended: 0 };
  let told = { ...dropped };
  let toldAtMs = 0;
  let queue: Waiting[] = [];
  let held = 0;
  let sequence = 0;
  let lastMs = 0;
  let producer: Producer | undefined;
  let timer: NodeJS.Timeout | undefined;
  let sending: Promise<void> | undefined;
  let closed = false;

  function drop(reason: LogDropReason, count: number): void {
    dropped[reason] += count;
    droppedLines.inc({ reason }, count);
  }

  function take(line: string, level: string): void {
    lines.inc({ level });
    sequence += 1;
    if (closed) {
      drop('ended', 1);
      return;
    }
    const text = line.length > maxLineBytes ? cut(line) : line;
    const bytes = text.length + besideLineBytes;
    if (held + bytes > bufferBytes) {
      drop('no-room', 1);
      return;
    }
    held += bytes;
    // Lines of one life are in order of time, whatever the clock does: what asks for a period gets a run of numbers.
    lastMs = Math.max(lastMs, Date.now());
    queue.push({ line: text, sequence, timeMs: lastMs, noRoomBefore: dropped['no-room'], bytes });
    wakeIn(lingerMs);
  }

  /** Outside of the trace of whoever logs: sending is not part of it. */
  function wakeIn(ms: number): void {
    if (timer !== undefined || sending !== undefined || producer === undefined) return;
    timer = context.with(ROOT_CONTEXT, () => setTimeout(send, ms));
    timer.unref();
  }

  function send(): void {
    timer = undefined;
    if (sending !== undefined || producer === undefined || queue.length === 0) return;
    const batch = queue.slice(0, linesAtOnce);
    const records = batch.map(record);
    let waitMs = 0;
    sending = producer
      .send(records, { deadlineMs: sendWithinMs })
      .then(
        () => {
          published.inc(batch.length);
          done(batch);
          tell();
        },
        (error: unknown) => {
          waitMs = retryMs;
          if (isNotNow(error)) return;
          drop('refused', batch.length);
          done(batch);
        },
      )
      .finally(() => {
        sending = undefined;
        if (queue.length > 0) wakeIn(waitMs || (queue.length < linesAtOnce ? lingerMs : 0));
      });
  }

  function record({ line, sequence: number, timeMs, noRoomBefore }: Waiting): OutgoingRecord {
    const event = eventRecord({
      topic: options.topic,
      key: null,
      type: 'LogLine',
      source: `/${options.process}`,
      id: `${instance}-${number}`,
      timeMs,
      valueBytes: line,
    });
    const numbers = {
      [logHeaders.instance]: instance,
      [logHeaders.sequence]: String(number),
      [logHeaders.dropped]: String(noRoomBefore + dropped.refused),
    };
    return { ...event, headers: { ...event.headers, ...numbers } };
  }

  function done(batch: readonly Waiting[]): void {
    queue = queue.slice(batch.length);
    for (const { bytes } of batch) held -= bytes;
  }

  function tell(): void {
    if (Date.now() - toldAtMs < tellEveryMs) return;
    const news = logDropReasons.flatMap((reason) => {
      const count = dropped[reason] - told[reason];
      return count === 0 ? [] : [[reason, count] as const];
    });
    if (news.length === 0) return;
    told = { ...dropped };
    toldAtMs = Date.now();
    options.onDropped(Object.fromEntries(news));
  }

  async function flush(withinMs: number): Promise<void> {
    const until = Date.now() + withinMs;
    const last = sequence;
    while (queue.length > 0 && queue[0]!.sequence <= last && Date.now() < until) {
      if (sending === undefined) send();
      const late = Promise.withResolvers<void>();
      const clock = setTimeout(late.resolve, Math.max(1, Math.min(50, until - Date.now())));
      await Promise.race([sending ?? late.promise, late.promise]);
      clearTimeout(clock);
    }
  }

  return {
    take,
    async connect(kafka) {
      producer = await kafka.producer('log', { lingerMs: 0, bufferBytes });
      if (queue.length > 0) wakeIn(0);
    },
    flush,
    async close(withinMs) {
      await flush(withinMs);
      closed = true;
      clearTimeout(timer);
      drop('ended', queue.length);
      queue = [];
      held = 0;
    },
  };
}

/** The main fields of a line that is too long. */
function cut(line: string): string {
  const { ts, level, process, worker, message, trace_id, span_id } = JSON.parse(line) as Record<
    string,
    unknown
  >;
  // An entry may have no message.
  const text = typeof message === 'string' ? message : JSON.stringify(message);
  return JSON.stringify({
    ts,
    level,
    process,
    worker,
    message: text?.slice(0, 8_192),
    trace_id,
    span_id,
    cutFrom: line.length,
  });
}
