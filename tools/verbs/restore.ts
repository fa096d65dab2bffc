/** `./muster restore`: the database as it was at a moment. */
import type { Command } from 'commander';
import { environmentFlag, paint, say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addRestore(program: Command): void {
  addVerb<{ to: string; inPlace?: boolean; yes?: boolean }>(program, {
    usage: 'restore',
    description:
      'the database as it was at a moment: beside the running one, or in its place; says first what will not be in it',
    examples: [
      ['restore --to latest', 'all there is, in a server of its own beside the running one'],
      ['restore --to 2026-11-29T01:02:03Z', 'as it was at that second'],
      ['restore --to latest --in-place', 'what would be lost; with --yes it is done'],
    ],
    exits: ['failed', 'unavailable', 'config'],
    configure: (command) =>
      command
        .requiredOption('--to <moment>', 'latest, or a time: 2026-11-29T01:02:03Z')
        .option(
          '--in-place',
          'as the data of the environment; those that are there are put aside, not deleted',
        )
        .option('--yes', 'with --in-place: do it'),
    async run(context, options) {
      const [{ planOf, restoreBeside, restoreInPlace }, { age }, { alone }] = await Promise.all([
        import('../restore.ts'),
        import('../../drawing/table.ts'),
        import('../lifecycle.ts'),
      ]);
      const plan = await planOf(context, options.to);
      const flag = environmentFlag(context.environment);
      const iso = (ms: number) => new Date(ms).toISOString();
      say(
        `From ${plan.base.name} (${iso(plan.base.takenAtMs)}) and ${plan.transactions} transactions of the log since.`,
      );
      say(`To   ${iso(plan.toMs)}, ${age(Date.now() - plan.toMs)} ago.`);
      if (plan.leftOut > 0)
        say(`Left out: ${plan.leftOut} transactions that began after that, to ${iso(plan.head.atMs)}.`);
      say(`Not known: what was committed after ${iso(plan.head.atMs)}.`);
      const tell = (line: string) => say(paint('dim', line));
      if (options.inPlace !== true) {
        const name = await restoreBeside(context, options.to, tell);
        say(`\nIt is there: docker exec -it ${name} mysql --defaults-file=/etc/muster/health.cnf`);
        say(`Take it away again: docker rm -f ${name} && docker volume rm ${name}`);
        return undefined;
      }
      if (options.yes !== true) {
        say(
          `\nNothing was done. In place of what is in the database now: ./muster ${flag}restore --to ${options.to} --in-place --yes`,
        );
        return 'failed';
      }
      const { aside, started } = await alone(context.environment, context.signal, () =>
        restoreInPlace(context, options.to, tell),
      );
      if (aside !== null) say(`What was there is put aside in the volume: ${aside}`);
      say(started ? 'MySQL runs on it.' : `Start the environment on it: ./muster ${flag}up`);
      // Clocks of brokers and database may differ; what is known all the same is not named.
      const sinceMs = plan.toMs - 10_000;
      say(`Then, what was told since and is not in it: ./muster ${flag}reconcile --since ${iso(sinceMs)}`);
      return undefined;
    },
  });
}
