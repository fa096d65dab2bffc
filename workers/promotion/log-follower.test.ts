import { spawn } from 'node:child_process';
import {
  appendFileSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import fc from 'fast-check';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { writeAtomically } from './log-checkpoint.ts';
import { createLogFollower, type LogFollowerOptions } from './log-follower.ts';
import { inputFolder } from './log-worker.ts';

interface Delivered {
  readonly id: string;
  readonly text: string;
  readonly source: string;
}

const quietMs = 1_000;

/** A temporary inbox and a follower whose lines are noted instead of sent. Its clock stands until it is moved. */
function bench(overrides: Partial<LogFollowerOptions> = {}) {
  const root = mkdtempSync(join(tmpdir(), 'muster-log-'));
  const directory = join(root, 'inbox');
  const folder = join(directory, 'purchase');
  const stateDirectory = join(root, 'state');
  mkdirSync(folder, { recursive: true });
  const delivered: Delivered[] = [];
  const clock = { nowMs: 1_000_000 };
  const options: LogFollowerOptions = {
    directory,
    stateDirectory,
    folders: [
      {
        name: 'purchase',
        toRecord: (bytes, { id, source, kind }) => ({
          record: { topic: 'purchase', key: id, value: Buffer.from(bytes), headers: { source, kind } },
          result: 'published',
        }),
      },
    ],
    async send(records) {
      for (const record of records) {
        delivered.push({
          id: String(record.key),
          text: String(record.value),
          source: String(record.headers?.source),
        });
      }
    },
    quietMs,
    checkpointMs: 0,
    now: () => clock.nowMs,
    ...overrides,
  };
  const follow = () => createLogFollower(options);
  return {
    follower: follow(),
    follow,
    options,
    clock,
    delivered,
    texts: () => delivered.map(({ text }) => text),
    path: (name: string) => join(folder, name),
    checkpoint: join(stateDirectory, 'checkpoint.json'),
    /** Rounds until nothing moves. */
    async settle(follower: { step(): Promise<boolean> }) {
      for (let i = 0; i < 1_000; i += 1) if (!(await follower.step())) return;
      throw new Error('never comes to rest');
    },
    done: () => rmSync(root, { recursive: true, force: true }),
  };
}

function scenario(name: string, run: (t: ExecutionContext, b: ReturnType<typeof bench>) => Promise<void>) {
  test(name, async (t) => {
    const b = bench();
    try {
      await run(t, b);
    } finally {
      await b.follower.stop();
      b.done();
    }
  });
}

scenario('lines are delivered when their end is there', async (t, b) => {
  writeFileSync(b.path('a.log'), 'one\ntw');
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one']);
  appendFileSync(b.path('a.log'), 'o\nthree\n');
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one', 'two', 'three']);
  t.deepEqual(
    b.delivered.map(({ source }) => source),
    ['purchase/a.log@0', 'purchase/a.log@4', 'purchase/a.log@8'],
  );
});

scenario('other files are left alone', async (t, b) => {
  for (const name of ['a.txt', 'b.log.gz', 'c.log.1.gz', 'd.log.tmp', '.e.swp'])
    writeFileSync(b.path(name), 'x\n');
  mkdirSync(b.path('f.log'));
  for (const name of ['g.log', 'h.jsonl', 'i.log.1', 'j.log-20261121', 'k.2026-11-21.log']) {
    writeFileSync(b.path(name), `${name}\n`);
  }
  await b.settle(b.follower);
  t.deepEqual(b.texts().sort(), ['g.log', 'h.jsonl', 'i.log.1', 'j.log-20261121', 'k.2026-11-21.log']);
});

scenario(
  'a file rotated by renaming goes on under its new name, and the new file is read too',
  async (t, b) => {
    writeFileSync(b.path('a.log'), 'one\n');
    await b.settle(b.follower);
    appendFileSync(b.path('a.log'), 'two\n');
    renameSync(b.path('a.log'), b.path('a.log.1'));
    writeFileSync(b.path('a.log'), 'three\n');
    appendFileSync(b.path('a.log.1'), 'two and a half\n');
    await b.settle(b.follower);
    t.deepEqual(b.texts().sort(), ['one', 'three', 'two', 'two and a half']);
  },
);

scenario('a file that is deleted while it is read is read to its end', async (t, b) => {
  writeFileSync(b.path('a.log'), 'one\n');
  await b.settle(b.follower);
  appendFileSync(b.path('a.log'), 'two\nthree');
  rmSync(b.path('a.log'));
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one', 'two']);
  b.clock.nowMs += quietMs;
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one', 'two', 'three']);
});

scenario(
  'a file truncated in place (copytruncate) begins anew; its copy gives the same ids',
  async (t, b) => {
    writeFileSync(b.path('a.log'), 'one\ntwo\n');
    await b.settle(b.follower);
    appendFileSync(b.path('a.log'), 'three\n');
    copyFileSync(b.path('a.log'), b.path('a.log.1'));
    truncateSync(b.path('a.log'));
    appendFileSync(b.path('a.log'), 'four, longer than everything before it\n');
    await b.settle(b.follower);
    t.deepEqual([...new Set(b.texts())].sort(), [
      'four, longer than everything before it',
      'one',
      'three',
      'two',
    ]);
    t.is(new Set(b.delivered.map(({ id }) => id)).size, 4);
  },
);

scenario(
  'a writer that keeps its position leaves a hole after truncation; its lines are found behind it',
  async (t, b) => {
    writeFileSync(b.path('a.log'), 'one\ntwo\n');
    await b.settle(b.follower);
    writeFileSync(b.path('a.log'), Buffer.concat([Buffer.alloc(600_000), Buffer.from('three\n')]));
    await b.settle(b.follower);
    t.deepEqual(b.texts(), ['one', 'two', 'three']);
  },
);

scenario(
  'another file under the same name, even with the same inode and size, is another file',
  async (t, b) => {
    writeFileSync(b.path('a.log'), 'one\ntwo\n');
    await b.settle(b.follower);
    await b.follower.stop();
    const { ino } = statSync(b.path('a.log'));
    // Written over in place, while nobody looks: the same inode for certain.
    writeFileSync(b.path('a.log'), 'six\nten\n');
    t.is(statSync(b.path('a.log')).ino, ino);
    const next = b.follow();
    await b.settle(next);
    await next.stop();
    t.deepEqual(b.texts(), ['one', 'two', 'six', 'ten']);
  },
);

scenario('a file put in place of another under the follower is read from its start', async (t, b) => {
  writeFileSync(b.path('a.log'), 'one\n');
  await b.settle(b.follower);
  writeFileSync(b.path('new'), 'two\nthree\n');
  renameSync(b.path('new'), b.path('a.log'));
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one', 'two', 'three']);
});

scenario('the last line of a rotated file needs no end once the file is quiet', async (t, b) => {
  writeFileSync(b.path('a.log'), 'one\ntwo');
  await b.settle(b.follower);
  renameSync(b.path('a.log'), b.path('a.log.1'));
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one']);
  b.clock.nowMs += quietMs - 1;
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one']);
  b.clock.nowMs += 1;
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one', 'two']);
  await b.settle(b.follower);
  t.is(b.delivered.length, 2);
});

scenario('the last line of a file in use waits for its end, however long', async (t, b) => {
  writeFileSync(b.path('a.log'), 'one\ntwo');
  await b.settle(b.follower);
  b.clock.nowMs += 3_600_000;
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one']);
});

scenario(
  'a restart goes on where the checkpoint is, also in a file that was rotated meanwhile',
  async (t, b) => {
    writeFileSync(b.path('a.log'), 'one\ntwo\n');
    await b.settle(b.follower);
    await b.follower.stop();
    appendFileSync(b.path('a.log'), 'three\n');
    renameSync(b.path('a.log'), b.path('a.log.1'));
    writeFileSync(b.path('a.log'), 'four\n');
    const next = b.follow();
    await b.settle(next);
    await next.stop();
    t.deepEqual(b.texts().sort(), ['four', 'one', 'three', 'two']);
  },
);

scenario(
  'a checkpoint that cannot be read is kept aside; lines come again with the same ids',
  async (t, b) => {
    writeFileSync(b.path('a.log'), 'one\ntwo\n');
    await b.settle(b.follower);
    await b.follower.stop();
    const ids = b.delivered.map(({ id }) => id);
    writeFileSync(b.checkpoint, '{"version":1,"fil');
    const next = b.follow();
    await b.settle(next);
    await next.stop();
    t.deepEqual(
      b.delivered.slice(2).map(({ id }) => id),
      ids,
    );
    t.true(readdirSync(join(b.checkpoint, '..')).some((name) => name.includes('unreadable')));
  },
);

scenario('the checkpoint holds no text of the lines', async (t, b) => {
  writeFileSync(b.path('a.log'), '{"userId":"user-000123"}\n');
  await b.settle(b.follower);
  await b.follower.stop();
  t.false(readFileSync(b.checkpoint, 'utf8').includes('user-000123'));
});

test('lines whose send failed are sent again, and the checkpoint does not pass them', async (t) => {
  let fail = true;
  const sent: string[] = [];
  const b = bench({
    async send(records) {
      if (fail) throw new Error('no ack');
      for (const { value } of records) sent.push(String(value));
    },
  });
  writeFileSync(b.path('a.log'), 'one\n');
  await t.throwsAsync(b.follower.step(), { message: 'no ack' });
  t.false(existsSync(b.checkpoint));
  fail = false;
  await b.settle(b.follower);
  t.deepEqual(sent, ['one']);
  await b.follower.stop();
  b.done();
});

test('a checkpoint that cannot be written stops nothing', async (t) => {
  const problems: string[] = [];
  const b = bench({
    saveCheckpoint: () => Promise.reject(new Error('no space left on device')),
    onProblem: (message) => problems.push(message),
  });
  writeFileSync(b.path('a.log'), 'one\n');
  await b.settle(b.follower);
  t.deepEqual(b.texts(), ['one']);
  t.regex(problems[0]!, /checkpoint cannot be written/);
  await b.follower.stop();
  b.done();
});

test('a huge line is cut and reported, what follows is read; lag goes back to nothing', async (t) => {
  let lag = -1;
  const counts: Record<string, number> = {};
  const b = bench({
    onLagBytes: (_folder, bytes) => {
      lag = bytes;
    },
    onLines: (_folder, result, count) => {
      counts[result] = (counts[result] ?? 0) + count;
    },
  });
  const kinds: string[] = [];
  const send = b.options.send;
  const follower = createLogFollower({
    ...b.options,
    send(records) {
      kinds.push(...records.map(({ headers }) => String(headers?.kind)));
      return send(records);
    },
  });
  writeFileSync(b.path('a.log'), `${'x'.repeat(3 * 1024 * 1024)}\nnext\n\n  \n`);
  await b.settle(follower);
  t.deepEqual(kinds, ['too-long', 'line']);
  t.is(b.delivered[0]!.text.length, 64 * 1024);
  t.is(b.delivered[1]!.text, 'next');
  t.is(lag, 0);
  t.deepEqual(counts, { published: 2, blank: 2 });
  await follower.stop();
  b.done();
});

test('run() notices new lines, folders that appear, and stops', async (t) => {
  const b = bench({ now: Date.now, pollMs: 50 });
  rmSync(join(b.options.directory), { recursive: true });
  const running = b.follower.run();
  const until = async (condition: () => boolean) => {
    for (let i = 0; i < 200 && !condition(); i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
    t.true(condition());
  };
  await until(() => existsSync(join(b.options.directory, 'purchase')));
  writeFileSync(b.path('a.log'), 'one\n');
  await until(() => b.delivered.length === 1);
  t.true(b.follower.healthy());
  appendFileSync(b.path('a.log'), 'two\n');
  await until(() => b.delivered.length === 2);
  await b.follower.stop();
  await running;
  b.done();
});

// --- what real lines become ----------------------------------------------------------------------------------------

function recordOf(line: string | Buffer, kind: 'line' | 'too-long' = 'line') {
  return inputFolder('purchase', 'Asia/Seoul', () => 0).toRecord(Buffer.from(line as string), {
    id: 'log-abc',
    source: 'purchase/a.log@7',
    kind,
  });
}

const good = {
  userId: 'user-000123',
  productId: 'sku-1',
  quantity: 1,
  price: '₩10,000',
  purchasedAt: '2026-11-21T10:00:00',
  cardNumber: '4000 0012 3456 7890',
};

test('a valid line becomes a standard record keyed by user, with the line’s id as message id and purchase id', (t) => {
  const { record, result } = recordOf(JSON.stringify(good));
  t.is(result, 'published');
  t.is(record.topic, 'purchase');
  t.is(record.key, 'user-000123');
  t.is(record.headers?.ce_id, 'log-abc');
  const value = JSON.parse(String(record.value));
  t.is(value.purchaseId, 'log-abc');
  t.is(value.purchasedAt, '2026-11-21T01:00:00.000Z');
  t.deepEqual(value.price, { amountMinor: 10_000, currency: 'KRW' });
  t.false(String(record.value).includes('3456'));
});

for (const [what, line, code] of [
  ['binary garbage', Buffer.from([0x80, 0xff, 0x00, 0x13, 0xfe]), 'MUSTER_NOT_UTF8'],
  ['malformed JSON', `{"userId":"user-000123","quantity":`, 'MUSTER_JSON_INVALID'],
  ['an array', '[1]', 'MUSTER_NOT_OBJECT'],
  ['31 February', JSON.stringify({ ...good, purchasedAt: '2026-02-31T10:00:00Z' }), 'MUSTER_TIME_INVALID'],
  ['an unknown currency', JSON.stringify({ ...good, price: 1, currency: 'XXQ' }), 'MUSTER_CURRENCY_UNKNOWN'],
  ['a negative quantity', JSON.stringify({ ...good, quantity: -1 }), 'MUSTER_QUANTITY_INVALID'],
  ['a wrong type', JSON.stringify({ ...good, userId: { a: 1 } }), 'MUSTER_FIELD_INVALID'],
] as const) {
  test(`${what} in a log line goes to the dead letters with its raw bytes, place and reason`, (t) => {
    const { record, result } = recordOf(line as string);
    t.is(result, 'dead_letter');
    t.is(record.topic, 'purchase.dlq');
    t.deepEqual(record.value, Buffer.from(line as string));
    t.is(record.headers?.['muster-error-code'], code);
    t.is(record.headers?.['muster-source'], 'purchase/a.log@7');
    t.false(JSON.stringify(record.headers).includes('user-000123'));
    t.true(String(record.headers?.['muster-error-reason']).length > 10);
  });
}

test('a line that is too long is dead-lettered as cut', (t) => {
  const { record } = recordOf('x'.repeat(100), 'too-long');
  t.is(record.headers?.['muster-error-code'], 'MUSTER_LINE_TOO_LONG');
  t.is(record.headers?.['muster-cut'], 'true');
  t.true((recordOf('x'.repeat(900_000)).record.value as Buffer).length <= 256 * 1024);
});

// --- nothing is lost -----------------------------------------------------------------------------------------------

type Action =
  | { readonly type: 'write'; readonly lines: number }
  | { readonly type: 'write-part' }
  | { readonly type: 'rotate' }
  | { readonly type: 'copytruncate' }
  | { readonly type: 'step'; readonly times: number }
  | { readonly type: 'kill-at'; readonly calls: number }
  | { readonly type: 'restart' }
  | { readonly type: 'quiet' };

const action: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant('write' as const), lines: fc.integer({ min: 1, max: 6 }) }),
  },
  { weight: 2, arbitrary: fc.constant({ type: 'write-part' as const }) },
  { weight: 2, arbitrary: fc.constant({ type: 'rotate' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'copytruncate' as const }) },
  {
    weight: 5,
    arbitrary: fc.record({ type: fc.constant('step' as const), times: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ type: fc.constant('kill-at' as const), calls: fc.integer({ min: 0, max: 3 }) }),
  },
  { weight: 1, arbitrary: fc.constant({ type: 'restart' as const }) },
  { weight: 1, arbitrary: fc.constant({ type: 'quiet' as const }) },
);

