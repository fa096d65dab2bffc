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
      const exported = (name: string, value: string) =>
        say(`export ${name}='${value.replaceAll("'", "'\\''")}'`);
      for (const [name, value] of Object.entries(all)) exported(name, value);
      // Who asks the database with the state; its password stays where it is.
      const { stateDatabase } = environment;
      for (const name of stateDatabase === undefined ? [] : ['PGUSER', 'PGPASSFILE', 'PGSSLROOTCERT'])
        if (process.env[name] !== undefined) exported(name, process.env[name]);
      const here = (await import('../../environment/paths.ts')).checkout;
      say(`export PATH='${here}/node_modules/.bin':"$PATH"`);
      if (all.TF_CLI_CONFIG_FILE === undefined)
        process.stderr.write(
          'muster: the docker provider is not built yet; run ./muster up once before cdktf deploy.\n',
        );
      if (stateDatabase !== undefined)
        process.stderr.write(
          `muster: terraform keeps the state in ${stateDatabase}: PGUSER, and PGPASSWORD or PGPASSFILE, must be set where it runs.\n`,
        );
      return undefined;
    },
  });
}
