import test from 'ava';
import './kafkajs-patches.ts';
import { BrokerClass } from './kafkajs-internals.ts';

test('a broker that has a socket and has not said which versions it speaks is asked again, and ends no consumer', (t) => {
  const broker = new BrokerClass({ connectionPool: {}, logger: { namespace: () => ({}) } } as never);
  const error = t.throws(() => broker.lookupRequest(3, {} as never));
  // kafkajs restarts a consumer after a retriable error only, and tries nothing else again.
  t.is((error as { retriable?: boolean }).retriable, true);
});
