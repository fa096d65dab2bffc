/** `./muster plan`: what `up` would change, and what people would notice. */
import type { Command } from 'commander';
import { paint, say, sayJson } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addPlan(program: Command): void {
  addVerb<{ json?: boolean }>(program, {
    usage: 'plan',
    description: 'say what up would change, in which order, and what people would notice; changes nothing',
    examples: [
      ['plan', 'before an up'],
      ['plan --json', 'for programs'],
    ],
    exits: ['failed', 'unavailable', 'config'],
    configure: (command) => command.option('--json', 'for programs'),
    async run({ environment, images, signal }, { json }) {
      const [
        { synthesise, planStack },
        { variablesByHand },
        { planTable, stepsOf },
        { inRollingOrder, nodesFirst },
        { rolledProcesses },
        { membersInOrder },
        { alone },
      ] = await Promise.all([
        import('../terraform.ts'),
        import('../by-hand.ts'),
        import('../plan-table.ts'),
        import('../rolling.ts'),
        import('../rolling-processes.ts'),
        import('../rolling-members.ts'),
        import('../lifecycle.ts'),
      ]);
      const planned = await alone(environment, signal, async () => {
        const variables = await variablesByHand(environment, images);
        const stacks = await synthesise(environment, variables, signal);
        return Promise.all(
          stacks.map(async (stack) => {
            const { changes } = await planStack(stack, variables, signal);
            // Who is ready is not asked: that takes long, and all are, as a rule.
            const processes = rolledProcesses(changes, environment, new Map());
            const turns = [...processes, ...(await membersInOrder(environment, changes))];
            const inOrder = nodesFirst(await inRollingOrder(environment, changes), turns);
            return { name: stack.name, steps: stepsOf(inOrder, environment) };
          }),
        );
      });
      if (json === true) sayJson(planned);
      else say(planTable(planned, paint));
      return undefined;
    },
  });
}
