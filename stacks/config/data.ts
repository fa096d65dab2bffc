/** Configuration of MySQL (MariaDB 10.11 under both image sources) and of Redis. */
import { createHash } from 'node:crypto';
import type { Environment } from '../../catalog/environments.ts';
import { paths } from './paths.ts';
import type { Secrets } from './secrets.ts';
import { containerPorts } from './topology.ts';

/** Name of the application's user and of its database. */
export const mysqlUser = 'muster';
export const mysqlDatabase = 'muster';
const exporterUser = 'exporter';
export const backupUser = 'backup';

function quoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** A user's own password: derived, so that it is neither the application's nor another secret to keep. */
const derived = (user: string, secrets: Secrets) =>
  createHash('sha256').update(`${user}:${secrets.mysqlRootPassword}`).digest('hex');
export const exporterPassword = (secrets: Secrets): string => derived('mysqld-exporter', secrets);
export const backupPassword = (secrets: Secrets): string => derived('mysql-backup', secrets);

/** my.cnf of MariaDB. */
export function renderMyCnf(environment: Environment): string {
  return `# Rendered from the catalog, do not edit.
[mysqld]
datadir=${paths.mysqlData}
socket=/tmp/mysqld.sock
pid-file=/tmp/mysqld.pid
port=${containerPorts.mysql}
bind-address=0.0.0.0
skip-name-resolve
character-set-server=utf8mb4
# Ids differ in case: 'A1' and 'a1' are two message ids.
collation-server=utf8mb4_bin
default-time-zone=+00:00
# Locks are held on rows that a statement touches, not on gaps beside them.
transaction-isolation=READ-COMMITTED
innodb_buffer_pool_size=${environment.mysql.bufferPoolMiB}M
innodb_log_file_size=48M
# An acked commit is on the disk: 1 is the default, said aloud.
innodb_flush_log_at_trx_commit=1
# The log that the backup follows, on a disk of its own: rows, in it and on the disk before a commit is acked.
log-bin=${paths.mysqlLog}/binlog
binlog-format=ROW
# Of a row that changes or goes, its texts and bodies are in the log only when they are what changes: its key finds it.
binlog-row-image=NOBLOB
binlog-checksum=CRC32
sync-binlog=1
max-binlog-size=32M
# The backup lets a file go when it has it. What it has not goes after a day: a full disk helps nobody.
binlog-expire-logs-seconds=86400
# The application's user makes triggers; their rows are logged, not they.
log-bin-trust-function-creators=1
performance_schema=OFF
max_connections=240
# What these need is below the container's open files.
table_open_cache=1024
open_files_limit=8192
# A dead client's locks go after this long.
wait_timeout=600
`;
}

/** Statements run at every start, before the first client: passwords and the database are what the secrets say. */
export function renderMysqlInit(secrets: Secrets): string {
  const app = `${quoted(mysqlUser)}@'%'`;
  const exporter = `${quoted(exporterUser)}@'%'`;
  const backup = `${quoted(backupUser)}@'%'`;
  const ours = [mysqlDatabase, `${mysqlDatabase}\\_%`];
  return `${[
    // Run at each start and by each server for itself: not for the log.
    'SET sql_log_bin = 0;',
    `CREATE DATABASE IF NOT EXISTS ${mysqlDatabase} CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;`,
    `CREATE USER IF NOT EXISTS ${app} IDENTIFIED BY ${quoted(secrets.mysqlPassword)};`,
    `ALTER USER ${app} IDENTIFIED BY ${quoted(secrets.mysqlPassword)};`,
    `GRANT ALL PRIVILEGES ON ${mysqlDatabase}.* TO ${app};`,
    // Further databases of ours: the data platform's (muster_analytics), and the scratch ones of tests.
    `GRANT ALL PRIVILEGES ON \`${mysqlDatabase}\\_%\`.* TO ${app};`,
    `CREATE USER IF NOT EXISTS ${exporter} IDENTIFIED BY ${quoted(exporterPassword(secrets))};`,
    `ALTER USER ${exporter} IDENTIFIED BY ${quoted(exporterPassword(secrets))};`,
    `GRANT PROCESS, REPLICATION CLIENT ON *.* TO ${exporter};`,
    `CREATE USER IF NOT EXISTS ${backup} IDENTIFIED BY ${quoted(backupPassword(secrets))};`,
    `ALTER USER ${backup} IDENTIFIED BY ${quoted(backupPassword(secrets))};`,
    `GRANT RELOAD, PROCESS, REPLICATION SLAVE, REPLICATION CLIENT, BINLOG ADMIN ON *.* TO ${backup};`,
    ...ours.map((name) => `GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON \`${name}\`.* TO ${backup};`),
    // mariadb-install-db makes these without a password, and they are good over TCP inside the container.
    `DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1', 'root'@'mysql';`,
    `ALTER USER 'root'@'localhost' IDENTIFIED BY ${quoted(secrets.mysqlRootPassword)};`,
  ].join('\n')}\n`;
}

/** Start script: makes the data folder once, completely or not at all, then becomes the server. */
export function renderMysqlStart(): string {
  return `#!/bin/bash
