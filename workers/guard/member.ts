/** One of the two servers, looked at and changed by the guard: a connection, a statement at a time, a deadline on each. */
import { setTimeout as sleep } from 'node:timers/promises';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { NotNowError } from '../base/errors.ts';
import type { Action, Following, LogState, Look } from './decide.ts';
import type { GuardSettings, MemberAddress } from './settings.ts';

export const lookWithinMs = 1_000;
const statementMs = 5_000;
/** Of what changes something. */
const changeWithinMs = 20_000;
/** A change by hand lets who waits for a row go on waiting so long. */
const rowWaitMs = 200;
/** What was received and is yet to be applied, when one takes over. */
const drainWithinMs = 120_000;

/** `0-11-105,0-12-106`: how far each server that ever wrote has come. There is one domain, 0. */
export function parseLog(text: string): LogState {
  return new Map(
    text
      .split(',')
      .filter((gtid) => gtid !== '')
      .map((gtid) => gtid.split('-').map(Number) as [number, number, number])
      .map(([, server, last]) => [server, last]),
  );
}

/** Members differ in what is in them but for these. */
export const notOurs = "('mysql', 'information_schema', 'performance_schema', 'sys')";

export interface Member {
  readonly address: MemberAddress;
  /** Undefined when it does not answer within this time (at most a second), or another server does. */
  look(withinMs: number): Promise<Look | undefined>;
  /** Everything but making it anew. `source`: whom to follow. */
  act(action: Exclude<Action, 'copy'>, source: MemberAddress): Promise<void>;
  query(statement: string, values?: readonly unknown[], withinMs?: number): Promise<RowDataPacket[]>;
  close(): void;
}

type Settings = Pick<
  GuardSettings,
  'GUARD_MYSQL_USER' | 'GUARD_MYSQL_PASSWORD' | 'GUARD_REPLICA_USER' | 'GUARD_REPLICA_PASSWORD'
>;
type Query = Member['query'];

/**
 * Methods other than `look` reject with MUSTER_GUARD_MEMBER (not now) when it does not do what it is told. `beside`: beside another
 * one of this life, whose connection stays.
 */
export function openMember(
  address: MemberAddress,
  members: readonly MemberAddress[],
  settings: Settings,
  beside = false,
): Member {
  const { query, drop } = openSession(address, settings, beside);
  const actions = actionsOn(address.name, query, settings, () => openSession(address, settings, true));
  return {
    address,
    query,
    async look(withinMs) {
      const late = new AbortController();
      const looked = lookAt(query, members)
        .catch(() => undefined)
        .finally(() => late.abort());
      const inTime = await Promise.race([
        looked,
        sleep(withinMs, 'late' as const, { signal: late.signal }).catch(() => looked),
      ]);
      if (inTime !== 'late') return inTime;
      drop();
      return undefined;
    },
    act: (action, source) => actions[action](source),
    close: drop,
  };
}

interface Session {
  readonly query: Query;
  drop(): void;
}

