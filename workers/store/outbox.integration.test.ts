/** On a real MySQL or MariaDB: MYSQL_*. The producer is a list that acks, fails or is slow as a test says. */
import { Writable } from 'node:stream';
import test from 'ava';
import { type Kysely, sql } from 'kysely';
import type { DatabaseSettings } from '../base/config.ts';
import { createLog } from '../base/log.ts';
import { createRegistry } from '../base/metrics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { countOf, scratchDatabase } from './database.fixture.ts';
import { openDatabase, transaction } from './database.ts';
import { appendOutbox, appendUnordered, cancelTimer, outboxStore, setTimer } from './outbox.ts';
import { type RelayOptions, startOutboxRelay } from './relay.ts';

let db: Kysely<unknown>;
let settings: DatabaseSettings;
let drop: () => Promise<void>;

test.before(async () => {
  ({ db, settings, drop } = await scratchDatabase('outbox'));
});
test.after.always(() => drop?.());
test.beforeEach(async () => {
  await sql`DELETE FROM muster_outbox`.execute(db);
  await sql`DELETE FROM muster_outbox_due`.execute(db);
});

const quiet = createLog({
  process: 'test',
  level: 'error',
  stream: new Writable({ write: (_c, _e, done) => done() }),
});

function relay(
  send: (records: readonly OutgoingRecord[]) => Promise<void>,
  options: Partial<RelayOptions> = {},
) {
  const store = outboxStore(db);
  return startOutboxRelay({
    store,
    database: 'shop',
    producer: { send: send as never },
    registry: createRegistry(),
    log: quiet,
    ...options,
  });
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
    await transaction(db, (trx) =>
      appendOutbox(trx, [
        { topic: 'out', key: 'k', value: '{"a":1}', headers: { ce_id: '1', raw: Buffer.from([0, 255]) } },
        { topic: 'out', key: null, value: null },
      ]),
    );
    // Long before the next look at the table.
    await until(() => sent.length === 2);
    const first = sent.find((record) => record.key !== null)!;
    t.is(String(first.key), 'k');
    t.is(String(first.value), '{"a":1}');
    t.deepEqual(first.headers, { ce_id: '1', raw: Buffer.from([0, 255]) });
    t.is(sent.find((record) => record.key === null)!.value, null);
    await running.stop();
    t.is(await countOf(db, 'muster_outbox'), 0);
  },
);

test.serial(
  'a timer that is set in this process fires in its time, however rarely rows are looked for',
  async (t) => {
    const sent: OutgoingRecord[] = [];
    const running = relay(async (records) => void sent.push(...records), { pollMs: 60_000 });
    await new Promise((resolve) => setTimeout(resolve, 100));
    await transaction(db, (trx) => setTimer(trx, [{ topic: 'out', key: 'k', value: 'due' }], 50));
    await until(() => sent.length === 1);
    await running.stop();
    t.is(String(sent[0]!.value), 'due');
  },
);

test.serial(
  'many records of one transaction share rows, and are published as given, in order per key',
  async (t) => {
    const records = Array.from({ length: 450 }, (_, n) => ({
      topic: `out-${n % 3}`,
      key: n % 50 === 0 ? null : `k${n % 7}`,
      value: n % 60 === 1 ? null : `"${n} ø"`,
      headers: { ce_id: String(n), raw: Buffer.from([0, n % 256]) },
    }));
    await transaction(db, (trx) => appendOutbox(trx, records));
    t.true((await countOf(db, 'muster_outbox')) < 20);

    const sent: OutgoingRecord[] = [];
    const running = relay(async (batch) => void sent.push(...batch), { pollMs: 20 });
    await until(() => sent.length >= records.length);
    await running.stop();
    const wayOf = ({ topic, key }: OutgoingRecord) => `${topic} ${key}`;
    const text = ({ topic, key, value, headers }: OutgoingRecord) => ({
      topic,
      key: key && String(key),
      value: value && String(value),
      headers,
    });
    const inOrder = (all: readonly OutgoingRecord[]) =>
      new Map([...Map.groupBy(all, wayOf)].toSorted().map(([way, own]) => [way, own.map(text)]));
    t.deepEqual(inOrder(sent), inOrder(records));
    t.is(await countOf(db, 'muster_outbox'), 0);
  },
);

