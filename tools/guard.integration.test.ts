/**
 * The guard as it runs: its real worker over two MariaDBs with the configuration of the environment, behind the real entrance, while
 * somebody writes all the time. Members are killed with their disk, frozen and changed by hand. Everything is in containers and
 * volumes of a prefix of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import mysql from 'mysql2/promise';
import { type Environment, environmentNamed } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { promises } from '../catalog/promises.ts';
import { run } from '../environment/children.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { secretsFile } from '../environment/variables.ts';
import {
  guardPassword,
  guardUser,
  mysqlDatabase,
  mysqlUser,
  renderMysqlEntrance,
  replicaPassword,
  replicaUser,
} from '../stacks/config/data.ts';
import { paths } from '../stacks/config/paths.ts';
import { mysqlMember, reach } from '../stacks/config/topology.ts';
import { numberOf } from '../workers/backup/binlog.ts';
import { databaseSettings, readSettings } from '../workers/base/config.ts';
import type { CheckDeps } from '../workers/platform/checks.ts';
import { platformChecks } from '../workers/platform/promises.ts';
import { openDatabase } from '../workers/store/database.ts';
import { docker, freePort, imageOf, untilFound } from './containers.fixture.ts';
import { createMysql } from './restore.ts';

test.beforeEach((t) => t.timeout(400_000));

const until = untilFound({ tries: 900, everyMs: 100 });
const own = `muster-test-guard-${process.pid}`;
const deployed = environmentNamed(process.env.MUSTER_ENV ?? 'dev');
const environment: Environment = { ...deployed, prefix: own };
const { members } = environment.mysql;
const containerOf = (member: string) => `${own}-${member}`;
const guard = containerOf('mysql-guard');
const entrance = containerOf('mysql-entrance');

test.after.always('nothing is left', async () => {
  const names = members.map(mysqlMember).map(containerOf);
  await run('docker', ['rm', '--force', '--volumes', guard, entrance, ...names]);
  for (const volume of [`${guard}-state`, `${entrance}-state`, ...names.map((name) => `${name}-data`)])
    await run('docker', ['volume', 'rm', '--force', volume]);
  await run('docker', ['network', 'rm', own]);
});

async function startGuard() {
  const { secrets } = await ensureSecrets(secretsFile(deployed));
  const port = await freePort();
  const env = {
    ...Object.fromEntries(
      ['MUSTER_ENV', 'KAFKA_BROKERS', 'REDIS_HOST', 'PSEUDONYM_KEY'].map((name) => [name, process.env[name]]),
    ),
    ...{ PROCESS_NAME: 'mysql-guard', HTTP_HOST: '0.0.0.0', HTTP_PORT: '8080', MYSQL_HOST: 'unused' },
    ...{ MYSQL_USER: 'unused', MYSQL_PASSWORD: 'unused', MYSQL_DATABASE: 'muster' },
    GUARD_MEMBERS: members
      .map(mysqlMember)
      .map((name) => `${name}=${reach(environment, name, 'sql')}`)
      .join(','),
    ...{ GUARD_MYSQL_USER: guardUser, GUARD_MYSQL_PASSWORD: guardPassword(secrets) },
    ...{ GUARD_REPLICA_USER: replicaUser, GUARD_REPLICA_PASSWORD: replicaPassword(secrets) },
    ...{ GUARD_DIRECTORY: paths.guardState, GUARD_ENTRANCE: `${paths.mysqlEntrance}/haproxy.sock` },
  };
  await docker(
    ...['run', '--detach', '--name', guard, '--network', own, '--publish', `127.0.0.1:${port}:8080`],
    ...['--mount', `type=volume,source=${guard}-state,target=${paths.guardState}`],
    ...['--mount', `type=volume,source=${entrance}-state,target=${paths.mysqlEntrance}`],
    ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...['--entrypoint', 'node', await imageOf('mysql-backup'), '/app/workers/main.ts', 'mysql-guard'],
  );
  const figures = async () => (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return {
    /** The member that takes writes. */
    writer: async () =>
      new RegExp(`^${metrics.guard.writer}\\{member="(\\S+)"\\} 1$`, 'm').exec(await figures())?.[1],
    /** Both have what is acked. */
    both: async () => new RegExp(`^${metrics.guard.atRisk} 0$`, 'm').test(await figures()),
  };
}

async function startEntrance(): Promise<number> {
  const port = await freePort();
  await docker(
    ...['create', '--name', entrance, '--network', own, '--publish', `127.0.0.1:${port}:3306`],
    ...['--mount', `type=volume,source=${entrance}-state,target=${paths.mysqlEntrance}`],
    ...['--entrypoint', 'haproxy', await imageOf('haproxy'), '-db', '-f', `${paths.config}/haproxy.cfg`],
  );
  const { mkdtemp, rm, writeFile } = await import('node:fs/promises');
  const folder = await mkdtemp('/tmp/muster-guard-');
  await writeFile(`${folder}/haproxy.cfg`, renderMysqlEntrance(environment), { mode: 0o644 });
  await docker('cp', `${folder}/haproxy.cfg`, `${entrance}:${paths.config}/`);
  await rm(folder, { recursive: true });
  await docker('start', entrance);
  return port;
}

