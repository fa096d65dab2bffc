import { spawn } from 'node:child_process';
import { once } from 'node:events';
import test from 'ava';

const module = new URL('./end-with-parent.ts', import.meta.url).href;

function worker(script: string) {
  return spawn(process.execPath, ['--import', module, '--eval', script], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NODE_NO_WARNINGS: '1' },
  });
}

test('a worker whose drill is gone ends', async (t) => {
  const child = worker('setTimeout(() => {}, 20_000); console.log("works")');
  await once(child.stdout!, 'data');
  child.stdin!.destroy();
  t.deepEqual(await once(child, 'exit'), [1, null]);
});

test('a worker that is done ends although its drill lives on', async (t) => {
  const child = worker('console.log("done")');
  t.deepEqual(await once(child, 'exit'), [0, null]);
});
