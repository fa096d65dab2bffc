/** `./muster up`: an environment from nothing, or whatever an interrupted run left of it. */
import type { Command } from 'commander';
import { spansHosts } from '../../catalog/environments.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addUp(program: Command): void {
  addVerb<{ yes?: boolean; takeOver?: boolean }>(program, {
    usage: 'up',
    description: 'bring an environment up (engine, images, secrets, all stacks) and wait until it works',
    examples: [
      ['up', 'environment dev on this machine'],
      ['up --images build', 'with images built from package registries'],
      ['--env prod up --yes', 'onto the Docker hosts that catalog/environments.ts names'],
    ],
    exits: ['failed', 'unavailable', 'config'],
    configure: (command) =>
      command
        .option('--yes', 'go ahead with an environment on other hosts')
        .option(
          '--take-over',
          'also where another state folder has deployed: its containers go, volumes stay',
        ),
    async run({ environment, images, signal }, options) {
      const startedAt = performance.now();
      const places = Object.entries(environment.hosts);
      if (spansHosts(environment) && options.yes !== true) {
        const { placements } = await import('../../stacks/config/index.ts');
        for (const [name, { dockerUri }] of places) {
          const parts = placements(environment).filter(({ host }) => host === name);
          say(`  ${(dockerUri ?? 'this engine').padEnd(40)} ${parts.map(({ alias }) => alias).join(', ')}`);
        }
        throw new MusterError(
          'MUSTER_USAGE_YES',
          `Environment ${environment.name} would be deployed onto the ${places.length} Docker hosts above; nothing was done. If that is meant: ./muster --env ${environment.name} up --yes.`,
        );
      }
      const { alone, bringUp } = await import('../lifecycle.ts');
      const { whereToLook } = await import('../where.ts');
      const result = await alone(environment, signal, () =>
        bringUp(environment, { images, takesOver: options.takeOver === true, signal }),
      );
      const seconds = Math.round((performance.now() - startedAt) / 1000);
      say(`\n${whereToLook(environment, result, seconds)}`);
      return undefined;
    },
  });
}
