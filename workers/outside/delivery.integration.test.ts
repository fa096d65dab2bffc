/**
 * Delivery on the real cluster and database (KAFKA_BROKERS, MYSQL_*), to a world outside that is a process of its own and
 * is killed, hangs, fails and loses answers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import type { Kysely } from 'kysely';
import type { PaymentCompleted } from '../../catalog/events/outside.ts';
import { topics as catalogTopics } from '../../catalog/topics.ts';
import type { DatabaseSettings } from '../base/config.ts';
import { replayDeadLetters } from '../kafka/dead-letters.ts';
import type { Kafka, OutgoingRecord, Producer } from '../kafka/kafka.ts';
import { eventRecord, headerText } from '../kafka/records.ts';
import { eventually, readTopic, testKafka, uniqueName } from '../kafka/testing.ts';
import { scratchDatabase } from '../store/database.fixture.ts';
import { transaction } from '../store/database.ts';
import { findEvent } from '../store/event-log.ts';
import { appendOutbox } from '../store/outbox.ts';
import {
  createDeliveryTopics,
  type DeliverySpec,
  spawnDelivery,
  spawnOutsideWorld,
  startDelivery,
} from './delivery.fixture.ts';

/** All ids of this run begin so. */
const run = uniqueName('outside');
const longMs = 60_000;
const payment = (orderId: string, amountMinor = 59_000): PaymentCompleted => ({
  paymentId: `payment-of-${orderId}`,
  orderId,
  amount: { amountMinor, currency: 'KRW' },
  timestamp: '2026-11-21T01:15:30.000Z',
});

let world: Awaited<ReturnType<typeof spawnOutsideWorld>>;
let db: Kysely<unknown>;
let settings: DatabaseSettings;
let drop: () => Promise<void>;
let kafka: Kafka;
let producer: Producer;
let remove: () => Promise<void>;
let delivery: Awaited<ReturnType<typeof startDelivery>>;
const shared = {
  topic: uniqueName('external-events'),
  group: uniqueName('outside-events'),
  retryDelaysMs: [300, 600, 1_200, 2_400],
};

function eventOf(topic: string, id: string, data: unknown = payment(id)): OutgoingRecord {
  return eventRecord({
    topic,
    // One key, so one partition: who is held up by whom shows.
    key: 'user:1',
    type: 'PaymentCompleted',
    source: '/test',
    id,
    subject: id,
    timeMs: Date.now(),
    data,
  });
}
const found = async (id: string) => (await findEvent(db, id))!;
const stateOf = async (id: string) => (await findEvent(db, id))?.event.state;
const allAre = async (ids: readonly string[], state: string) =>
  (await Promise.all(ids.map(stateOf))).every((each) => each === state);

test.before(async () => {
  ({ db, settings, drop } = await scratchDatabase('outside'));
  kafka = testKafka();
  producer = await kafka.producer('test');
  ({ remove } = await createDeliveryTopics(shared));
  world = await spawnOutsideWorld();
  delivery = await startDelivery(
    { ...shared, baseUrl: world.baseUrl, timeoutMs: 10_000 },
    settings,
    (error) => {
      throw error;
    },
  );
  await eventually('ready', () => delivery.ready(), longMs);
});
test.after.always(async () => {
  await world?.kill();
  try {
    await delivery?.stop();
  } finally {
    await drop?.();
    await kafka.close();
    await remove?.();
  }
});

