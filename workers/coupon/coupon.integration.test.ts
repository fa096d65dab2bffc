/** The coupons on real stores: MYSQL_*, REDIS_*, KAFKA_BROKERS. Topics, groups and tables of their own. */
import { setTimeout as sleep } from 'node:timers/promises';
import test, { type ExecutionContext } from 'ava';
import { type Kysely, sql } from 'kysely';
import type { CouponResult } from '../../catalog/events/coupon.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { uuidV7 } from '../base/ids.ts';
import { createRegistry } from '../base/metrics.ts';
import { asOperator, operatorToken, tokenOf } from '../http/testing.ts';
import type { Kafka, Producer } from '../kafka/kafka.ts';
import { eventRecord, headerText } from '../kafka/records.ts';
import { eventually, readTopic, testKafka, testLog, uniqueName } from '../kafka/testing.ts';
import { countOf, scratchDatabase } from '../store/database.fixture.ts';
import { openDatabase } from '../store/database.ts';
import { findEvent, listEvents } from '../store/event-log.ts';
import { outboxStore } from '../store/outbox.ts';
import { type DueRow, startOutboxRelay } from '../store/relay.ts';
import { runCouponRush } from '../traffic/coupons.ts';
import { openOutcomeStream, type SeenOutcome } from '../traffic/outcome-stream.ts';
import {
  createCouponTopics,
  pseudonymKey,
  spawnIssuing,
  startApi,
  startIssuing,
  testOrdering,
  testRedis,
} from './coupon.fixture.ts';
import { issuedRecord } from './events.ts';
import { startIntake } from './intake.ts';
import { redisLocks } from './lock.ts';
import type { Ordering } from './ordering.ts';
import { acceptRequests, decideRequests } from './requests.ts';
import { createCoupon, findRequest, reconcile, requestStore } from './store.ts';

const patienceMs = 60_000;
const ids = { user: uniqueName('coupon-user'), coupon: uniqueName('coupon-coupon') };
const both = { user: testOrdering('user', ids.user), coupon: testOrdering('coupon', ids.coupon) };

let kafka: Kafka;
let producer: Producer;
let db: Kysely<unknown>;
let settings: DatabaseSettings;
const cleanUps: (() => Promise<void>)[] = [];
let groups = 0;

