import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { Command, Option } from 'commander';
import { completionScript } from './completion.ts';

const program = new Command('./muster')
  .addOption(new Option('--env <name>').choices(['dev', 'ci']))
  .option('--debug');
program.command('up').option('--yes');
program.command('logs').option('--since <when>').option('--follow');
const topics = program.command('topics');
topics.command('plan');
topics.command('apply').option('--raise-partitions');

/** What bash would offer at the end of the line. */
async function offered(line: string): Promise<readonly string[]> {
  const words = line.split(' ');
  const script = `${completionScript(program, 'bash')}
COMP_WORDS=(${words.map((word) => `'${word}'`).join(' ')}); COMP_CWORD=${words.length - 1}
_muster ./muster '${words.at(-1)}'
printf '%s\\n' "\${COMPREPLY[@]}"`;
  const { stdout } = await promisify(execFile)('bash', ['-c', script]);
  return stdout.split('\n').filter((word) => word !== '');
}

test('bash offers verbs, sub-verbs, options, and the values that an option may have', async (t) => {
  t.deepEqual(await offered('./muster '), ['up', 'logs', 'topics', '--env', '--debug', '--help']);
  t.deepEqual(await offered('./muster u'), ['up']);
  t.deepEqual(await offered('./muster --env '), ['dev', 'ci']);
  t.deepEqual(await offered('./muster --env ci lo'), ['logs']);
  t.deepEqual(await offered('./muster topics '), ['plan', 'apply', '--env', '--debug', '--help']);
  t.deepEqual(await offered('./muster topics apply --r'), ['--raise-partitions']);
  t.deepEqual(await offered('./muster logs api --f'), ['--follow']);
  t.deepEqual(await offered('./muster logs --since '), []);
});