test.serial(
  'while a receiver is down, events that were not attempted wait, and keep all their attempts for later',
  async (t) => {
    t.timeout(180_000);
    const spec: DeliverySpec = {
      topic: uniqueName('external-events'),
      group: uniqueName('outside-events'),
      retryDelaysMs: Array.from({ length: 60 }, () => 500),
      baseUrl: world.baseUrl,
      timeoutMs: 10_000,
    };
    const topics = await createDeliveryTopics(spec);
    t.teardown(topics.remove);
    const running = await startDelivery(spec, settings, (error) => t.fail(error.message));
    t.teardown(() => running.stop());
    const early = Array.from({ length: 12 }, (_, n) => `${run}-early-${n}`);
    const late = Array.from({ length: 5 }, (_, n) => `${run}-late-${n}`);
    await world.kill();
    await producer.send(early.map((id) => eventOf(spec.topic, id)));
    const isOpen = async () =>
      (await running.registry.metrics()).includes('http_client_breaker_open{client="webhooks"} 1');
    await eventually('the receiver counts as down', isOpen, longMs);
    await producer.send(late.map((id) => eventOf(spec.topic, id)));
    await eventually(
      'those that were attempted go on with their schedule',
      async () =>
        (await Promise.all(early.map((id) => findEvent(db, id)))).every(
          (each) => (each?.event.attempts ?? 0) >= 4,
        ),
      longMs,
    );
    // One of them at most has found out that the receiver is still down.
    const begun = (await Promise.all(late.map((id) => findEvent(db, id)))).filter(
      (each) => (each?.event.attempts ?? 0) > 0,
    );
    t.true(begun.length <= 1, `${begun.length} were attempted`);
    await world.start();
    await eventually('all completed', () => allAre([...early, ...late], 'COMPLETED'), longMs);
    const attempts = await Promise.all(late.map(async (id) => (await found(id)).event.attempts));
    t.true(attempts.filter((count) => count === 1).length >= late.length - 1, attempts.join(', '));
  },
);

test.serial(
  'a receiver that is down for a while gets every event, each once, and not before its retry was due',
  async (t) => {
    t.timeout(180_000);
    // Enough retries for a receiver that takes long to come up on a busy machine.
    const retryDelaysMs = [300, 600, 1_200, ...Array.from({ length: 40 }, () => 1_500)];
    const spec: DeliverySpec = {
      topic: uniqueName('external-events'),
      group: uniqueName('outside-events'),
      retryDelaysMs,
      baseUrl: world.baseUrl,
      timeoutMs: 10_000,
    };
    const topics = await createDeliveryTopics(spec);
    t.teardown(topics.remove);
    const running = await startDelivery(spec, settings, (error) => t.fail(error.message));
    t.teardown(() => running.stop());
    const ids = Array.from({ length: 12 }, (_, n) => `${run}-down-${n}`);
    await world.kill();
    await producer.send(ids.map((id) => eventOf(spec.topic, id)));
    await eventually(
      'every event failed twice',
      async () =>
        (await Promise.all(ids.map((id) => findEvent(db, id)))).every(
          (each) => (each?.event.attempts ?? 0) >= 2,
        ),
      longMs,
    );
    await world.start();
    await eventually('all completed', () => allAre(ids, 'COMPLETED'), longMs);
    for (const id of ids) {
      const { event, failedAttempts } = await found(id);
      const receipt = await world.received(id);
      t.is(receipt?.effects, 1);
      t.is(receipt?.attempts.length, 1);
      t.is(event.attempts, failedAttempts.length + 1);
      t.false(event.inDoubt, 'nobody listened: nothing was sent');
      const starts = [...failedAttempts.slice(1).map(({ startedAt }) => startedAt), event.attemptedAt!];
      failedAttempts.forEach(({ outcome, endedAt }, index) => {
        t.is(outcome, 'network');
        const waitedMs = starts[index]!.getTime() - endedAt!.getTime();
        t.true(waitedMs >= retryDelaysMs[index]! - 2, `retry ${index + 1} came after ${waitedMs} ms`);
      });
    }
  },
);

test.serial('an event of ours is in the log with its publishing, before anybody has read it', async (t) => {
  const id = `${run}-decided`;
  const decide = (fails: boolean) =>
    transaction(db, async (trx) => {
      await appendOutbox(trx, [{ ...eventOf(catalogTopics.externalEvents.name, id), key: id }]);
      if (fails) throw new Error('decided otherwise');
    });
  await t.throwsAsync(decide(true), { message: 'decided otherwise' });
  t.is(await stateOf(id), undefined);
  await decide(false);
  const { event, data } = await found(id);
  t.like(event, { state: 'PUBLISHED', type: 'PaymentCompleted', subject: id, attempts: 0, inDoubt: false });
  t.deepEqual(data, payment(id));
  t.is(event.firstSeenAt, null);
  // Its record comes, in the same words: the first attempt begins.
  await world.behave({ mode: 'ok' });
  await producer.send([eventOf(shared.topic, id)]);
  await eventually('completed', async () => (await stateOf(id)) === 'COMPLETED', longMs);
  t.is((await found(id)).event.attempts, 1);
});

