/** Faults of MySQL and Redis that their own commands make, as arguments of docker: done, and undone. */
import { paths } from '../stacks/config/paths.ts';
import { MusterError } from '../workers/base/errors.ts';
import { diskKeeperOf, type Settings, standInOf, standInSteps } from './stand-in.ts';

interface Plan {
  readonly steps: readonly { readonly docker: readonly string[] }[];
  readonly heal: readonly (readonly string[])[];
}

const shell = (container: string, script: string, ...args: readonly string[]) => [
  ...['exec', container, '/bin/sh', '-c', script, 'sh', ...args],
];

/** The passwords are read where the servers read them: none is in an argument or in the journal. */
const asMysqlRoot = `MYSQL_PWD="$(sed -n "s/^ALTER USER 'root'@'localhost' IDENTIFIED BY '\\(.*\\)';$/\\1/p" ${paths.config}/init.sql)"`;
const asRedisOwner = `REDISCLI_AUTH="$(sed -n 's/^requirepass //p' ${paths.config}/redis.conf)"`;

const mysql = (container: string, statement: string) =>
  shell(container, `export ${asMysqlRoot}; exec mysql -uroot -S /tmp/mysqld.sock -e "$1"`, statement);

/** redis-cli exits with 0 whatever the server says: only OK is well. */
const redis = (container: string, ...command: readonly string[]) =>
  shell(
    container,
    `export ${asRedisOwner}; said=$(redis-cli -p 6379 "$@") && [ "$said" = OK ] || { echo "$said" >&2; exit 1; }`,
    ...command,
  );

export function refuseWrites(container: string): Plan {
  if (container.endsWith('-redis')) {
    // As where a replica that must have every write is away.
    const replicas = (count: string) => redis(container, 'CONFIG', 'SET', 'min-replicas-to-write', count);
    return { steps: [{ docker: replicas('1') }], heal: [replicas('0')] };
  }
  if (!/-mysql-\d$/.test(container))
    throw new MusterError('MUSTER_FAULT_TARGET', `${container} keeps nothing that could be read-only.`);
  const readOnly = (value: 0 | 1) => mysql(container, `SET GLOBAL read_only = ${value}`);
  return { steps: [{ docker: readOnly(1) }], heal: [readOnly(0)] };
}

export const emptyRedis = (container: string) => redis(container, 'FLUSHALL');

const disk = { path: paths.mysqlVolume, bytes: 768 * 2 ** 20, keeps: true } as const;

/**
 * A stand-in with the same data on a small disk; a file takes what is left of it. What was written there is kept. Once its disk
 * was full MariaDB waits a minute for each file that it could not write: it is not waited for.
 */
export function fullMysqlDisk(
  container: string,
  settings: Settings,
  networks: readonly { readonly name: string; readonly aliases: readonly string[] }[],
): Plan {
  const { steps, heal } = standInSteps(container, settings, networks, { graceMs: 10_000, disk });
  const standIn = standInOf(container);
  const ballast = `${disk.path}/ballast`;
  return {
    steps: [
      ...steps,
      // At its start it may still write.
      shell(
        standIn,
        `export ${asMysqlRoot}; for i in $(seq 300); do mysqladmin -uroot -S /tmp/mysqld.sock ping >/dev/null 2>&1 && exit 0; sleep 0.2; done; echo 'it does not start on its small disk' >&2; exit 1`,
      ),
      shell(diskKeeperOf(container), `cat /dev/zero >"$1" 2>/dev/null || true`, ballast),
    ].map((docker) => ({ docker })),
    heal: [shell(diskKeeperOf(container), 'rm -f "$1"', ballast), ...heal],
  };
}
