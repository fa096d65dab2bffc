import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import type { RawRecord } from '../kafka/kafka.ts';
import { removeOldTrafficLogs, runTraffic } from './run.ts';

/** An API that answers as told and notes what it got. */
async function api(t: ExecutionContext, status: (body: string, attempt: number) => number | 'cut') {
  const bodies: { path: string; body: string; key: string; authorization: string | undefined }[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      bodies.push({
        path: request.url!,
        body,
        key: String(request.headers['idempotency-key']),
        authorization: request.headers.authorization,
      });
      const answer = status(body, bodies.length);
      if (answer === 'cut') request.socket.destroy();
      else response.writeHead(answer).end('{}');
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { bodies, apiUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

const isValidJson = (body: string) => {
  try {
    JSON.parse(body);
    return true;
  } catch {
    return false;
  }
};

test('the rate is held, and every message is accounted for on each of the three ways', async (t) => {
  const { apiUrl, bodies } = await api(t, () => 202);
  const directory = mkdtempSync(join(tmpdir(), 'muster-traffic-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  const sent: RawRecord[] = [];
  const progress: number[] = [];
  const report = await runTraffic({
    token: 'a-token',
    apiUrl,
    rate: 200,
    durationMs: 1_500,
    seed: 1,
    steady: true,
    logDirectory: directory,
    kafka: {
      async send(records) {
        sent.push(...records);
      },
      async close() {},
    },
    record: true,
    onProgress: (now) => progress.push(now.sent),
  });
  t.true(report.sent > 200 && report.sent <= 300, String(report.sent));
  t.is(report.acked, report.sent);
  t.is(report.failed + report.refused + report.unexpected, 0);
  t.is(report.messages?.length, report.sent);
  t.is(bodies.length, report.sentBy.api);
  t.true(bodies.every(({ authorization }) => authorization === 'Bearer a-token'));
  t.is(sent.length, report.sentBy.kafka);
  t.true(report.sentBy.log > 0 && report.sentBy.kafka > 0);
  const lines = ['purchase', 'promo_behavior'].flatMap((kind) =>
    readdirSync(join(directory, kind)).flatMap((name) =>
      readFileSync(join(directory, kind, name), 'utf8')
        .split('\n')
        .slice(0, -1),
    ),
  );
  t.is(lines.length, report.sentBy.log);
  t.true(lines.every(isValidJson));
  t.true(progress.length >= 2);
  t.true(report.apiAckMs!.p99 >= report.apiAckMs!.p50);
});

test('after 503 and broken connections the same message is tried again under the same key', async (t) => {
  const { apiUrl, bodies } = await api(t, (_body, attempt) =>
    attempt % 5 === 0 ? 503 : attempt % 5 === 1 ? 'cut' : 202,
  );
  const report = await runTraffic({
    token: 'a-token',
    apiUrl,
    rate: 30,
    durationMs: 600,
    seed: 2,
    steady: true,
    retryForMs: 20_000,
  });
  t.is(report.acked, report.sent);
  t.true(report.sent > 0 && (report.problems['HTTP 503'] ?? 0) > 0);
  const byKey = new Map<string, Set<string>>();
  for (const { key, body } of bodies) byKey.set(key, (byKey.get(key) ?? new Set()).add(body));
  t.is(byKey.size, report.sent);
  t.true([...byKey.values()].every((different) => different.size === 1));
});

test('what never gets an ack is failed, and the run ends', async (t) => {
  const report = await runTraffic({
    token: 'a-token',
    apiUrl: 'http://127.0.0.1:1',
    rate: 50,
    durationMs: 600,
    seed: 3,
    steady: true,
    retryForMs: 200,
    // Below a file there can be no folder.
    logDirectory: join(import.meta.filename, 'inbox'),
  });
  t.true(report.sent > 0);
  t.is(report.failed, report.sent);
  t.is(report.sentBy.log, 0);
});

test('refused poison is as it should be; refused valid messages are not', async (t) => {
  const strict = await api(t, (body) =>
    isValidJson(body) &&
    !/"quantity":-1|XXQ|sneeze|yesterday|02-31|nested|"action":"click","actedAt":1795223730/.test(body)
      ? 202
      : 422,
  );
  const good = await runTraffic({
    token: 'a-token',
    apiUrl: strict.apiUrl,
    rate: 300,
    durationMs: 500,
    seed: 4,
    steady: true,
    poisonShare: 0.2,
  });
  t.true(good.refused > 0);
  t.is(good.unexpected, 0);
  const broken = await api(t, () => 422);
  const bad = await runTraffic({
    token: 'a-token',
    apiUrl: broken.apiUrl,
    rate: 100,
    durationMs: 600,
    seed: 5,
    steady: true,
  });
  t.is(bad.unexpected, bad.sent);
});

test('high rates share requests, and a signal ends the run', async (t) => {
  const { apiUrl, bodies } = await api(t, () => 202);
  const ending = new AbortController();
  setTimeout(() => ending.abort(), 400);
  const report = await runTraffic({
    token: 'a-token',
    apiUrl,
    rate: 5_000,
    seed: 6,
    steady: true,
    signal: ending.signal,
  });
  t.is(report.acked, report.sent);
  t.true(report.sent > 500, String(report.sent));
  t.true(bodies.length * 5 < report.sent, `${bodies.length} requests`);
});

test('log files of runs long ago are removed, others are not', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'muster-traffic-'));
  t.teardown(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'purchase'));
  for (const name of ['traffic-a.log', 'traffic-a.log.3', 'shop.log', 'traffic-b.log']) {
    writeFileSync(join(directory, 'purchase', name), 'x\n');
    if (name !== 'traffic-b.log') utimesSync(join(directory, 'purchase', name), 1, 1);
  }
  await removeOldTrafficLogs(directory, Date.now());
  t.deepEqual(readdirSync(join(directory, 'purchase')).sort(), ['shop.log', 'traffic-b.log']);
});

test('after the signal nothing is tried again for long', async (t) => {
  const { apiUrl } = await api(t, () => 503);
  const ending = new AbortController();
  setTimeout(() => ending.abort(), 300);
  const startedMs = performance.now();
  const report = await runTraffic({
    token: 'a-token',
    apiUrl,
    rate: 50,
    seed: 8,
    steady: true,
    signal: ending.signal,
    retryForMs: 60_000,
    endWithinMs: 300,
  });
  t.is(report.failed, report.sent);
  t.true(performance.now() - startedMs < 10_000);
});