test('every line is delivered at least once, under one id, whatever is rotated, cut, truncated and killed', async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 5, maxLength: 40 }), async (actions) => {
      const b = bench();
      const never = new Promise<never>(() => {});
      /** A life of the follower: after so many more sends and saves it is dead, and its calls never return. */
      function begin() {
        const life = { callsLeft: Number.POSITIVE_INFINITY, isDead: false };
        const follower = createLogFollower({
          ...b.options,
          chunkBytes: 64,
          async send(records: readonly OutgoingRecord[]) {
            life.callsLeft -= 1;
            if (life.isDead || life.callsLeft < -1) return never;
            // The last call may have reached Kafka, in part, though its ack never comes.
            await b.options.send(
              life.callsLeft < 0 ? records.slice(0, Math.ceil(records.length / 2)) : records,
            );
            if (life.callsLeft < 0) return never;
          },
          async saveCheckpoint(path, text) {
            life.callsLeft -= 1;
            if (life.isDead) return never;
            if (life.callsLeft < 0) {
              writeFileSync(`${path}.new`, text.slice(0, text.length / 2));
              return never;
            }
            await writeAtomically(path, text);
          },
        });
        return { life, follower };
      }
      let { life, follower } = begin();
      const steps = async (times: number) => {
        for (let i = 0; i < times && life.callsLeft >= 0; i += 1) {
          const step = follower.step().then(() => true);
          const waited = () => new Promise<boolean>((resolve) => setTimeout(() => resolve(false), 2));
          while (!(await Promise.race([step, waited()])) && life.callsLeft >= 0);
        }
      };
      const revive = () => {
        life.isDead = true;
        // Gives its descriptors back, as the end of a process would; it can do nothing else any more.
        void follower.stop();
        ({ life, follower } = begin());
      };

      const lines: string[] = [];
      let part = '';
      let rotations = 0;
      const write = (text: string) => appendFileSync(b.path('a.log'), text);
      const nextLine = () => `line ${lines.length} ${'x'.repeat((lines.length * 37) % 90)}`;
      const finishPart = () => {
        if (part !== '') write(`${part}\n`);
        part = '';
      };
      try {
        for (const one of actions) {
          if (one.type === 'write') {
            finishPart();
            for (let i = 0; i < one.lines; i += 1) {
              lines.push(nextLine());
              write(`${lines.at(-1)}\n`);
            }
          } else if (one.type === 'write-part' && part === '') {
            const line = nextLine();
            lines.push(line);
            write(line.slice(0, 3));
            part = line.slice(3);
          } else if (one.type === 'rotate' || one.type === 'copytruncate') {
            finishPart();
            if (!existsSync(b.path('a.log'))) continue;
            rotations += 1;
            const to = b.path(`a.log.${rotations}`);
            if (one.type === 'rotate') renameSync(b.path('a.log'), to);
            else {
              copyFileSync(b.path('a.log'), to);
              truncateSync(b.path('a.log'));
            }
          } else if (one.type === 'step') await steps(one.times);
          else if (one.type === 'kill-at') {
            life.callsLeft = one.calls;
            await steps(4);
            revive();
          } else if (one.type === 'restart') {
            await follower.stop();
            revive();
          } else if (one.type === 'quiet') b.clock.nowMs += quietMs;
        }
        finishPart();
        b.clock.nowMs += quietMs;
        await b.settle(follower);
        await follower.stop();
        const byText = new Map<string, Set<string>>();
        for (const { id, text } of b.delivered) byText.set(text, (byText.get(text) ?? new Set()).add(id));
        for (const line of lines) {
          const ids = byText.get(line);
          if (ids === undefined) throw new Error(`lost: ${line}`);
          if (ids.size > 1) throw new Error(`several ids: ${line}`);
        }
        if (byText.size !== lines.length) {
          throw new Error(`made up: ${[...byText.keys()].find((text) => !lines.includes(text))}`);
        }
      } finally {
        b.done();
      }
    }),
    { numRuns: 120 },
  );
  t.pass();
});

