/** `./muster backup`: what is kept of the database, and whether it can be brought back. */
import type { Command } from 'commander';
import { paint, say, sayJson } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

interface Listed {
  readonly bases: readonly { readonly name: string; readonly takenAtMs: number; readonly bytes: number }[];
  readonly damaged: readonly string[];
  readonly lives: readonly {
    readonly head: { readonly atMs: number } | null;
    readonly logs: readonly { readonly bytes: number }[];
  }[];
  readonly verified: { readonly atMs: number; readonly tables: number; readonly rows: number } | null;
}

export function addBackup(program: Command): void {
  const backup = program
    .command('backup')
    .description('what is kept of the database: look at it, add to it, try it')
    .addHelpText(
      'after',
      '\nExamples:\n  $ ./muster backup list\n  $ ./muster backup verify\n  $ ./muster backup create\n\n./muster backup list --help shows the exit codes.',
    );

  addVerb<{ json?: boolean }>(backup, {
    usage: 'list',
    description: 'base copies, how far the log reaches, and when one was tried last',
    examples: [['backup list', 'also when nothing of the environment runs']],
    exits: ['failed', 'unavailable', 'config'],
    configure: (command) => command.option('--json', 'for programs'),
    async run(context, options) {
      const [{ readKept }, { age, plainTable, tableText }] = await Promise.all([
        import('../restore.ts'),
        import('../../drawing/table.ts'),
      ]);
      const listed = await readKept<Listed>(context, ['list']);
      const isEmpty = listed.bases.length === 0;
      if (options.json === true) {
        sayJson(listed);
        return isEmpty ? 'failed' : undefined;
      }
      for (const name of listed.damaged) say(`${name} is damaged: nothing can be restored from it.`);
      if (isEmpty) {
        say('There is no backup.');
        return 'failed';
      }
      const table = plainTable(['base copy', 'taken', 'KiB'], [2], paint);
      for (const { name, takenAtMs, bytes } of listed.bases)
        table.push([name, new Date(takenAtMs).toISOString(), (bytes / 1_024).toFixed(0)]);
      say(tableText(table));
      const logs = listed.lives.flatMap((life) => life.logs);
      const bytes = logs.reduce((sum, log) => sum + log.bytes, 0);
      const headMs = Math.max(...listed.lives.map(({ head }) => head?.atMs ?? 0));
      say(
        `\nlog       ${logs.length} files, ${(bytes / 1_048_576).toFixed(1)} MiB, to ${new Date(headMs).toISOString()} (${age(Date.now() - headMs)} ago)`,
      );
      const { verified } = listed;
      say(
        verified === null
          ? 'tried     never'
          : `tried     ${age(Date.now() - verified.atMs)} ago: ${verified.tables} tables, ${verified.rows} rows, as they were`,
      );
      return undefined;
    },
  });

  addVerb(backup, {
    usage: 'create',
    description: 'take a base copy now (one a day is taken by itself); nobody waits for it',
    examples: [['backup create', 'before something that may go wrong']],
    exits: ['failed', 'unavailable'],
    async run(context) {
      const { name } = await inProcess<{ name: string }>(context, ['create']);
      say(`${name} is taken.`);
      return undefined;
    },
  });

  addVerb(backup, {
    usage: 'verify',
    description:
      'restore the newest backup beside the database and compare each table with what is there (once a day by itself)',
    examples: [['backup verify', 'seconds for a small database, minutes for a gigabyte']],
    exits: ['failed', 'unavailable'],
    async run(context) {
      const found = await inProcess<{ base: string; tables: number; rows: number }>(context, ['verify']);
      say(
        `${found.base} and the log since, restored, is what was there: ${found.tables} tables, ${found.rows} rows.`,
      );
      return undefined;
    },
  });
}

async function inProcess<T>({ environment, signal }: VerbContext, args: readonly string[]): Promise<T> {
  const [{ containersOf }, backups] = await Promise.all([
    import('../../environment/docker.ts'),
    import('../../environment/backup.ts'),
  ]);
  const onLine = (line: string) => {
    if (!line.startsWith('MUSTER_')) say(paint('dim', line));
  };
  return backups.inProcess<T>(environment, await containersOf(environment, signal), args, { signal, onLine });
}
