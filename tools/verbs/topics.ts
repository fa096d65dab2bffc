/** `./muster topics`: topics as the catalog says, against the brokers of a running environment. */
import type { Command } from 'commander';
import { brokersOutside } from '../../stacks/config/topology.ts';
import { say } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

interface Options {
  raisePartitions?: boolean;
}

const raise = (command: Command) =>
  command.option(
    '--raise-partitions',
    'also give topics more partitions (moves keys: joins lose their past)',
  );

export function addTopics(program: Command): void {
  const topics = program
    .command('topics')
    .description('compare the topics with the catalog, or make them so')
    .addHelpText(
      'after',
      '\nExamples:\n  $ ./muster topics plan\n  $ ./muster topics apply\n\n./muster topics plan --help shows the exit codes.',
    );
  addVerb<Options>(topics, {
    usage: 'plan',
    description: 'show what apply would do, and drift that it would not touch',
    examples: [['topics plan', 'changes nothing']],
    exits: ['failed', 'unavailable'],
    configure: raise,
    async run(context, options) {
      const { showPlan } = await import('../../workers/topics/apply.ts');
      await showPlan(settings(context, options));
      return undefined;
    },
  });
  addVerb<Options>(topics, {
    usage: 'apply',
    description: 'create topics and set their configuration as the catalog says',
    examples: [
      ['topics apply', 'safe to repeat'],
      ['topics apply --raise-partitions', 'also more partitions'],
    ],
    exits: ['failed', 'unavailable'],
    changes: true,
    configure: raise,
    async run(context, options) {
      const { applyPlan } = await import('../../workers/topics/apply.ts');
      await applyPlan(settings(context, options));
      return undefined;
    },
  });
}

function settings({ environment }: VerbContext, { raisePartitions = false }: Options) {
  return {
    environment,
    brokers: brokersOutside(environment).split(','),
    raisePartitions,
    print: say,
  };
}