test('a follower process killed by SIGKILL again and again loses nothing', async (t) => {
  const b = bench();
  const output = join(b.options.stateDirectory, '..', 'delivered');
  const program = `
    import { appendFileSync } from 'node:fs';
    import { createLogFollower } from ${JSON.stringify(join(import.meta.dirname, 'log-follower.ts'))};
    const follower = createLogFollower({
      directory: ${JSON.stringify(b.options.directory)},
      stateDirectory: ${JSON.stringify(b.options.stateDirectory)},
      pollMs: 5, checkpointMs: 0, quietMs: 50, chunkBytes: 256,
      folders: [{ name: 'purchase', toRecord: (bytes, { id }) => ({ record: { topic: 'p', key: id, value: String(bytes) }, result: 'published' }) }],
      async send(records) {
        for (const { key, value } of records) appendFileSync(${JSON.stringify(output)}, key + ' ' + value + '\\n');
        await new Promise((resolve) => setTimeout(resolve, 1));
      },
    });
    await follower.run();`;
  const read = () =>
    existsSync(output)
      ? readFileSync(output, 'utf8')
          .split('\n')
          .filter((line) => /^log-\S{27} line \d+ end$/.test(line))
      : [];
  let written = 0;
  let rotation = 0;
  for (let life = 0; life < 6; life += 1) {
    const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], {
      stdio: 'ignore',
    });
    const exited = new Promise((resolve) => child.once('exit', resolve));
    const before = read().length;
    // Long enough to start and deliver something; the moment of the kill differs with each life.
    for (let i = 0; i < 300 && read().length < before + 20 + life * 7; i += 1) {
      for (let n = 0; n < 5; n += 1) {
        appendFileSync(b.path('a.log'), `line ${written} end\n`);
        written += 1;
      }
      if (written % 60 === 0) {
        rotation += 1;
        renameSync(b.path('a.log'), b.path(`a.log.${rotation}`));
      }
      await new Promise((resolve) => setTimeout(resolve, 7));
    }
    child.kill('SIGKILL');
    await exited;
  }
  const delivered = new Map<string, Set<string>>();
  const note = (id: string, text: string) => delivered.set(text, (delivered.get(text) ?? new Set()).add(id));
  for (const line of read()) note(line.slice(0, 31), line.slice(32));
  const last = createLogFollower({ ...b.options, now: Date.now, quietMs: 10 });
  await b.settle(last);
  await last.stop();
  for (const { id, text } of b.delivered) note(id, text);
  t.true(written > 100);
  for (let i = 0; i < written; i += 1) {
    const ids = delivered.get(`line ${i} end`);
    if (ids?.size !== 1) t.fail(`line ${i} of ${written} has ${ids?.size ?? 0} ids`);
  }
  b.done();
});
