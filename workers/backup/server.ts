/** The server that is backed up, asked as the user of backups. Only MariaDB, whose programs follow its log and copy it. */
import { writeFile } from 'node:fs/promises';
import mysql, { type Connection, type RowDataPacket } from 'mysql2/promise';
import { type DatabaseName, databases } from '../../catalog/tables.ts';
import { MusterError, NotNowError } from '../base/errors.ts';
import { schemaOf } from '../store/database.ts';
import type { LogPosition } from './binlog.ts';
import type { BackupSettings } from './settings.ts';

const statementMs = 10_000;
/** Of one that reads a whole table. */
const longStatementMs = 600_000;

/** Names of our databases, whether they are there or not. */
export const schemasOf = (shop: string): readonly string[] =>
  (Object.keys(databases) as DatabaseName[]).map((name) => schemaOf(shop, name));

/** Options by which MariaDB's programs reach the server, in a file: a password in an argument is for all to see. */
export async function writeClientFile(path: string, settings: BackupSettings): Promise<void> {
  const { MYSQL_HOST: host, MYSQL_PORT: port } = settings;
  const { BACKUP_MYSQL_USER: user, BACKUP_MYSQL_PASSWORD: password } = settings;
  const text = `[client]\nhost=${host}\nport=${port}\nuser=${user}\npassword="${password}"\n`;
  await writeFile(path, text, { mode: 0o600 });
}

export interface Standing extends LogPosition {
  /** By the server's clock. */
  readonly atMs: number;
}

export interface Source {
  readonly serverId: number;
  readonly version: string;
  /** Where its log ends now. */
  standing(): Promise<Standing>;
  /** Files of its log that it has. */
  files(): Promise<readonly string[]>;
  /** For as long as the connection lives. False: somebody else has it. */
  takeTurn(to: 'follow' | 'verify'): Promise<boolean>;
  /** Lets the server delete the files before this one. */
  release(file: string): Promise<void>;
  /** Which of these databases it has. */
  present(schemas: readonly string[]): Promise<readonly string[]>;
  query(statement: string): Promise<readonly RowDataPacket[]>;
  close(): void;
}

/**
 * Connects. Methods throw MUSTER_BACKUP_SOURCE (not now) when it cannot be asked; so does this, and MUSTER_BACKUP_UNSUPPORTED when
 * the server is not MariaDB or keeps no log.
 */
export async function openSource(settings: BackupSettings): Promise<Source> {
  const away = (error: unknown) =>
    new NotNowError('MUSTER_BACKUP_SOURCE', `the server cannot be asked: ${(error as Error).message}`, {
      cause: error,
    });
  const connection: Connection = await mysql
    .createConnection({
      host: settings.MYSQL_HOST,
      port: settings.MYSQL_PORT,
      user: settings.BACKUP_MYSQL_USER,
      password: settings.BACKUP_MYSQL_PASSWORD,
      timezone: 'Z',
      connectTimeout: 5_000,
      supportBigNumbers: true,
    })
    .catch((error: unknown) => {
      throw away(error);
    });
  // Whoever asks hears of it.
  connection.on('error', () => {});
  async function query(
    sql: string,
    values: (string | readonly string[])[] = [],
    timeout = statementMs,
  ): Promise<RowDataPacket[]> {
    try {
      const [rows] = await connection.query<RowDataPacket[]>({ sql, values, timeout });
      return rows;
    } catch (error) {
      throw away(error);
    }
  }
  try {
    const [facts] = await query(
      'SELECT @@server_id AS serverId, VERSION() AS version, @@log_bin AS keepsLog',
    );
    const { serverId, version, keepsLog } = facts as { serverId: number; version: string; keepsLog: number };
    if (!/mariadb/i.test(version) || keepsLog !== 1)
      throw new MusterError(
        'MUSTER_BACKUP_UNSUPPORTED',
        `the server is ${version}${keepsLog === 1 ? '' : ' without a binary log'}: only MariaDB with one is backed up`,
      );
    return {
      serverId,
      version,
      async standing() {
        const [clock] = await query('SELECT CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED) AS atMs');
        const [status] = await query('SHOW MASTER STATUS');
        return { file: status!.File, position: Number(status!.Position), atMs: Number(clock!.atMs) };
      },
      files: async () => (await query('SHOW BINARY LOGS')).map(({ Log_name: name }) => name as string),
      takeTurn: async (to) =>
        (await query('SELECT GET_LOCK(?, 0) AS got', [`muster-backup-${to}`]))[0]?.got === 1,
      async release(file) {
        await query('PURGE BINARY LOGS TO ?', [file]);
      },
      present: async (schemas) =>
        (
          await query(
            'SELECT schema_name AS name FROM information_schema.schemata WHERE schema_name IN (?)',
            [schemas],
          )
        ).map(({ name }) => name as string),
      query: (statement) => query(statement, [], longStatementMs),
      close: () => connection.destroy(),
    };
  } catch (error) {
    connection.destroy();
    throw error;
  }
}
