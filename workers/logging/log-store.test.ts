import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { groups } from '../../catalog/groups.ts';
import { logHeaders } from '../../catalog/logs.ts';
import { NotNowError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { emptyRegistry } from '../base/metrics.ts';
import type { IncomingRecord, Kafka, PartitionConsumerOptions } from '../kafka/kafka.ts';
import { lineOf, type StoredLine } from './line.ts';
import { startLogStore } from './log-store.ts';
import type { LogStore } from './victorialogs.ts';

const topic = groups.logStore.topics[0]!.name;

function record(offset: number, instance: string, sequence: number): IncomingRecord {
  const message = `line ${sequence}`;
  return {
    topic,
    partition: 0,
    offset,
    timestampMs: 1_795_000_000_000 + offset,
    key: null,
    value: Buffer.from(JSON.stringify({ level: 'warn', process: 'api', message, trace_id: 'abc' })),
    headers: {
      ce_id: `${instance}-${sequence}`,
      [logHeaders.instance]: instance,
      [logHeaders.sequence]: String(sequence),
    },
  };
}

/** A store that answers before a line is on its disk, and a partition of `records`. */
async function world({ durableAfterMs = 0 } = {}) {
  const state = {
    records: [] as IncomingRecord[],
    position: 0,
    committed: 0,
    startedAt: 1,
    down: false,
    /** Does not say when it was started. */
    silent: false,
    asked: 0,
    /** An insert is done, and nobody is told. */
    forgetsAnswer: false,
    disk: [] as StoredLine[],
    memory: [] as StoredLine[],
    printed: [] as string[],
    lookups: 0,
  };
  const up = () => {
    if (state.down) throw new NotNowError('MUSTER_LOG_STORE_DOWN', 'away');
  };
  const store: LogStore = {
    async insert(lines) {
      up();
      state.memory.push(...lines);
      if (state.forgetsAnswer) throw new NotNowError('MUSTER_LOG_STORE_DOWN', 'no answer');
    },
    async known(lines) {
      up();
      state.lookups += 1;
      const has = new Set([...state.disk, ...state.memory].map(({ id }) => id));
      return new Set(lines.map(({ id }) => id).filter((id) => has.has(id)));
    },
    async startedAt() {
      up();
      if (state.silent) throw new NotNowError('MUSTER_LOG_STORE_DOWN', 'silent');
      state.asked += 1;
      return state.startedAt;
    },
    query: async () => [],
  };
  let options!: PartitionConsumerOptions;
  let epoch = 0;
  const kafka = {
    producer: async () => ({ send: async () => undefined, close: async () => undefined }),
    admin: { offsets: async () => [{ partition: 0, low: 0, high: state.records.length }] },
    consumePartitions: async (given: PartitionConsumerOptions) => {
      options = given;
      return {
        commit([{ offset }]: [{ offset: number }], of: number) {
          if (of === epoch) state.committed = offset;
        },
        seek: ({ offset }: { offset: number }) => {
          state.position = offset;
        },
        stop: async () => undefined,
      };
    },
  } as unknown as Kafka;
  const registry = emptyRegistry();
  const consumer = await startLogStore(kafka, {
    group: groups.logStore,
    store,
    write: (lines) => state.printed.push(...lines.map(({ text }) => text)),
    registry,
    log: silentLog(),
    onFatal: () => undefined,
    durableAfterMs,
    lookEveryMs: 2,
  });
  const assign = async () => {
    epoch += 1;
    state.position = state.committed;
    await options.onAssigned!([{ topic, partition: 0 }], epoch);
  };
  await assign();
  return {
    state,
    assign,
    stop: () => consumer.stop(),
    append: (...records: readonly IncomingRecord[]) => state.records.push(...records),
    /** Hands what is there to the consumer, as the platform does: a batch that is not taken comes again. */
    async drain() {
      while (state.position < state.records.length) {
        const from = state.position;
        const records = state.records.slice(from);
        try {
          await options.onBatch({ topic, partition: 0, records, highWatermark: state.records.length }, epoch);
          if (state.position === from) state.position = state.records.length;
        } catch (error) {
          if (!(error instanceof NotNowError)) throw error;
          return;
        }
      }
    },
    crash() {
      state.memory = [];
      state.startedAt += 1;
    },
    ids: () => [...state.disk, ...state.memory].map(({ id }) => id),
    count: async (outcome: string) =>
      (await registry.getSingleMetric('muster_log_store_lines_total')!.get()).values.find(
        ({ labels }) => labels.outcome === outcome,
      )?.value,
  };
}

const until = async (what: () => boolean) => {
  while (!what()) await sleep(2);
};

test('a line is stored once, with what it is found by, and printed as it was written', async (t) => {
  const { state, append, drain, stop } = await world();
  append(record(0, 'a', 1));
  await drain();
  const { _msg, level, process, trace_id, log_id, sequence, line } = state.memory[0]!.fields;
  t.deepEqual(
    { _msg, level, process, trace_id, log_id, sequence },
    { _msg: 'line 1', level: 'warn', process: 'api', trace_id: 'abc', log_id: 'a-1', sequence: '1' },
  );
  t.is(line, String(state.records[0]!.value));
  t.deepEqual(state.printed, [line!]);
  await stop();
});

test('a line whose producer sent it twice is one line, and is counted', async (t) => {
  const { append, drain, ids, count, stop } = await world();
  append(record(0, 'a', 1), record(1, 'a', 2), record(2, 'a', 1), record(3, 'a', 2), record(4, 'b', 1));
  await drain();
  append(record(5, 'a', 2), record(6, 'a', 3));
  await drain();
  t.deepEqual(ids(), ['a-1', 'a-2', 'b-1', 'a-3']);
  t.is(await count('repeated'), 3);
  await stop();
});

test('a line that comes after later ones of its process is stored, unless it has come before', async (t) => {
  const { state, append, drain, ids, count, stop } = await world();
  append(record(0, 'a', 1));
  await drain();
  // The end of a send that was given up, and then all of it anew.
  append(record(1, 'a', 4), record(2, 'a', 1), record(3, 'a', 2));
  await drain();
  append(record(4, 'a', 3), record(5, 'a', 4), record(6, 'a', 5));
  await drain();
  t.deepEqual(ids(), ['a-1', 'a-4', 'a-2', 'a-3', 'a-5']);
  t.is(await count('repeated'), 2);
  t.is(state.printed.length, 5);
  await stop();
});

test('an offset is committed only when its lines are on the disk of the store', async (t) => {
  const early = await world({ durableAfterMs: Number.POSITIVE_INFINITY });
  early.append(record(0, 'a', 1));
  await early.drain();
  const { asked } = early.state;
  await until(() => early.state.asked > asked + 2);
  t.is(early.state.committed, 0);
  await early.stop();

  const { state, append, drain, stop } = await world();
  append(record(0, 'a', 1));
  await drain();
  await until(() => state.committed === 1);
  await stop();
});

test('a store that loses what was not on its disk gets it again, and only that', async (t) => {
  const { state, append, drain, crash, ids, stop } = await world();
  append(record(0, 'a', 1));
  await drain();
  await until(() => state.committed === 1);
  state.disk.push(...state.memory.splice(0));
  state.silent = true;
  append(record(1, 'a', 2), record(2, 'a', 3));
  await drain();
  // One of two has reached the disk.
  state.disk.push(state.memory.shift()!);
  crash();
  state.silent = false;
  await until(() => state.position === 1);
  await drain();
  t.deepEqual(ids(), ['a-1', 'a-2', 'a-3']);
  await until(() => state.committed === 3);
  await stop();
});

test('an insert without an answer is looked up before it is tried again', async (t) => {
  const { state, append, drain, ids, stop } = await world();
  append(record(0, 'a', 1));
  state.forgetsAnswer = true;
  await drain();
  state.forgetsAnswer = false;
  await drain();
  t.deepEqual(ids(), ['a-1']);
  await stop();
});

test('a store that is away holds the partition, and nothing is lost or doubled', async (t) => {
  const { state, append, drain, ids, stop } = await world();
  state.down = true;
  append(record(0, 'a', 1), record(1, 'a', 2));
  await drain();
  await sleep(40);
  t.is(state.committed, 0);
  state.down = false;
  await drain();
  t.deepEqual(ids(), ['a-1', 'a-2']);
  await until(() => state.committed === 2);
  await stop();
});

test('after a start what was written and not committed is not written again; in calm nothing is looked up', async (t) => {
  const { state, append, drain, assign, ids, stop } = await world({
    durableAfterMs: Number.POSITIVE_INFINITY,
  });
  append(record(0, 'a', 1));
  await drain();
  await assign();
  t.is(state.position, 0);
  await drain();
  t.deepEqual(ids(), ['a-1']);
  const { lookups } = state;
  append(record(1, 'a', 2));
  await drain();
  t.is(state.lookups, lookups);
  await stop();
});

test('lines of other programs are taken as they are; what is no JSON object is refused', (t) => {
  const plain = { ...record(7, 'a', 1), headers: {} };
  const { id, numbered, fields } = lineOf({ ...plain, value: Buffer.from('{"msg":"hello"}') });
  t.is(id, `${topic}-0-7`);
  t.is(numbered, undefined);
  t.is(fields.line, '{"msg":"hello"}');
  for (const value of [null, Buffer.from('text'), Buffer.from('[1]'), Buffer.from([0xff])])
    t.throws(() => lineOf({ ...plain, value }), { code: 'MUSTER_LOG_LINE_UNKNOWN' });
});

test('a line that is as long as a record may be, in any alphabet, is one that the store takes', (t) => {
  const insertMaxLineSizeBytes = 256 * 1024;
  for (const letter of ['x', '돈', '"', '\\', '\u0000', '💰', '\ud800']) {
    const long = letter.repeat(100_000);
    const entry = { message: long, process: long, level: long, worker: long, trace_id: long, code: { long } };
    const { fields } = lineOf({ ...record(0, 'a', 1), value: Buffer.from(JSON.stringify(entry)) });
    t.true(Buffer.byteLength(JSON.stringify(fields)) < insertMaxLineSizeBytes - 1_000, letter);
  }
});

test('a line of 1970 or 2100 is stored at the time it came', (t) => {
  const { timestampMs } = record(0, 'a', 1);
  for (const ce_time of ['1970-01-01T00:00:00.000Z', '2100-01-01T00:00:00.000Z']) {
    const one = record(0, 'a', 1);
    t.is(lineOf({ ...one, headers: { ...one.headers, ce_time } }).timeMs, timestampMs);
  }
});