test.serial('a lost answer is asked for again with the same key, and the work is done once', async (t) => {
  const id = `${run}-lost`;
  await world.behave({ mode: 'lose-response', first: 2 });
  await producer.send([eventOf(shared.topic, id)]);
  await eventually('completed', async () => (await stateOf(id)) === 'COMPLETED', longMs);
  const { event, failedAttempts } = await found(id);
  const receipt = await world.received(id);
  t.is(receipt?.effects, 1);
  t.deepEqual(
    receipt?.attempts.map(({ answer }) => answer),
    ['lost', 'lost', 200],
  );
  t.deepEqual(
    failedAttempts.map(({ outcome, status }) => ({ outcome, status })),
    [
      { outcome: 'network', status: null },
      { outcome: 'network', status: null },
    ],
  );
  t.is(event.attempts, 3);
  t.false(event.inDoubt, 'the 200 settled it');
});

test.serial(
  'what cannot be understood, and an id that comes with another body, are dead letters; the rest goes on',
  async (t) => {
    await world.behave({ mode: 'ok' });
    const good = [`${run}-good-1`, `${run}-good-2`];
    const { topic } = shared;
    await producer.send([
      { topic, key: 'user:1', value: Buffer.from([0xff, 0x00]) },
      { topic, key: 'user:1', value: null },
      { ...eventOf(topic, `${run}-type`), headers: { ce_id: `${run}-type`, ce_type: 'SomethingElse' } },
      eventOf(topic, `${run}-ümlaut`),
      eventOf(topic, `${run}-fields`, { ...payment('x'), amount: { amountMinor: 1.5, currency: 'won' } }),
      eventOf(topic, good[0]!),
    ]);
    await eventually('the good one', () => allAre([good[0]!], 'COMPLETED'), longMs);
    await producer.send([eventOf(topic, good[0]!, payment('another body')), eventOf(topic, good[1]!)]);
    await eventually('the other good one', () => allAre(good, 'COMPLETED'), longMs);
    await eventually(
      'six dead letters',
      async () => (await readTopic(kafka, `${topic}.dlq`)).length === 6,
      longMs,
    );
    const dead = await readTopic(kafka, `${topic}.dlq`);
    t.deepEqual(dead.map((record) => headerText(record, 'muster-error-code')).sort(), [
      'MUSTER_DUPLICATE_ID_OTHER_BODY',
      'MUSTER_EMPTY_VALUE',
      'MUSTER_EVENT_ID',
      'MUSTER_EVENT_TYPE',
      'MUSTER_FIELD_INVALID',
      'MUSTER_JSON_INVALID',
    ]);
    for (const record of dead) t.notRegex(headerText(record, 'muster-error-reason')!, /won|user:|ümlaut/);
    t.is((await world.received(good[0]!))?.attempts.length, 1);
    t.is((await found(good[0]!)).event.subject, good[0]!);
  },
);

test.serial(
  'refused is given up at once, failing for good after the last retry; a replay then delivers each once',
  async (t) => {
    t.timeout(180_000);
    const { topic } = shared;
    const letters = async () => (await readTopic(kafka, `${topic}.dlq`)).length;
    const before = await letters();
    // What earlier tests left is not to be replayed.
    await replayDeadLetters(kafka, { send: async () => {}, close: async () => {} }, topic);
    const refused = `${run}-refused`;
    await world.behave({ mode: 'fail', status: 422 });
    await producer.send([eventOf(topic, refused)]);
    await eventually('refused', async () => (await stateOf(refused)) === 'DEAD_LETTER', longMs);
    t.is((await found(refused)).event.attempts, 1);

    const failing = `${run}-failing`;
    const silent = `${run}-silent`;
    await world.behave({ mode: 'fail', status: 503 });
    await producer.send([eventOf(topic, failing)]);
    await eventually('given up', async () => (await stateOf(failing)) === 'DEAD_LETTER', longMs);
    const { event, failedAttempts } = await found(failing);
    t.deepEqual(
      failedAttempts.map(({ status }) => status),
      [503, 503, 503, 503, 503],
    );
    t.false(event.inDoubt);
    await world.behave({ mode: 'lose-response', keyPrefix: silent });
    await producer.send([eventOf(topic, silent)]);
    await eventually('given up', async () => (await stateOf(silent)) === 'DEAD_LETTER', longMs);
    t.true((await found(silent)).event.inDoubt, 'it may have been heard');
    t.is((await found(silent)).event.outcome, 'network');
    await eventually('three dead letters', async () => (await letters()) === before + 3, longMs);

    await world.behave({ mode: 'ok' });
    t.is((await replayDeadLetters(kafka, producer, topic)).replayed, 3);
    const ids = [refused, failing, silent];
    await eventually('delivered', () => allAre(ids, 'COMPLETED'), longMs);
    for (const id of ids) {
      t.is((await world.received(id))?.effects, 1);
      t.false((await found(id)).event.inDoubt);
    }
    const counts = await delivery.registry.metrics();
    t.regex(counts, /outside_events_total\{state="DEAD_LETTER"\} 3/);
    t.regex(counts, /outside_webhook_attempts_total\{outcome="5xx"\} 5/);
  },
);