# Rendered. Makes the data folder under another name first: a start that was cut off leaves nothing half-made.
set -eu
data=${paths.mysqlData}
if [ ! -d "$data" ]; then
  rm -rf "$data.new"
  mariadb-install-db --no-defaults --datadir="$data.new" --auth-root-authentication-method=normal --skip-test-db >/dev/null
  mv "$data.new" "$data"
fi
# Only MySQL has its dictionary there, and MariaDB would break it. Image source registry had MySQL 8.4 once.
if [ -e "$data/mysql.ibd" ]; then
  echo "MUSTER_DATA_OF_MYSQL: these data are MySQL 8.4's, and this is MariaDB. Dump them with a container of mysql:8.4.10, then ./muster down --volumes, up, and load the dump" >&2
  exit 1
fi
# A log is one server's alone: where data are made or restored anew, or the log is gone, it is another server by its id.
if [ ! -s "$data/server-id" ] || [ ! -e ${paths.mysqlLog}/binlog.index ]; then
  echo $((RANDOM * 32768 + RANDOM + 1)) >"$data/server-id.new"
  mv "$data/server-id.new" "$data/server-id"
fi
# A server that stops closes its log before its tables. Killed between the two it finds transactions that are prepared and
# a log that says it was closed well, and refuses to start. So each start reads the log, which knows what was committed:
# bit 0 of the first event's flags (byte 21 of the file) says "in use"; the event's checksum is made without it.
last=$(tail -n 1 ${paths.mysqlLog}/binlog.index 2>/dev/null || true)
if [ -n "$last" ] && [ "$(head -c 4 "$last" 2>/dev/null | od -An -tx1)" = " fe 62 69 6e" ]; then
  printf '\\001' | dd of="$last" bs=1 seek=21 conv=notrunc status=none
fi
exec mysqld --defaults-file=${paths.config}/my.cnf --init-file=${paths.config}/init.sql --server-id="$(cat "$data/server-id")"
`;
}

/** Client options of the healthcheck: over TCP, as the application's user. */
export function renderMysqlClient(secrets: Secrets): string {
  return `[client]
protocol=TCP
host=127.0.0.1
port=${containerPorts.mysql}
user=${mysqlUser}
password="${secrets.mysqlPassword}"
`;
}

/** Client options of the exporter. */
export function renderExporterClient(secrets: Secrets, address: string, port: number): string {
  return `[client]
host=${address}
port=${port}
user=${exporterUser}
password=${exporterPassword(secrets)}
`;
}

/** redis.conf: a password, an append-only file, and no eviction (a lock or a ranking must not vanish). */
export function renderRedisConf(environment: Environment, secrets: Secrets): string {
  return `# Rendered from the catalog, do not edit.
bind 0.0.0.0
port ${containerPorts.redis}
requirepass ${secrets.redisPassword}
dir ${paths.redisData}
# Every second to the disk: at most one second is lost, and nothing that counts lives here alone.
appendonly yes
appendfsync everysec
save ""
maxmemory ${environment.redis.maxMemoryMiB}mb
# Full means an error that is seen, never a silently dropped key.
maxmemory-policy noeviction
tcp-keepalive 60
daemonize no
`;
}
