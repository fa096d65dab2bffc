import { PassThrough } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { logHeaders } from '../../catalog/logs.ts';
import { MusterError, NotNowError } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import { emptyRegistry } from '../base/metrics.ts';
import type { RawRecord } from '../kafka/kafka.ts';
import { type LogPublisherOptions, startLogPublisher } from './log-publisher.ts';

/** A Kafka that does as it is told, and keeps what it was given and took. */
function kafka() {
  const state = {
    down: false,
    refuses: false,
    /** A send is written, but its ack does not come. */
    forgetsAck: false,
    records: [] as RawRecord[],
    sends: 0,
    inFlight: 0,
    mostInFlight: 0,
  };
  return {
    state,
    client: {
      producer: async () => ({
        async send(records: readonly RawRecord[]) {
          state.sends += 1;
          state.inFlight += 1;
          state.mostInFlight = Math.max(state.mostInFlight, state.inFlight);
          await sleep(1);
          state.inFlight -= 1;
          if (state.refuses) throw new MusterError('MUSTER_KAFKA_RECORD_REFUSED', 'never');
          if (!state.down) state.records.push(...records);
          if (state.down || state.forgetsAck) throw new NotNowError('MUSTER_KAFKA_SEND', 'away');
        },
        close: async () => undefined,
      }),
    },
  };
}

function publisher(more: Partial<LogPublisherOptions> = {}) {
  const registry = emptyRegistry();
  const told: object[] = [];
  const settings = { lingerMs: 1, retryMs: 1, bufferBytes: 10_000, maxLineBytes: 2_000 };
  const lines = startLogPublisher({
    topic: 'logs',
    process: 'api',
    registry,
    onDropped: (dropped) => void told.push(dropped),
    settings,
    ...more,
  });
  const value = async (name: string, label?: string) =>
    (await registry.getSingleMetric(name)!.get()).values.find(
      ({ labels }) => label === undefined || Object.values(labels).includes(label),
    )?.value;
  return { lines, told, value };
}

const numbersOf = (records: readonly RawRecord[], name: string) =>
  records.map(({ headers }) => Number(headers![name]));
const line = (message: string) => JSON.stringify({ level: 'info', message });

test('lines of before the connect go out, in order, as they are on stdout', async (t) => {
  const { state, client } = kafka();
  const { lines } = publisher();
  lines.take(line('first'), 'info');
  lines.take(line('second'), 'info');
  await lines.connect(client);
  lines.take(line('third'), 'info');
  await lines.flush(1_000);
  t.deepEqual(
    state.records.map(({ value }) => String(value)),
    ['first', 'second', 'third'].map(line),
  );
  t.deepEqual(numbersOf(state.records, logHeaders.sequence), [1, 2, 3]);
});

test('of a line that finds no room each later one says so: what is missing is what was dropped', async (t) => {
  const { state, client } = kafka();
  const { lines, told, value } = publisher();
  for (let i = 0; i < 100; i++) lines.take(line(`${i} ${'x'.repeat(500)}`), 'info');
  await lines.connect(client);
  await lines.flush(1_000);
  lines.take(line('afterwards'), 'info');
  await lines.flush(1_000);
  const numbers = numbersOf(state.records, logHeaders.sequence);
  t.is(numbers.at(-1), 101);
  const missing = 101 - numbers.length;
  t.true(missing > 50);
  t.is(numbersOf(state.records, logHeaders.dropped)[0], 0, 'nothing was dropped before the first');
  t.is(numbersOf(state.records, logHeaders.dropped).at(-1), missing);
  t.is(await value('muster_log_lines_dropped_total', 'no-room'), missing);
  t.deepEqual(told, [{ 'no-room': missing }]);
});

