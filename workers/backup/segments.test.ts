import { randomBytes } from 'node:crypto';
import { copyFile, mkdtemp, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { readSegments, segmentBytes, writeSegments } from './segments.ts';

const key = randomBytes(32);

async function place(t: ExecutionContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-segments-'));
  t.teardown(() => rm(folder, { recursive: true }));
  return join(folder, 'file');
}

async function contentOf(path: string, name = 'log/1', by = key): Promise<{ text: string; ended: boolean }> {
  const parts: Buffer[] = [];
  let ended = false;
  for await (const { content, last } of readSegments(path, name, by)) {
    parts.push(content);
    ended = last;
  }
  return { text: Buffer.concat(parts).toString('latin1'), ended };
}

/** A file of three segments, and where each ends in it. */
async function three(t: ExecutionContext): Promise<{ path: string; ends: number[] }> {
  const path = await place(t);
  const writer = await writeSegments(path, 'log/1', key);
  const ends = [];
  for (const content of ['one', 'two', 'three']) {
    await writer.append(Buffer.from(content));
    ends.push((await stat(path)).size);
  }
  await writer.close();
  return { path, ends };
}

test('what was written is read, in clear nowhere, and whether it is complete', async (t) => {
  const path = await place(t);
  const writer = await writeSegments(path, 'log/1', key);
  const much = 'x'.repeat(segmentBytes + 5);
  await writer.append(Buffer.from(much));
  await writer.append(Buffer.from('secret'));
  t.deepEqual(await contentOf(path), { text: `${much}secret`, ended: false });
  await writer.end();
  await writer.close();
  t.deepEqual(await contentOf(path), { text: `${much}secret`, ended: true });
  t.false((await readFile(path, 'latin1')).includes('secret'));
  await t.throwsAsync(writeSegments(path, 'log/1', key), { code: 'MUSTER_BACKUP_ENDED' });
});

test('a writer goes on where the last one ended; what that one left half is dropped', async (t) => {
  const { path, ends } = await three(t);
  for (const size of [ends[1]! + 1, ends[1]! + 30, ends[2]! - 1]) {
    const half = `${path}-${size}`;
    await copyFile(path, half);
    await truncate(half, size);
    await t.throwsAsync(contentOf(half), { code: 'MUSTER_BACKUP_CUT', message: /byte 6/ }, `${size}`);
    const writer = await writeSegments(half, 'log/1', key);
    t.is(writer.place, 6);
    await writer.append(Buffer.from('3'));
    await writer.close();
    t.is((await contentOf(half)).text, 'onetwo3');
  }
  await truncate(path, ends[1]!);
  await t.throwsAsync(writeSegments(path, 'log/1', key, 11), {
    code: 'MUSTER_BACKUP_CUT',
    message: /reach to 11/,
  });
  t.is((await contentOf(path)).text, 'onetwo', 'nothing was dropped');
});

test('a segment that is missing, altered, doubled, or from another file is named', async (t) => {
  const { path, ends } = await three(t);
  const bytes = await readFile(path);
  const [first = 0, second = 0] = ends;
  const changed = async (what: Buffer) => {
    await writeFile(path, what);
    return contentOf(path);
  };
  await t.throwsAsync(changed(Buffer.concat([bytes.subarray(0, first), bytes.subarray(second)])), {
    code: 'MUSTER_BACKUP_MISSING',
    message: 'log/1: bytes 3 to 6 are missing',
  });
  await t.throwsAsync(changed(Buffer.concat([bytes.subarray(0, second), bytes.subarray(first)])), {
    code: 'MUSTER_BACKUP_ALTERED',
  });
  for (let at = first; at < bytes.length; at += 1) {
    const flipped = Buffer.from(bytes);
    flipped[at]! ^= 1;
    const error = await t.throwsAsync(changed(flipped), undefined, `byte ${at}`);
    t.regex((error as NodeJS.ErrnoException).code!, /^MUSTER_BACKUP_(ALTERED|MISSING|CUT)$/);
  }
  // Two of one length change places, and say that they did not.
  const [one, two] = [bytes.subarray(24, first), bytes.subarray(first, second)].map((segment) =>
    Buffer.from(segment),
  );
  one!.writeBigUInt64BE(3n);
  two!.writeBigUInt64BE(0n);
  const swapped = Buffer.concat([bytes.subarray(0, 24), two!, one!, bytes.subarray(second)]);
  await t.throwsAsync(changed(swapped), { code: 'MUSTER_BACKUP_ALTERED' });
  await writeFile(path, bytes);
  await t.throwsAsync(contentOf(path, 'log/2'), { code: 'MUSTER_BACKUP_ALTERED' });
  // A writer must not go on after damage as if it were its own end.
  await writeFile(path, Buffer.concat([bytes.subarray(0, first), bytes.subarray(second)]));
  await t.throwsAsync(writeSegments(path, 'log/1', key), { code: 'MUSTER_BACKUP_MISSING' });
});

test('with another key nothing is read, and that is said', async (t) => {
  const { path } = await three(t);
  await t.throwsAsync(contentOf(path, 'log/1', randomBytes(32)), { code: 'MUSTER_BACKUP_KEY' });
});
