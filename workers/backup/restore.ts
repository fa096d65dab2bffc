/**
 * Brings a moment back: a data folder for MariaDB, made of a base copy and the log since, by a server of its own that nobody else
 * can reach. The log is given to it as a replica has one, so that its own code applies it, and only to our databases.
 */
import { mkdir, mkdtemp, open, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { createGunzip } from 'node:zlib';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { MusterError } from '../base/errors.ts';
import { program } from '../base/programs.ts';
import type { Archive } from './archive.ts';
import { eventWalk, type LogPosition, numberOf } from './binlog.ts';
import { logContent, type Plan } from './plan.ts';
import { schemasOf } from './server.ts';

const startWithinMs = 60_000;
const stopWithinMs = 120_000;
/** Without a step for so long the log is not applied. */
const stuckAfterMs = 120_000;

interface RestoreOptions {
  readonly archive: Archive;
  readonly plan: Plan;
  /** Stop here, instead of where the plan's moment is. */
  readonly until?: LogPosition;
  /** The data folder: must not be there. */
  readonly folder: string;
  /** MYSQL_DATABASE. */
  readonly shop: string;
  /** Gets one line for each step. */
  readonly tell: (line: string) => void;
  /** Asks the restored server before it is stopped. */
  readonly look?: (query: (statement: string) => Promise<readonly RowDataPacket[]>) => Promise<void>;
}

/**
 * Makes the data folder; it is complete when this resolves. Throws MUSTER_BACKUP_MISSING, _CUT, _ALTERED, _KEY (of what is kept),
 * MUSTER_BACKUP_REPLAY (the log cannot be applied), MUSTER_PROGRAM. What was made is removed then.
 */
export async function restore(options: RestoreOptions): Promise<{ readonly upTo: LogPosition }> {
  const { archive, plan, folder, tell } = options;
  const runtime = await mkdtemp(join(tmpdir(), 'muster-restore-'));
  try {
    await program('mariadb-install-db', [
      ...['--no-defaults', `--datadir=${folder}`],
      ...['--auth-root-authentication-method=normal', '--skip-test-db'],
    ]).ended;
    const stop = await placeLog(archive, plan, folder, options.until);
    tell(`${plan.files.length} files of the log, to ${stop.upTo.file} ${stop.upTo.position}`);
    const server = await startServer(folder, runtime, options.shop);
    try {
      const client = program('mariadb', [...server.client], { stdio: ['pipe', 'ignore', 'pipe'] });
      await pipeline(archive.dumpOf(plan.base), createGunzip(), client.child.stdin!);
      await client.ended;
      tell(`${plan.base.name} is loaded`);
      await replay(server.connection, plan.base.position.position, stop);
      tell('the log is applied');
      await options.look?.(server.query);
    } finally {
      await server.stop();
    }
    for (const name of await readdir(folder))
      if (/^(relay\.|relay-log|master\.info|multi-master)/.test(name))
        await rm(join(folder, name), { force: true });
    return { upTo: stop.upTo };
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  } finally {
    await rm(runtime, { recursive: true, force: true });
  }
}

interface Stop {
  readonly upTo: LogPosition;
  /** Where that is in what the server takes for its relay log. */
  readonly relay: LogPosition;
}

const relayFile = (index: number) => `relay.${String(index + 1).padStart(6, '0')}`;

/** Checks the plan's part of the log and puts it where a replica has it, to the place where to stop. */
async function placeLog(
  archive: Archive,
  plan: Plan,
  folder: string,
  until: LogPosition | undefined,
): Promise<Stop> {
  const { base, head } = plan;
  const last = until ?? head;
  const placed: string[] = [];
  let stop: Stop | undefined;
  for (const file of plan.files) {
    if (numberOf(file) > numberOf(last.file)) break;
    const isLast = file === last.file;
    const name = relayFile(placed.length);
    const target = await open(join(folder, name), 'wx', 0o600);
    placed.push(name);
    try {
      const walk = eventWalk(plan.stopAtMs, file === base.position.file ? base.position.position : 0);
      let later: number | undefined;
      for await (const content of logContent(archive, plan, file)) {
        later = walk.take(content);
        await target.appendFile(content);
      }
      const found = until === undefined ? later : undefined;
      const position = isLast ? Math.min(found ?? last.position, last.position) : found;
      if (position !== undefined) {
        await target.truncate(position);
        stop = { upTo: { file, position }, relay: { file: name, position } };
        break;
      }
    } finally {
      await target.close();
    }
  }
  if (stop === undefined)
    throw new MusterError('MUSTER_BACKUP_MISSING', `the log does not reach to ${last.file}`);
  const index = await open(join(folder, 'relay.index'), 'wx', 0o600);
  await index.appendFile(placed.map((name) => `./${name}\n`).join(''));
  await index.close();
  return stop;
}

/** A server on the folder, with a socket and no port. */
async function startServer(folder: string, runtime: string, shop: string) {
  const socket = join(runtime, 'sock');
  const running = program('mariadbd', [
    ...['--no-defaults', `--datadir=${folder}`, `--socket=${socket}`, `--pid-file=${join(runtime, 'pid')}`],
    ...['--skip-networking', '--skip-log-bin', '--server-id=4294967295', '--skip-slave-start'],
    ...['--relay-log=relay', '--relay-log-purge=OFF', `--tmpdir=${runtime}`],
    ...schemasOf(shop).map((schema) => `--replicate-wild-do-table=${schema.replaceAll('_', '\\_')}.%`),
    ...['--character-set-server=utf8mb4', '--collation-server=utf8mb4_bin', '--default-time-zone=+00:00'],
    ...['--transaction-isolation=READ-COMMITTED', '--sql-mode=', '--event-scheduler=OFF'],
    // Nobody is told of anything before it is complete, and then it is stopped in order: its disk may wait till then.
    ...['--innodb-flush-log-at-trx-commit=0', '--innodb-buffer-pool-size=48M', '--performance-schema=OFF'],
    ...['--max-connections=10', '--key-buffer-size=1M', '--aria-pagecache-buffer-size=8M'],
  ]);
  let died = false;
  running.ended
    .catch(() => {})
    .finally(() => {
      died = true;
    });
  const connect = () => mysql.createConnection({ socketPath: socket, user: 'root', supportBigNumbers: true });
  let connection: Connection | undefined;
  for (const deadline = performance.now() + startWithinMs; connection === undefined; ) {
    connection = await connect().catch(() => undefined);
    if (connection !== undefined) break;
    if (died) await running.ended;
    if (performance.now() > deadline) {
      running.child.kill('SIGKILL');
      throw new MusterError('MUSTER_PROGRAM', 'the server of a restored copy does not start');
    }
    await sleep(100);
  }
  const opened = connection;
  opened.on('error', () => {});
  return {
    connection: opened,
    client: ['--no-defaults', '--protocol=socket', `--socket=${socket}`, '--user=root'],
    query: async (statement: string) => (await opened.query<RowDataPacket[]>(statement))[0],
    async stop() {
      opened.destroy();
      running.child.kill('SIGTERM');
      const late = setTimeout(() => running.child.kill('SIGKILL'), stopWithinMs);
      await running.ended.finally(() => clearTimeout(late));
    },
  };
}

/** Applies the log from a position in its first file on. */
async function replay(connection: Connection, from: number, { relay, upTo }: Stop): Promise<void> {
  const query = async (statement: string, values: (string | number)[] = []) =>
    (await connection.query<RowDataPacket[]>(statement, values))[0];
  if (relay.file === relayFile(0) && relay.position <= from) return;
  await query(
    `CHANGE MASTER TO master_host = 'none', master_use_gtid = no, relay_log_file = ?, relay_log_pos = ?`,
    [relayFile(0), from],
  );
  await query('START SLAVE SQL_THREAD UNTIL relay_log_file = ?, relay_log_pos = ?', [
    relay.file,
    relay.position,
  ]);
  let before = '';
  for (let movedAt = performance.now(); ; await sleep(100)) {
    const [status] = await query('SHOW SLAVE STATUS');
    const { Relay_Log_File: file, Relay_Log_Pos: position, Last_SQL_Error: error } = status!;
    if (error) throw replayFailed(`${error}`);
    if (file === relay.file && Number(position) >= relay.position) break;
    if (`${file} ${position}` !== before) movedAt = performance.now();
    else if (status!.Slave_SQL_Running === 'No' || performance.now() - movedAt > stuckAfterMs)
      throw replayFailed(`it stopped at ${file} ${position} before ${upTo.file} ${upTo.position}`);
    before = `${file} ${position}`;
  }
  await query('STOP SLAVE');
  await query('RESET SLAVE ALL');
}

const replayFailed = (why: string) =>
  new MusterError('MUSTER_BACKUP_REPLAY', `the log cannot be applied: ${why}`);

/** Restores into a folder for a while: makes it, calls `use`, removes it. */
export async function inScratch<T>(scratch: string, use: (folder: string) => Promise<T>): Promise<T> {
  await mkdir(scratch, { recursive: true });
  const folder = await mkdtemp(join(scratch, 'muster-scratch-'));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
