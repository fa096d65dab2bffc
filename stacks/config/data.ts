/** Configuration of MySQL (MariaDB 10.11 under both image sources), of the entrance before its members, and of Redis. */
import { createHash } from 'node:crypto';
import type { Environment, MysqlNode } from '../../catalog/environments.ts';
import { paths } from './paths.ts';
import type { Secrets } from './secrets.ts';
import { containerPorts, mysqlMember, placementOf, reach } from './topology.ts';

/** Name of the application's user and of its database. */
export const mysqlUser = 'muster';
export const mysqlDatabase = 'muster';
const exporterUser = 'exporter';
export const backupUser = 'backup';
export const guardUser = 'guard';
export const replicaUser = 'replica';

function quoted(value: string): string {
  return `'${value.replaceAll('\\', '\\\\').replaceAll("'", "''")}'`;
}

/** A user's own password: derived, so that it is neither the application's nor another secret to keep. */
const derived = (user: string, secrets: Secrets) =>
  createHash('sha256').update(`${user}:${secrets.mysqlRootPassword}`).digest('hex');
export const exporterPassword = (secrets: Secrets): string => derived('mysqld-exporter', secrets);
export const backupPassword = (secrets: Secrets): string => derived('mysql-backup', secrets);
export const guardPassword = (secrets: Secrets): string => derived('mysql-guard', secrets);
export const replicaPassword = (secrets: Secrets): string => derived('mysql-replica', secrets);

const mysqlPort = (environment: Environment, member: MysqlNode | undefined): number =>
  member === undefined
    ? containerPorts.mysql
    : placementOf(environment, mysqlMember(member)).ports.sql!.container;

/**
 * How a member begins: closed, whatever it was before. The guard opens one of them, which acks only what the other one has received.
 * A commit waits for that as long as it takes: whether it may do without, the guard alone decides.
 */
const asMember = (member: MysqlNode) => `report-host=${mysqlMember(member)}
read-only=ON
skip-slave-start=ON
rpl-semi-sync-master-enabled=ON
rpl-semi-sync-slave-enabled=ON
rpl-semi-sync-master-wait-point=AFTER_SYNC
rpl-semi-sync-master-timeout=31536000000
# Also while nobody follows: the default, said aloud.
rpl-semi-sync-master-wait-no-slave=ON
log-slave-updates=ON
gtid-strict-mode=ON
relay-log=${paths.mysqlLog}/relay
max-relay-log-size=32M
# A source that says nothing for so long is gone.
slave-net-timeout=4
# What was committed together is applied together.
slave-parallel-threads=4
slave-parallel-mode=conservative
`;

/** my.cnf of MariaDB: of a member, or of a server by itself. */
export function renderMyCnf(environment: Environment, member?: MysqlNode): string {
  return `# Rendered from the catalog, do not edit.
[mysqld]
datadir=${paths.mysqlData}
socket=/tmp/mysqld.sock
pid-file=/tmp/mysqld.pid
port=${mysqlPort(environment, member)}
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
${member === undefined ? '' : asMember(member)}`;
}