test('while Kafka is away lines wait, and go when it is back; one send at a time', async (t) => {
  const { state, client } = kafka();
  const { lines, value } = publisher();
  state.down = true;
  await lines.connect(client);
  for (let i = 0; i < 5; i++) {
    lines.take(line(String(i)), 'info');
    await sleep(5);
  }
  while (state.sends < 2) await sleep(1);
  state.down = false;
  await lines.flush(1_000);
  t.deepEqual(numbersOf(state.records, logHeaders.sequence), [1, 2, 3, 4, 5]);
  t.is(state.mostInFlight, 1);
  t.is(await value('muster_log_lines_published_total'), 5);
  t.is(await value('muster_log_waiting_bytes'), 0);
});

test('a send without its ack is sent again under the same numbers', async (t) => {
  const { state, client } = kafka();
  const { lines } = publisher();
  state.forgetsAck = true;
  await lines.connect(client);
  lines.take(line('once'), 'info');
  while (state.sends < 2) await sleep(1);
  state.forgetsAck = false;
  await lines.flush(1_000);
  const ids = new Set(state.records.map(({ headers }) => headers!.ce_id));
  t.true(state.records.length > 1);
  t.is(ids.size, 1);
});

test('what the brokers never take holds nothing up, and is counted', async (t) => {
  const { state, client } = kafka();
  const { lines, value } = publisher();
  await lines.connect(client);
  state.refuses = true;
  lines.take(line('refused'), 'info');
  await lines.flush(1_000);
  state.refuses = false;
  lines.take(line('taken'), 'info');
  await lines.flush(1_000);
  t.deepEqual(numbersOf(state.records, logHeaders.sequence), [2]);
  t.deepEqual(numbersOf(state.records, logHeaders.dropped), [1]);
  t.is(await value('muster_log_lines_dropped_total', 'refused'), 1);
});

test('a line that is too long goes cut, with what it is found by', async (t) => {
  const { state, client } = kafka();
  const { lines } = publisher();
  await lines.connect(client);
  const whole = JSON.stringify({
    level: 'error',
    message: 'large',
    trace_id: 'abc',
    much: 'x'.repeat(5_000),
  });
  lines.take(whole, 'error');
  await lines.flush(1_000);
  const { level, message, trace_id, much, cutFrom } = JSON.parse(String(state.records[0]!.value));
  t.deepEqual(
    { level, message, trace_id, much, cutFrom },
    { level: 'error', message: 'large', trace_id: 'abc', much: undefined, cutFrom: whole.length },
  );
  lines.take(JSON.stringify({ level: 'warn', much: 'x'.repeat(5_000) }), 'warn');
  await lines.flush(1_000);
  t.like(JSON.parse(String(state.records[1]!.value)), { level: 'warn', message: undefined });
});

test('at the end the last lines go out; what Kafka does not take in time counts as dropped, and the end does not wait', async (t) => {
  const { state, client } = kafka();
  const ending = publisher();
  await ending.lines.connect(client);
  ending.lines.take(line('last words'), 'error');
  await ending.lines.close(1_000);
  t.is(state.records.length, 1);

  const cutOff = publisher();
  state.down = true;
  await cutOff.lines.connect(client);
  cutOff.lines.take(line('unheard'), 'error');
  await cutOff.lines.close(20);
  cutOff.lines.take(line('too late'), 'error');
  t.is(await cutOff.value('muster_log_lines_dropped_total', 'ended'), 2);
  t.is(state.records.length, 1);
});

test('what a process logs of a person does not come to the topic', async (t) => {
  const { state, client } = kafka();
  const { lines } = publisher();
  await lines.connect(client);
  const log = createLog({ process: 'api', level: 'info', stream: new PassThrough(), publish: lines.take });
  log.info('order placed', { userId: 'kim-9321', order: { user_id: 'kim-9321', email: 'kim@example.com' } });
  log.error('refused: userId=kim-9321', { error: new Error('memberId: kim-9321, card 4111111111111111') });
  await lines.flush(1_000);
  const text = state.records
    .map(({ key, value, headers }) => `${key} ${value} ${JSON.stringify(headers)}`)
    .join();
  t.true(text.includes('order placed'));
  for (const personal of ['kim-9321', 'kim@example.com', '4111111111111111'])
    t.false(text.includes(personal), text);
});
