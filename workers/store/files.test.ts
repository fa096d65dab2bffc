import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import test, { type ExecutionContext } from 'ava';
import { folderStore } from './files.ts';
import { onSmallDisk } from './small-disk.fixture.ts';

async function aFolder(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'files-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return folder;
}

test('a file is there under its key, whole, after a restart too, until it is removed', async (t) => {
  const folder = await aFolder(t);
  const store = folderStore(folder);
  t.is(await store.get('a'), undefined);
  await store.put('a', Buffer.from('hello'));
  await store.put('a', Buffer.from('hello'));
  const again = folderStore(folder);
  t.is((await again.get('a'))?.toString(), 'hello');
  t.deepEqual(await readdir(again.incoming), []);
  await again.remove('a');
  await again.remove('a');
  t.is(await again.get('a'), undefined);
});

test('two who put the same file at once both succeed, and whoever reads meanwhile sees all of it or none', async (t) => {
  const store = folderStore(await aFolder(t));
  const bytes = Buffer.alloc(300_000, 'ab');
  const reads: (Buffer | undefined)[] = [];
  let writing = true;
  const reading = (async () => {
    while (writing) reads.push(await store.get('a'));
  })();
  for (let i = 0; i < 10; i++) await Promise.all([store.put('a', bytes), store.put('a', bytes)]);
  writing = false;
  await reading;
  t.true(reads.every((read) => read === undefined || read.equals(bytes)));
  t.deepEqual(await readdir(store.incoming), []);
});

test('a key is never a path', async (t) => {
  const store = folderStore(await aFolder(t));
  for (const key of ['', '..', '../a', 'a/b', '/a', 'a\0', 'A', '.a', 'a.b', 'x'.repeat(65)])
    for (const work of [store.put(key, Buffer.alloc(1)), store.get(key), store.remove(key)])
      t.is(
        (await t.throwsAsync(work))?.message,
        'a key has 1 to 64 lower-case letters, digits and hyphens',
        key,
      );
});

test('what a process that died left half-written goes at the next start, what is under way stays', async (t) => {
  const folder = await aFolder(t);
  const incoming = join(folder, 'incoming');
  await mkdir(incoming);
  await writeFile(join(incoming, 'old'), 'a');
  await writeFile(join(incoming, 'new'), 'a');
  const longAgo = new Date(Date.now() - 2 * 3_600_000);
  await utimes(join(incoming, 'old'), longAgo, longAgo);
  await folderStore(folder).ready();
  t.deepEqual(await readdir(incoming), ['new']);
});

test('a full disk is "not now": nothing half is left, and there is room again when something goes', (t) => {
  const said = onSmallDisk(t, fileURLToPath(new URL('./full-disk.fixture.ts', import.meta.url)));
  if (said === undefined) return;
  t.deepEqual(said, {
    said: ['put', 'MUSTER_FILE_STORE_REFUSES not now', 'put', 'put'],
    incoming: [],
    third: 50_000,
  });
});
