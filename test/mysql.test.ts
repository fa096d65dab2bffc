/**
 * MySQL on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): what it acked is there when
 * it was killed while it stopped, as by an engine whose patience is over.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import test from 'ava';
import { run } from '../environment/children.ts';
import { containersOf, docker } from '../environment/docker.ts';
import { guardOf } from '../environment/guard.ts';
import { paths } from '../stacks/config/paths.ts';
import { mysqlMember } from '../stacks/config/topology.ts';
import { eventually } from '../workers/kafka/testing.ts';
import { containerOf, environment, isHealthy } from './deployed.fixture.ts';

const database = 'muster_e2e_acked';
const client = ['mysql', `--defaults-file=${paths.config}/health.cnf`, '--batch', '--skip-column-names'];

const query = async (sql: string) =>
  (await docker(['exec', (await containerOf('mysql')).id, ...client, '-e', sql])).trim();

/** Commits rows one by one until the server is killed under it; the last one that was acked. */
async function killedWhileCommitting(id: string): Promise<number> {
  const child = spawn('docker', ['exec', '-i', id, ...client, '--unbuffered', database]);
  let acked = 0;
  createInterface({ input: child.stdout }).on('line', (line) => {
    acked = Number(line);
  });
  child.stdin.on('error', () => {});
  const from = Number(await query(`SELECT COALESCE(MAX(id), 0) FROM ${database}.acked`));
  for (let row = from + 1; row <= from + 100_000; row += 1)
    child.stdin.write(`INSERT INTO acked VALUES (${row}); SELECT ${row};\n`);
  await eventually('rows are committed', async () => acked > from + 50, 60_000);
  const closed = once(child, 'close');
  await docker(['kill', id]);
  await closed;
  return acked;
}

/** Marks the last log as closed well, which is the last thing that a server does before its tables are closed. */
async function closeLog(id: string, image: string): Promise<void> {
  const script = `printf '\\000' | dd of="$(tail -n 1 ${paths.mysqlLog}/binlog.index)" bs=1 seek=21 conv=notrunc status=none`;
  const inside = [
    '--rm',
    '--network',
    'none',
    '--volumes-from',
    id,
    '--user',
    '999:999',
    '--entrypoint',
    'bash',
  ];
  await docker(['run', ...inside, image, '-c', script]);
}

const bothHave = async () =>
  (await guardOf(environment, await containersOf(environment)).catch(() => undefined))?.atRiskSeconds === 0;

test.after.always(async () => {
  for (const alias of environment.mysql.members.map(mysqlMember)) {
    const { id, state } = await containerOf(alias);
    if (state !== 'running') await docker(['start', id]);
    await eventually(`${alias} is healthy`, () => isHealthy(alias), 120_000);
  }
  await query(`DROP DATABASE IF EXISTS ${database}`);
});

test.serial('MySQL that is killed while it stops starts again, with all that it has acked', async (t) => {
  t.timeout(10 * 60_000);
  await query(
    `DROP DATABASE IF EXISTS ${database}; CREATE DATABASE ${database}; CREATE TABLE ${database}.acked (id INT PRIMARY KEY)`,
  );
  const prepared = async (id: string, since: string) =>
    /Found [1-9]\d* prepared transaction/.test((await run('docker', ['logs', '--since', since, id])).stderr);
  let met = false;
  // What was committed last is only in the log until the tables' own log is next written: a moment that a kill may miss.
  for (let round = 1; round <= 5 && !met; round += 1) {
    // Whoever takes the writes now: the other one took over from the one before.
    const { id, image, name } = await containerOf('mysql');
    const acked = await killedWhileCommitting(id);
    await closeLog(id, image);
    const since = new Date().toISOString();
    await docker(['start', id]);
    const alias = name.slice(environment.prefix.length + 1);
    await eventually(`${alias} is healthy again`, () => isHealthy(alias), 120_000);
    t.true(Number(await query(`SELECT MAX(id) FROM ${database}.acked`)) >= acked, 'an acked row is gone');
    met = await prepared(id, since);
    await eventually('both members have everything again', bothHave, 120_000);
  }
  t.true(met, 'no kill met a transaction that was prepared');
});
