/** Fills the file store of a folder on a small disk: says what became of each file. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { isNotNow, type MusterError } from '../base/errors.ts';
import { folderStore } from './files.ts';

const folder = process.argv[2]!;
const store = folderStore(folder);
const said: string[] = [];
const put = async (key: string, bytes: number) => {
  try {
    await store.put(key, Buffer.alloc(bytes, 'x'));
    said.push('put');
  } catch (error) {
    said.push(`${(error as MusterError).code}${isNotNow(error) ? ' not now' : ''}`);
  }
};
await put('first', 100_000);
await put('second', 400_000);
const incoming = await readdir(join(folder, 'incoming'));
const second = await store.get('second');
await put('third', 50_000);
await store.remove('first');
await put('second', 200_000);
process.stdout.write(
  JSON.stringify({
    said,
    incoming,
    second,
    first: await store.get('first'),
    third: (await store.get('third'))?.length,
  }),
);
