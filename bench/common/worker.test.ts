import test from 'ava';
import { startWorker } from './worker.ts';

test('who stops a benchmark does not wait for a worker that is still starting', async (t) => {
  const stopped = new AbortController();
  const starting = startWorker({ workers: ['lag'], env: {}, signal: stopped.signal });
  stopped.abort();
  await t.throwsAsync(starting, { code: 'MUSTER_INTERRUPTED' });
});
