import { Writable } from 'node:stream';
import { context, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import test from 'ava';
import { NotNowError } from './errors.ts';
import { createLog, isCardNumber, redact, redactText } from './log.ts';

context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());

function logged(level = 'info') {
  const lines: Record<string, unknown>[] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      for (const line of chunk.toString().split('\n').filter(Boolean)) lines.push(JSON.parse(line));
      done();
    },
  });
  return { log: createLog({ process: 'api', level, stream }), lines };
}

test('a line is JSON with time, level, process, worker and message first', (t) => {
  const { log, lines } = logged();
  log.child({ worker: 'promotion-api' }).info('hello', { count: 3, big: 2n ** 60n });
  const { ts, ...rest } = lines[0]!;
  t.regex(String(ts), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  t.deepEqual(rest, {
    level: 'info',
    process: 'api',
    worker: 'promotion-api',
    message: 'hello',
    count: 3,
    big: String(2n ** 60n),
  });
});

test('a line within a span carries its trace and span id', (t) => {
  const { log, lines } = logged();
  const traceId = '0af7651916cd43dd8448eb211c80319c';
  const spanId = 'b7ad6b7169203331';
  const active = trace.setSpanContext(context.active(), { traceId, spanId, traceFlags: 1 });
  context.with(active, () => log.warn('inside'));
  log.warn('outside');
  t.is(lines[0]!.trace_id, traceId);
  t.is(lines[0]!.span_id, spanId);
  t.false('trace_id' in lines[1]!);
});

test('errors are written with code, stack and causes, however they are passed', (t) => {
  const { log, lines } = logged();
  const error = new NotNowError('MUSTER_DATABASE_DOWN', 'away', { cause: new Error('ECONNREFUSED') });
  log.error('trouble', { error });
  log.error('trouble', error);
  log.error(error);
  const written = lines[0]!.error as Record<string, unknown>;
  t.is(written.code, 'MUSTER_DATABASE_DOWN');
  t.true(String(written.stack).includes('log.test.ts'));
  t.is((written.cause as Record<string, unknown>).message, 'ECONNREFUSED');
  for (const line of lines) t.true(JSON.stringify(line).includes('log.test.ts'), JSON.stringify(line));
});

test('fields that name people, cards or secrets are masked at any depth, however they are spelled', (t) => {
  const { log, lines } = logged();
  log.info('input', {
    userId: 'kim',
    deep: [{ user_id: 'lee', 'USER-ID': 'choi', uid: 9, cardNumber: '1', Password: 'x' }],
    headers: { authorization: 'Bearer abc', Cookie: 's=1', 'set-cookie': 't=2' },
    mysqlPassword: 'p',
  });
  const text = JSON.stringify(lines[0]);
  for (const leaked of ['kim', 'lee', 'choi', 'abc', 's=1', 't=2'])
    t.false(text.includes(leaked), `${leaked} in ${text}`);
  t.is((lines[0]!.deep as Record<string, unknown>[])[0]!.uid, '[redacted]');
  t.is(lines[0]!.mysqlPassword, '[redacted]');
});

test('card numbers inside text are masked, also in messages, errors and keys', (t) => {
  for (const card of ['4111111111111111', '4111 1111 1111 1111', '5500-0000-0000-0004', '3782 822463 10005'])
    t.is(redactText(`paid with ${card}, thanks`), 'paid with [redacted], thanks');
  t.is(redact(4111111111111111), '[redacted]');
  const { log, lines } = logged();
  log.error('no 4111111111111111', { error: new Error('bad 4111111111111111'), '4111111111111111': 1 });
  t.false(JSON.stringify(lines[0]).includes('4111111111111111'));
});

test('pairs of a private name and its value inside text are masked', (t) => {
  t.is(redactText('GET /x?userId=kim&page=2'), 'GET /x?userId=[redacted]&page=2');
  t.is(redactText('{"user_id":"kim lee","n":1}'), '{"user_id":[redacted],"n":1}');
  t.is(redactText('Authorization: Bearer abc.def rest'), 'Authorization: [redacted] rest');
});

test('ids, times and pseudonyms stay readable', (t) => {
  for (const text of [
    '550e8400-e29b-41d4-a716-446655440000',
    '1763697600000',
    '1763697600008',
    '2026-11-21T04:00:00.000Z',
    'order 1234567890123456',
  ])
    t.is(redactText(text), text);
  const pseudonym = `u_${'a'.repeat(22)}`;
  t.deepEqual(redact({ userId: pseudonym, at: 1763697600000 }), { userId: pseudonym, at: 1763697600000 });
});

test('the Luhn check tells card numbers from other digits', (t) => {
  t.true(isCardNumber('4111111111111111'));
  t.false(isCardNumber('4111111111111112'));
  t.false(isCardNumber('411111111111'));
});

test('what is large, deep, circular or binary is cut and never breaks the line', (t) => {
  const { log, lines } = logged();
  const loop: Record<string, unknown> = {
    bytes: Buffer.alloc(5000),
    many: Array(500).fill(1),
    on: new Map([['a', 1]]),
  };
  loop.self = loop;
  log.info('x'.repeat(20_000), { loop });
  t.true(JSON.stringify(lines[0]).length < 20_000);
  t.is((lines[0]!.loop as Record<string, unknown>).bytes, '[5000 bytes]');
});

test('a level that is off writes nothing and formats nothing', (t) => {
  const { log, lines } = logged('warn');
  const child = log.child({ worker: 'w' });
  const costly = {
    get value(): string {
      throw new Error('was looked at');
    },
  };
  log.debug('no', costly);
  child.info('no', costly);
  child.warn('yes');
  t.deepEqual(
    lines.map((line) => line.message),
    ['yes'],
  );
});

test('what is published is what is written, with its level; nothing of a level that is off', (t) => {
  const written: string[] = [];
  const published: string[][] = [];
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      written.push(chunk.toString().trimEnd());
      done();
    },
  });
  const publish = (line: string, level: string) => void published.push([level, line]);
  const log = createLog({ process: 'api', level: 'info', stream, publish });
  log.info('yes', { userId: 'kim' });
  log.child({ worker: 'w' }).warn('too');
  // Not by the method that is off: a client's lines come by their level.
  log.log('debug', 'no');
  t.deepEqual(
    published,
    written.map((line) => [JSON.parse(line).level, line]),
  );
  t.deepEqual(
    published.map(([level]) => level),
    ['info', 'warn'],
  );
});