test.serial(
  'a webhook that hangs longer than the session timeout holds up neither its partition nor the membership',
  async (t) => {
    t.timeout(180_000);
    const spec: DeliverySpec = {
      topic: uniqueName('external-events'),
      group: uniqueName('outside-events'),
      retryDelaysMs: [300],
      baseUrl: world.baseUrl,
      timeoutMs: 60_000,
    };
    const topics = await createDeliveryTopics(spec);
    t.teardown(topics.remove);
    const running = await startDelivery(spec, settings, (error) => t.fail(error.message));
    t.teardown(() => running.stop());
    const hanging = `${run}-hanging`;
    const others = Array.from({ length: 40 }, (_, n) => `${run}-beside-${n}`);
    await world.behave({ mode: 'hang', keyPrefix: hanging });
    await producer.send([hanging, ...others].map((id) => eventOf(spec.topic, id)));
    await eventually('the others', () => allAre(others, 'COMPLETED'), longMs);
    // Longer than the session timeout: a member that sent no heartbeats would be out, and the event begun again.
    await sleep(12_000);
    const later = `${run}-later`;
    await producer.send([eventOf(spec.topic, later)]);
    await eventually('one that came later', () => allAre([later], 'COMPLETED'), longMs);
    t.like((await found(hanging)).event, { state: 'IN_PROGRESS', attempts: 1, inDoubt: true });

    // Cuts the connection that hangs.
    await world.kill();
    await eventually('failed', async () => (await stateOf(hanging)) !== 'IN_PROGRESS', longMs);
    await world.start();
  },
);

test.serial(
  'killed between webhook and commit: the event comes again with the same key, and the work is done once',
  async (t) => {
    t.timeout(180_000);
    const spec: DeliverySpec = {
      topic: uniqueName('external-events'),
      group: uniqueName('outside-events'),
      retryDelaysMs: [],
      baseUrl: world.baseUrl,
      timeoutMs: 30_000,
    };
    const topics = await createDeliveryTopics(spec);
    t.teardown(topics.remove);
    const id = `${run}-crash`;
    await world.behave({ mode: 'slow', delayMs: 20_000, first: 1 });
    await producer.send([eventOf(spec.topic, id)]);
    const child = spawnDelivery(spec, settings);
    t.teardown(() => void child.kill('SIGKILL'));
    await eventually(
      'the work is done, not answered yet',
      async () => (await world.received(id))?.effects === 1,
      longMs,
    );
    child.kill('SIGKILL');
    const second = await startDelivery(spec, settings, (error) => t.fail(error.message));
    t.teardown(() => second.stop());
    await eventually('completed', async () => (await stateOf(id)) === 'COMPLETED', longMs);
    const receipt = await world.received(id);
    t.deepEqual(
      receipt?.attempts.map(({ answer }) => answer),
      ['slow', 200],
    );
    t.is(receipt?.effects, 1);
    const { event, failedAttempts } = await found(id);
    t.is(event.attempts, 2);
    t.like(failedAttempts[0], { attempt: 1, outcome: 'unknown', endedAt: null });
  },
);
