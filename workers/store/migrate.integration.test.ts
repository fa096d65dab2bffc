/** On a real MySQL or MariaDB: MYSQL_*. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import test, { type ExecutionContext } from 'ava';
import { countOf, scratchSchema } from './database.fixture.ts';
import { openDatabase } from './database.ts';
import { migrate, readMigrations, statementsOf } from './migrate.ts';

async function folder(t: ExecutionContext, files: Record<string, string>): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'muster-migrate-'));
  t.teardown(() => rm(directory, { recursive: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text);
  return directory;
}

test('statements end with a semicolon at the end of a line; comment lines and semicolons inside text stay apart', (t) => {
  t.deepEqual(
    statementsOf(
      "-- first; comment\nCREATE TABLE a (\n  -- inner\n  x INT);\n\nINSERT INTO a VALUES ('a;b');\n",
    ),
    ['CREATE TABLE a (\n  x INT)', "INSERT INTO a VALUES ('a;b')"],
  );
});

test('migrations are in the order of their numbers; a number twice or none is refused', async (t) => {
  const good = await readMigrations(
    await folder(t, { '000201-b.sql': '', '000001.sql': '', '000100-a.sql': '' }),
  );
  t.deepEqual(
    good.map(({ version }) => version),
    [1, 100, 201],
  );
  for (const files of [{ '000001.sql': '', '000001-again.sql': '' }, { '1.sql': '' }])
    await t.throwsAsync(readMigrations(await folder(t, files)), { code: 'MUSTER_MIGRATION_NAME' });
});

test('migrations lie beside the code that owns them and are applied as one list, names and contents as ever', async (t) => {
  const all = await readMigrations();
  const checksums = all.map(({ name, checksum }) => `${name} ${checksum.slice(0, 8)}`);
  // Databases have applied them: they stay as they are.
  for (const known of [
    '000001.sql 38cbc6bf',
    '000100-coupon.sql 8eb48ba5',
    '000200-order.sql 4108551f',
    '000300-outside.sql 8a33e103',
  ])
    t.true(checksums.includes(known), known);
  const [one, two] = [await folder(t, { '000002-b.sql': '' }), await folder(t, { '000001-a.sql': '' })];
  const both = join(tmpdir(), `{${basename(one)},${basename(two)}}`);
  t.deepEqual(
    (await readMigrations(both)).map(({ name }) => name),
    ['000001-a.sql', '000002-b.sql'],
  );
});

test.serial('twice: the second time there is nothing to do', async (t) => {
  const { settings, drop } = await scratchSchema('twice');
  t.teardown(drop);
  const lines: string[] = [];
  await migrate(settings, (line) => lines.push(line));
  t.regex(lines[0]!, /^applied 000001\.sql \(\d+ ms\)$/);
  t.regex(lines.at(-1)!, /^applied \d+ migrations?: version \d+$/);
  lines.length = 0;
  await migrate(settings, (line) => lines.push(line));
  t.is(lines.length, 1);
  t.regex(lines[0]!, /^nothing to do: version \d+$/);
});

test.serial('four at once: one applies, the others find nothing to do', async (t) => {
  const { settings, drop } = await scratchSchema('atonce');
  t.teardown(drop);
  const said = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const lines: string[] = [];
      await migrate(settings, (line) => lines.push(line));
      return lines.at(-1)!;
    }),
  );
  t.is(said.filter((line) => line.startsWith('applied')).length, 1, said.join('\n'));
  t.is(said.filter((line) => line.startsWith('nothing to do')).length, 3);
});

test.serial(
  'one that breaks half-way is named with its statement and runs again when it is mended',
  async (t) => {
    const { settings, drop } = await scratchSchema('broken');
    t.teardown(drop);
    const good =
      'CREATE TABLE IF NOT EXISTS test_effect (id INT PRIMARY KEY, old INT, KEY old_at (old));\n' +
      'ALTER TABLE test_effect DROP INDEX old_at, DROP COLUMN old;\n';
    const broken = await folder(t, { '000001.sql': `${good}CREATE TABLE;\n` });
    const error = await t.throwsAsync(
      migrate(settings, () => {}, { folders: broken }),
      {
        code: 'MUSTER_MIGRATION_FAILED',
      },
    );
    t.regex(error!.message, /^000001\.sql, statement 3 \(CREATE TABLE\)/);
    const lines: string[] = [];
    await migrate(settings, (line) => lines.push(line), {
      folders: await folder(t, { '000001.sql': `${good}INSERT IGNORE INTO test_effect VALUES (1);\n` }),
    });
    t.is(lines.at(-1), 'applied 1 migration: version 1');
    const db = openDatabase({ settings });
    t.is(await countOf(db, 'test_effect'), 1);
    await db.destroy();
  },
);

test.serial(
  'one that was applied with another content is refused; a database ahead of the program is told',
  async (t) => {
    const { settings, drop } = await scratchSchema('changed');
    t.teardown(drop);
    const first = { '000001.sql': 'CREATE TABLE IF NOT EXISTS test_effect (id INT PRIMARY KEY);\n' };
    const lines: string[] = [];
    const say = (line: string) => lines.push(line);
    await migrate(settings, say, { folders: await folder(t, { ...first, '000002.sql': 'SELECT 1;\n' }) });
    await migrate(settings, say, { folders: await folder(t, first) });
    t.true(lines.includes('the database is ahead of this program: versions 2 are not known here'));
    await t.throwsAsync(
      migrate(settings, say, { folders: await folder(t, { '000001.sql': 'SELECT 2;\n' }) }),
      {
        code: 'MUSTER_MIGRATION_CHANGED',
      },
    );
  },
);

test.serial('no server is told within the time given', async (t) => {
  const { settings, drop } = await scratchSchema('away');
  t.teardown(drop);
  await t.throwsAsync(
    migrate({ ...settings, MYSQL_PORT: 1 }, () => {}, { waitMs: 100 }),
    {
      code: 'MUSTER_DATABASE_DOWN',
    },
  );
});