/** One connection, made when it is needed and again when it was lost. */
function openSession(
  address: MemberAddress,
  { GUARD_MYSQL_USER: user, GUARD_MYSQL_PASSWORD: password }: Settings,
  beside: boolean,
): Session {
  let connection: Connection | undefined;
  /** Of the last connection; undefined: there was none in this life. */
  let threadId: number | undefined;
  /** Drops so far: a connection that comes after one was not waited for. */
  let drops = 0;

  async function connect(): Promise<Connection> {
    const made = await mysql.createConnection({
      host: address.host,
      port: address.port,
      user,
      password,
      timezone: 'Z',
      connectTimeout: lookWithinMs,
      supportBigNumbers: true,
    });
    made.on('error', () => {});
    try {
      const ask = async (sql: string, values: unknown[] = []) =>
        (await made.query<RowDataPacket[]>({ sql, values, timeout: lookWithinMs }))[0];
      const [said] = await ask('SELECT @@report_host AS name');
      if (said?.name !== address.name) throw new Error(`${String(said?.name)} answers there`);
      // What the last connection was told and has not done yet, or that of a guard before this one, is not done any more.
      const stale =
        beside && threadId === undefined
          ? []
          : await ask(
              'SELECT id FROM information_schema.processlist WHERE user = ? AND id <> CONNECTION_ID() AND id = COALESCE(?, id)',
              [user, threadId ?? null],
            );
      for (const { id } of stale) await ask(`KILL ${Number(id)}`).catch(() => {});
      await ask('SET SESSION lock_wait_timeout = 3, wait_timeout = 3600');
      ({ threadId } = made);
      return made;
    } catch (error) {
      made.destroy();
      throw error;
    }
  }

  function drop(): void {
    drops += 1;
    connection?.destroy();
    connection = undefined;
  }

  return {
    drop,
    async query(statement, values = [], withinMs = statementMs) {
      try {
        if (connection === undefined) {
          const before = drops;
          const made = await connect();
          if (before !== drops) {
            made.destroy();
            throw new Error('it was not waited for');
          }
          connection = made;
        }
        const [rows] = await connection.query<RowDataPacket[]>({
          sql: statement,
          values: [...values],
          timeout: withinMs,
        });
        return rows;
      } catch (error) {
        // It may still do what it was told, so a new connection ends this one first.
        if ((error as { code?: string }).code?.startsWith('ER_') !== true) drop();
        throw new NotNowError('MUSTER_GUARD_MEMBER', `${address.name}: ${(error as Error).message}`, {
          cause: error,
        });
      }
    },
  };
}

async function lookAt(query: Query, members: readonly MemberAddress[]): Promise<Look> {
  const ask = (statement: string) => query(statement, [], lookWithinMs);
  // In this order: what is in the log of one that was closed, or waited, before is all there is, or is waited for.
  const [said] = await ask(
    `SELECT @@server_id AS serverId, @@read_only AS readOnly, @@rpl_semi_sync_master_enabled AS waits,
       (SELECT UNIX_TIMESTAMP() - variable_value FROM information_schema.global_status
        WHERE variable_name = 'UPTIME') AS start`,
  );
  const status = new Map(
    (await ask("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_%'")).map(
      ({ Variable_name: name, Value: value }) => [String(name), String(value)],
    ),
  );
  const [logged] = await ask('SELECT @@gtid_binlog_state AS log');
  const [follower] = await ask('SHOW SLAVE STATUS');
  const log = parseLog(String(logged!.log));
  const tables = `SELECT COUNT(*) AS n FROM information_schema.tables WHERE table_schema NOT IN ${notOurs}`;
  const blank = log.size === 0 && Number((await ask(tables))[0]!.n) === 0;
  return {
    start: Math.round(Number(said!.start)),
    serverId: Number(said!.serverId),
    open: Number(said!.readOnly) === 0,
    waits: Number(said!.waits) === 1 && status.get('Rpl_semi_sync_master_status') === 'ON',
    log,
    blank,
    followers: Number(status.get('Rpl_semi_sync_master_clients')),
    waiting: Number(status.get('Rpl_semi_sync_master_wait_sessions')),
    acks: Number(status.get('Rpl_semi_sync_master_get_ack')),
    follows: follower === undefined ? undefined : followingOf(follower, members),
  };
}

type Actions = Record<Exclude<Action, 'copy'>, (source: MemberAddress) => Promise<void>>;

