/** Makes a member anew from the one that writes: a dump as of one moment, which nobody waits for, and the log from there. */
import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { MusterError, NotNowError } from '../base/errors.ts';
import { program } from '../base/programs.ts';
import type { LogState } from './decide.ts';
import { type Member, notOurs, parseLog } from './member.ts';
import type { GuardSettings, MemberAddress } from './settings.ts';

/** mariadb-dump says it before all else, or after it (10.11.19 on). No value of a row begins a line. */
const positionPattern = /^-- SET GLOBAL gtid_slave_pos='([\d,-]*)'/m;
const endBytes = 65_536;
const longestMs = 7_200_000;

const lastFileOf = async (target: Member): Promise<string> =>
  String((await target.query('SHOW BINARY LOGS')).at(-1)?.Log_name);

/**
 * The statement that empties its log. Numbers of files go on, and one is left out: the backup may have files of this server, and must
 * not take what comes for the rest of them.
 */
const emptyLog = async (target: Member): Promise<string> =>
  `RESET MASTER TO ${Number(/\d+$/.exec(await lastFileOf(target))?.[0] ?? 0) + 2}`;

/**
 * Has its log begin as if all this had been in it. `SET GLOBAL gtid_binlog_state` would begin the numbers of its files anew; so
 * something that does nothing is written in the name of each server, and let go with its file.
 */
async function beginLog(target: Member, log: LogState): Promise<void> {
  await target.query(await emptyLog(target));
  for (const [server, last] of [...log].sort(([, a], [, b]) => a - b)) {
    await target.query('SET SESSION server_id = ?, gtid_domain_id = 0, gtid_seq_no = ?', [server, last]);
    await target.query('DROP TABLE IF EXISTS mysql.nothing');
  }
  await target.query('SET SESSION server_id = @@GLOBAL.server_id');
  await target.query('FLUSH BINARY LOGS');
  await target.query('PURGE BINARY LOGS TO ?', [await lastFileOf(target)]);
  // Who asks for what is older must not get on from there.
  if ((await target.query('SHOW BINARY LOGS')).length !== 1)
    throw new NotNowError(
      'MUSTER_GUARD_MEMBER',
      `${target.address.name} does not let the beginning of its log go`,
    );
}

/**
 * Rejects with MUSTER_GUARD_MEMBER (not now) or MUSTER_PROGRAM; the member is empty or half full then, which its log says, too:
 * there is nothing in it before all is there.
 */
export async function copyFrom(source: Member, target: Member, settings: GuardSettings): Promise<void> {
  await target.act('fence', source.address);
  for (const statement of [
    'SET GLOBAL rpl_semi_sync_master_enabled = OFF',
    'STOP SLAVE',
    'RESET SLAVE ALL',
    await emptyLog(target),
    "SET GLOBAL gtid_slave_pos = ''",
    'SET SESSION sql_log_bin = 0',
  ])
    await target.query(statement, [], 60_000);
  const schemas = `SELECT schema_name AS name FROM information_schema.schemata WHERE schema_name NOT IN ${notOurs}`;
  for (const { name } of await target.query(schemas))
    await target.query('DROP DATABASE ??', [name], longestMs);

  const [before] = await source.query('SELECT @@gtid_binlog_state AS log');
  const names = (await source.query(schemas)).map(({ name }) => String(name));
  const files = [source, target].map(({ address }) => join(settings.GUARD_DIRECTORY, `${address.name}.cnf`));
  try {
    await Promise.all(
      [source, target].map(({ address }, index) =>
        writeFile(files[index]!, clientOptions(address, settings), { mode: 0o600 }),
      ),
    );
    const dump = program(
      'mariadb-dump',
      [
        `--defaults-file=${files[0]}`,
        ...['--single-transaction', '--quick', '--gtid', '--master-data=2'],
        ...['--triggers', '--routines', '--events', '--hex-blob', '--databases', ...names],
      ],
      { timeout: longestMs },
    );
    const load = program(
      'mariadb',
      [
        `--defaults-file=${files[1]}`,
        '--init-command=SET sql_log_bin = 0, unique_checks = 0, foreign_key_checks = 0',
      ],
      { stdio: ['pipe', 'ignore', 'pipe'], timeout: longestMs },
    );
    let head = Buffer.alloc(0);
    let tail = Buffer.alloc(0);
    try {
      await pipeline(
        dump.child.stdout!,
        async function* (pieces: AsyncIterable<Buffer>) {
          for await (const piece of pieces) {
            if (head.length < endBytes) head = Buffer.concat([head, piece]);
            tail = Buffer.concat([tail, piece]).subarray(-endBytes);
            yield piece;
          }
          await dump.ended;
        },
        load.child.stdin!,
      );
      await Promise.all([dump.ended, load.ended]);
    } finally {
      dump.child.kill('SIGKILL');
      load.child.kill('SIGKILL');
    }
    const at = positionPattern.exec(`${head.toString('latin1')}\n${tail.toString('latin1')}`)?.[1];
    if (at === undefined)
      throw new MusterError('MUSTER_PROGRAM', 'the dump does not say where in the log it is');
    // Who wrote earlier is in its log, too, or it would seem to have missed that.
    const log = new Map([...parseLog(String(before!.log)), ...parseLog(at)]);
    await target.query('SET SESSION sql_log_bin = 1');
    await beginLog(target, log);
    await target.act('follow', source.address);
  } finally {
    await Promise.all(files.map((file) => rm(file, { force: true })));
  }
}

const clientOptions = ({ host, port }: MemberAddress, settings: GuardSettings): string =>
  `[client]\nhost=${host}\nport=${port}\nuser=${settings.GUARD_MYSQL_USER}\npassword="${settings.GUARD_MYSQL_PASSWORD}"\n`;
