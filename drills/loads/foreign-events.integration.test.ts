/**
 * What is sent to coupons and to systems outside, on a real cluster with topics of its own (KAFKA_BROKERS, MYSQL_*): the
 * workers' own consumers handle it, and the judge finds nothing. What nobody handles it finds.
 */
import test from 'ava';
import { topics } from '../../catalog/topics.ts';
import { createCouponTopics, startIssuing, testOrdering } from '../../workers/coupon/coupon.fixture.ts';
import { eventually, testBrokers, testKafka, uniqueName } from '../../workers/kafka/testing.ts';
import {
  createDeliveryTopics,
  spawnOutsideWorld,
  startDelivery,
} from '../../workers/outside/delivery.fixture.ts';
import { scratchDatabase } from '../../workers/store/database.fixture.ts';
import { receivedOf } from '../checker/claims.ts';
import { checkForeign, type ForeignMessage } from '../checker/foreign.ts';
import { openReader } from '../checker/reading.ts';
import { clientsOf } from './foreign.ts';
import { foreignEventRounds, oddEventRounds } from './foreign-events.ts';

test('codecs, transactions and whatever is odd on the topics of coupons and of systems outside is handled as it owes', async (t) => {
  t.timeout(300_000);
  const id = uniqueName('foreign');
  const { db, settings, drop } = await scratchDatabase('foreign_events');
  t.teardown(drop);
  const byUser = testOrdering('user', `${id}.u`);
  const byCoupon = testOrdering('coupon', `${id}.c`);
  t.teardown(await createCouponTopics([byUser, byCoupon]));
  const spec = { topic: `${id}.o`, group: `${id}.g`, retryDelaysMs: [200], timeoutMs: 5_000 };
  const { remove } = await createDeliveryTopics(spec);
  t.teardown(remove);
  const world = await spawnOutsideWorld();
  t.teardown(world.kill);
  const kafka = testKafka();
  const names = new Map<string, string>([
    [topics.couponRequests.name, byUser.requestTopic],
    [topics.couponRequestsDlq.name, `${byUser.requestTopic}.dlq`],
    [topics.couponResults.name, byUser.failureTopic],
    [topics.couponIssue.name, byCoupon.requestTopic],
    [topics.couponIssueDlq.name, `${byCoupon.requestTopic}.dlq`],
    [topics.couponIssueFailed.name, byCoupon.failureTopic],
    [topics.externalEvents.name, spec.topic],
    [topics.externalEventsDlq.name, `${spec.topic}.dlq`],
  ]);
  const reader = openReader(testBrokers().join(','));
  const clients = clientsOf({ variables: { KAFKA_BROKERS: testBrokers().join(',') }, run: id });
  const workers: { ready(): boolean; stop(): Promise<void> }[] = [];
  try {
    const read = reader.since(await reader.ends([...names.values()]));
    const messages: ForeignMessage[] = [];
    for (const [number, make] of [...foreignEventRounds(), ...oddEventRounds()].entries()) {
      const round = make({ run: id, person: `${id}-person` }, number);
      const isOurs = (topic: string) => names.has(topic);
      // Consumers of orders are not here.
      const left = new Set(round.batches.flat().flatMap(({ topic, key }) => (isOurs(topic) ? [] : [key])));
      const batches = round.batches
        .map((batch) =>
          batch.flatMap((record) =>
            isOurs(record.topic) ? [{ ...record, topic: names.get(record.topic)! }] : [],
          ),
        )
        .filter((batch) => batch.length > 0);
      await clients.send({ ...round, batches });
      for (const message of round.messages)
        if (!left.has(message.id)) messages.push({ ...message, what: round.what, isAcked: true });
    }
    const judged = async () => {
      const of = await read();
      const owed = messages.filter(({ owes }) => owes !== 'nothing' && 'effects' in owes);
      const received = await receivedOf(
        owed.map((one) => one.id),
        { MUSTER_OUTSIDE_WORLD_URL: world.baseUrl },
      );
      return checkForeign(messages, (topic) => (names.has(topic) ? of(names.get(topic)!) : []), received);
    };
    // Before anybody works on them all of them are lost, but for those that were aborted.
    const before = await judged();
    t.is(before.findings.length, messages.filter(({ owes }) => owes !== 'nothing').length);
    t.true(before.findings.every(({ kind }) => kind === 'lost'));

    workers.push(
      await startIssuing({ ordering: byUser, db, kafka }),
      await startIssuing({ ordering: byCoupon, db, kafka }),
      await startDelivery({ ...spec, baseUrl: world.baseUrl }, settings, (error) => t.fail(error.message)),
    );
    await eventually('all is handled', async () => (await judged()).findings.length === 0, 120_000).catch(
      () => undefined,
    );
    const { findings, acked } = await judged();
    t.deepEqual(findings, []);
    t.log(`${acked} messages`);
  } finally {
    for (const worker of workers) await worker.stop();
    await clients.close();
    await reader.close();
    await kafka.close();
  }
});