test.serial(
  'what was acked is on both, and somebody can always write: a member lost with its disk, one that freezes, one that is changed by hand',
  async (t) => {
    const { secrets } = await ensureSecrets(secretsFile(deployed));
    await docker('network', 'create', own);
    for (const member of members) {
      const name = containerOf(mysqlMember(member));
      await createMysql(environment, name, `${name}-data`, member);
      await docker('start', name);
    }
    const { writer, both } = await startGuard();
    const port = await startEntrance();
    const by = { user: mysqlUser, password: secrets.mysqlPassword, database: mysqlDatabase };
    const connect = () => mysql.createConnection({ host: '127.0.0.1', port, ...by, connectTimeout: 1_000 });

    await until('somebody writes', async () => {
      const connection = await connect();
      await connection
        .query('CREATE TABLE IF NOT EXISTS thing (id BIGINT PRIMARY KEY)')
        .finally(() => connection.destroy());
      return true;
    });
    await until('both have it', both);
    const db = openDatabase({
      settings: readSettings(databaseSettings, {
        ...{ MYSQL_HOST: '127.0.0.1', MYSQL_PORT: String(port), MYSQL_DATABASE: mysqlDatabase },
        ...{ MYSQL_USER: mysqlUser, MYSQL_PASSWORD: secrets.mysqlPassword },
      }),
    });
    t.teardown(() => db.destroy());
    /** Who breaks the promise, as its check has it. */
    const broken = async () => {
      const promise = promises.find(({ name }) => name === 'commits-on-both')!;
      const deps = { database: async () => db } as unknown as CheckDeps;
      return (await platformChecks['commits-on-both'](deps, promise)()).ids;
    };
    t.deepEqual(await broken(), []);

    // Four who write one row after the other, and write down what was acked and when.
    const acked: number[] = [];
    let lastAckMs = performance.now();
    let longestMs = 0;
    let stopped = false;
    let ids = 0;
    const writers = Array.from({ length: 4 }, async () => {
      let connection: mysql.Connection | undefined;
      while (!stopped) {
        const id = ++ids;
        try {
          connection ??= await connect();
          connection.on('error', () => {});
          await connection.query({ sql: 'INSERT INTO thing VALUES (?)', values: [id], timeout: 15_000 });
          acked.push(id);
          longestMs = Math.max(longestMs, performance.now() - lastAckMs);
          lastAckMs = performance.now();
          await sleep(2);
        } catch {
          connection?.destroy();
          connection = undefined;
          await sleep(50);
        }
      }
      connection?.destroy();
    });
    /** How long nobody got an ack, while `fault` was done and until both have everything again. */
    async function during(what: string, fault: () => Promise<unknown>): Promise<number> {
      await sleep(1_000);
      [longestMs, lastAckMs] = [0, performance.now()];
      const before = acked.length;
      await fault();
      await until(`${what}: acks`, async () => acked.length > before + 200);
      await until(`${what}: both`, both);
      const ms = Math.round(longestMs);
      t.log(`${what}: no ack for ${ms} ms; ${acked.length} acked, ${String(await writer())} writes`);
      t.true(ms < 15_000, what);
      return ms;
    }

    t.is(await writer(), 'mysql-1');
    await during('the writer is killed, and its disk', async () => {
      const name = containerOf('mysql-1');
      await docker('rm', '--force', '--volumes', name);
      await docker('volume', 'rm', `${name}-data`);
      await until('the other one writes', async () => (await writer()) === 'mysql-2');
      await createMysql(environment, name, `${name}-data`, members[0]);
      await docker('start', name);
    });
    // The backup knows the files of its log by their numbers.
    const oldest = await docker(
      'exec',
      containerOf('mysql-1'),
      'head',
      '-n',
      '1',
      `${paths.mysqlLog}/binlog.index`,
    );
    t.true(numberOf(oldest.trim()) > 1, 'the log of one that was made anew does not begin again');
    await during('the writer freezes for 12 s', async () => {
      await docker('pause', containerOf('mysql-2'));
      await sleep(12_000);
      await docker('unpause', containerOf('mysql-2'));
    });
    t.is(await writer(), 'mysql-1');
    await during('the other one freezes for 10 s', async () => {
      await docker('pause', containerOf('mysql-2'));
      await sleep(10_000);
      t.false(await both(), 'there is one copy only, and it is said');
      t.deepEqual(await broken(), ['mysql-1'], 'and the promise is broken');
      await docker('unpause', containerOf('mysql-2'));
    });
    await during('the writer crashes, and is back at once', () =>
      docker('restart', '--time', '0', containerOf('mysql-1')),
    );
    await during('the guard is killed, and is back', () => docker('restart', '--time', '0', guard));
    await during('by hand', async () => {
      const from = await writer();
      const to = from === 'mysql-1' ? 'mysql-2' : 'mysql-1';
      await docker('exec', guard, 'node', '/app/workers/guard/main.ts', 'failover', to);
      t.is(await writer(), to);
    });

    stopped = true;
    await Promise.all(writers);
    await until('both have it', both);
    await until('and the promise holds', async () => (await broken()).length === 0);
    for (const member of members.map(mysqlMember)) {
      const ids = await docker(
        ...['exec', containerOf(member), 'mysql', `--defaults-file=${paths.config}/health.cnf`, '-N', '-e'],
        'SELECT id FROM muster.thing',
      );
      const has = new Set(ids.split('\n').map(Number));
      t.deepEqual(
        acked.filter((id) => !has.has(id)),
        [],
        `${member} has all that was acked`,
      );
    }
    t.log(`${acked.length} of ${ids} were acked`);
  },
);
