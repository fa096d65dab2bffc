import test from 'ava';
import { BrokerClass } from './kafkajs-internals.ts';
import { fetchWaitMs } from './kafkajs-patches.ts';

test('a broker that has a socket and has not said which versions it speaks is asked again, and ends no consumer', (t) => {
  const broker = new BrokerClass({ connectionPool: {}, logger: { namespace: () => ({}) } } as never);
  const error = t.throws(() => broker.lookupRequest(3, {} as never));
  // kafkajs restarts a consumer after a retriable error only, and tries nothing else again.
  t.is((error as { retriable?: boolean }).retriable, true);
});

test('a fetch is held short while something is paused, and long when the group has found nothing for a while', (t) => {
  const group = { configuredMs: 500, minBytes: 1, paused: 0, silentMs: 0 };
  t.is(fetchWaitMs(group), 500);
  t.is(fetchWaitMs({ ...group, silentMs: 60_000 }), 2_000);
  t.is(fetchWaitMs({ ...group, silentMs: 60_000, paused: 1 }), 100);
  t.is(fetchWaitMs({ ...group, silentMs: 60_000, minBytes: 65_536 }), 500, 'who waits for many bytes');
});
