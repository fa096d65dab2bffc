import test, { type ExecutionContext } from 'ava';
import { NotNowError } from '../base/errors.ts';
import { createLog } from '../base/log.ts';
import { createRegistry } from '../base/metrics.ts';
import { asOperator, startTestHttp, tokenOf } from '../http/testing.ts';
import type { Started, Worker, WorkerDeps } from '../platform/worker.ts';
import { worker as analysisWorker } from './analysis-worker.ts';
import { worker as apiWorker } from './api-worker.ts';
import { createMemoryKafka } from './memory-kafka.fixture.ts';

const pseudonymKey = Buffer.alloc(32, 7);

/** The real workers on the platform's real HTTP server, with Kafka in memory. */
async function serve(t: ExecutionContext, workers: readonly unknown[] = [apiWorker]) {
  const kafka = createMemoryKafka();
  const registry = createRegistry();
  const log = createLog({ process: 'api', level: 'error', stream: process.stderr });
  const http = await startTestHttp({ log, registry });
  const failures: Error[] = [];
  const deps = {
    config: { TIME_ZONE: 'Asia/Seoul' },
    log,
    kafka,
    http: http.app as never,
    metrics: registry,
    database: () => Promise.reject(new Error('not here')),
    redis: () => Promise.reject(new Error('not here')),
    relayOutbox: async () => ({ publish() {} }),
    secrets: { pseudonymKey },
    fail: (error: Error) => failures.push(error),
  } satisfies WorkerDeps;
  const started: Started[] = [];
  for (const worker of workers as Worker[]) started.push(await worker.start(deps));
  await http.open();
  t.teardown(async () => {
    for (const one of started) await one.stop();
    await http.close(100);
  });
  const url = `http://127.0.0.1:${http.address().port}`;
  return {
    kafka,
    url,
    registry,
    failures,
    producer: await kafka.producer('test'),
    post: (path: string, body: unknown, headers: Record<string, string> = {}) =>
      fetch(`${url}${path}`, {
        method: 'POST',
        headers: { ...asOperator, 'content-type': 'application/json', ...headers },
        body:
          typeof body === 'string' || body instanceof Uint8Array ? (body as string) : JSON.stringify(body),
      }),
  };
}

interface ErrorBody {
  error: {
    code: string;
    message: string;
    details: { index?: number; field: string; reason: string; code: string }[];
  };
}
const errorOf = async (answer: Response) => ((await answer.json()) as ErrorBody).error;

const purchase = {
  purchaseId: 'p-1',
  userId: 'user-000123',
  productId: 'sku-1',
  productName: ' 무선 이어폰 '.normalize('NFD'),
  quantity: 2,
  price: '₩10,000',
  purchasedAt: '2026-11-21T10:00:00',
  cardNumber: '4000-0012-3456-7890',
};
const act = { uid: 'user-000123', promotion_id: 'promo-1', type: 'click', ts: 1_795_223_730 };

