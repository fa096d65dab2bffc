import { execFile } from 'node:child_process';
import type { AddressInfo, Server } from 'node:net';
import { promisify } from 'node:util';
import FakeTimers from '@sinonjs/fake-timers';
import test, { type ExecutionContext } from 'ava';
import mysql from 'mysql2';
import { openDatabase, pingDatabase, schemaOfDatabase, transaction } from './database.ts';

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

/** A server that says yes to everything; `connections`: how many it has seen. */
async function server(t: ExecutionContext) {
  let connections = 0;
  const answering = mysql.createServer((connection) => {
    connections += 1;
    // mysql2's server goes on numbering its packets, where each answer begins anew.
    const numbers = connection as unknown as { _resetSequenceId(): void };
    connection.serverHandshake({
      protocolVersion: 10,
      serverVersion: 'a test',
      connectionId: connections,
      statusFlags: 2,
      characterSet: 45,
      capabilityFlags: 0xff_ff_ff,
      authCallback(_: unknown, answer: (error: null, problem: null) => void) {
        answer(null, null);
        numbers._resetSequenceId();
      },
    });
    const answer = () => {
      connection.writeOk();
      numbers._resetSequenceId();
    };
    connection.on('error', () => {});
    connection.on('query', answer);
    // What it takes a SET for.
    connection.on('stmt_prepare', answer);
  });
  const { _server: listening } = answering as unknown as { _server: Server };
  await new Promise<void>((resolve) => listening.listen(0, '127.0.0.1', resolve));
  t.teardown(() => new Promise<void>((resolve) => listening.close(() => resolve())));
  const { port } = listening.address() as AddressInfo;
  const settings = {
    ...{ MYSQL_HOST: '127.0.0.1', MYSQL_PORT: port, MYSQL_USER: 'u' },
    ...{ MYSQL_PASSWORD: 'p', MYSQL_DATABASE: 'd' },
  };
  return { settings, connections: () => connections };
}

test.serial('the only connection of a pool stays while it is used, and goes when it was idle', async (t) => {
  const { settings, connections } = await server(t);
  const clock = FakeTimers.install({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
  const db = openDatabase({ settings, connections: 1 });
  try {
    for (let look = 0; look < 20; look++) {
      await pingDatabase(db);
      clock.tick(3_000);
    }
    t.is(connections(), 1);
    clock.tick(32_000);
    await pingDatabase(db);
    t.is(connections(), 2);
  } finally {
    clock.uninstall();
    await db.destroy();
  }
});

test.serial('a database and its transactions know which schema they ask', async (t) => {
  const { settings } = await server(t);
  const db = openDatabase({ settings });
  try {
    t.is(schemaOfDatabase(db), 'd');
    t.is(await transaction(db, async (trx) => schemaOfDatabase(trx)), 'd');
    t.is(schemaOfDatabase({}), undefined);
  } finally {
    await db.destroy();
  }
});
