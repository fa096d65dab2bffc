/**
 * Coupons on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): one trace from the
 * request to the push, and rushes in both orders side by side while the deciding worker is killed three times and Redis and MySQL
 * are crashed.
 */
import type { ChildProcess } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import type { CouponResult, OrderBy } from '../catalog/events/coupon.ts';
import { topics } from '../catalog/topics.ts';
import { run } from '../environment/children.ts';
import { containersOf } from '../environment/docker.ts';
import { jaegerOf } from '../environment/jaeger.ts';
import { kafkaOf } from '../environment/kafka.ts';
import { databaseSettings, readSettings } from '../workers/base/config.ts';
import { reconcile } from '../workers/coupon/store.ts';
import { eventually } from '../workers/kafka/testing.ts';
import { openDatabase } from '../workers/store/database.ts';
import { type CouponRushReport, runCouponRush } from '../workers/traffic/coupons.ts';
import { openOutcomeStream, type SeenOutcome } from '../workers/traffic/outcome-stream.ts';
import { isComplete } from '../workers/views/trace-tree.ts';
import {
  apiToken,
  apiUrl,
  asOperator,
  crash,
  type Ends,
  endsOf,
  environment,
  isHealthy,
  recordsSince,
  setting,
} from './deployed.fixture.ts';

const kafka = kafkaOf(environment);
const db = openDatabase({ settings: readSettings(databaseSettings, process.env) });
const children = new Set<ChildProcess>();
test.after.always(async () => {
  for (const child of children) child.kill('SIGKILL');
  await db.destroy();
  await kafka.close();
});

const patienceMs = 180_000;
/** Unlike anything else that is ever written, so that finding it anywhere is proof. */
const person = `e2e-person-${randomUUID().slice(0, 8)}`;

