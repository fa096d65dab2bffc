/**
 * The backup as it runs: the real worker beside a MariaDB of its own with the configuration of the environment, whose server is
 * killed, and whose disk is lost at the end. Everything is in containers and volumes of a prefix of its own.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { type Environment, environmentNamed } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { backupMount } from '../environment/backup.ts';
import { run } from '../environment/children.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { secretsFile } from '../environment/variables.ts';
import { backupPassword, backupUser } from '../stacks/config/data.ts';
import { paths } from '../stacks/config/paths.ts';
import { docker, freePort, imageOf, untilFound } from './containers.fixture.ts';
import { createMysql, planOf, restoreBeside, restoreInPlace } from './restore.ts';

test.beforeEach((t) => t.timeout(300_000));

const until = untilFound({ tries: 600, everyMs: 200 });
const own = `muster-test-backup-${process.pid}`;
const deployed = environmentNamed(process.env.MUSTER_ENV ?? 'dev');
const environment: Environment = { ...deployed, prefix: own };
const mysql = `${own}-mysql`;
const worker = `${own}-mysql-backup`;
const context = { environment, images: undefined, debug: false, signal: new AbortController().signal };

test.after.always('nothing is left', async () => {
  await run('docker', ['rm', '--force', '--volumes', worker, mysql, `${mysql}-restored`]);
  for (const volume of [`${worker}-state`, `${mysql}-data`, `${mysql}-restored`])
    await run('docker', ['volume', 'rm', '--force', volume]);
  await run('docker', ['network', 'rm', own]);
});

/** Runs statements as root, as nobody else may make databases here. */
async function sql(container: string, statements: string): Promise<string> {
  const { secrets } = await ensureSecrets(secretsFile(deployed));
  return docker(
    ...['exec', '--env', `MYSQL_PWD=${secrets.mysqlRootPassword}`, container],
    ...['mysql', '-uroot', '-S', '/tmp/mysqld.sock', '-N', '-e', statements],
  );
}

const answers = (container: string) => () => sql(container, 'SELECT 1');
const rowsOf = async (container: string) =>
  (await sql(container, 'SELECT id FROM muster.thing ORDER BY id')).split('\n').filter(Boolean).map(Number);
const secondOf = async () =>
  new Date(Number(await sql(mysql, 'SELECT UNIX_TIMESTAMP()')) * 1_000).toISOString();

/** The worker in a container of its own on the host's network: it needs Kafka as any other. */
async function startWorker(): Promise<{ figure(name: string): Promise<number | undefined> }> {
  const { secrets } = await ensureSecrets(secretsFile(deployed));
  const image = await until('an image of the backup', () => imageOf('mysql-backup'));
  const address = await docker(
    ...['inspect', '--format', `{{(index .NetworkSettings.Networks "${own}").IPAddress}}`, mysql],
  );
  const port = await freePort();
  const env = {
    ...Object.fromEntries(
      ['MUSTER_ENV', 'KAFKA_BROKERS', 'REDIS_HOST', 'PSEUDONYM_KEY'].map((name) => [name, process.env[name]]),
    ),
    ...{ PROCESS_NAME: 'mysql-backup', HTTP_PORT: String(port), MYSQL_HOST: address, MYSQL_PORT: '3306' },
    ...{ MYSQL_USER: 'unused', MYSQL_PASSWORD: 'unused', MYSQL_DATABASE: 'muster' },
    ...{ BACKUP_DIRECTORY: paths.backups, BACKUP_KEY: secrets.backupKey },
    ...{ BACKUP_MYSQL_USER: backupUser, BACKUP_MYSQL_PASSWORD: backupPassword(secrets) },
  };
  await docker(
    ...['run', '--detach', '--name', worker, '--network', 'host', '--mount', backupMount(environment)],
    ...Object.entries(env).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...['--entrypoint', 'node', image, '/app/workers/main.ts', 'mysql-backup'],
  );
  return {
    async figure(name) {
      const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
      const value = new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1];
      return value === undefined ? undefined : Number(value.replace('+Inf', 'Infinity'));
    },
  };
}

test.serial(
  'what was committed comes back: after a kill, at a moment, and when the disk is gone',
  async (t) => {
    await docker('network', 'create', own);
    await createMysql(environment, mysql, `${mysql}-data`);
    await docker('start', mysql);
    await until('MySQL answers', answers(mysql));
    await sql(
      mysql,
      `CREATE TABLE muster.thing (id INT PRIMARY KEY, text VARCHAR(50), bytes VARBINARY(16), at DATETIME(3) DEFAULT UTC_TIMESTAMP(3));
     CREATE DATABASE of_others; CREATE TABLE of_others.thing (id INT PRIMARY KEY);
     INSERT INTO muster.thing (id, text, bytes) VALUES (1, 'eins — 하나', 0x00ff)`,
    );
    const { figure } = await startWorker();
    await until(
      'a base copy was taken, and tried',
      async () => (await figure(metrics.backup.verifiedTime))! > 0,
    );

    await sql(
      mysql,
      "INSERT INTO muster.thing (id, text) VALUES (2, 'two'); INSERT INTO of_others.thing VALUES (1)",
    );
    await docker('kill', mysql);
    await docker('start', mysql);
    await until('MySQL answers again', answers(mysql));
    await sql(mysql, "INSERT INTO muster.thing (id, text) VALUES (3, 'three')");
    const moment = await secondOf();
    await sleep(2_000);
    await sql(mysql, 'INSERT INTO muster.thing (id) VALUES (4); DELETE FROM muster.thing WHERE id = 1');
    const last = await sql(mysql, 'SELECT COUNT(*) FROM muster.thing');
    t.is(last, '3');

    const asked = performance.now();
    await until('it is kept', async () => {
      const { head, leftOut } = await planOf(context, moment);
      return head.atMs > Date.parse(moment) + 2_000 && leftOut === 2;
    });
    t.log(`the log was kept ${(performance.now() - asked).toFixed(0)} ms later, the question included`);
    t.true((await figure(metrics.backup.atRisk))! < 10);

    await t.throwsAsync(planOf(context, '2020-01-01T00:00:00Z'), { code: 'MUSTER_BACKUP_NONE' });
    await t.throwsAsync(planOf(context, '2999-01-01T00:00:00Z'), { code: 'MUSTER_BACKUP_FUTURE' });

    const restored = await restoreBeside(context, moment, () => {});
    t.deepEqual(await rowsOf(restored), [1, 2, 3], 'as it was at that moment, beside the running one');
    t.deepEqual(await rowsOf(mysql), [2, 3, 4], 'which goes on as it is');
    t.is(
      await sql(restored, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'of_others'"),
      '0',
    );

    // The disk is gone.
    const before = await sql(mysql, 'SELECT id, text, HEX(bytes), at FROM muster.thing ORDER BY id');
    await docker('rm', '--force', '--volumes', mysql);
    await docker('volume', 'rm', `${mysql}-data`);
    const began = performance.now();
    await restoreInPlace(context, 'latest', () => {});
    t.deepEqual(
      JSON.parse(await docker('volume', 'inspect', '--format', '{{json .Labels}}', `${mysql}-data`)),
      { 'muster.component': 'mysql', 'muster.environment': environment.name },
      'as terraform makes it, or it would make it anew',
    );
    await createMysql(environment, mysql, `${mysql}-data`);
    await docker('start', mysql);
    await until('MySQL answers on what was restored', answers(mysql));
    t.log(`back after ${((performance.now() - began) / 1_000).toFixed(1)} s`);
    t.is(await sql(mysql, 'SELECT id, text, HEX(bytes), at FROM muster.thing ORDER BY id'), before);
  },
);
