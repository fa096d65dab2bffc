/** Settings of the backup: where it is kept, by which key, as whom the server is asked. */
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Static, Type } from 'typebox';
import { databaseSettings } from '../base/config.ts';

const { MYSQL_HOST, MYSQL_PORT, MYSQL_DATABASE } = databaseSettings.properties;

/** Of what reads a backup only. */
export const keptSettings = Type.Object({
  BACKUP_DIRECTORY: Type.String({ minLength: 1, description: 'where backups are kept' }),
  BACKUP_KEY: Type.String({
    pattern: '^[0-9a-fA-F]{64}$',
    secret: true,
    description: 'key of backups, 64 hexadecimal digits',
  }),
  BACKUP_SCRATCH: Type.String({
    minLength: 1,
    default: join(tmpdir(), 'muster-backup'),
    description: 'where a restored copy has room for a while',
  }),
  MYSQL_DATABASE,
});

/** Of what makes one. */
export const backupSettings = Type.Object({
  ...keptSettings.properties,
  MYSQL_HOST,
  MYSQL_PORT,
  BACKUP_MYSQL_USER: Type.String({
    minLength: 1,
    description: 'MySQL user that may read all and follow the log',
  }),
  BACKUP_MYSQL_PASSWORD: Type.String({ minLength: 1, description: 'its password' }),
  BACKUP_EVERY_HOURS: Type.Integer({
    minimum: 1,
    maximum: 168,
    default: 24,
    description: 'between base copies',
  }),
  BACKUP_KEEP_DAYS: Type.Integer({ minimum: 1, maximum: 3_660, default: 7, description: 'backups are kept' }),
});
export type BackupSettings = Static<typeof backupSettings>;
