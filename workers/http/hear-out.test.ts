import type { IncomingMessage } from 'node:http';
import { PassThrough } from 'node:stream';
import FakeTimers from '@sinonjs/fake-timers';
import test from 'ava';
import { hearOut } from './hear-out.ts';

test('who has been heard out, or has fallen silent, leaves no timer behind', async (t) => {
  const clock = FakeTimers.install({ toFake: ['setTimeout', 'clearTimeout'] });
  t.teardown(() => clock.uninstall());
  const ended = new PassThrough();
  const hearing = hearOut(ended as unknown as IncomingMessage);
  t.is(clock.countTimers(), 2);
  ended.end('the rest');
  await hearing;
  t.is(clock.countTimers(), 0);
  const silent = new PassThrough();
  const waiting = hearOut(silent as unknown as IncomingMessage);
  clock.tick(5_000);
  await waiting;
  t.is(clock.countTimers(), 0);
});
