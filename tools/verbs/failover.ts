/** `./muster failover mysql`: the other member takes the writes, for maintenance or when the guard refuses to decide. */
import type { Command } from 'commander';
import { MusterError } from '../../workers/base/errors.ts';
import { paint, say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addFailover(program: Command): void {
  addVerb<{ to?: string; yesReallyLose?: boolean }>(program, {
    usage: 'failover <store>',
    description: 'lets the other member of MySQL take the writes',
    examples: [
      ['failover mysql', 'nothing is lost, or it is refused'],
      ['failover mysql --to mysql-2', 'when it is not the other one, nothing is done'],
      ['failover mysql --to mysql-2 --yes-really-lose', 'what was acked and is not on it is lost'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--to <member>', 'the member that is to take writes; without it the other one')
        .option('--yes-really-lose', 'also if it has not all that was acked: with --to only'),
    async run({ environment, signal }, { to, yesReallyLose = false }, [store]) {
      if (store !== 'mysql')
        throw new MusterError('MUSTER_USAGE', `"${store}" has no two members: mysql has`);
      const [{ failOver, guardOf }, { containersOf }] = await Promise.all([
        import('../../environment/guard.ts'),
        import('../../environment/docker.ts'),
      ]);
      const { writer, members } = await guardOf(environment, await containersOf(environment, signal));
      const names = members.map(({ name }) => name);
      if (to !== undefined && !names.includes(to))
        throw new MusterError('MUSTER_USAGE', `there is no ${to}: ${names.join(' and ')}`);
      if (to === undefined && (writer === undefined || yesReallyLose))
        throw new MusterError('MUSTER_USAGE', `say which one: --to ${names.join(' or --to ')}`);
      const target = to ?? names.find((name) => name !== writer)!;
      if (target !== writer) await failOver(environment, target, { lose: yesReallyLose, signal });
      say(`${paint('bold', target)} takes the writes.`);
      return undefined;
    },
  });
}
