/**
 * Outcomes reach their user whatever happens to the links: delivered means acknowledged, or still listed. On real stores:
 * MYSQL_*, KAFKA_BROKERS; topics and tables of their own.
 */
import test, { type ExecutionContext } from 'ava';
import type { Kysely } from 'kysely';
import { asOperator, operatorToken } from '../http/testing.ts';
import type { Kafka } from '../kafka/kafka.ts';
import { eventually, testKafka, uniqueName } from '../kafka/testing.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { openOutcomeStream, type SeenOutcome } from '../traffic/outcome-stream.ts';
import { createCouponTopics, openEvents, startApi, startIssuing, testOrdering } from './coupon.fixture.ts';
import { createCoupon, findRequest } from './store.ts';

const patienceMs = 60_000;
const name = uniqueName('coupon-told');
const ordering = testOrdering('user', name);
let kafka: Kafka;
let db: Kysely<unknown>;
let groups = 0;
const cleanUps: (() => Promise<void>)[] = [];

test.before(async () => {
  const scratch = await scratchDatabase('coupon');
  cleanUps.push(scratch.drop);
  ({ db } = scratch);
  cleanUps.push(await createCouponTopics([ordering]));
  kafka = testKafka('test-coupon-told');
  cleanUps.push(() => kafka.close());
  const issuing = await startIssuing({ ordering, db, kafka });
  cleanUps.push(issuing.stop);
  await eventually('requests are read', issuing.ready, patienceMs);
});
test.after.always(async () => {
  for (const cleanUp of cleanUps.reverse()) await cleanUp();
});

async function api(t: ExecutionContext) {
  const started = await startApi({
    orderings: { user: ordering, coupon: ordering },
    db,
    kafka,
    group: `${name}.push-${++groups}`,
  });
  let stopped = false;
  const stop = async () => {
    if (!stopped) await started.stop();
    stopped = true;
  };
  t.teardown(stop);
  await eventually('the API reads results', started.ready, patienceMs);
  return { url: started.url, stop };
}

async function post(url: string, path: string, body: object): Promise<Response> {
  return fetch(`${url}${path}`, {
    method: 'POST',
    headers: { ...asOperator, 'content-type': 'application/json' },
    body: JSON.stringify(body),
  });
}

/** Asks for a coupon that there is; resolves to the request's id. */
async function ask(url: string, userId: string): Promise<string> {
  const couponId = await createCoupon(db, { name: 'told', stock: 1 });
  const answer = await post(url, '/coupons/issue', { userId, couponId });
  return ((await answer.json()) as { requestId: string }).requestId;
}

async function listed(url: string, userId: string): Promise<readonly string[]> {
  const answer = await fetch(`${url}/coupons/requests?userId=${userId}&notified=false`, {
    headers: asOperator,
  });
  const { requests } = (await answer.json()) as { requests: { requestId: string }[] };
  return requests.map(({ requestId }) => requestId);
}

const status = async (requestId: string) => (await findRequest(db, requestId))?.status;
const requestsIn = (stream: { readonly seen: readonly { readonly requestId: string }[] }) =>
  stream.seen.map(({ requestId }) => requestId);

test.serial(
  'a link that is cut, and a reload that knows nothing: the outcome comes again, and is listed',
  async (t) => {
    const { url } = await api(t);
    const link = await openEvents(url, 'reloads');
    const requestId = await ask(url, 'reloads');
    await eventually('it was written to the link', () => link.seen.length === 1, patienceMs);
    link.close();
    t.is(await status(requestId), 'COMPLETED', 'nobody has acknowledged it');
    t.deepEqual(await listed(url, 'reloads'), [requestId]);

    const again = await openEvents(url, 'reloads');
    await eventually('it comes again', () => again.seen.length === 1, patienceMs);
    again.close();
    t.is(
      (await post(url, '/coupons/events/acks', { userId: 'somebody-else', ids: [requestId] })).status,
      204,
    );
    t.is(await status(requestId), 'COMPLETED', 'an acknowledgement of somebody else is none');
    t.is(
      (await post(url, '/coupons/events/acks', { userId: 'reloads', ids: [again.seen[0]!.id] })).status,
      204,
    );
    t.is(await status(requestId), 'NOTIFIED');
    t.truthy((await findRequest(db, requestId))!.notifiedAtMs);
    t.deepEqual(await listed(url, 'reloads'), []);
    const third = await openEvents(url, 'reloads');
    t.teardown(third.close);
    const next = await ask(url, 'reloads');
    await eventually('the next comes', () => third.seen.length > 0, patienceMs);
    t.deepEqual(requestsIn(third), [next], 'what was acknowledged does not come again');
  },
);

