/** Real child processes: drain, exit codes, probes during it. Kafka and the stores only where a test says so. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { metrics } from '../../catalog/metrics.ts';
import { createTopics, readTopic, testBrokers, testKafka, uniqueName } from '../kafka/testing.ts';

const fixture = fileURLToPath(new URL('./process.fixture.ts', import.meta.url));
const main = fileURLToPath(new URL('../main.ts', import.meta.url));

const settings = {
  MUSTER_ENV: 'dev',
  PROCESS_NAME: 'fixture',
  KAFKA_BROKERS: '127.0.0.1:9',
  MYSQL_HOST: process.env.MYSQL_HOST ?? '127.0.0.1',
  MYSQL_PORT: process.env.MYSQL_PORT ?? '3306',
  MYSQL_USER: process.env.MYSQL_USER ?? 'muster',
  MYSQL_PASSWORD: process.env.MYSQL_PASSWORD ?? 'muster',
  MYSQL_DATABASE: process.env.MYSQL_DATABASE ?? 'muster',
  REDIS_HOST: process.env.REDIS_HOST ?? '127.0.0.1',
  REDIS_PORT: process.env.REDIS_PORT ?? '6379',
  REDIS_PASSWORD: process.env.REDIS_PASSWORD ?? '',
  PSEUDONYM_KEY: 'ab'.repeat(32),
  HTTP_PORT: '0',
};

interface Running {
  readonly child: ChildProcess;
  readonly url: string;
  readonly output: () => string;
  readonly exit: Promise<number | null>;
}

function run(t: ExecutionContext, parameters: string[], env: Record<string, string> = {}) {
  const child = spawn(process.execPath, parameters, {
    env: { PATH: process.env.PATH, ...settings, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.teardown(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout!.on('data', (chunk) => {
    text += chunk;
  });
  child.stderr!.on('data', (chunk) => {
    text += chunk;
  });
  const exit = once(child, 'close').then(([code]) => code as number | null);
  return { child, output: () => text, exit };
}

/** Starts the fixture and waits until it is ready. */
async function start(t: ExecutionContext, env: Record<string, string> = {}): Promise<Running> {
  const running = run(t, [fixture], env);
  const endMs = Date.now() + 20_000;
  while (Date.now() < endMs) {
    const port = /"message":"listening","host":"127.0.0.1","port":(\d+)/.exec(running.output())?.[1];
    if (port !== undefined) {
      const url = `http://127.0.0.1:${port}`;
      const ready = await fetch(`${url}/readyz`).catch(() => undefined);
      await ready?.arrayBuffer();
      if (ready?.ok) return { ...running, url };
    }
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  throw new Error(`the fixture did not get ready:\n${running.output()}`);
}

const post = (url: string) => fetch(url, { method: 'POST' }).catch(() => undefined);

test.serial(
  'SIGTERM: not ready first, the running request ends well, worker before kafka, exit 0',
  async (t) => {
    const { child, url, output, exit } = await start(t, { FIXTURE_STOP_MS: '300' });
    const stream = await fetch(`${url}/stream`);
    const slow = fetch(`${url}/slow`);
    await new Promise((resolve) => setTimeout(resolve, 100));
    child.kill('SIGTERM');
    await new Promise((resolve) => setTimeout(resolve, 50));
    const ready = await fetch(`${url}/readyz`);
    t.is(ready.status, 503);
    t.regex(await ready.text(), /shutting down/);
    t.is((await fetch(`${url}/healthz`)).status, 200);
    const answer = await slow;
    t.is(answer.status, 200);
    t.deepEqual(await answer.json(), { slow: true });
    t.is(await exit, 0);
    t.is(await stream.text(), 'data: hello\n\n');
    const order = [
      'shutting down',
      'fixture: stopping',
      'fixture: stopped',
      'fixture: kafka closed',
      '"message":"ended"',
    ];
    const places = order.map((each) => output().indexOf(each));
    t.deepEqual(
      places,
      places.toSorted((a, b) => a - b),
    );
    t.false(places.includes(-1), output());
  },
);

test.serial(
  'SIGTERM with a notice: it says that it is not ready and answers what still comes, then drains',
  async (t) => {
    const { child, url, output, exit } = await start(t, { DRAIN_NOTICE_MS: '3000' });
    child.kill('SIGTERM');
    const ready = async () => (await fetch(`${url}/readyz`)).status;
    while ((await ready()) === 200) await new Promise((resolve) => setTimeout(resolve, 20));
    const answer = await fetch(`${url}/slow`);
    t.deepEqual(await answer.json(), { slow: true });
    t.false(output().includes('fixture: stopping'));
    t.is(await exit, 0);
    t.true(output().includes('fixture: stopped'));
  },
);

test.serial('the process tells the metrics of its Kafka client', async (t) => {
  const { url } = await start(t);
  const text = await (await fetch(`${url}/metrics`)).text();
  for (const name of Object.values(metrics.messaging))
    t.true(text.includes(name.replace(/_total$/, '')), name);
});

test.serial('a drain past its deadline ends with exit 1', async (t) => {
  const { child, output, exit } = await start(t, { FIXTURE_STOP_MS: '60000', DRAIN_DEADLINE_MS: '400' });
  const startedMs = Date.now();
  child.kill('SIGTERM');
  t.is(await exit, 1);
  t.true(Date.now() - startedMs < 3_000);
  t.regex(output(), /the shutdown took too long/);
});

test.serial('a worker that cannot go on drains and ends with exit 70', async (t) => {
  const { url, output, exit } = await start(t);
  await post(`${url}/fail`);
  t.is(await exit, 70);
  t.regex(output(), /the process cannot go on.*told to fail/);
  t.true(output().includes('fixture: stopped'));
});

test.serial('an exception and a rejection that nobody handles end with exit 70 and are logged', async (t) => {
  for (const [path, text] of [
    ['/throw', 'nobody catches this'],
    ['/reject', 'nobody awaits this'],
  ]) {
    const { url, output, exit } = await start(t);
    await post(url + path);
    t.is(await exit, 70);
    t.true(output().includes(text!), output());
  }
});

test.serial('a worker that cannot start ends the process with exit 70', async (t) => {
  const { output, exit } = run(t, [fixture], { FIXTURE_START_FAILS: 'true' });
  t.is(await exit, 70);
  t.regex(output(), /start is told to fail/);
});

test.serial('wrong settings are a line each on stderr and exit 78, without secrets', async (t) => {
  const { output, exit } = run(t, [fixture], {
    MYSQL_PORT: 'many',
    FIXTURE_STOP_MS: '-1',
    PSEUDONYM_KEY: 'my-secret',
  });
  t.is(await exit, 78);
  t.deepEqual(
    output()
      .trim()
      .split('\n')
      .map((line) => line.split(':').slice(0, 2).join(':')),
    ['muster: MYSQL_PORT', 'muster: PSEUDONYM_KEY', 'muster: FIXTURE_STOP_MS'],
  );
  t.false(output().includes('my-secret'));
});

test.serial('/readyz names the worker that is not ready and what it waits for', async (t) => {
  const { url, child, exit } = await start(t);
  await post(`${url}/unready`);
  const ready = await fetch(`${url}/readyz`);
  t.is(ready.status, 503);
  t.regex(await ready.text(), /"field":"fixture","reason":"told to be unready"/);
  child.kill('SIGTERM');
  await exit;
});

test.serial('a port in use is told and ends with exit 70', async (t) => {
  const { url, child, exit } = await start(t);
  const second = run(t, [fixture], { HTTP_PORT: new URL(url).port });
  t.is(await second.exit, 70);
  t.regex(second.output(), /another process has the port; set HTTP_PORT/);
  child.kill('SIGTERM');
  await exit;
});

test.serial('no personal data of a request is in the access log', async (t) => {
  const { url, child, output, exit } = await start(t, { LOG_LEVEL: 'debug' });
  await fetch(`${url}/nothing/kim-private?userId=kim-private`, { headers: { cookie: 'kim-private' } });
  child.kill('SIGTERM');
  await exit;
  t.regex(output(), /"message":"request","method":"GET","route":"unmatched","status":404/);
  t.false(output().includes('kim-private'));
});

test.serial('the command lists its workers, and refuses unknown or no names with exit 64', async (t) => {
  const help = run(t, [main, '--help']);
  t.is(await help.exit, 0);
  t.regex(help.output(), /Workers: .*promotion-join/);
  const unknown = run(t, [main, 'promotion-jion']);
  t.is(await unknown.exit, 64);
  t.regex(unknown.output(), /unknown worker promotion-jion; known: /);
  t.is(await run(t, [main]).exit, 64);
});

test.serial(
  'what a process says comes to the topic of logs, from its first line to its last words',
  async (t) => {
    const topic = uniqueName('logs');
    await createTopics([{ name: topic, partitions: 1 }]);
    const env = { LOG_TOPIC: topic, KAFKA_BROKERS: testBrokers().join(',') };
    const ended = await start(t, env);
    ended.child.kill('SIGTERM');
    t.is(await ended.exit, 0);
    const died = await start(t, env);
    await post(`${died.url}/throw`);
    t.is(await died.exit, 70);
    const kafka = testKafka();
    const published = (await readTopic(kafka, topic)).map(({ value }) => `${value}`);
    await kafka.close();
    const written = `${ended.output()}\n${died.output()}`.split('\n').filter((line) => line.startsWith('{'));
    t.deepEqual(published, written);
    for (const said of ['listening', 'shutting down', 'ended', 'uncaught exception'])
      t.true(
        published.some((line) => line.includes(`"message":"${said}"`)),
        said,
      );
  },
);

test.serial('a process whose lines no broker takes works, and ends as it would', async (t) => {
  const { child, output, exit, url } = await start(t, { LOG_TOPIC: 'logs' });
  t.is((await fetch(`${url}/slow`)).status, 200);
  child.kill('SIGTERM');
  t.is(await exit, 0);
  t.true(output().includes('"message":"ended"'));
});
