/** `./muster env`: what a shell needs to run cdktf or terraform by hand. */
import type { Command } from 'commander';
import { say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addEnv(program: Command): void {
  addVerb(program, {
    usage: 'env',
    description: 'print shell exports for running cdktf and terraform by hand',
    examples: [
      ['env', 'to look at'],
      ['env > /tmp/muster.sh && . /tmp/muster.sh', "then: npx cdktf deploy '*'"],
    ],
    exits: ['config'],
    async run({ environment, images: wanted }) {
      // What is printed must work at once: the files that a synthesis reads are made here.
      const all = await (await import('../by-hand.ts')).variablesByHand(environment, wanted);
      for (const [name, value] of Object.entries(all))
        say(`export ${name}='${value.replaceAll("'", "'\\''")}'`);
      const here = (await import('../../environment/paths.ts')).checkout;
      say(`export PATH='${here}/node_modules/.bin':"$PATH"`);
      if (all.TF_CLI_CONFIG_FILE === undefined)
        process.stderr.write(
          'muster: the docker provider is not built yet; run ./muster up once before cdktf deploy.\n',
        );
      return undefined;
    },
  });
}