test('a purchase is published in standard form, keyed by user, with CloudEvents headers, and answered by its id', async (t) => {
  const { kafka, post } = await serve(t);
  const answer = await post('/purchases', purchase);
  t.is(answer.status, 202);
  t.deepEqual(await answer.json(), { accepted: 1, ids: ['p-1'] });
  const [record] = kafka.sent;
  t.is(record!.topic, 'purchase');
  t.is(record!.key, 'user-000123');
  t.deepEqual(JSON.parse(String(record!.value)), {
    purchaseId: 'p-1',
    userId: 'user-000123',
    productId: 'sku-1',
    productName: '무선 이어폰'.normalize('NFC'),
    quantity: 2,
    price: { amountMinor: 10_000, currency: 'KRW' },
    purchasedAt: '2026-11-21T01:00:00.000Z',
    cardLast4: '7890',
  });
  t.is(record!.headers?.ce_specversion, '1.0');
  t.is(record!.headers?.ce_type, 'Purchase');
  t.regex(String(record!.headers?.ce_id), /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
  t.is(record!.headers?.['content-type'], 'application/json');
});

test('a purchase without id gets one that sorts by time', async (t) => {
  const { kafka, post } = await serve(t);
  const { purchaseId: _, ...nameless } = purchase;
  const ids = [];
  for (let i = 0; i < 3; i += 1) {
    const answer = (await (await post('/purchases', nameless)).json()) as { ids: string[] };
    ids.push(answer.ids[0]!);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  t.deepEqual(ids, [...new Set(ids)].sort());
  t.deepEqual(
    kafka.sent.map(({ value }) => JSON.parse(String(value)).purchaseId),
    ids,
  );
});

test('acts come in other notations, in a batch, and each gets a message id', async (t) => {
  const { kafka, post } = await serve(t);
  const answer = await post('/promo-behaviors', [act, { ...act, type: 'view' }]);
  t.is(answer.status, 202);
  const body = (await answer.json()) as { accepted: number; ids: string[] };
  t.is(body.accepted, 2);
  t.deepEqual(
    kafka.sent.map(({ headers }) => headers?.ce_id as string),
    body.ids,
  );
  t.deepEqual(
    kafka.sent.map(({ value }) => JSON.parse(String(value)).action),
    ['click', 'view'],
  );
  t.false(JSON.stringify(body).includes('user-000123'));
});

test('the same Idempotency-Key and body give the same ids, another body gives others', async (t) => {
  const { kafka, post } = await serve(t);
  const { purchaseId: _, ...nameless } = purchase;
  const key = { 'idempotency-key': 'abc' };
  const ids = async (body: unknown) =>
    ((await (await post('/purchases', body, key)).json()) as { ids: string[] }).ids;
  const first = await ids(nameless);
  t.deepEqual(await ids(nameless), first);
  t.notDeepEqual(await ids({ ...nameless, quantity: 3 }), first);
  t.is(kafka.sent[0]!.headers?.ce_id, kafka.sent[1]!.headers?.ce_id);
  t.is((await post('/purchases', nameless, { 'idempotency-key': 'x'.repeat(201) })).status, 422);
});

test('a batch with invalid items is refused as a whole, with each item, field and reason, and publishes nothing', async (t) => {
  const { kafka, post } = await serve(t);
  const answer = await post('/purchases', [
    purchase,
    { ...purchase, purchaseId: 'p-2', quantity: -1 },
    { ...purchase, purchaseId: 'p-3', purchasedAt: '2026-02-31T10:00:00Z' },
    { ...purchase, purchaseId: 'p-4', currency: 'XXQ' },
    'user-000123',
  ]);
  t.is(answer.status, 422);
  const error = await errorOf(answer);
  t.is(error.code, 'MUSTER_INPUT_INVALID');
  t.deepEqual(
    error.details.map(({ index, field }) => [index, field]),
    [
      [1, 'quantity'],
      [2, 'purchasedAt'],
      [3, 'currency'],
      [4, '(root)'],
    ],
  );
  t.true(error.details.every(({ reason }) => reason.length > 5));
  t.regex(error.message, /4 of 5/);
  t.false(JSON.stringify(error).includes('user-000123'));
  t.is(kafka.sent.length, 0);
});

for (const [what, body, field] of [
  ['a negative quantity', { ...purchase, quantity: -1 }, 'quantity'],
  ['31 February', { ...purchase, purchasedAt: '2026-02-31T10:00:00Z' }, 'purchasedAt'],
  ['an unknown currency', { ...purchase, currency: 'XXQ' }, 'currency'],
  ['a wrong type', { ...purchase, userId: ['user-000123'] }, 'userId'],
  ['a missing user', { ...purchase, userId: undefined }, 'userId'],
  ['a text', 'user-000123', '(root)'],
  ['null', null, '(root)'],
  ['a number', 12, '(root)'],
] as const) {
  test(`${what} is 422 with the field, and says nothing of the person`, async (t) => {
    const { kafka, post } = await serve(t);
    const answer = await post('/purchases', JSON.stringify(body));
    t.is(answer.status, 422);
    const error = await errorOf(answer);
    t.is(error.details[0]!.field, field);
    t.is(error.details[0]!.index, undefined);
    t.false(JSON.stringify(error).includes('000123'));
    t.is(kafka.sent.length, 0);
  });
}

test('batches have 1 to 1,000 items', async (t) => {
  const { kafka, post } = await serve(t);
  t.is((await post('/purchases', [])).status, 422);
  const many = (count: number) =>
    Array.from({ length: count }, (_, i) => ({ ...purchase, purchaseId: `p-${i}` }));
  t.is((await post('/purchases', many(1_001))).status, 422);
  t.is((await post('/purchases', many(1_000))).status, 202);
  t.is(kafka.sent.length, 1_000);
});

test('the same id twice in a batch: equal content is taken, other content is refused', async (t) => {
  const { kafka, post } = await serve(t);
  t.is((await post('/purchases', [purchase, { ...purchase, price: 10_000 }])).status, 202);
  t.is(kafka.sent.length, 2);
  const answer = await post('/purchases', [purchase, { ...purchase, quantity: 5 }]);
  t.is(answer.status, 422);
  t.is((await errorOf(answer)).details[0]!.code, 'MUSTER_DUPLICATE_ID_OTHER_BODY');
  t.is(kafka.sent.length, 2);
});

test('malformed JSON is 400, binary is 400, 5 MB is 413, other content types are 415; nothing is published', async (t) => {
  const { kafka, post } = await serve(t);
  t.is((await post('/purchases', '{"userId":"user-000123"')).status, 400);
  t.is((await post('/purchases', Buffer.from([0xff, 0xfe, 0x00, 0x80]))).status, 400);
  t.is((await post('/purchases', '')).status, 400);
  const huge = await post('/purchases', `"${'x'.repeat(5_000_000)}"`).catch((error: unknown) => error);
  if (huge instanceof Response) t.is(huge.status, 413);
  else t.regex(String((huge as { cause?: unknown }).cause), /EPIPE|ECONNRESET|other side closed/);
  t.is(
    (await post('/purchases', 'a=b', { 'content-type': 'application/x-www-form-urlencoded' })).status,
    415,
  );
  t.is(kafka.sent.length, 0);
});

test('without Kafka’s ack the answer is 503 with Retry-After, and later it works again', async (t) => {
  const { kafka, post } = await serve(t);
  kafka.failWith = new NotNowError('MUSTER_KAFKA_SEND', 'not sent within the deadline');
  const answer = await post('/purchases', purchase);
  t.is(answer.status, 503);
  t.is(answer.headers.get('retry-after'), '1');
  t.is((await errorOf(answer)).code, 'MUSTER_KAFKA_SEND');
  kafka.failWith = undefined;
  t.is((await post('/purchases', purchase)).status, 202);
});

test('the OpenAPI document shows both inputs with examples of several notations', async (t) => {
  const { url } = await serve(t, [apiWorker, analysisWorker]);
  const document = (await (await fetch(`${url}/docs/json`)).json()) as {
    paths: Record<string, Record<string, unknown>>;
  };
  for (const path of ['/purchases', '/promo-behaviors']) {
    const text = JSON.stringify(document.paths[path]!.post);
    t.true(text.includes('ISO-8601'));
    t.true(text.includes('user_id'));
  }
  for (const path of ['/activity/stream', '/purchases/enriched/stream', '/promotions/reactions']) {
    t.truthy(document.paths[path]?.get, path);
  }
});

// --- streams -------------------------------------------------------------------------------------------------------

interface StreamEvent {
  readonly event: string;
  readonly id?: string;
  readonly data: Record<string, unknown>;
}

/** Reads server-sent events until stopped. */
function listen(t: ExecutionContext, url: string, headers: Record<string, string> = {}) {
  const ending = new AbortController();
  const events: StreamEvent[] = [];
  const comments: string[] = [];
  let ended = false;
  const reading = (async () => {
    const answer = await fetch(url, {
      headers: { ...asOperator, accept: 'text/event-stream', ...headers },
      signal: ending.signal,
    });
    let text = '';
    const decoder = new TextDecoder();
    for await (const chunk of answer.body as unknown as AsyncIterable<Uint8Array>) {
      text += decoder.decode(chunk, { stream: true });
      for (let end = text.indexOf('\n\n'); end !== -1; end = text.indexOf('\n\n')) {
        const fields = new Map(
          text
            .slice(0, end)
            .split('\n')
            .map((line) => {
              const colon = line.indexOf(':');
              return [line.slice(0, colon), line.slice(colon + 1).trim()];
            }),
        );
        text = text.slice(end + 2);
        if (fields.has('')) comments.push(fields.get('')!);
        if (!fields.has('event')) continue;
        const id = fields.get('id');
        events.push({
          event: fields.get('event')!,
          ...(id === undefined ? {} : { id }),
          data: JSON.parse(fields.get('data')!),
        });
      }
    }
  })()
    .catch(() => {})
    .then(() => {
      ended = true;
    });
  t.teardown(() => ending.abort());
  return {
    events,
    data: () => events.filter(({ id }) => id !== undefined),
    async until(condition: (events: readonly StreamEvent[]) => boolean) {
      for (let i = 0; i < 500 && !condition(events); i += 1)
        await new Promise((resolve) => setTimeout(resolve, 10));
      t.true(condition(events), JSON.stringify(events));
    },
    stop: async () => {
      ending.abort();
      await reading;
    },
    ended: () => ended,
  };
}

const isReady = (events: readonly StreamEvent[]) => events.some(({ event }) => event === 'ready');

test('both inputs come as one stream in order of time, masked', async (t) => {
  const { url, producer } = await serve(t);
  const stream = listen(t, `${url}/activity/stream`);
  await stream.until(isReady);
  await producer.send([
    {
      topic: 'purchase',
      key: 'k',
      value: JSON.stringify({ ...purchase, purchasedAt: '2026-11-21T10:05:00Z' }),
    },
    { topic: 'promo_behavior', key: 'k', value: JSON.stringify({ ...act, ts: '2026-11-21T10:04:00Z' }) },
    { topic: 'promo_behavior', key: 'k', value: JSON.stringify({ ...act, ts: '2026-11-21T10:05:00Z' }) },
    { topic: 'purchase', key: 'k', value: Buffer.from([0xff, 0x00]) },
    { topic: 'purchase', key: 'k', value: null },
  ]);
  await stream.until(() => stream.data().length === 3);
  t.deepEqual(
    stream.data().map(({ event, data }) => [event, data.at]),
    [
      ['promo_behavior', '2026-11-21T10:04:00.000Z'],
      ['promo_behavior', '2026-11-21T10:05:00.000Z'],
      ['purchase', '2026-11-21T10:05:00.000Z'],
    ],
  );
  t.is(new Set(stream.data().map(({ data }) => data.user)).size, 1);
  t.regex(String(stream.data()[0]!.data.user), /^u_[A-Za-z0-9_-]{22}$/);
  t.false(/user-000123|7890/.test(JSON.stringify(stream.events)));
  await producer.send([
    { topic: 'promo_behavior', key: 'k', value: JSON.stringify({ ...act, ts: '2026-11-21T10:04:30Z' }) },
  ]);
  await stream.until(() => stream.data().length === 4);
  t.true(stream.data()[3]!.data.late);
});

const enriched = (purchaseId: string, promotions: string[], more: object = {}) => ({
  purchaseId,
  version: 1 + promotions.length,
  user: `u_${'a'.repeat(22)}`,
  productId: 'sku-1',
  quantity: 1,
  price: { amountMinor: 100, currency: 'KRW' },
  purchasedAt: new Date().toISOString(),
  ageBand: '30s',
  promotion_affect: promotions.length > 0 ? 1 : 0,
  promotions: promotions.map((promotionId) => ({ promotionId, action: 'click', secondsBefore: 1 })),
  ...more,
});
const toTopic = (value: object) => ({ topic: 'purchase_enriched', key: null, value: JSON.stringify(value) });

test('enriched purchases are filtered by promotion, product, age band and user', async (t) => {
  const { url, producer } = await serve(t);
  const all = listen(t, `${url}/purchases/enriched/stream`);
  const some = listen(t, `${url}/purchases/enriched/stream?promotion=x,y&ageBand=30s&product=sku-1`);
  await all.until(isReady);
  await some.until(isReady);
  await producer.send([
    toTopic(enriched('1', ['x'])),
    toTopic(enriched('2', ['z'])),
    toTopic(enriched('3', ['y'], { ageBand: '40s' })),
    toTopic(enriched('4', ['y'], { productId: 'sku-2' })),
    toTopic(enriched('5', ['z', 'y'])),
    { topic: 'purchase_enriched', key: null, value: '{"not":"ours"}' },
  ]);
  await all.until(() => all.data().length === 5);
  await some.until(() => some.data().length === 2);
  t.deepEqual(
    some.data().map(({ data }) => data.purchaseId),
    ['1', '5'],
  );
});

test('a filter that is not valid is 422 and does not repeat a user id', async (t) => {
  const { url } = await serve(t);
  const answer = await fetch(`${url}/activity/stream?user=user-000123`, { headers: asOperator });
  t.is(answer.status, 422);
  const error = await errorOf(answer);
  t.is(error.details[0]!.field, 'user');
  t.false(JSON.stringify(error).includes('user-000123'));
});

test('a client that reconnects with its last event id gets what it missed; an unknown id gives a gap', async (t) => {
  const { url, producer } = await serve(t);
  const address = `${url}/purchases/enriched/stream`;
  const first = listen(t, address);
  await first.until(isReady);
  await producer.send([toTopic(enriched('1', []))]);
  await first.until(() => first.data().length === 1);
  await first.stop();
  await producer.send([toTopic(enriched('2', [])), toTopic(enriched('3', []))]);
  const second = listen(t, address, { 'last-event-id': first.data()[0]!.id! });
  await second.until(() => second.data().length === 2);
  t.deepEqual(
    second.data().map(({ data }) => data.purchaseId),
    ['2', '3'],
  );
  t.false(second.events.some(({ event }) => event === 'gap'));
  const third = listen(t, address, { 'last-event-id': 'deadbeef-7' });
  await third.until((events) => events.some(({ event }) => event === 'gap'));
});

test('when the source breaks off, clients are told and the stream ends; the next client starts it anew', async (t) => {
  const { kafka, url, producer } = await serve(t);
  const first = listen(t, `${url}/purchases/enriched/stream`);
  await first.until(isReady);
  kafka.breakReaders(new Error('gone'));
  await first.until((events) => events.some(({ event }) => event === 'failed'));
  await first.until(() => first.ended());
  const second = listen(t, `${url}/purchases/enriched/stream`);
  await second.until(isReady);
  await producer.send([toTopic(enriched('1', []))]);
  await second.until(() => second.data().length === 1);
});

// --- analysis ------------------------------------------------------------------------------------------------------

test('reactions by age band: from both topics, with corrections, as an answer and as metrics', async (t) => {
  const { url, producer, registry } = await serve(t, [analysisWorker]);
  const ts = new Date().toISOString();
  await producer.send([
    toTopic(enriched('1', [])),
    toTopic(enriched('1', ['promo-1'])),
    toTopic(enriched('2', [])),
    { topic: 'promo_behavior', key: 'k', value: JSON.stringify({ ...act, ts, age: 34 }) },
    { topic: 'promo_behavior', key: 'k', value: JSON.stringify({ ...act, ts, age: 34 }) },
    { topic: 'promo_behavior', key: 'k', value: 'nonsense' },
  ]);
  const answer = await fetch(`${url}/promotions/reactions?window=1m`, { headers: asOperator });
  t.is(answer.status, 200);
  const report = (await answer.json()) as {
    total: Record<string, unknown>;
    promotions: { promotion: string; ageBands: object[] }[];
  };
  t.like(report.total, { purchases: 2, affected: 1, acts: 1 });
  t.deepEqual(report.promotions[0]!.ageBands, [
    { ageBand: '30s', purchases: 2, affected: 1, acts: 1, affectedPerPurchase: 0.5, affectedPerAct: 1 },
  ]);
  const metrics = await registry.metrics();
  t.regex(metrics, /promotion_reaction_affected\{promotion="promo-1",age_band="30s",window="5m"\} 1/);
  t.regex(metrics, /promotion_reaction_purchases\{promotion="all",age_band="30s",window="15m"\} 2/);
  t.regex(metrics, /promotion_reaction_acts\{promotion="promo-1",age_band="30s",window="1m"\} 1/);
  t.false(metrics.includes('user-000123'));
  t.deepEqual(
    (
      (await (
        await fetch(`${url}/promotions/reactions?promotion=promo-2`, { headers: asOperator })
      ).json()) as typeof report
    ).promotions,
    [],
  );
  t.is((await fetch(`${url}/promotions/reactions?window=2h`, { headers: asOperator })).status, 422);
  t.is((await fetch(`${url}/promotions/reactions?limit=0`, { headers: asOperator })).status, 422);
});

test('what was published before the analysis started is counted after a restart', async (t) => {
  const kafka = createMemoryKafka();
  const producer = await kafka.producer('test');
  await producer.send([toTopic(enriched('1', ['promo-1']))]);
  const registry = createRegistry();
  const routes: unknown[] = [];
  const started = await analysisWorker.start({
    config: { TIME_ZONE: 'Asia/Seoul' },
    log: createLog({ process: 'api', level: 'error', stream: process.stderr }),
    kafka,
    http: { get: (...route: unknown[]) => routes.push(route) } as never,
    metrics: registry,
    secrets: { pseudonymKey },
  } as never);
  for (let i = 0; i < 100 && !started.ready(); i += 1) await new Promise((resolve) => setTimeout(resolve, 5));
  t.true(started.ready());
  t.regex(
    await registry.metrics(),
    /promotion_reaction_affected\{promotion="promo-1",age_band="30s",window="1m"\} 1/,
  );
  await started.stop();
  t.is(kafka.groups.size, 0);
});

test('a customer brings in what he did himself, and need not say who he is', async (t) => {
  const { kafka, post } = await serve(t);
  const mine = { authorization: `Bearer ${await tokenOf('customer', 'u1')}` };
  const { userId: _, ...nameless } = purchase;
  t.is((await post('/purchases', nameless, mine)).status, 202);
  t.is((await post('/purchases', { ...nameless, uid: 'u1', purchaseId: 'p-2' }, mine)).status, 202);
  t.deepEqual(
    kafka.sent.map(({ key }) => key),
    ['u1', 'u1'],
  );
  for (const body of [purchase, [{ ...nameless, purchaseId: 'p-3' }, purchase]]) {
    const answer = await post('/purchases', body, mine);
    t.is(answer.status, 403);
    t.is((await errorOf(answer)).code, 'MUSTER_FORBIDDEN');
  }
  t.is(kafka.sent.length, 2);
  t.is((await post('/purchases', nameless, { authorization: '' })).status, 401);
  // A shop must say whose purchase it is.
  const merchant = { authorization: `Bearer ${await tokenOf('merchant', 'm1')}` };
  t.is((await post('/purchases', nameless, merchant)).status, 422);
  t.is((await post('/purchases', { ...nameless, userId: 'u2' }, merchant)).status, 202);
});
