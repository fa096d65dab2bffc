/**
 * What people want of backups: `node workers/backup/main.ts <verb>`, with the settings of settings.ts. Each prints one JSON document;
 * steps go to stderr. Exit 0, 1 when it failed (`MUSTER_*: why` on stderr), 64 for a wrong call, 78 for wrong settings.
 *
 *   list                         base copies, those that are damaged, and how far the log reaches
 *   create                       takes a base copy now
 *   verify                       restores the newest one and compares it with what the server holds
 *   plan <moment>                what a restore would do, and what it would leave out
 *   restore <moment> <folder>    puts a data folder `data` into the folder; one that is there is put aside
 *
 * A moment is `latest` or a time as 2026-11-29T01:02:03Z.
 */
import { mkdir, readdir, rename, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, readSettings } from '../base/config.ts';
import { MusterError } from '../base/errors.ts';
import { openArchive, timeName } from './archive.ts';
import { takeBase } from './base.ts';
import { eventWalk } from './binlog.ts';
import { logContent, planRestore } from './plan.ts';
import { restore } from './restore.ts';
import { openSource, writeClientFile } from './server.ts';
import { backupSettings, keptSettings } from './settings.ts';
import { verify } from './verify.ts';

const tell = (line: string) => process.stderr.write(`${line}\n`);

/** Undefined: the newest there is. Throws MUSTER_BACKUP_MOMENT. */
function momentOf(text: string): number | undefined {
  if (text === 'latest') return undefined;
  const ms = /^\d{4}-\d\d-\d\dT\d\d:\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(ms))
    throw new MusterError(
      'MUSTER_BACKUP_MOMENT',
      `"${text}" is no moment: write latest, or 2026-11-29T01:02:03Z`,
    );
  return ms;
}

const keptOf = () => {
  const settings = readSettings(keptSettings, process.env);
  return {
    settings,
    archive: openArchive(settings.BACKUP_DIRECTORY, Buffer.from(settings.BACKUP_KEY, 'hex')),
  };
};

async function withSource<T>(
  use: (parts: {
    readonly source: Awaited<ReturnType<typeof openSource>>;
    readonly archive: ReturnType<typeof openArchive>;
    readonly settings: ReturnType<typeof keptOf>['settings'];
    readonly clientFile: string;
  }) => Promise<T>,
): Promise<T> {
  const settings = readSettings(backupSettings, process.env);
  await mkdir(settings.BACKUP_SCRATCH, { recursive: true });
  const clientFile = join(settings.BACKUP_SCRATCH, `client-${process.pid}.cnf`);
  await writeClientFile(clientFile, settings);
  const source = await openSource(settings);
  try {
    return await use({ source, ...keptOf(), clientFile });
  } finally {
    source.close();
    await rm(clientFile, { force: true });
  }
}

async function list() {
  const { archive } = keptOf();
  const bases = await archive.bases();
  const heads = await Promise.all(
    [...new Set(bases.map(({ serverId }) => serverId))].map(async (serverId) => ({
      serverId,
      head: (await archive.head(serverId)) ?? null,
      logs: await archive.logs(serverId),
    })),
  );
  const damaged = await archive.damaged();
  return { bases, damaged, lives: heads, verified: (await archive.verified()) ?? null };
}

/** A plan, and how many transactions of the log it leaves out. Reads all of the log: what is damaged is named here. */
async function plan(moment: string) {
  const { archive } = keptOf();
  const made = await planRestore(archive, momentOf(moment));
  let left = 0;
  let transactions = 0;
  for (const file of made.files) {
    const from = file === made.base.position.file ? made.base.position.position : 0;
    const [all, after] = [eventWalk(Number.NEGATIVE_INFINITY, from), eventWalk(made.stopAtMs, from)];
    for await (const content of logContent(archive, made, file)) {
      all.take(content);
      after.take(content);
    }
    // Once it stops, nothing of the files behind comes in.
    left += left > 0 ? all.later() : after.later();
    transactions += all.later();
  }
  return { ...made, transactions: transactions - left, leftOut: left };
}

/** The folder's own `data` is put aside only when the restored one is complete. */
async function restoreInto(moment: string, folder: string) {
  const { archive, settings } = keptOf();
  const made = await planRestore(archive, momentOf(moment));
  const data = join(folder, 'data');
  const fresh = `${data}.restored`;
  await rm(fresh, { recursive: true, force: true });
  const { upTo } = await restore({ archive, plan: made, folder: fresh, shop: settings.MYSQL_DATABASE, tell });
  let aside: string | undefined;
  if ((await readdir(folder)).includes('data')) {
    aside = `${data}.before-${timeName(Date.now())}`;
    await rename(data, aside);
  }
  await rename(fresh, data);
  return { base: made.base.name, toMs: made.toMs, upTo, aside: aside ?? null };
}

const verbs: Readonly<
  Record<string, { readonly args: number; run(args: readonly string[]): Promise<unknown> }>
> = {
  list: { args: 0, run: list },
  create: {
    args: 0,
    run: () =>
      withSource(async ({ source, archive, clientFile, settings }) => ({
        name: await takeBase({ source, archive, clientFile, shop: settings.MYSQL_DATABASE }),
      })),
  },
  verify: {
    args: 0,
    run: () =>
      withSource(({ source, archive, settings }) =>
        verify({ source, archive, scratch: settings.BACKUP_SCRATCH, shop: settings.MYSQL_DATABASE, tell }),
      ),
  },
  plan: { args: 1, run: ([moment]) => plan(moment!) },
  restore: { args: 2, run: ([moment, folder]) => restoreInto(moment!, folder!) },
};

const [name = '', ...args] = process.argv.slice(2);
const verb = Object.hasOwn(verbs, name) ? verbs[name] : undefined;
if (verb?.args !== args.length) {
  tell('usage: node workers/backup/main.ts list|create|verify|plan <moment>|restore <moment> <folder>');
  process.exitCode = 64;
} else {
  try {
    process.stdout.write(`${JSON.stringify(await verb.run(args))}\n`);
  } catch (error) {
    if (error instanceof ConfigError) for (const line of error.lines) tell(line);
    else tell(`${(error as { code?: string }).code ?? 'MUSTER_INTERNAL'}: ${(error as Error).message}`);
    process.exitCode = error instanceof ConfigError ? 78 : 1;
  }
}
