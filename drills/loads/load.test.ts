import test from 'ava';
import { followProgress, followRequests } from './load.ts';

test('of a part that is asked once in ten seconds nobody says that it stands still', (t) => {
  const requests = followRequests('pay');
  for (let atMs = 0; atMs < 100_000; atMs += 10_000) requests.onInsisted(atMs, atMs + 300);
  t.deepEqual(requests.stalls(), []);
});

test('whoever waits longer than the objective for an answer sees an outage from the first try to the answer', (t) => {
  const requests = followRequests('pay');
  requests.onInsisted(1_000, 1_300);
  requests.onInsisted(5_000, 25_000);
  requests.onInsisted(26_000, 26_200);
  t.deepEqual(requests.stalls(), [{ observer: 'pay', fromMs: 5_000, untilMs: 25_000 }]);
});

test('whoever gave up waiting saw an outage until then', (t) => {
  const requests = followRequests('money');
  requests.onInsisted(0, 60_000);
  t.deepEqual(requests.stalls(), [{ observer: 'money', fromMs: 0, untilMs: 60_000 }]);
});

test('a count that does not grow for seconds stands still', (t) => {
  const now = Date.now;
  let atMs = 0;
  Date.now = () => atMs;
  try {
    const lines = followProgress('log lines published');
    for (const count of [1, 2, 2, 2, 3]) {
      lines.at(count);
      atMs += 1_000;
    }
    t.deepEqual(lines.stalls(), [{ observer: 'log lines published', fromMs: 1_000, untilMs: 4_000 }]);
  } finally {
    Date.now = now;
  }
});
