/**
 * Log lines from their topic into the store, once each as far as anybody can tell: a line has an id, and is looked up before it
 * is written where it may be there already: after a start, after a write that nobody answered, after the store was started
 * anew, and when its number says that it comes again. The store answers before a line is on its disk, so an offset is committed
 * only some seconds later, by when it is; if the store was started anew before that, reading goes back to where it may have lost
 * something.
 */

import type { Registry } from 'prom-client';
import type { Logger } from 'winston';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { logStore as times } from '../../catalog/logs.ts';
import { metrics } from '../../catalog/metrics.ts';
import { counter, durationHistogram } from '../base/metrics.ts';
import type { Place, Understood } from '../kafka/apply.ts';
import { consume, type RecordConsumer } from '../kafka/consume.ts';
import type { Kafka } from '../kafka/kafka.ts';
import { lineOf, type StoredLine } from './line.ts';
import type { LogStore } from './victorialogs.ts';

export interface LogStoreOptions {
  readonly group: ConsumerGroup;
  readonly store: LogStore;
  /** Is given the lines that were stored. */
  write(lines: readonly StoredLine[]): void;
  readonly registry: Registry;
  readonly log: Logger;
  onFatal(error: Error): void;
  readonly durableAfterMs?: number;
  /** How often the store is asked when it was started, while lines may not be on its disk. */
  readonly lookEveryMs?: number;
}

/** Lines of one insert. */
const atOnce = 2_000;
/** Between two fetches, so that under load one brings more. */
const pauseMs = 50;
/** Lives of processes whose last number is remembered; the oldest are forgotten. */
const mostInstances = 1_000;

interface Written extends Place {
  readonly dueMs: number;
  readonly settle: (durable: boolean) => void;
}

export async function startLogStore(kafka: Kafka, options: LogStoreOptions): Promise<RecordConsumer> {
  const { group, store, registry, log } = options;
  const { durableAfterMs = times.durableAfterMs, lookEveryMs = 1_000 } = options;
  const counted = counter(registry, metrics.log.stored);
  const latency = durationHistogram(registry, metrics.log.storeLatency);
  /** Answered by the store and perhaps not on its disk, in the order of writing. */
  let written: Written[] = [];
  /** When the store was started to which they were written. */
  let storeStartedAt: number | undefined;
  /** By partition: what lies before it may be in the store already. */
  const doubtUntil = new Map<number, number>();
  /** Last number of each life of a process: what comes again from its producer is looked up. */
  const lastNumbers = new Map<string, number>();
  let timesBack = 0;
  let timer: NodeJS.Timeout | undefined;

  const doubt = ({ partition, next }: Pick<Place, 'partition' | 'next'>) =>
    doubtUntil.set(partition, Math.max(next, doubtUntil.get(partition) ?? 0));

  const consumer = await consume<StoredLine>(kafka, {
    group,
    log,
    atOnce,
    pauseMs,
    parse: lineOf,
    apply,
    durable: (at) =>
      new Promise((settle) => {
        written.push({ ...at, settle, dueMs: performance.now() + durableAfterMs });
        timer ??= setTimeout(look, lookEveryMs);
      }),
    async startAt(assignment) {
      storeStartedAt = await store.startedAt();
      forget();
      for (const { topic, partition } of assignment) {
        const ends = await kafka.admin.offsets(topic);
        doubt({ partition, next: ends.find((end) => end.partition === partition)?.high ?? 0 });
      }
      return [];
    },
    onFatal: options.onFatal,
  });

  async function apply(records: readonly Understood<StoredLine>[], at: Place): Promise<boolean> {
    const began = timesBack;
    const news = newAndAgain(records.map(({ data }) => data));
    const inDoubt = at.from < (doubtUntil.get(at.partition) ?? 0);
    const asked = inDoubt ? news.lines : news.again;
    const known = asked.length === 0 ? new Set<string>() : await store.known(asked);
    const lines = news.lines.filter(({ id }) => !known.has(id));
    if (lines.length > 0) {
      try {
        await store.insert(lines);
      } catch (error) {
        // It may have taken some of them.
        doubt(at);
        throw error;
      }
    }
    if (began !== timesBack) return false;
    for (const [instance, number] of news.last) remember(instance, number);
    counted.inc({ outcome: 'stored' }, lines.length);
    counted.inc({ outcome: 'repeated' }, records.length - lines.length);
    if (lines.length > 0) latency.observe({}, Math.max(0, Date.now() - lines[0]!.timeMs) / 1_000);
    options.write(lines);
    return true;
  }

  /**
   * Each numbered line once; `again`: those whose number is not above the last of their process's life. Most have come before. Not
   * all: a send that was given up while the brokers hung may leave its end to be written before what is sent anew.
   */
  function newAndAgain(all: readonly StoredLine[]) {
    const last = new Map<string, number>();
    const here = new Set<string>();
    const lines = all.filter(({ id, numbered }) => {
      const isFirst = numbered === undefined || !here.has(id);
      here.add(id);
      return isFirst;
    });
    const again = lines.filter(({ numbered }) => {
      if (numbered === undefined) return false;
      const { instance, sequence } = numbered;
      if (sequence <= (last.get(instance) ?? lastNumbers.get(instance) ?? 0)) return true;
      last.set(instance, sequence);
      return false;
    });
    return { lines, again, last };
  }

  function remember(instance: string, number: number): void {
    lastNumbers.delete(instance);
    lastNumbers.set(instance, number);
    if (lastNumbers.size > mostInstances) lastNumbers.delete(lastNumbers.keys().next().value!);
  }

  /** Nothing that was written is to be committed by this assignment any more. */
  function forget(): void {
    for (const { settle } of written) settle(false);
    written = [];
    lastNumbers.clear();
  }

  /** Asks whether the store is the one it was when lines were written to it. */
  async function look(): Promise<void> {
    const askedMs = performance.now();
    try {
      const startedAt = await store.startedAt();
      if (startedAt === storeStartedAt) {
        while (written.length > 0 && written[0]!.dueMs <= askedMs) written.shift()!.settle(true);
      } else {
        storeStartedAt = startedAt;
        goBack();
      }
    } catch (error) {
      log.debug('the log store does not say when it was started', { error });
    }
    timer = written.length === 0 ? undefined : setTimeout(look, lookEveryMs);
  }

  function goBack(): void {
    timesBack += 1;
    const lost = [...Map.groupBy(written, ({ partition }) => partition).values()];
    forget();
    for (const places of lost) {
      const { topic, partition, from } = places[0]!;
      doubt(places.at(-1)!);
      log.warn('the log store was started anew: what it may have lost is read again', { partition, from });
      consumer.seek({ topic, partition, offset: from });
    }
  }

  return {
    ...consumer,
    async stop() {
      await consumer.stop();
      clearTimeout(timer);
      forget();
    },
  };
}
