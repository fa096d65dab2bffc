import { randomBytes } from 'node:crypto';
import { appendFile, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { type Archive, openArchive } from './archive.ts';
import { logContent, planRestore, pruneArchive } from './plan.ts';

const key = randomBytes(32);
const hourMs = 3_600_000;

async function* pieces(...all: readonly string[]) {
  for (const each of all) yield Buffer.from(each);
}

const baseOf = (archive: Archive, serverId: number, hour: number, file: string) =>
  archive.addBase(
    {
      serverId,
      serverVersion: '10.11.0-MariaDB',
      position: { file, position: 4 },
      databases: ['muster'],
      takenAtMs: hour * hourMs,
    },
    pieces('all', ' of it'),
  );

/** An archive with bases at hours 1 and 5, and three files of the log, the last of which goes on. */
async function filled(t: ExecutionContext): Promise<Archive> {
  const folder = await mkdtemp(join(tmpdir(), 'muster-archive-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const archive = openArchive(folder, key);
  await baseOf(archive, 7, 1, 'binlog.000001');
  await baseOf(archive, 7, 5, 'binlog.000002');
  for (const number of [1, 2, 3]) {
    const writer = await archive.logWriter(7, `binlog.00000${number}`, 0);
    await writer.append(Buffer.from(`log of ${number}`));
    if (number < 3) await writer.end();
    await writer.close();
  }
  await archive.setHead(7, { file: 'binlog.000003', position: 8, atMs: 9 * hourMs });
  return archive;
}

async function textOf(content: AsyncIterable<Buffer>): Promise<string> {
  const pieces: Buffer[] = [];
  for await (const piece of content) pieces.push(piece);
  return Buffer.concat(pieces).toString();
}

test('a moment is reached from the newest base before it, with each file of the log since', async (t) => {
  const archive = await filled(t);
  const latest = await planRestore(archive, undefined);
  t.is(latest.base.takenAtMs, 5 * hourMs);
  t.deepEqual(latest.files, ['binlog.000002', 'binlog.000003']);
  t.is(latest.toMs, 9 * hourMs);
  t.is(latest.stopAtMs, undefined, 'the newest is all there is, whatever the clock of the server said');
  t.is(await textOf(archive.dumpOf(latest.base)), 'all of it');
  t.is(await textOf(logContent(archive, latest, 'binlog.000003')), 'log of 3');
  const earlier = await planRestore(archive, 4 * hourMs);
  t.is(earlier.base.takenAtMs, hourMs);
  t.is(earlier.files.length, 3);
  t.is(earlier.stopAtMs, 4 * hourMs);
});

test('a base copy that is damaged at its beginning is passed over and named: the others are as good as before', async (t) => {
  const archive = await filled(t);
  const path = join(archive.folder, 'base/19700101T010000Z');
  const bytes = await readFile(path);
  bytes[60]! ^= 1;
  await writeFile(path, bytes);
  t.deepEqual(await archive.damaged(), ['base/19700101T010000Z']);
  t.is((await planRestore(archive, undefined)).base.takenAtMs, 5 * hourMs);
  await t.throwsAsync(planRestore(archive, 4 * hourMs), { code: 'MUSTER_BACKUP_NONE' });
  await truncate(join(archive.folder, 'base/19700101T050000Z'), 10);
  t.is((await archive.damaged()).length, 2);
  await t.throwsAsync(planRestore(archive, undefined), { code: 'MUSTER_BACKUP_NONE' });
});

test('a moment before the first base, or later than anything known, is refused', async (t) => {
  const archive = await filled(t);
  await t.throwsAsync(planRestore(archive, hourMs - 1), { code: 'MUSTER_BACKUP_NONE' });
  await t.throwsAsync(planRestore(archive, 9 * hourMs + 1), { code: 'MUSTER_BACKUP_FUTURE' });
  await t.throwsAsync(planRestore(openArchive(`${archive.folder}/nothing`, key), undefined), {
    code: 'MUSTER_BACKUP_NONE',
  });
});

test('over a gap nothing is restored: a file that is missing or cut is named', async (t) => {
  const archive = await filled(t);
  const path = join(archive.folder, 'log/7/binlog.000002');
  const bytes = await readFile(path);
  await rm(path);
  await t.throwsAsync(planRestore(archive, undefined), {
    code: 'MUSTER_BACKUP_MISSING',
    message: /binlog\.000002 is missing/,
  });
  // Whole segments, but not its end.
  await writeFile(path, bytes);
  await truncate(path, bytes.length - 41);
  const plan = await planRestore(archive, undefined);
  await t.throwsAsync(textOf(logContent(archive, plan, 'binlog.000002')), {
    code: 'MUSTER_BACKUP_CUT',
    message: /binlog\.000002 is cut: it ends at byte 8, before its end/,
  });
});

test('what is missing at the end of the newest file is named, too', async (t) => {
  const archive = await filled(t);
  await archive.setHead(7, { file: 'binlog.000003', position: 9, atMs: 9 * hourMs });
  const plan = await planRestore(archive, undefined);
  await t.throwsAsync(textOf(logContent(archive, plan, 'binlog.000003')), {
    code: 'MUSTER_BACKUP_CUT',
    message: /was known to reach to 9/,
  });
  await archive.setHead(7, { file: 'binlog.000004', position: 4, atMs: 9 * hourMs });
  await t.throwsAsync(planRestore(archive, undefined), { code: 'MUSTER_BACKUP_MISSING' });
});

test('what is being written just now does not matter', async (t) => {
  const archive = await filled(t);
  const plan = await planRestore(archive, undefined);
  await appendFile(join(archive.folder, 'log/7/binlog.000003'), Buffer.alloc(30, 7));
  t.is(await textOf(logContent(archive, plan, 'binlog.000003')), 'log of 3');
});

test('a base copy that is cut off while it is taken is not there', async (t) => {
  const archive = await filled(t);
  const manifest = (await archive.bases())[1]!;
  async function* breaking() {
    yield Buffer.from('half');
    throw new Error('the dump died');
  }
  await t.throwsAsync(archive.addBase({ ...manifest, takenAtMs: 8 * hourMs }, breaking()), {
    message: 'the dump died',
  });
  t.is((await archive.bases()).length, 2);
  t.is((await readdir(join(archive.folder, 'base'))).length, 2);
});

test('what is old goes with the log that only it needs; the newest base stays, and so does what goes on', async (t) => {
  const archive = await filled(t);
  t.deepEqual(await pruneArchive(archive, 2 * hourMs), ['base/19700101T010000Z', 'log/7/binlog.000001']);
  t.deepEqual(await pruneArchive(archive, 100 * hourMs), []);
  // Another server, whose first base is not taken yet; then that base, and what was before goes.
  const writer = await archive.logWriter(8, 'binlog.000001', 0);
  await writer.close();
  t.deepEqual(await pruneArchive(archive, 100 * hourMs), []);
  await baseOf(archive, 8, 50, 'binlog.000001');
  t.deepEqual(await pruneArchive(archive, 40 * hourMs), ['base/19700101T050000Z', 'log/7']);
  t.is((await planRestore(archive, undefined).catch((error) => error)).code, 'MUSTER_BACKUP_MISSING');
});

test('the log of a base copy stays that was taken while the clock was ahead', async (t) => {
  const archive = await filled(t);
  // At hour 6 of a clock that was two hours ahead; the one of hour 5 was taken after it.
  await baseOf(archive, 7, 6, 'binlog.000001');
  t.deepEqual(await pruneArchive(archive, 2 * hourMs), ['base/19700101T010000Z']);
  t.is((await planRestore(archive, undefined)).files.length, 3);
});
