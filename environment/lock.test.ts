import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { holderAlive, processFacts, withLock } from './lock.ts';

test.before(async () => {
  process.env.XDG_CACHE_HOME = await mkdtemp(join(tmpdir(), 'muster-lock-'));
});

test.after.always(async () => {
  await rm(String(process.env.XDG_CACHE_HOME), { recursive: true, force: true });
});

const locks = () => join(String(process.env.XDG_CACHE_HOME), 'muster', 'locks');

test.serial('two that want the same lock take turns, and nothing is left behind', async (t) => {
  const events: string[] = [];
  const turn = (name: string) =>
    withLock('a', async () => {
      events.push(`${name} in`);
      await new Promise((resolve) => setTimeout(resolve, 50));
      events.push(`${name} out`);
    });
  await Promise.all([turn('first'), turn('second')]);
  t.is(events[0]?.split(' ')[0], events[1]?.split(' ')[0]);
  t.is(events[2]?.split(' ')[0], events[3]?.split(' ')[0]);
  t.deepEqual(await readdir(locks()), []);
});

test.serial('the lock of a process that is gone, or of a later one with its id, is taken over', async (t) => {
  for (const content of [
    '{"pid":999999999,"startTicks":"1"}',
    `{"pid":${process.pid},"startTicks":"1"}`,
    'rubbish',
  ]) {
    await writeFile(join(locks(), 'b'), content);
    if (process.platform !== 'linux' && content.includes(String(process.pid))) continue;
    t.is(await withLock('b', async () => 'mine'), 'mine');
  }
});

test.serial(
  'what a process that is gone has left is removed; what a living one waits with stays',
  async (t) => {
    const startTicks = processFacts(process.pid)?.startTicks ?? '';
    await writeFile(join(locks(), 'd.1.living'), JSON.stringify({ pid: process.pid, startTicks }));
    await writeFile(join(locks(), 'd.2.gone'), '{"pid":999999999,"startTicks":"1"}');
    await withLock('d', async () => undefined);
    t.deepEqual(await readdir(locks()), ['d.1.living']);
    await rm(join(locks(), 'd.1.living'));
  },
);

test.serial('an action that fails gives the lock back', async (t) => {
  await t.throwsAsync(
    withLock('c', () => Promise.reject(new Error('no'))),
    { message: 'no' },
  );
  t.is(await withLock('c', async () => 'again'), 'again');
});

test('a process knows itself as alive', (t) => {
  const startTicks = processFacts(process.pid)?.startTicks ?? '';
  t.true(holderAlive(JSON.stringify({ pid: process.pid, startTicks })));
});