/** Statements run at every start, before the first client: passwords and the database are what the secrets say. */
export function renderMysqlInit(secrets: Secrets): string {
  const app = `${quoted(mysqlUser)}@'%'`;
  const exporter = `${quoted(exporterUser)}@'%'`;
  const backup = `${quoted(backupUser)}@'%'`;
  const guard = `${quoted(guardUser)}@'%'`;
  const replica = `${quoted(replicaUser)}@'%'`;
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
    `CREATE USER IF NOT EXISTS ${guard} IDENTIFIED BY ${quoted(guardPassword(secrets))};`,
    `ALTER USER ${guard} IDENTIFIED BY ${quoted(guardPassword(secrets))};`,
    `GRANT ALL PRIVILEGES ON *.* TO ${guard};`,
    `CREATE USER IF NOT EXISTS ${replica} IDENTIFIED BY ${quoted(replicaPassword(secrets))};`,
    `ALTER USER ${replica} IDENTIFIED BY ${quoted(replicaPassword(secrets))};`,
    `GRANT REPLICATION SLAVE ON *.* TO ${replica};`,
    // mariadb-install-db makes these without a password, and they are good over TCP inside the container.
    `DROP USER IF EXISTS 'root'@'127.0.0.1', 'root'@'::1', 'root'@'mysql', 'root'@'mysql-1', 'root'@'mysql-2';`,
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
# A log is one server's alone: where data are made or restored anew, or the log is gone, it is another server by its id. A log of
# other data says that all is there that was in those: it is put aside.
log=${paths.mysqlLog}
if [ -s "$data/server-id" ] && [ -e "$log/binlog.index" ] && [ ! -e "$log/server-id" ]; then
  cp "$data/server-id" "$log/server-id"
fi
if [ ! -s "$data/server-id" ] || [ ! -e "$log/binlog.index" ] || ! cmp -s "$data/server-id" "$log/server-id"; then
  rm -rf "$log/before" "$log/server-id"
  mkdir "$log/before"
  find "$log" -maxdepth 1 -type f -exec mv -t "$log/before" {} +
  echo $((RANDOM * 32768 + RANDOM + 1)) >"$data/server-id.new"
  mv "$data/server-id.new" "$data/server-id"
  cp "$data/server-id" "$log/server-id.new"
  mv "$log/server-id.new" "$log/server-id"
fi
# A server that stops closes its log before its tables. Killed between the two it finds transactions that are prepared and
# a log that says it was closed well, and refuses to start. So each start reads the log, which knows what was committed:
# bit 0 of the first event's flags (byte 21 of the file) says "in use"; the event's checksum is made without it.
last=$(tail -n 1 "$log/binlog.index" 2>/dev/null || true)
if [ -n "$last" ] && [ "$(head -c 4 "$last" 2>/dev/null | od -An -tx1)" = " fe 62 69 6e" ]; then
  printf '\\001' | dd of="$last" bs=1 seek=21 conv=notrunc status=none
fi
exec mysqld --defaults-file=${paths.config}/my.cnf --init-file=${paths.config}/init.sql --server-id="$(cat "$data/server-id")"
`;
}

/** Client options of the healthcheck: over TCP, as the application's user. */
export function renderMysqlClient(environment: Environment, secrets: Secrets, member?: MysqlNode): string {
  return `[client]
protocol=TCP
host=127.0.0.1
port=${mysqlPort(environment, member)}
user=${mysqlUser}
password="${secrets.mysqlPassword}"
`;
}

export const entranceHealthPort = 8_405;

/**
 * haproxy.cfg of the entrance: one address, and behind it the member that the guard names on its socket. It begins with none.
 * Whoever is connected to another member is cut off by the guard, too.
 */
export function renderMysqlEntrance(environment: Environment): string {
  const found = 'resolvers engine resolve-prefer ipv4 init-addr libc,none';
  return `# Rendered from the catalog, do not edit.
global
    log stdout format raw local0 info
    maxconn 400
    nbthread 1
    stats socket ${paths.mysqlEntrance}/haproxy.sock mode 666 level admin
    hard-stop-after 2s

resolvers engine
    parse-resolv-conf
    timeout resolve 500ms
    timeout retry 500ms
    hold valid 500ms
    # An address is kept until there is another: who is there the guard says.
    hold nx 24d
    hold timeout 24d
    hold refused 24d
    hold other 24d

defaults
    mode tcp
    log global
    option dontlognull
    option dontlog-normal
    timeout connect 1s
    # The servers end what is silent for longer (wait_timeout); a statement that reads a whole table is silent, too.
    timeout client 1h
    timeout server 1h
    option clitcpka
    option srvtcpka

frontend health
    bind 127.0.0.1:${entranceHealthPort}
    mode http
    monitor-uri /healthz

frontend sql
    bind :${containerPorts.mysql}
    default_backend members

backend members
${environment.mysql.members
  .map(mysqlMember)
  .map((name) => `    server ${name} ${reach(environment, name, 'sql')} disabled ${found}`)
  .join('\n')}
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
