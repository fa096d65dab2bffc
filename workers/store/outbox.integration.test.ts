/** On a real MySQL or MariaDB: MYSQL_*. The producer is a list that acks, fails or is slow as a test says. */
import { Writable } from 'node:stream';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import { Registry } from 'prom-client';
import { createLog } from '../base/log.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { countOf, scratchDatabase } from './database.fixture.ts';
import { transaction } from './database.ts';
import { appendOutbox, type RelayOptions, startOutboxRelay } from './outbox.ts';

let db: Kysely<unknown>;
let drop: () => Promise<void>;

test.before(async () => {
  ({ db, drop } = await scratchDatabase('outbox'));
});
test.after.always(() => drop?.());
test.beforeEach(async () => {
  await sql`DELETE FROM muster_outbox`.execute(db);
});

const quiet = createLog({
  process: 'test',
  level: 'error',
  stream: new Writable({ write: (_c, _e, done) => done() }),
});

function relay(
  send: (records: readonly OutgoingRecord[]) => Promise<void>,
  options: Partial<RelayOptions<unknown>> = {},
) {
  return startOutboxRelay({ db, producer: { send }, registry: new Registry(), log: quiet, ...options });
}

const append = (records: { key: string; value: string }[]) =>
  transaction(db, (trx) =>
    appendOutbox(
      trx,
      records.map((record) => ({ topic: 'out', ...record })),
    ),
  );

async function until(what: () => boolean | Promise<boolean>, deadlineMs = 10_000): Promise<void> {
  const endMs = Date.now() + deadlineMs;
  while (!(await what())) {
    if (Date.now() > endMs) throw new Error('did not happen in time');
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** Per key the values in the order they were sent. */
function byKey(sent: readonly OutgoingRecord[]): Map<string, string[]> {
  const values = new Map<string, string[]>();
  for (const { key, value } of sent)
    values.set(String(key), [...(values.get(String(key)) ?? []), String(value)]);
  return values;
}

test.serial(
  'a commit in this process is published at once, with key, value, headers and null as given',
  async (t) => {
    const sent: OutgoingRecord[] = [];
    const running = relay(
      async (records) => {
        sent.push(...records);
      },
      { pollMs: 60_000 },
    );
    await new Promise((resolve) => setTimeout(resolve, 100));
    const startedMs = performance.now();
    await transaction(db, (trx) =>
      appendOutbox(trx, [
        { topic: 'out', key: 'k', value: '{"a":1}', headers: { ce_id: '1', raw: Buffer.from([0, 255]) } },
        { topic: 'out', key: null, value: null },
      ]),
    );
    await until(() => sent.length === 2);
    t.true(performance.now() - startedMs < 1_000);
    const first = sent.find((record) => record.key !== null)!;
    t.is(String(first.key), 'k');
    t.is(String(first.value), '{"a":1}');
    t.deepEqual(first.headers, { ce_id: '1', raw: Buffer.from([0, 255]) });
    t.is(sent.find((record) => record.key === null)!.value, null);
    await running.stop();
    t.is(await countOf(db, 'muster_outbox'), 0);
  },
);

test.serial('what rolls back is never published', async (t) => {
  const sent: OutgoingRecord[] = [];
  const running = relay(
    async (records) => {
      sent.push(...records);
    },
    { pollMs: 20 },
  );
  await t.throwsAsync(
    transaction(db, async (trx) => {
      await appendOutbox(trx, [{ topic: 'out', key: 'k', value: 'no' }]);
      throw new Error('no');
    }),
  );
  await new Promise((resolve) => setTimeout(resolve, 100));
  await running.stop();
  t.is(sent.length, 0);
});

test.serial(
  'two relays and many writers: every row once, each key in the order of its commits',
  async (t) => {
    const sent: OutgoingRecord[] = [];
    const send = async (records: readonly OutgoingRecord[]) => {
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
      sent.push(...records);
    };
    const relays = [
      relay(send, { pollMs: 10, rowsPerShard: 7 }),
      relay(send, { pollMs: 10, rowsPerShard: 5 }),
    ];
    const keys = Array.from({ length: 20 }, (_, i) => `key-${i}`);
    await Promise.all(
      keys.map(async (key) => {
        for (let n = 0; n < 30; n++) await append([{ key, value: String(n) }]);
      }),
    );
    await until(() => sent.length >= 600);
    await Promise.all(relays.map((each) => each.stop()));
    t.is(sent.length, 600);
    for (const [key, values] of byKey(sent))
      t.deepEqual(
        values,
        Array.from({ length: 30 }, (_, n) => String(n)),
        key,
      );
  },
);

test.serial('a failed or half-done send is sent again: at least once, order kept within a key', async (t) => {
  const sent: OutgoingRecord[] = [];
  let calls = 0;
  const running = relay(
    async (records) => {
      calls++;
      if (calls === 1) throw new Error('broker away');
      sent.push(...records);
      // Written, but the ack is lost.
      if (calls === 2) throw new Error('ack lost');
    },
    { pollMs: 10 },
  );
  await append(Array.from({ length: 10 }, (_, n) => ({ key: 'k', value: String(n) })));
  await until(async () => (await countOf(db, 'muster_outbox')) === 0);
  await running.stop();
  const values = byKey(sent).get('k')!;
  const once = Array.from({ length: 10 }, (_, n) => String(n));
  t.deepEqual(values, [...once, ...once]);
});

test.serial('rows that a crashed process left are found by the next relay', async (t) => {
  await append([{ key: 'k', value: 'left' }]);
  const sent: OutgoingRecord[] = [];
  const running = relay(async (records) => {
    sent.push(...records);
  });
  await until(() => sent.length === 1);
  await running.stop();
  t.is(String(sent[0]!.value), 'left');
});

test.serial('the backlog and the age of its oldest row are measured', async (t) => {
  await append([
    { key: 'a', value: '1' },
    { key: 'b', value: '2' },
  ]);
  await sql`UPDATE muster_outbox SET created_at = UTC_TIMESTAMP(3) - INTERVAL 90 SECOND`.execute(db);
  const registry = new Registry();
  const running = relay(() => Promise.reject(new Error('away')), { registry });
  let text = '';
  await until(async () => {
    text = await registry.metrics();
    return /muster_outbox_pending 2/.test(text);
  });
  const age = Number(/muster_outbox_oldest_age_seconds ([\d.]+)/.exec(text)![1]);
  t.true(age >= 89 && age < 120, String(age));
  await running.stop();
});

test.serial('a record that could never be sent is refused when it is written', async (t) => {
  await t.throwsAsync(append([{ key: 'k', value: 'x'.repeat(1_000_000) }]), {
    code: 'MUSTER_RECORD_TOO_LARGE',
  });
  t.is(await countOf(db, 'muster_outbox'), 0);
});
