/** Workers on a database that answers as the test says; on a real one they are in workers.integration.test.ts. */
import test from 'ava';
import { createRegistry } from '../base/metrics.ts';
import { startTestHttp } from '../http/testing.ts';
import { testLog } from '../kafka/testing.ts';
import type { WorkerDeps } from '../platform/worker.ts';
import { answeringDatabase } from '../store/answers.fixture.ts';
import type { DueRow } from '../store/relay.ts';
import { orderRow } from './rows.fixture.ts';
import { riders } from './worker.ts';

test('that a delivery has ended is told while others wait for a rider', async (t) => {
  const nowMs = Date.UTC(2026, 10, 29, 12);
  const at = new Date(nowMs);
  const rows = [
    orderRow({ state: 'CALLED', due_at: at }),
    orderRow({ state: 'ASSIGNED', rider: 'u_rider', assigned_at: new Date(nowMs - 1_000), due_at: at }),
  ];
  const riderIsFree = Promise.withResolvers<void>();
  const isAskedFor = Promise.withResolvers<void>();
  const isTold = Promise.withResolvers<DueRow>();
  let isFirst = { calls: true, ends: true };
  const db = answeringDatabase(async (statement) => {
    if (statement.includes('UTC_TIMESTAMP(3) AS now')) return [{ now: at }];
    if (statement.includes('TIMESTAMPDIFF')) return statement.includes('GROUP BY') ? [] : [{ us: 0 }];
    if (statement.includes('GROUP BY')) return [];
    if (statement.includes('FROM delivery_order')) {
      const which = /state (=|<>) 'CALLED'/.exec(statement)?.[1];
      const found = rows.filter(({ state }) => {
        const kind = state === 'CALLED' ? 'calls' : 'ends';
        return isFirst[kind] && (which === undefined || (which === '=') === (kind === 'calls'));
      });
      for (const { state } of found) isFirst = { ...isFirst, [state === 'CALLED' ? 'calls' : 'ends']: false };
      return found;
    }
    if (statement.includes('FROM delivery_rider')) {
      isAskedFor.resolve();
      await riderIsFree.promise;
      return [];
    }
    return 1;
  });
  // Nothing comes of it: that it is time is found by looking.
  const kafka = {
    producer: async () => ({ async send() {}, async close() {} }),
    consumePartitions: async () => ({ epoch: 0, commit() {}, async stop() {} }),
  };
  const http = await startTestHttp({ log: testLog });
  const running = await riders.start({
    ...{ config: {}, log: testLog, http: http.app, metrics: createRegistry(), kafka },
    ...{ database: async () => db, relayOutbox: async () => ({ publish: isTold.resolve }) },
    ...{ secrets: { pseudonymKey: Buffer.alloc(32, 7) }, fail: (error: Error) => t.fail(error.message) },
  } as unknown as WorkerDeps);
  await isAskedFor.promise;
  const { records } = await isTold.promise;
  t.deepEqual(
    records.map(({ topic, value }) => [topic, JSON.parse(String(value)).status]),
    [['delivery-events', 'succeeded']],
  );
  riderIsFree.resolve();
  await running.stop();
  await http.close(100);
});
