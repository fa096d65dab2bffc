import test from 'ava';
import kafkajs from 'kafkajs';
import { openWire, sparingly } from './wire.ts';

test('connections may be closed twice, also when somebody wanted one in between', async (t) => {
  const brokers = ['127.0.0.1:1'];
  const logger = new kafkajs.Kafka({ brokers, logLevel: kafkajs.logLevel.NOTHING }).logger();
  const wire = openWire({
    brokers,
    clientId: 'test',
    logger,
    connectionTimeoutMs: 100,
    requestTimeoutMs: 100,
  });
  await wire.close();
  await t.throwsAsync(wire.anyBroker(), { message: 'the connections are closed' });
  await t.notThrowsAsync(wire.close());
});

test('one broker is asked, and the others when it fails or lets wait', async (t) => {
  const asked: string[] = [];
  const ask = (broker: string) => {
    asked.push(broker);
    if (broker === 'frozen') return new Promise<string>(() => {});
    return broker === 'gone' ? Promise.reject(new Error('closed')) : Promise.resolve(`${broker} says`);
  };
  t.is(await sparingly(['one', 'two'], ask), 'one says');
  t.deepEqual(asked.splice(0), ['one']);
  for (const bad of ['gone', 'frozen']) {
    t.is(await sparingly([bad, 'two', 'gone'], ask), 'two says');
    t.deepEqual(asked.splice(0), [bad, 'two', 'gone']);
  }
  await t.throwsAsync(sparingly(['gone', 'gone'], ask));
  await t.throwsAsync(sparingly([], ask));
});
