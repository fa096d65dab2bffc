/** `./muster promises`: what is promised, and whether it holds now. */
import type { Command } from 'commander';
import { colour, say, sayJson, usage } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addPromises(program: Command): void {
  addVerb<{ json?: boolean }>(program, {
    usage: 'promises [name]',
    description: 'what is promised, whether it holds now, and the ids of which it does not',
    examples: [
      ['promises', 'all of them'],
      ['promises coupon-requests-decided --json', 'one, for programs'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) => command.option('--json', 'for programs'),
    async run({ environment, signal }, options, [name]) {
      const [{ containersOf }, { promisesOf }, { renderPromises }, { promises }] = await Promise.all([
        import('../../environment/docker.ts'),
        import('../../environment/promises.ts'),
        import('../promise-table.ts'),
        import('../../catalog/promises.ts'),
      ]);
      if (name !== undefined && !promises.some((promise) => promise.name === name))
        throw usage(`No promise "${name}"; there are: ${promises.map((one) => one.name).join(', ')}.`);
      const all = await promisesOf(environment, await containersOf(environment, signal));
      const told = all.filter((one) => name === undefined || one.name === name);
      if (options.json === true) sayJson({ promises: told });
      else say(renderPromises(told, Date.now(), colour));
      return told.every(({ status }) => status === 'holds') ? 'ok' : 'failed';
    },
  });
}
