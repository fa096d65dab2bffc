/** Purchases without an answer, on real topics. */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { pseudonym } from '../base/pseudonym.ts';
import { createTopics, testKafka, uniqueName } from '../kafka/testing.ts';
import { purchasesAnswered } from './promises.ts';

const pseudonymKey = Buffer.alloc(32, 3);
const limitMs = 2_000;

test('a purchase that has no answer after its limit is told; dead letters, repeats and words of others are not', async (t) => {
  t.timeout(120_000);
  const id = uniqueName('promise-purchases');
  const on = { purchase: `${id}.purchase`, answers: `${id}.answers`, deadLetters: `${id}.dlq` };
  const { remove } = await createTopics([
    { name: on.purchase, partitions: 3 },
    { name: on.answers, partitions: 3 },
    { name: on.deadLetters, partitions: 1 },
  ]);
  const kafka = testKafka();
  try {
    const producer = await kafka.producer('test');
    const purchase = (purchaseId: string, topic = on.purchase, source = '/muster/promotion-api') => ({
      topic,
      key: 'user 1',
      value: JSON.stringify({ userId: 'user 1', purchaseId, price: 1 }),
      headers: { ce_source: source },
    });
    const idOf = (purchaseId: string) => `${pseudonym(pseudonymKey, 'user 1')}:${purchaseId}`;
    const answer = (purchaseId: string) => ({ topic: on.answers, key: idOf(purchaseId), value: '{}' });
    const check = purchasesAnswered({ kafka, pseudonymKey }, limitMs, on);
    await producer.send([
      ...['answered', 'lost', 'dead', 'late'].map((each) => purchase(each)),
      purchase('of others', on.purchase, '/somebody'),
      { topic: on.purchase, key: null, value: 'no json', headers: { ce_source: '/muster/promotion-api' } },
      answer('answered'),
      purchase('dead', on.deadLetters),
    ]);
    t.like(await check(), { broken: 0 }, 'they are younger than the limit');
    await sleep(limitMs + 200);
    t.deepEqual([...(await check()).ids].sort(), [idOf('late'), idOf('lost')].sort());
    await producer.send([answer('late'), purchase('answered')]);
    t.deepEqual((await check()).ids, [idOf('lost')]);
    await sleep(limitMs + 200);
    t.deepEqual((await check()).ids, [idOf('lost')], 'a repeat is not answered again');
  } finally {
    await kafka.close();
    await remove();
  }
});
