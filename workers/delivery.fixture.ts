/** The workers of food delivery as they are, over HTTP and on a database; Kafka is in memory. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Kysely } from 'kysely';
import { createRegistry } from './base/metrics.ts';
import { logging, messages, orders, photos, riders } from './delivery/worker.ts';
import { startTestHttp } from './http/testing.ts';
import { testLog } from './kafka/testing.ts';
import type { Worker, WorkerDeps } from './platform/worker.ts';
import { createMemoryKafka } from './promotion/memory-kafka.fixture.ts';
import { outboxStore } from './store/outbox.ts';
import { startOutboxRelay } from './store/relay.ts';

/** @param onLine called with what `delivery-log` writes */
export async function startDelivery(
  db: Kysely<unknown>,
  fail: (error: Error) => void,
  onLine: (line: { readonly eventId: string }) => void = () => {},
) {
  const memory = createMemoryKafka();
  const kafka: typeof memory = {
    ...memory,
    // Nothing is kept beyond the test: there is nothing to commit to.
    consumePartitions: async (options) => ({ ...(await memory.consumePartitions(options)), commit() {} }),
  };
  const registry = createRegistry();
  const http = await startTestHttp({ processName: 'delivery', log: testLog, registry });
  const relay = startOutboxRelay({
    store: outboxStore(db),
    database: 'delivery',
    producer: await kafka.producer('test'),
    registry,
    log: testLog,
    pollMs: 20,
  });
  const log = Object.assign(Object.create(testLog), {
    info: (_: string, line: { readonly eventId: string }) => onLine(line),
    child: () => testLog,
  });
  const folder = await mkdtemp(join(tmpdir(), 'delivery-'));
  const deps = {
    config: {
      ...{ UPLOADS_DIRECTORY: folder, MYSQL_DATABASE: 'none' },
      ...{ PROCESS_NAME: 'delivery', DELIVERY_MAX_CLIENTS: 20 },
    },
    ...{ kafka, http: http.app, metrics: registry, log },
    ...{ database: async () => db, relayOutbox: async () => relay },
    secrets: { pseudonymKey: Buffer.alloc(32, 7) },
    fail,
  } as unknown as WorkerDeps;
  const all = [orders, photos, riders, messages, logging] as unknown as readonly Worker[];
  const running = await Promise.all(all.map((worker) => worker.start(deps)));
  await http.open();
  return {
    http,
    kafka,
    memory,
    async close() {
      await Promise.all(running.map((each) => each.stop()));
      await relay.stop();
      await http.close(100);
      await rm(folder, { recursive: true });
    },
  };
}