test.before(async () => {
  const scratch = await scratchDatabase('coupon');
  cleanUps.push(scratch.drop);
  ({ db, settings } = scratch);
  cleanUps.push(await createCouponTopics([both.user, both.coupon]));
  kafka = testKafka('test-coupon');
  cleanUps.push(() => kafka.close());
  producer = await kafka.producer('test');
});
test.after.always(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

async function api(t: ExecutionContext) {
  const started = await startApi({ orderings: both, db, kafka, group: `${ids.user}.push-${++groups}` });
  t.teardown(started.stop);
  await eventually('the API reads results', started.ready, patienceMs);
  return started.url;
}

async function issuing(t: ExecutionContext, ordering: Ordering) {
  const started = await startIssuing({ ordering, db, kafka });
  t.teardown(started.stop);
  await eventually('requests are read', started.ready, patienceMs);
}

async function post(
  url: string,
  path: string,
  body: unknown,
): Promise<{ status: number; json: Record<string, string> }> {
  const response = await fetch(`${url}${path}`, {
    method: 'POST',
    headers: { ...asOperator, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
  return { status: response.status, json: (await response.json()) as Record<string, string> };
}

const get = async (url: string, path: string) =>
  (await fetch(`${url}${path}`, { headers: asOperator })).json() as Promise<Record<string, unknown>>;

async function ask(t: ExecutionContext, url: string, userId: string, couponId: string): Promise<string> {
  const { status, json } = await post(url, '/coupons/issue', { userId, couponId });
  t.is(status, 202, JSON.stringify(json));
  return json.requestId!;
}

const requestRecord = (ordering: Ordering, requestId: string, userId: string, couponId: string) => {
  const data = { requestId, userId, couponId };
  return eventRecord({
    topic: ordering.requestTopic,
    key: ordering.requestKey(data),
    type: 'CouponRequest',
    source: '/test',
    id: requestId,
    timeMs: Date.now(),
    data,
  });
};

/** All results of a coupon on the topics, the first of each request. */
async function resultsOf(ordering: Ordering, couponId: string): Promise<ReadonlyMap<string, CouponResult>> {
  const results = new Map<string, CouponResult>();
  for (const topic of new Set([ordering.successTopic, ordering.failureTopic]))
    for (const { value } of await readTopic(kafka, topic)) {
      if (value === null || !String(value).includes(couponId)) continue;
      const result = JSON.parse(String(value)) as CouponResult;
      if (!results.has(result.requestId)) results.set(result.requestId, result);
    }
  return results;
}

/** Store, topics and what the API has accepted tell the same. */
async function agrees(
  t: ExecutionContext,
  ordering: Ordering,
  rush: { readonly couponId: string; readonly stock: number; readonly requestIds: readonly string[] },
): Promise<void> {
  const { couponId, stock, requestIds } = rush;
  await eventually(
    'every request is decided',
    async () => (await reconcile(db, couponId)).pending === 0,
    patienceMs,
  );
  let results = await resultsOf(ordering, couponId);
  await eventually(
    'every outcome is on its topic',
    async () => {
      results = await resultsOf(ordering, couponId);
      return requestIds.every((id) => results.has(id));
    },
    patienceMs,
  );
  const store = await reconcile(db, couponId);
  const won = [...results.values()].filter(({ outcome }) => outcome === 'SUCCESS');
  t.like(store, {
    stock,
    issued: stock,
    historyRows: stock,
    succeeded: stock,
    succeededWithoutCoupon: 0,
    usersTwice: 0,
  });
  t.is(won.length, stock);
  t.is(new Set(won.map(({ user }) => user)).size, stock, 'somebody won twice');
  t.is(new Set(won.map(({ couponHistoryId }) => couponHistoryId)).size, stock);
  t.true(store.requests >= requestIds.length);
}

for (const ordering of [both.user, both.coupon]) {
  test.serial(
    `in order by ${ordering.name}: a rush hands out exactly the stock, and everybody is told`,
    async (t) => {
      const url = await api(t);
      await issuing(t, ordering);
      const report = await runCouponRush({
        apiUrl: url,
        token: operatorToken,
        stock: 100,
        orderBy: ordering.name,
        users: 300,
        requestsEach: 3,
        connections: 32,
        watchers: 20,
        answersWithinMs: patienceMs,
      });
      t.log(JSON.stringify({ ...report, requestIds: undefined }));
      t.like(report, {
        accepted: 900,
        failed: 0,
        issued: 100,
        unanswered: 0,
        usersTwice: 0,
        notPushed: 0,
        notAcknowledged: 0,
      });
      t.is(report.outcomes.SUCCESS, 100);
      // Each of the other requests was told why: those of the winners that they have one.
      t.is(report.outcomes.DUPLICATE! + report.outcomes.OUT_OF_STOCK!, 800);
      await agrees(t, ordering, report);
    },
  );

  test.serial(
    `in order by ${ordering.name}: the deciding process is killed in the rush, and all adds up`,
    async (t) => {
      t.timeout(180_000);
      const url = await api(t);
      const id = ids[ordering.name];
      let process = await spawnIssuing(ordering.name, id, settings);
      t.teardown(() => process.kill());
      let accepted = 0;
      const rush = runCouponRush({
        apiUrl: url,
        token: operatorToken,
        stock: 50,
        orderBy: ordering.name,
        users: 400,
        requestsEach: 3,
        connections: 8,
        watchers: 5,
        answersWithinMs: 120_000,
        userPrefix: `killed-${ordering.name}`,
        onProgress: (progress) => {
          accepted = progress.accepted;
        },
      });
      const decidedSome = async () => {
        const { rows } = await sql<{ n: number }>`
        SELECT COUNT(*) AS n FROM coupon_request WHERE user_id LIKE ${`killed-${ordering.name}%`} AND status <> 'PENDING'`.execute(
          db,
        );
        return Number(rows[0]!.n) >= 50;
      };
      await eventually('some requests are decided', decidedSome, patienceMs);
      await process.kill();
      t.log(`killed after about ${accepted} of 1200 accepted requests`);
      process = await spawnIssuing(ordering.name, id, settings);
      const report = await rush;
      t.like(report, {
        accepted: 1_200,
        failed: 0,
        unanswered: 0,
        usersTwice: 0,
        notPushed: 0,
        notAcknowledged: 0,
      });
      await agrees(t, ordering, report);
    },
  );

  test.serial(
    `in order by ${ordering.name}: a request that is delivered again has one effect and is told again`,
    async (t) => {
      await issuing(t, ordering);
      const couponId = await createCoupon(db, { name: 'twice', stock: 5 });
      const requestId = uuidV7(Date.now());
      const record = requestRecord(ordering, requestId, 'repeated', couponId);
      // The log does not know it: a request from a foreign producer is one, too.
      await producer.send([record, record]);
      const told = async () =>
        (await readTopic(kafka, ordering.successTopic)).filter(
          (each) => headerText(each, 'ce_id') === requestId,
        );
      await eventually('it is told', async () => (await told()).length > 0, patienceMs);
      const before = (await told()).length;
      await producer.send([record]);
      await eventually('it is told again', async () => (await told()).length > before, patienceMs);
      const bodies = new Set((await told()).map(({ value }) => String(value)));
      t.is(bodies.size, 1, 'the same answer every time');
      t.like(await reconcile(db, couponId), { issued: 1, historyRows: 1, requests: 1, succeeded: 1 });
    },
  );

  test.serial(
    `in order by ${ordering.name}: poison goes to the dead letters, and what follows is decided`,
    async (t) => {
      await issuing(t, ordering);
      const couponId = await createCoupon(db, { name: 'poison', stock: 5 });
      const known = uuidV7(Date.now());
      const poison = [
        'no json',
        '{"requestId":"1"}',
        JSON.stringify({ requestId: known, userId: '', couponId }),
        JSON.stringify({ requestId: known, userId: 'x', couponId: 'not a coupon id!' }),
      ].map((value) => ({ topic: ordering.requestTopic, key: 'poison', value }));
      const other = { ...requestRecord(ordering, known, 'somebody-else', couponId), key: 'same' };
      await producer.send([
        ...poison,
        { topic: ordering.requestTopic, key: 'poison', value: null },
        { ...requestRecord(ordering, known, 'known', couponId), key: 'same' },
        other,
      ]);
      const letters = async () => {
        const all = await readTopic(kafka, `${ordering.requestTopic}.dlq`);
        return all.filter(({ headers }) => headers['muster-group'] !== undefined);
      };
      await eventually('all of it is put aside', async () => (await letters()).length >= 6, patienceMs);
      await eventually(
        'the good one is decided',
        async () => (await findRequest(db, known))?.status === 'COMPLETED',
        patienceMs,
      );
      const codes = (await letters()).map((letter) => headerText(letter, 'muster-error-code'));
      t.is(codes.filter((code) => code === 'MUSTER_COUPON_REQUEST_INVALID').length, 5);
      t.is(codes.filter((code) => code === 'MUSTER_DUPLICATE_ID_OTHER_BODY').length, 1);
      t.false(
        (await letters()).some((letter) => headerText(letter, 'muster-error-reason')!.includes('somebody')),
      );
      t.like(await reconcile(db, couponId), { issued: 1, historyRows: 1, requests: 1, pending: 0 });
    },
  );
}

test.serial(
  'coupons of both orders are served at once, each by its own topics, and an order stays',
  async (t) => {
    const url = await api(t);
    await issuing(t, both.user);
    await issuing(t, both.coupon);
    const made = async (coupon: object) => (await post(url, '/coupons', { stock: 1, ...coupon })).json;
    const byCoupon = await made({ name: 'by coupon', orderBy: 'coupon' });
    const byUser = await made({ name: 'by user' });
    t.like(byCoupon, { orderBy: 'coupon' });
    t.like(byUser, { orderBy: 'user' });
    t.is((await post(url, '/coupons', { name: 'x', stock: 1, orderBy: 'colour' })).status, 422);
    for (const [ordering, couponId] of [
      [both.coupon, byCoupon.couponId!],
      [both.user, byUser.couponId!],
      [both.user, 'never-made'],
    ] as const) {
      const requestId = await ask(t, url, 'of-both', couponId);
      await eventually(
        'its outcome is on the topics of its order',
        async () => (await resultsOf(ordering, couponId)).has(requestId),
        patienceMs,
      );
      const requests = await readTopic(kafka, ordering.requestTopic);
      const [own] = requests.filter((record) => headerText(record, 'ce_id') === requestId);
      t.is(String(own?.key), ordering.requestKey({ requestId, userId: 'of-both', couponId }));
      const other = ordering === both.user ? both.coupon : both.user;
      t.is((await resultsOf(other, couponId)).size, 0);
    }
  },
);

test.serial('every reason is told, with times, and no topic of outcomes names a user', async (t) => {
  const ordering = both.user;
  const url = await api(t);
  await issuing(t, ordering);
  const made = async (coupon: object) => (await post(url, '/coupons', coupon)).json.couponId!;
  const small = await made({ name: 'small', stock: 1 });
  const over = await made({ name: 'over', stock: 1, validUntil: '2020-01-01T00:00:00+09:00' });
  const later = await made({ name: 'later', stock: 1, validFrom: '2099-01-01T00:00:00Z' });
  const person = 'person-of-reasons';
  const asked = {
    SUCCESS: await ask(t, url, person, small),
    DUPLICATE: await ask(t, url, person, small),
    EXPIRED: await ask(t, url, person, over),
    NOT_FOUND: await ask(t, url, person, 'no-such-coupon'),
    TOO_EARLY: await ask(t, url, person, later),
  };
  const answers = new Map<string, Record<string, unknown>>();
  await eventually(
    'all are decided',
    async () => {
      for (const [what, id] of Object.entries(asked))
        answers.set(what, await get(url, `/coupons/requests/${id}`));
      return [...answers.values()].every(({ status }) => status !== 'PENDING');
    },
    patienceMs,
  );
  const lost = await ask(t, url, 'second-person-of-reasons', small);
  await eventually(
    'the last is decided',
    async () => (await get(url, `/coupons/requests/${lost}`)).reason === 'OUT_OF_STOCK',
    patienceMs,
  );
  t.like(answers.get('SUCCESS'), { status: 'COMPLETED', outcome: 'SUCCESS', couponId: small });
  t.regex(String(answers.get('SUCCESS')!.couponHistoryId), /^[0-9a-f-]{36}$/);
  for (const reason of ['DUPLICATE', 'EXPIRED', 'NOT_FOUND'])
    t.like(answers.get(reason), { status: 'FAILED', outcome: 'FAILED', reason });
  t.like(answers.get('TOO_EARLY'), { status: 'FAILED', reason: 'EXPIRED' });
  const times = answers.get('SUCCESS')!.times as Record<string, string>;
  t.true(Date.parse(times.decidedAt!) >= Date.parse(times.requestedAt!));
  t.is(times.notifiedAt, undefined);
  t.like(await get(url, `/coupons/${small}`), { name: 'small', stock: 1, issued: 1 });
  const outside = (await readTopic(kafka, ordering.outsideTopic)).map(({ headers, value }) => ({
    type: String(headers.ce_type),
    id: String(headers.ce_id),
    data: JSON.parse(String(value)) as Record<string, string>,
  }));
  const { couponHistoryId } = answers.get('SUCCESS')! as { couponHistoryId: string };
  const told = outside.filter(({ data }) => data.couponId === small);
  t.like(told[0], { type: 'CouponIssued', id: couponHistoryId, data: { couponHistoryId, couponId: small } });
  t.is(new Set(told.map(({ id }) => id)).size, 1, 'systems outside hear of those who got it');
  t.like(await findEvent(db, couponHistoryId), {
    event: { state: 'PUBLISHED', subject: small },
    data: told[0]!.data,
  });
  for (const topic of [ordering.successTopic, ordering.failureTopic, ordering.outsideTopic])
    for (const { key, value, headers } of await readTopic(kafka, topic))
      t.false(
        `${key} ${value} ${JSON.stringify(Object.values(headers).map(String))}`.includes('person-of-reasons'),
      );
});

test.serial('who asked in time gets the coupon, though it is over when the request is handled', async (t) => {
  const ordering = both.user;
  const url = await api(t);
  const soon = await createCoupon(db, { name: 'soon over', stock: 5, validUntilMs: Date.now() + 3_600_000 });
  const inTime = await ask(t, url, 'in-time', soon);
  // By the database's clock, whatever this host's says: over between that request and the next.
  await sql`UPDATE coupon SET valid_until = UTC_TIMESTAMP(3) WHERE coupon_id = ${soon}`.execute(db);
  const tooLate = await ask(t, url, 'too-late', soon);
  await sql`
    UPDATE coupon SET valid_until = (SELECT requested_at FROM coupon_request WHERE request_id = UNHEX(${tooLate.replaceAll('-', '')}))
    WHERE coupon_id = ${soon}`.execute(db);
  await sql`
    UPDATE coupon_request SET requested_at = requested_at - INTERVAL 1 SECOND
    WHERE request_id = UNHEX(${inTime.replaceAll('-', '')})`.execute(db);
  await issuing(t, ordering);
  await eventually(
    'both are decided',
    async () => (await reconcile(db, soon)).pending === 0 && (await reconcile(db, soon)).requests === 2,
    patienceMs,
  );
  t.is((await findRequest(db, inTime))!.status, 'COMPLETED');
  t.is((await findRequest(db, tooLate))!.reason, 'EXPIRED');
});

test.serial('a WebSocket tells outcomes, too, and refuses what it does not understand', async (t) => {
  const ordering = both.user;
  const url = await api(t);
  await issuing(t, ordering);
  const couponId = await createCoupon(db, { name: 'socket', stock: 1 });
  const messages: { type: string; data?: SeenOutcome }[] = [];
  const socket = new WebSocket(
    `${url.replace('http', 'ws')}/coupons/ws?userId=${encodeURIComponent('소켓 user')}`,
    // As a browser does it, which cannot send a header.
    ['muster', `bearer.${operatorToken}`],
  );
  t.teardown(() => socket.close());
  socket.addEventListener('message', ({ data }) => messages.push(JSON.parse(String(data))));
  await eventually('it has begun', () => messages[0]?.type === 'ready', patienceMs);
  const requestId = await ask(t, url, '소켓 user', couponId);
  await eventually('the outcome is pushed', () => messages.length === 2, patienceMs);
  t.like(messages[1], { type: 'coupon-outcome', data: { requestId, couponId, outcome: 'SUCCESS' } });

  const refused = async (path: string) => {
    const bad = new WebSocket(`${url.replace('http', 'ws')}${path}`, ['muster', `bearer.${operatorToken}`]);
    return new Promise<string>((resolve) => {
      bad.addEventListener('error', () => resolve('error'));
      bad.addEventListener('open', () => resolve('open'));
    });
  };
  t.is(await refused('/coupons/ws'), 'error');
  t.is(await refused('/other?userId=x'), 'error');
  t.is((await fetch(`${url}/coupons/ws?userId=x`, { headers: asOperator })).status, 426);
});

test.serial(
  'what cannot be understood among the results is a dead letter, and pushing goes on',
  async (t) => {
    const ordering = both.user;
    const url = await api(t);
    await issuing(t, ordering);
    const couponId = await createCoupon(db, { name: 'after poison', stock: 1 });
    const seen: SeenOutcome[] = [];
    const stream = openOutcomeStream(url, operatorToken, 'patient', (outcome) => seen.push(outcome));
    t.teardown(() => stream.close());
    await stream.ready;
    await producer.send(
      [0, 1, 2].map((partition) => ({
        topic: ordering.successTopic,
        partition,
        key: null,
        value: `{"poison":${partition}}`,
      })),
    );
    await ask(t, url, 'patient', couponId);
    await eventually('the outcome is pushed', () => seen.length === 1, patienceMs);
    await eventually(
      'the poison is put aside',
      async () =>
        (await readTopic(kafka, `${ordering.successTopic}.dlq`)).filter(({ value }) =>
          String(value).includes('poison'),
        ).length >= 3,
      patienceMs,
    );
  },
);

test.serial('a coupon that is made twice under one key is one coupon', async (t) => {
  const url = await api(t);
  const make = async (name: string, key: string) => {
    const answer = await fetch(`${url}/coupons`, {
      method: 'POST',
      headers: { ...asOperator, 'content-type': 'application/json', 'idempotency-key': key },
      body: JSON.stringify({ name, stock: 3 }),
    });
    return { status: answer.status, text: await answer.text() };
  };
  const first = await make('once', 'key-1');
  t.is(first.status, 201);
  t.deepEqual(await make('once', 'key-1'), first);
  t.is((await make('another', 'key-1')).status, 409);
  t.not((await make('once', 'key-2')).text, first.text);
});

test.serial('bad input is refused, field by field', async (t) => {
  const url = await api(t);
  for (const [path, body] of [
    ['/coupons', {}],
    ['/coupons', { name: 'x', stock: -1 }],
    ['/coupons', { name: 'x', stock: 1.5 }],
    ['/coupons', { name: 'x', stock: 1, validUntil: '2026-02-31T00:00:00Z' }],
    [
      '/coupons',
      { name: 'x', stock: 1, validFrom: '2026-02-03T00:00:00Z', validUntil: '2026-02-03T00:00:00Z' },
    ],
    ['/coupons', { name: 'x', stock: 1, extra: 1 }],
    ['/coupons/issue', { userId: 'x' }],
    ['/coupons/issue', { userId: '', couponId: 'c' }],
    ['/coupons/issue', { userId: 'x'.repeat(129), couponId: 'c' }],
    ['/coupons/issue', { userId: 'x', couponId: 'ü' }],
    ['/coupons/issue', { userId: '\ud800', couponId: 'c' }],
    ['/coupons/issue', [{ userId: 'x', couponId: 'c' }]],
  ] as const) {
    const { status, json } = await post(url, path, body);
    t.is(status, 422, `${path} ${JSON.stringify(body)}`);
    t.truthy(json.error);
  }
  const statusOf = async (path: string) => (await fetch(`${url}${path}`, { headers: asOperator })).status;
  t.is(await statusOf('/coupons/unknown'), 404);
  t.is(await statusOf(`/coupons/requests/${uuidV7(1)}`), 404);
  t.is(await statusOf('/coupons/requests/1'), 422);
  t.is(await statusOf('/coupons/events'), 422);
  t.is(await statusOf('/coupons?limit=0'), 422);
});

test.serial(
  'twenty at once decide overlapping requests without any lock of Redis: exactly the stock is issued',
  async (t) => {
    const store = requestStore(async () => db);
    const couponIds = [
      await createCoupon(db, { name: 'race 1', stock: 7 }),
      await createCoupon(db, { name: 'race 2', stock: 1 }),
    ];
    const batches = Array.from({ length: 10 }, (_, batch) =>
      Array.from({ length: 10 }, (_, index) => ({
        requestId: uuidV7(Date.now()),
        userId: `racer-${(batch * 3 + index) % 15}`,
        couponId: couponIds[index % 2]!,
        traceparent: undefined,
      })),
    );
    for (const requests of batches) await acceptRequests(store, requests, []);
    // Each batch twice, side by side: the same requests, delivered twice at the same time.
    const decided = await Promise.all(
      Array.from({ length: 20 }, (_, index) =>
        decideRequests(store, batches[index >> 1]!, (winner) => issuedRecord(winner, pseudonymKey)),
      ),
    );
    for (const couponId of couponIds) {
      const counted = await reconcile(db, couponId);
      t.is(counted.issued, counted.stock);
      t.is(counted.historyRows, counted.stock);
      t.is(counted.succeeded, counted.stock);
      t.is(
        (await listEvents(db, { subject: couponId, limit: 50 })).length,
        counted.stock,
        'in the event log',
      );
      t.is(counted.usersTwice, 0);
      t.is(counted.pending, 0);
      t.is(counted.requests, 50);
    }
    decided.forEach((list, index) => {
      const other = decided[index ^ 1]!;
      t.deepEqual(
        list.map(({ requestId, reason, couponHistoryId }) => [requestId, reason, couponHistoryId]),
        other.map(({ requestId, reason, couponHistoryId }) => [requestId, reason, couponHistoryId]),
        'both tell the same',
      );
    });
  },
);

test.serial(
  'what is durable is published, though Kafka was away and the process that took it in is gone',
  async (t) => {
    const couponId = await createCoupon(db, { name: 'left behind', stock: 1 });
    const store = outboxStore(db);
    const away = { send: async () => Promise.reject(new Error('no broker answers')) };
    const first = startOutboxRelay({
      store,
      database: 'shop',
      producer: away,
      registry: createRegistry(),
      log: testLog,
    });
    const intake = startIntake({
      store: requestStore(async () => db),
      relay: first,
      orderings: both,
    });
    const requestId = await intake.request({ userId: 'left-behind', couponId });
    t.like(await findRequest(db, requestId), { status: 'PENDING' });
    await first.stop();
    const left = async () => countOf(db, 'muster_outbox_due');
    t.true((await left()) >= 1);
    // As if the time of that send had passed.
    await sql`UPDATE muster_outbox_due SET take_at = UTC_TIMESTAMP(3)`.execute(db);
    const second = startOutboxRelay({
      store,
      database: 'shop',
      producer,
      registry: createRegistry(),
      log: testLog,
    });
    t.teardown(() => second.stop());
    await eventually('it is on its topic', () => isOnTopic(requestId), patienceMs);
    await eventually('the row is gone', async () => (await left()) === 0, patienceMs);
  },
);

async function isOnTopic(requestId: string): Promise<boolean> {
  const records = await readTopic(kafka, both.user.requestTopic);
  return records.some((record) => headerText(record, 'ce_id') === requestId);
}

test.serial('while the database is away nothing is accepted; many at once share few commits', async (t) => {
  const gone = openDatabase({ settings: { ...settings, MYSQL_PORT: 1 }, acquireTimeoutMs: 500 });
  t.teardown(() => gone.destroy());
  const published: DueRow[] = [];
  const relay = { publish: (row: DueRow) => void published.push(row) };
  const options = { relay, orderings: both };
  const refused = startIntake({ ...options, store: requestStore(async () => gone) });
  await t.throwsAsync(refused.request({ userId: 'nobody', couponId: 'c' }), { code: 'MUSTER_DATABASE_DOWN' });

  const commits: number[] = [];
  const intake = startIntake({
    ...options,
    store: requestStore(async () => db),
    onAccepted: (_orderBy, count) => commits.push(count),
  });
  const accepted = await Promise.all(
    Array.from({ length: 400 }, (_, index) =>
      intake.request({ userId: `crowd-${index}`, couponId: 'no-such-coupon' }),
    ),
  );
  t.is(new Set(accepted).size, 400);
  t.is(
    commits.reduce((sum, count) => sum + count, 0),
    400,
  );
  t.true(commits.length < 40, `${commits.length} commits`);
  t.is(published.flatMap(({ records }) => records).length, 400);
  await sql`DELETE FROM muster_outbox_due`.execute(db);
});

test.serial('a lock keeps a second handler waiting, and without Redis work goes on at once', async (t) => {
  const client = await testRedis();
  t.teardown(() => client.destroy());
  const locks = redisLocks(async () => client, testLog);
  t.teardown(() => locks.stop());
  const key = `coupon:${uuidV7(Date.now())}:user:somebody`;
  // The connection is taken in the background.
  await eventually(
    'locks are taken',
    () => locks.with([key], async () => (await client.exists(key)) === 1),
    patienceMs,
  );
  await eventually('it is free again', async () => (await client.exists(key)) === 0, patienceMs);
  const order: string[] = [];
  let release = () => {};
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const first = locks.with([key, `${key}-2`], async () => {
    order.push('first begins');
    await held;
    order.push('first ends');
  });
  await eventually('the first holds it', async () => (await client.exists(key)) === 1, patienceMs);
  const second = locks.with([key], async () => void order.push('second'));
  await sleep(50);
  release();
  await Promise.all([first, second]);
  t.deepEqual(order, ['first begins', 'first ends', 'second']);

  const never = redisLocks(() => Promise.reject(new Error('redis is away')), testLog);
  t.is(await never.with([key], async () => 'done'), 'done');
  await never.stop();
});

test.serial('a customer asks for himself, and sees and hears nothing of another', async (t) => {
  const url = await api(t);
  const couponId = await createCoupon(db, { name: 'mine', stock: 5 });
  const call = async (token: string | undefined, method: string, path: string, body?: object) => {
    const answer = await fetch(`${url}${path}`, {
      method,
      headers: {
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const json = (await answer.json().catch(() => ({}))) as {
      requestId?: string;
      requests?: { requestId: string }[];
      error?: { code: string };
    };
    return { status: answer.status, code: json.error?.code, json };
  };
  const [mine, other] = await Promise.all([tokenOf('customer', 'u1'), tokenOf('customer', 'u2')]);

  const asked = await call(mine, 'POST', '/coupons/issue', { couponId });
  t.is(asked.status, 202);
  t.is((await call(mine, 'POST', '/coupons/issue', { userId: 'u1', couponId })).status, 202);
  t.is((await call(mine, 'POST', '/coupons/issue', { userId: 'u2', couponId })).code, 'MUSTER_FORBIDDEN');
  t.is((await call(undefined, 'POST', '/coupons/issue', { couponId })).status, 401);

  const path = `/coupons/requests/${asked.json.requestId}`;
  t.is((await call(mine, 'GET', path)).status, 200);
  t.is((await call(other, 'GET', path)).code, 'MUSTER_COUPON_REQUEST_UNKNOWN');
  t.is((await call(mine, 'GET', '/coupons/requests')).json.requests?.length, 2);
  t.is((await call(other, 'GET', '/coupons/requests')).json.requests?.length, 0);

  for (const closed of ['/coupons/requests', '/coupons/events']) {
    t.is((await call(mine, 'GET', `${closed}?userId=u2`)).code, 'MUSTER_FORBIDDEN', closed);
    t.is((await call(undefined, 'GET', `${closed}?userId=u2`)).status, 401, closed);
  }
  const acks = { userId: 'u1', ids: [asked.json.requestId] };
  t.is((await call(other, 'POST', '/coupons/events/acks', acks)).code, 'MUSTER_FORBIDDEN');
  t.is((await call(mine, 'POST', '/coupons', { name: 'mine', stock: 1 })).code, 'MUSTER_FORBIDDEN');

  const listen = (query: string, protocols: string[]) =>
    new Promise<string>((resolve) => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/coupons/ws${query}`, protocols);
      socket.addEventListener('message', ({ data }) => {
        resolve((JSON.parse(String(data)) as { type: string }).type);
        socket.close();
      });
      socket.addEventListener('error', () => resolve('refused'));
    });
  t.is(await listen('', ['muster', `bearer.${mine}`]), 'ready');
  t.is(await listen('?userId=u2', ['muster', `bearer.${mine}`]), 'refused');
  t.is(await listen('?userId=anybody', []), 'refused');
});