function actionsOn(name: string, query: Query, settings: Settings, openBeside: () => Session): Actions {
  const tell = async (...statements: readonly string[]) => {
    for (const statement of statements) await query(statement, [], changeWithinMs);
  };

  /** Nobody's commit waits any more, and none is acked: whoever waited is cut off. */
  async function close(): Promise<void> {
    for (let left = 3; ; left--) {
      const clients = await query(
        `SELECT id FROM information_schema.processlist
         WHERE id <> CONNECTION_ID() AND user NOT IN ('system user', 'event_scheduler', ?)`,
        [settings.GUARD_REPLICA_USER],
      );
      for (const { id } of clients) await query(`KILL ${Number(id)}`).catch(() => {});
      try {
        await tell('SET GLOBAL read_only = ON');
        return;
      } catch (error) {
        if (left === 0) throw error;
      }
    }
  }

  /**
   * Commits that run end, and are acked; transactions that are open are told that they did not take place. Closing waits for statements
   * that run, and holds back new ones: one that waits for a row of a transaction whose next statement is held back would wait for ever.
   * Who waits for a row is not committing, and is cut off.
   */
  async function quiet(): Promise<void> {
    const beside = openBeside();
    let isClosed = false;
    const closed = tell('SET GLOBAL read_only = ON').finally(() => {
      isClosed = true;
    });
    const cut = async () => {
      for (await sleep(rowWaitMs); !isClosed; await sleep(rowWaitMs)) {
        const waiting = await beside.query(
          "SELECT trx_mysql_thread_id AS id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'",
        );
        for (const { id } of waiting) await beside.query(`KILL ${Number(id)}`).catch(() => {});
      }
    };
    try {
      await Promise.all([closed, cut()]);
    } finally {
      beside.drop();
    }
  }

  /** What was received and not applied may have been acked: it is there, or this throws. */
  async function drain(): Promise<void> {
    for (const deadline = performance.now() + drainWithinMs; ; await sleep(50)) {
      const [status] = await query('SHOW SLAVE STATUS');
      if (status === undefined) return;
      if (status.Slave_SQL_Running !== 'Yes')
        throw new NotNowError('MUSTER_GUARD_MEMBER', `${name} does not apply what it has received`);
      const [applied] = await query('SELECT @@gtid_slave_pos AS at');
      const idle = /^Slave has read all relay log/.test(String(status.Slave_SQL_Running_State));
      if (idle && applied!.at === status.Gtid_IO_Pos) return;
      if (performance.now() > deadline)
        throw new NotNowError('MUSTER_GUARD_MEMBER', `${name} does not come to the end of what it has`);
    }
  }

  const drop = () => tell('STOP SLAVE', 'RESET SLAVE ALL');

  return {
    open: () => tell('SET GLOBAL rpl_semi_sync_master_enabled = ON', 'SET GLOBAL read_only = OFF'),
    quiet,
    fence: close,
    bind: () => tell('SET GLOBAL rpl_semi_sync_master_enabled = ON'),
    release: () => tell('SET GLOBAL rpl_semi_sync_master_enabled = OFF'),
    async follow(source) {
      await close();
      // Its own applying of what it receives would wait, too.
      await tell(
        'SET GLOBAL rpl_semi_sync_master_enabled = OFF',
        'STOP SLAVE',
        'SET GLOBAL gtid_slave_pos = @@gtid_binlog_pos',
      );
      await query(
        `CHANGE MASTER TO MASTER_HOST = ?, MASTER_PORT = ?, MASTER_USER = ?, MASTER_PASSWORD = ?,
           MASTER_USE_GTID = slave_pos, MASTER_CONNECT_RETRY = 1, MASTER_HEARTBEAT_PERIOD = 1`,
        [source.host, source.port, settings.GUARD_REPLICA_USER, settings.GUARD_REPLICA_PASSWORD],
      );
      await tell('START SLAVE');
    },
    async detach() {
      await tell('STOP SLAVE IO_THREAD');
      await drain();
      await drop();
    },
    drop,
  };
}

function followingOf(status: RowDataPacket, members: readonly MemberAddress[]): Following {
  const { Slave_IO_Running: receives, Slave_SQL_Running: applies } = status;
  const fatal = receives === 'No' && Number(status.Last_IO_Errno) !== 0;
  return {
    source:
      members.find(({ host, port }) => host === status.Master_Host && port === Number(status.Master_Port))
        ?.name ?? 'another server',
    receiving: receives === 'Yes',
    applying: applies === 'Yes',
    stopped: receives === 'No' || applies === 'No',
    broken: fatal || Number(status.Last_SQL_Errno) !== 0,
  };
}
