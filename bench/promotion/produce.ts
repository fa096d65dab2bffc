/** Child process of the benchmark: sends purchases and acts, half and half, keyed by user, at a rate or as fast as it goes. */
import { setTimeout as sleep } from 'node:timers/promises';
import winston from 'winston';
import { topics } from '../../catalog/topics.ts';
import type { OutgoingRecord } from '../../workers/kafka/kafka.ts';
import { connectKafka } from '../../workers/kafka/kafkajs.ts';

export interface ProduceOrder {
  readonly brokers: readonly string[];
  /** Prefix of all ids. */
  readonly run: string;
  readonly events: number;
  /** Events a second; 0: as fast as it goes. */
  readonly rate: number;
  /** Users that the events are spread over. */
  readonly users: number;
}

export interface ProduceReport {
  readonly events: number;
  readonly seconds: number;
  readonly averageBytes: number;
}

/** A record of about 200 bytes, in standard form, keyed by user. Even numbers are acts, odd ones purchases. */
export function benchRecord(run: string, index: number, userId: string, atMs: number): OutgoingRecord {
  const time = new Date(atMs).toISOString();
  return index % 2 === 0
    ? {
        topic: topics.promoBehavior.name,
        key: userId,
        value: `{"userId":"${userId}","promotionId":"spring-sale-2026-${index % 50}","action":"${index % 3 === 0 ? 'view' : 'click'}","actedAt":"${time}","productId":"product-${index % 500}","ageBand":"30s"}`,
      }
    : {
        topic: topics.purchase.name,
        key: userId,
        value: `{"purchaseId":"${run}-${index}","userId":"${userId}","productId":"product-${index % 500}","quantity":1,"price":{"amountMinor":${10_000 + (index % 90_000)},"currency":"KRW"},"purchasedAt":"${time}","ageBand":"30s"}`,
      };
}

async function main(order: ProduceOrder): Promise<ProduceReport> {
  const kafka = connectKafka({
    brokers: order.brokers,
    clientId: 'bench-produce',
    log: winston.createLogger({ silent: true }),
  });
  const producer = await kafka.producer('bench');
  const inFlight = new Set<Promise<void>>();
  let failed: unknown;
  let bytes = 0;
  const startMs = performance.now();
  for (let sent = 0; sent < order.events && failed === undefined; ) {
    const due =
      order.rate === 0
        ? order.events
        : Math.min(order.events, Math.floor(((performance.now() - startMs) / 1000) * order.rate) + 1);
    if (due <= sent) {
      await sleep(2);
      continue;
    }
    const records: OutgoingRecord[] = [];
    const nowMs = Date.now();
    for (const until = Math.min(due, sent + 500); sent < until; sent += 1) {
      const userId = `user-${order.run}-${Math.floor(Math.random() * order.users)}`;
      const record = benchRecord(order.run, sent, userId, nowMs);
      bytes += (record.value as string).length;
      records.push(record);
    }
    const send = producer.send(records).then(
      () => {
        inFlight.delete(send);
      },
      (error) => {
        failed = error;
      },
    );
    inFlight.add(send);
    if (inFlight.size >= 40) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  const seconds = (performance.now() - startMs) / 1000;
  await kafka.close();
  if (failed !== undefined) throw failed;
  return { events: order.events, seconds, averageBytes: Math.round(bytes / order.events) };
}

if (import.meta.main) {
  const report = await main(JSON.parse(process.argv[2]!) as ProduceOrder);
  process.stdout.write(`${JSON.stringify(report)}\n`);
}