async function post(
  path: string,
  body: object,
): Promise<{ status: number; json: Record<string, string>; traceId: string }> {
  const response = await fetch(`${apiUrl}${path}`, {
    method: 'POST',
    headers: { ...asOperator, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return {
    status: response.status,
    json: (await response.json()) as Record<string, string>,
    traceId: (response.headers.get('traceparent') ?? '').split('-')[1] ?? '',
  };
}

test.serial('one trace leads from the request of a coupon to the push of its outcome', async (t) => {
  t.timeout(patienceMs * 2);
  const userId = `${person}-traced`;
  const { json: coupon } = await post('/coupons', { name: 'e2e', stock: 1 });
  const seen: SeenOutcome[] = [];
  const stream = openOutcomeStream(apiUrl, apiToken, userId, (outcome) => seen.push(outcome));
  t.teardown(() => stream.close());
  await stream.ready;
  const asked = await post('/coupons/issue', { userId, couponId: coupon.couponId });
  t.is(asked.status, 202);
  await eventually('the outcome is pushed', () => seen.length === 1, patienceMs);
  t.like(seen[0], { requestId: asked.json.requestId, outcome: 'SUCCESS', traceId: asked.traceId });
  const wanted = [
    'POST /coupons/issue',
    'send coupon-requests',
    'process coupon-requests',
    'send coupon-results',
    'process coupon-results',
    'push coupon-outcome',
  ];
  let names: string[] = [];
  await eventually(
    'the trace is whole',
    async () => {
      const trace = await jaegerOf(environment, AbortSignal.timeout(15_000))
        .find(asked.traceId)
        .catch(() => undefined);
      names = trace?.spans.map(({ operationName }) => operationName) ?? [];
      return trace !== undefined && isComplete(trace) && wanted.every((name) => names.includes(name));
    },
    patienceMs,
  ).catch((error: unknown) => t.fail(`${(error as Error).message}: ${names.join(', ')}`));
  t.pass();
});

async function crashUntilHealthy(alias: string): Promise<void> {
  await crash(alias);
  await eventually(`${alias} is healthy`, () => isHealthy(alias), patienceMs);
}

async function agrees(
  t: ExecutionContext,
  report: CouponRushReport,
  resultTopics: ReadonlyMap<string, Ends>,
): Promise<void> {
  const { couponId, stock } = report;
  const { requestIds: _, outcomeOf: __, ...told } = report;
  t.log(JSON.stringify(told));
  t.is(report.failed, 0, 'requests were never accepted');
  t.is(report.unanswered, 0, 'requests without an outcome');
  t.is(report.usersTwice, 0);
  t.is(report.notPushed, 0, 'watchers were not told');
  t.is(report.notAcknowledged, 0, 'watchers acknowledged, and it was not noted');
  const results = new Map<string, CouponResult>();
  await eventually(
    'every outcome is on its topic',
    async () => {
      for (const [topic, since] of resultTopics)
        for (const { value } of await recordsSince(kafka, topic, since)) {
          const result = JSON.parse(String(value)) as CouponResult;
          if (result.couponId === couponId) results.set(result.requestId, result);
        }
      return report.requestIds.every((id) => results.has(id));
    },
    patienceMs,
  );
  const won = [...results.values()].filter(({ outcome }) => outcome === 'SUCCESS');
  const store = await reconcile(db, couponId);
  t.like(store, {
    issued: stock,
    historyRows: stock,
    succeeded: stock,
    succeededWithoutCoupon: 0,
    usersTwice: 0,
    pending: 0,
  });
  t.is(won.length, stock, 'success events');
  t.is(new Set(won.map(({ user }) => user)).size, stock, 'somebody won twice');
}

test.serial(
  'rushes in both orders while workers are killed three times and Redis and MySQL crash: issued = stock, all agree',
  async (t) => {
    t.timeout(15 * 60_000);
    const resultTopics = new Map<string, Ends>();
    for (const { name } of [topics.couponResults, topics.couponIssueSucceeded, topics.couponIssueFailed])
      resultTopics.set(name, await endsOf(kafka, name));
    const ending = new AbortController();
    t.teardown(() => ending.abort());
    const rush = (orderBy: OrderBy) =>
      runCouponRush({
        apiUrl,
        token: apiToken,
        orderBy,
        stock: 100,
        users: 1_200,
        requestsEach: 3,
        rate: 60,
        watchers: 20,
        retryForMs: patienceMs,
        answersWithinMs: patienceMs,
        userPrefix: `${person}-${orderBy}`,
        signal: ending.signal,
      });
    const rushes = Promise.all([rush('user'), rush('coupon')]);
    // A rejection is looked at below.
    rushes.catch(() => undefined);
    // MySQL early, so that it is in the rush on a slow machine, too.
    for (const then of ['mysql', 'redis', undefined]) {
      await sleep(3_000);
      await crashUntilHealthy('commerce');
      if (then === undefined) continue;
      await sleep(2_000);
      await crashUntilHealthy(then);
    }
    const [byUser, byCoupon] = await rushes;
    await agrees(t, byUser, resultTopics);
    await agrees(t, byCoupon, resultTopics);
  },
);

test.serial('no user id is in outcomes, logs, traces or metrics', async (t) => {
  t.timeout(patienceMs);
  const clean = (what: string, text: string) => t.false(text.includes(person), `${what} names a user`);
  for (const { name } of [topics.couponResults, topics.couponIssueSucceeded, topics.couponIssueFailed])
    for (const { key, value, headers } of await recordsSince(kafka, name, new Map()))
      if (`${key} ${value} ${JSON.stringify(Object.values(headers).map(String))}`.includes(person))
        t.fail(`a record of ${name} names a user`);
  for (const container of await containersOf(environment)) {
    if (!/-(api(-\d)?|commerce|mysql|redis)$/.test(container.name)) continue;
    const { stdout, stderr } = await run('docker', ['logs', container.id]);
    clean(`the log of ${container.name}`, stdout + stderr);
  }
  for (const service of ['api', 'commerce']) {
    const response = await fetch(
      `${setting('MUSTER_JAEGER_URL')}/api/traces?service=${service}&limit=200&lookback=1h`,
    );
    clean(`traces of ${service}`, await response.text());
  }
  clean('metrics of the API', await (await fetch(`${apiUrl}/metrics`)).text());
});
