/** Intake over a store in memory and a producer that hangs: what real ones do at their worst moments. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { NotNowError } from '../base/errors.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { testLog } from '../kafka/testing.ts';
import { startIntake } from './intake.ts';
import { orderings } from './ordering.ts';
import type { RequestBatch, RequestRows, RequestStore } from './requests.ts';

function memoryStore() {
  const notes = new Map<string, RequestBatch>();
  let looks = 0;
  const deleteNotes = async (batchIds: readonly string[]) => {
    for (const id of batchIds) notes.delete(id);
  };
  const rows: Partial<RequestRows> = {
    addRequests: async () => {},
    addNote: async (batch) => void notes.set(batch.batchId, batch),
    async lockNotes() {
      looks += 1;
      return [...notes.values()];
    },
    deleteNotes,
  };
  const store: RequestStore = { transaction: (work) => work(rows as RequestRows), deleteNotes };
  return { notes, store, looks: () => looks };
}

async function until(what: () => boolean): Promise<void> {
  const endMs = Date.now() + 20_000;
  while (!what()) {
    if (Date.now() > endMs) throw new Error('did not happen in time');
    await sleep(10);
  }
}

test('a request whose send hangs and then fails is published all the same: its note stays until Kafka has acked', async (t) => {
  const { notes, store, looks } = memoryStore();
  const sent: OutgoingRecord[] = [];
  let giveUp: (() => void) | undefined;
  const intake = startIntake({
    store,
    ordering: orderings.user,
    log: testLog,
    forgottenAfterMs: 0,
    producer: {
      async send(records) {
        if (giveUp === undefined)
          await new Promise<void>((_, reject) => {
            giveUp = () => reject(new NotNowError('MUSTER_KAFKA_SEND', 'not acked within the deadline'));
          });
        sent.push(...(records as OutgoingRecord[]));
      },
    },
  });
  const requestId = await intake.request({ userId: 'u1', couponId: 'c1' });
  await until(() => giveUp !== undefined);
  // The search for what was left behind passes while the first send hangs.
  const seen = looks();
  await until(() => looks() > seen + 1);
  t.is(notes.size, 1, 'nothing is acked yet');
  giveUp!();
  await until(() => sent.length > 0);
  t.regex(String(sent[0]!.value), new RegExp(requestId));
  await until(() => notes.size === 0);
  await intake.stop();
});