test.serial('records of a key go out in the order of their commits, however many come at once', async (t) => {
  // The relay begins when all of it waits: more of either kind than it reads in one step.
  let last = 0;
  for (let round = 0; round < 30; round++)
    await append(
      Array.from({ length: [1, 2, 120, 9, 3][round % 5]! }, () => ({ key: 'k', value: String(last++) })),
    );
  const sent: OutgoingRecord[] = [];
  const running = relay(async (batch) => void sent.push(...batch), { pollMs: 20, rowsPerShard: 5 });
  await until(() => sent.length >= last);
  await running.stop();
  t.deepEqual(
    sent.map(({ value }) => Number(value)),
    Array.from({ length: last }, (_, n) => n),
  );
  t.is(await countOf(db, 'muster_outbox'), 0);
});

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
  const registry = createRegistry();
  const running = relay(() => Promise.reject(new Error('away')), { registry });
  let text = '';
  await until(async () => {
    text = await registry.metrics();
    return /muster_outbox_pending\{database="shop"\} 2/.test(text);
  });
  const age = Number(/muster_outbox_oldest_age_seconds\{database="shop"\} ([\d.]+)/.exec(text)![1]);
  t.true(age >= 89 && age < 120, String(age));
  await running.stop();
});

test.serial('a record that could never be sent is refused when it is written', async (t) => {
  await t.throwsAsync(append([{ key: 'k', value: 'x'.repeat(1_000_000) }]), {
    code: 'MUSTER_RECORD_TOO_LARGE',
  });
  t.is(await countOf(db, 'muster_outbox'), 0);
});

test.serial(
  'a relay whose lock ends while it sends deletes nothing, and what follows stays in order',
  async (t) => {
    const sent: { by: string; value: string }[] = [];
    let thaw = () => {};
    const frozen = new Promise<void>((resolve) => {
      thaw = resolve;
    });
    const own = openDatabase({ settings, connections: 1 });
    t.teardown(() => own.destroy());
    const id = await sql<{ id: number }>`SELECT CONNECTION_ID() AS id`.execute(own);
    let sending = false;
    const hangs = relay(
      async (records) => {
        sending = true;
        await frozen;
        sent.push(...records.map(({ value }) => ({ by: 'frozen', value: String(value) })));
      },
      { store: outboxStore(own), pollMs: 10 },
    );
    await append([{ key: 'k', value: '1' }]);
    await until(() => sending);
    // What the server does with one that is silent for too long (wait_timeout).
    await sql`KILL ${sql.lit(Number(id.rows[0]!.id))}`.execute(db);
    const follows = relay(
      async (records) => {
        sent.push(...records.map(({ value }) => ({ by: 'next', value: String(value) })));
      },
      { pollMs: 10 },
    );
    await append([{ key: 'k', value: '2' }]);
    await until(() => sent.length === 2);
    await follows.stop();
    await append([{ key: 'k', value: '3' }]);
    thaw();
    await until(async () => (await countOf(db, 'muster_outbox')) === 0);
    await hangs.stop();
    t.deepEqual(sent.slice(0, 3), [
      { by: 'next', value: '1' },
      { by: 'next', value: '2' },
      // A repeat; the first copies are in order.
      { by: 'frozen', value: '1' },
    ]);
    t.is(sent.at(-1)!.value, '3');
  },
);

// ---- without an order: from memory, and left behind

const appendRow = (values: readonly string[]) =>
  transaction(db, (trx) =>
    appendUnordered(
      trx,
      values.map((value) => ({ topic: 'out', key: value, value, headers: { raw: Buffer.from([0, 255]) } })),
    ),
  );
const letTimePass = (seconds: number) =>
  sql`UPDATE muster_outbox_due SET take_at = take_at - INTERVAL ${seconds} SECOND,
    due_at = due_at - INTERVAL ${seconds} SECOND`.execute(db);

test.serial(
  'a row for all records of a commit is published from memory, and goes when it is acked',
  async (t) => {
    const sent: OutgoingRecord[] = [];
    const running = relay(async (records) => {
      sent.push(...records);
    });
    const row = await appendRow(['1', '2', '3']);
    t.is(await countOf(db, 'muster_outbox_due'), 1);
    running.publish(row);
    await until(async () => (await countOf(db, 'muster_outbox_due')) === 0);
    await running.stop();
    t.deepEqual(
      sent.map(({ value }) => String(value)),
      ['1', '2', '3'],
    );
  },
);

test.serial(
  'what a dead process left behind is published by another, as it was given, and once',
  async (t) => {
    const sent: OutgoingRecord[] = [];
    const send = async (records: readonly OutgoingRecord[]) => {
      sent.push(...records);
    };
    const relays = [relay(send, { pollMs: 10 }), relay(send, { pollMs: 10 })];
    await transaction(db, (trx) => appendUnordered(trx, [{ topic: 'out', key: null, value: null }]));
    await Promise.all(Array.from({ length: 50 }, (_, index) => appendRow([`${index}`])));
    const many = Array.from({ length: 200 }, (_, index) => `one of many, Größe ${index}`);
    await appendRow(many);
    const { rows } = await sql<{ longest: number }>`
      SELECT MAX(LENGTH(records)) AS longest FROM muster_outbox_due`.execute(db);
    t.true(Number(rows[0]!.longest) < many.join('').length, 'many records of one kind take little room');
    // Whoever took it in may still be at it.
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.is(sent.length, 0);
    await letTimePass(15);
    await until(async () => (await countOf(db, 'muster_outbox_due')) === 0);
    await Promise.all(relays.map((each) => each.stop()));
    t.is(sent.length, 251);
    t.is(new Set(sent.map(({ value }) => String(value))).size, 251);
    t.deepEqual(
      sent.map(({ value }) => String(value)).filter((value) => value.startsWith('one of many')),
      many,
    );
    t.deepEqual(sent.find(({ key }) => key !== null)!.headers, { raw: Buffer.from([0, 255]) });
    t.is(sent.find(({ key }) => key === null)!.value, null);
  },
);

