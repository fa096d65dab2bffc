import { execFile } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { Command } from 'commander';
import { checkout } from '../environment/paths.ts';
import { ensureSecrets } from '../environment/secrets.ts';

const execute = promisify(execFile);

const muster = (...args: string[]) => musterWith({}, ...args);

/** Runs the command as the bootstrap does. */
async function musterWith(
  variables: Readonly<Record<string, string>>,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const { stdout, stderr } = await execute(process.execPath, ['tools/main.ts', ...args], {
      cwd: checkout,
      env: { ...process.env, NODE_NO_WARNINGS: '1', ...variables },
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

/** Every verb, sub-verbs included: each file of tools/verbs adds its own. */
async function verbs(): Promise<readonly Command[]> {
  const program = new Command();
  for (const file of readdirSync(join(checkout, 'tools/verbs'))) {
    const module = (await import(join(checkout, 'tools/verbs', file))) as Record<string, unknown>;
    for (const [name, add] of Object.entries(module))
      if (/^add[A-Z]/.test(name)) (add as (to: Command) => void)(program);
  }
  return program.commands.flatMap((verb) => (verb.commands.length === 0 ? [verb] : verb.commands));
}

/** What `--help` says. */
function helpOf(verb: Command): string {
  let text = '';
  verb.configureOutput({
    writeOut(more) {
      text += more;
    },
  });
  verb.outputHelp();
  return text;
}

test('every verb is there, and explains itself with an example and its exit codes', async (t) => {
  const top = await muster('--help');
  t.is(top.code, 0);
  const all = await verbs();
  t.true(all.length > 20);
  for (const verb of all) {
    const own = verb.parent?.parent === null ? verb : verb.parent!;
    t.regex(top.stdout, new RegExp(`^ +${own.name()}\\b`, 'm'), own.name());
    t.regex(helpOf(verb), /\n {2}\$ \.\/muster /, verb.name());
    t.regex(helpOf(verb), /Exit codes:\n +0 /, verb.name());
  }
});

test('verbs are in groups', async (t) => {
  const groups = new Set<string>();
  let heading = '';
  for (const line of (await muster('--help')).stdout.split('\n'))
    if (/^\S.*:$/.test(line)) heading = line;
    else if (/^ {2}[a-z]/.test(line)) groups.add(heading);
  t.deepEqual(
    [...groups],
    ['An environment:', 'What happens in it:', 'Keeping it:', 'Trying it:', 'This checkout and your shell:'],
  );
});

test('what there is to drill is data for who asks for it', async (t) => {
  const { stdout } = await muster('drill', 'list', '--json');
  const list = JSON.parse(stdout) as { name: string; minutes: number; about: string }[];
  t.true(list.some(({ name, minutes }) => name === 'broker-2-killed' && minutes > 0));
});

test('what is not understood ends with 64, in words and without a stack', async (t) => {
  for (const args of [
    ['bogus'],
    ['status', '--bogus'],
    ['--env', 'nope', 'status'],
    ['trace'],
    ['test', 'some'],
  ]) {
    const { code, stderr } = await muster(...args);
    t.is(code, 64, args.join(' '));
    t.notRegex(stderr, /\n +at /, args.join(' '));
  }
});

test('it says which version it is', async (t) => {
  const { version } = JSON.parse(await readFile(join(checkout, 'package.json'), 'utf8')) as {
    version: string;
  };
  t.deepEqual(await muster('--version'), { code: 0, stdout: `${version}\n`, stderr: '' });
});

test('a secret is printed by its name, without one only names are, and none is made on the way', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'muster-secrets-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const show = (...args: string[]) => musterWith({ MUSTER_STATE_DIR: folder }, 'secrets', 'show', ...args);
  t.is((await show('grafanaPassword')).code, 78);
  const { secrets } = await ensureSecrets(join(folder, 'dev', 'secrets.json'));
  t.like(await show('grafanaPassword'), { code: 0, stdout: `${secrets.grafanaPassword}\n` });
  const { stdout } = await show();
  t.regex(stdout, /^grafanaPassword$/m);
  for (const value of Object.values(secrets)) t.false(stdout.includes(value));
  t.is((await show('nobodysPassword')).code, 64);
});

test('an environment on other hosts is not touched without --yes', async (t) => {
  for (const verb of [['up'], ['down'], ['topics', 'apply']]) {
    const { code, stderr } = await muster('--env', 'prod', ...verb);
    t.is(code, 64);
    t.regex(stderr, /nothing was done.*--yes/);
  }
  const guarded = (await verbs()).filter(({ options }) => options.some(({ long }) => long === '--yes'));
  t.deepEqual(guarded.map((verb) => verb.name()).sort(), [
    'apply',
    'bench',
    'down',
    'replay',
    'restore',
    'rolling-restart',
    'traffic',
    'up',
  ]);
});

test('a service that is not there ends with 69 and the way out', async (t) => {
  // The hosts of prod do not exist where tests run.
  const { code, stderr } = await muster('--env', 'prod', 'trace', '4bf92f3577b34da6a3ce929d0e0e4736');
  t.is(code, 69);
  t.regex(stderr, /Jaeger does not answer .*status.*\(MUSTER_JAEGER_DOWN\)/);
});
