import test from 'ava';
import kafkajs from 'kafkajs';
import { openWire } from './wire.ts';

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
