/** `./muster secrets`: passwords, keys and tokens that were made for an environment. */
import { Argument, type Command } from 'commander';
import { secretsFile } from '../../environment/variables.ts';
import { readSecrets, type SecretName, secretNames } from '../../stacks/config/secrets.ts';
import { say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addSecrets(program: Command): void {
  const secrets = program
    .command('secrets')
    .description('passwords, keys and tokens that were made for an environment')
    .addHelpText(
      'after',
      '\nExamples:\n  $ ./muster secrets show\n\n./muster secrets show --help shows the exit codes.',
    );

  addVerb(secrets, {
    usage: 'show',
    description: 'print one and nothing else; without a name, which there are',
    examples: [
      ['secrets show', 'which there are, and the file that they are in'],
      ['secrets show grafanaPassword', 'that of admin in Grafana'],
    ],
    exits: ['config'],
    configure: (command) => command.addArgument(new Argument('[name]', 'which one').choices(secretNames)),
    async run({ environment }, _options, [name]) {
      const file = secretsFile(environment);
      const all = readSecrets(file);
      if (name !== undefined) {
        say(all[name as SecretName]!);
        return undefined;
      }
      for (const one of secretNames) say(one);
      process.stderr.write(`They are in ${file}.\n`);
      return undefined;
    },
  });
}