test.serial(
  'coming back with Last-Event-ID acknowledges that and what came before it, and gives the rest',
  async (t) => {
    const { url } = await api(t);
    const link = await openEvents(url, 'comes-back');
    const asked: string[] = [];
    for (let i = 1; i <= 3; i += 1) {
      asked.push(await ask(url, 'comes-back'));
      await eventually('it is pushed', () => link.seen.length === i, patienceMs);
    }
    link.close();
    const [first, second, third] = asked as [string, string, string];
    const resumed = await openEvents(url, 'comes-back', link.seen[1]!.id);
    t.teardown(resumed.close);
    await eventually('the rest comes', () => resumed.seen.length === 1, patienceMs);
    t.deepEqual(requestsIn(resumed), [third]);
    t.deepEqual(
      [await status(first), await status(second), await status(third)],
      ['NOTIFIED', 'NOTIFIED', 'COMPLETED'],
    );
  },
);

test.serial(
  'two devices of one user: one acknowledges for both, and who was away still gets it',
  async (t) => {
    const { url } = await api(t);
    const away = await openEvents(url, 'two-devices');
    const before = await ask(url, 'two-devices');
    await eventually('the one has seen something', () => away.seen.length === 1, patienceMs);
    away.close();

    const seen: SeenOutcome[] = [];
    const phone = openOutcomeStream(url, operatorToken, 'two-devices', (outcome) => seen.push(outcome));
    t.teardown(phone.close);
    await phone.ready;
    const requestId = await ask(url, 'two-devices');
    await eventually(
      'the phone has acknowledged both',
      async () => (await status(requestId)) === 'NOTIFIED' && (await status(before)) === 'NOTIFIED',
      patienceMs,
    );
    const resumed = await openEvents(url, 'two-devices', away.seen[0]!.id);
    t.teardown(resumed.close);
    await eventually('the other gets it, too', () => resumed.seen.length === 1, patienceMs);
    t.deepEqual(requestsIn(resumed), [requestId]);
    const fresh = await openEvents(url, 'two-devices');
    t.teardown(fresh.close);
    const last = await ask(url, 'two-devices');
    await eventually(
      'all have the last',
      () => fresh.seen.length === 1 && resumed.seen.length === 2,
      patienceMs,
    );
    t.deepEqual(requestsIn(fresh), [last], 'one that knows nothing is not told what is acknowledged');
  },
);

test.serial('a replica is restarted with an outcome on its links: the next one tells it', async (t) => {
  const first = await api(t);
  const link = await openEvents(first.url, 'restarted');
  const [one, two] = [await ask(first.url, 'restarted'), await ask(first.url, 'restarted')];
  await eventually('both are pushed', () => link.seen.length === 2, patienceMs);
  await first.stop();
  const second = await api(t);
  // The second process does not know what was on the first one's stream: the event itself is all it takes for seen.
  const resumed = await openEvents(second.url, 'restarted', link.seen[1]!.id);
  t.teardown(resumed.close);
  await eventually('what is not acknowledged comes', () => resumed.seen.length === 1, patienceMs);
  t.deepEqual(requestsIn(resumed), [link.seen[0]!.requestId]);
  t.is(await status(link.seen[1]!.requestId), 'NOTIFIED');
  t.deepEqual(await listed(second.url, 'restarted'), [link.seen[0]!.requestId]);
  t.deepEqual(new Set(requestsIn(link)), new Set([one, two]));
});

test.serial('a request that is not decided yet is listed, and cannot be acknowledged', async (t) => {
  const intakeOnly = testOrdering('user', `${name}-nobody`);
  const cleanUp = await createCouponTopics([intakeOnly]);
  t.teardown(cleanUp);
  const started = await startApi({
    orderings: { user: intakeOnly, coupon: intakeOnly },
    db,
    kafka,
    group: `${name}.nobody`,
  });
  t.teardown(started.stop);
  const requestId = await ask(started.url, 'waits');
  t.is((await post(started.url, '/coupons/events/acks', { userId: 'waits', ids: [requestId] })).status, 204);
  t.is(await status(requestId), 'PENDING');
  t.deepEqual(await listed(started.url, 'waits'), [requestId]);
  t.is((await post(started.url, '/coupons/events/acks', { userId: 'waits', ids: ['x'] })).status, 422);
});