// ---- timers

const hourMs = 3_600_000;
const timer = (value: string, dueInMs: number) =>
  transaction(db, (trx) => setTimer(trx, [{ topic: 'out', key: 'k', value }], dueInMs));

test.serial(
  'a timer fires when its time has come by the clock of the database, once, and tells how late',
  async (t) => {
    const sent: OutgoingRecord[] = [];
    const send = async (records: readonly OutgoingRecord[]) => {
      sent.push(...records);
    };
    const registry = createRegistry();
    await timer('later', hourMs);
    await timer('now', 0);
    const relays = [relay(send, { pollMs: 10, registry }), relay(send, { pollMs: 10 })];
    await until(() => sent.length === 1);
    t.is(String(sent[0]!.value), 'now');
    await until(async () => (await countOf(db, 'muster_outbox_due')) === 1);
    // The clock is a second short of it, and then a minute past it.
    await letTimePass(3_590);
    await new Promise((resolve) => setTimeout(resolve, 100));
    t.is(sent.length, 1);
    await letTimePass(70);
    await until(async () => (await countOf(db, 'muster_outbox_due')) === 0);
    await Promise.all(relays.map((each) => each.stop()));
    t.deepEqual(
      sent.map(({ value }) => String(value)),
      ['now', 'later'],
    );
    const lateMs = Number(sent[1]!.headers!['muster-timer-late-ms']);
    t.true(lateMs >= 60_000 && lateMs < 80_000, String(lateMs));
    t.regex(String(sent[1]!.headers!['muster-timer-due']), /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
  },
);

test.serial('a timer of a transaction that rolls back never fires', async (t) => {
  await t.throwsAsync(
    transaction(db, async (trx) => {
      await setTimer(trx, [{ topic: 'out', key: 'k', value: 'no' }], 0);
      throw new Error('no');
    }),
  );
  t.is(await countOf(db, 'muster_outbox_due'), 0);
});

test.serial(
  'a timer that was cancelled never fires; one that was taken to be fired cannot be cancelled',
  async (t) => {
    const sent: string[] = [];
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const cancelled = await timer('cancelled', 0);
    t.true(await transaction(db, (trx) => cancelTimer(trx, cancelled)));
    t.false(await transaction(db, (trx) => cancelTimer(trx, cancelled)));
    const kept = await timer('kept', 0);
    await t.throwsAsync(
      transaction(db, async (trx) => {
        t.true(await cancelTimer(trx, kept));
        throw new Error('rolled back');
      }),
    );
    let sending = false;
    const running = relay(
      async (records) => {
        sending = true;
        await held;
        sent.push(...records.map(({ value }) => String(value)));
      },
      { pollMs: 10 },
    );
    await until(() => sending);
    t.false(await transaction(db, (trx) => cancelTimer(trx, kept)));
    release();
    await until(async () => (await countOf(db, 'muster_outbox_due')) === 0);
    await running.stop();
    t.deepEqual(sent, ['kept']);
  },
);

test.serial('two thousand timers due at once: each fires, none twice, with two relays', async (t) => {
  const sent: string[] = [];
  const send = async (records: readonly OutgoingRecord[]) => {
    sent.push(...records.map(({ value }) => String(value)));
  };
  await transaction(db, async (trx) => {
    for (let n = 0; n < 2_000; n++) await setTimer(trx, [{ topic: 'out', key: 'k', value: String(n) }], 0);
  });
  const relays = [relay(send, { pollMs: 10 }), relay(send, { pollMs: 10 })];
  await until(async () => (await countOf(db, 'muster_outbox_due')) === 0, 60_000);
  await Promise.all(relays.map((each) => each.stop()));
  t.is(sent.length, 2_000);
  t.is(new Set(sent).size, 2_000);
});

test.serial(
  'the backlog counts what ought to be published by now, and no timer before its time',
  async (t) => {
    await timer('later', hourMs);
    await timer('overdue', 0);
    await appendRow(['1']);
    await append([{ key: 'a', value: '1' }]);
    const { pending, oldestAgeSeconds } = await outboxStore(db).backlog();
    t.is(pending, 3);
    t.true(oldestAgeSeconds < 60);
  },
);
