/** `./muster down`: nothing of an environment runs afterwards. */
import type { Command } from 'commander';
import { say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addDown(program: Command): void {
  addVerb<{ volumes?: boolean; takeOver?: boolean }>(program, {
    usage: 'down',
    description: 'take an environment down, also a half-finished one; data stays unless --volumes',
    examples: [
      ['down', 'stop everything; a later up finds its data again'],
      ['down --volumes', 'and remove data, secrets and state: nothing of ours is left'],
    ],
    exits: ['failed', 'unavailable'],
    changes: true,
    configure: (command) =>
      command
        .option('--volumes', 'also remove volumes, secrets and state')
        .option('--take-over', 'also what another state folder has deployed'),
    async run({ environment, signal }, options) {
      const { alone, takeDown } = await import('../lifecycle.ts');
      const { kept, problems } = await alone(environment, signal, () =>
        takeDown(environment, {
          volumes: options.volumes === true,
          takesOver: options.takeOver === true,
          signal,
        }),
      );
      for (const problem of problems) say(`terraform could not remove it all, so labels did: ${problem}`);
      say(`\nEnvironment ${environment.name} is down.`);
      const volumes = kept.filter((one) => one.startsWith('volume '));
      if (volumes.length > 0)
        say(
          `Kept ${volumes.length} volumes with the data; ./muster --env ${environment.name} down --volumes removes them.`,
        );
      for (const one of kept.filter((entry) => !volumes.includes(entry))) say(`Kept ${one}.`);
      return undefined;
    },
  });
}
