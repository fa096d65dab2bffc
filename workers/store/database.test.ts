import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';

test('a database that was opened, never used and closed lets the process end', async (t) => {
  const script = `
    import { openDatabase } from ${JSON.stringify(new URL('./database.ts', import.meta.url).href)};
    const settings = { MYSQL_HOST: '127.0.0.1', MYSQL_PORT: 1, MYSQL_USER: 'u', MYSQL_PASSWORD: 'p', MYSQL_DATABASE: 'd' };
    await openDatabase({ settings, connections: 2 }).destroy();
    process.stdout.write('closed');`;
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], {
    timeout: 60_000,
  });
  t.is(stdout, 'closed');
});
