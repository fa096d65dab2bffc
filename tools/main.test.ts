import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import test from 'ava';
import { checkout } from '../environment/paths.ts';

const execute = promisify(execFile);

/** Runs the command as the bootstrap does. */
async function muster(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const { stdout, stderr } = await execute(process.execPath, ['tools/main.ts', ...args], {
      cwd: checkout,
      env: { ...process.env, NODE_NO_WARNINGS: '1' },
    });
    return { code: 0, stdout, stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { code, stdout, stderr };
  }
}

const verbs = [
  'up',
  'down',
  'status',
  'logs',
  'trace',
  'traffic',
  'token',
  'topics plan',
  'topics apply',
  'dlq list',
  'dlq show',
  'dlq replay',
  'render',
  'env',
  'test',
  'bench',
];

test('every verb explains itself with an example and its exit codes', async (t) => {
  t.timeout(120_000);
  const top = await muster('--help');
  for (const verb of verbs) {
    t.regex(top.stdout, new RegExp(`^ +${verb.split(' ')[0]}\\b`, 'm'), verb);
    const { code, stdout } = await muster(...verb.split(' '), '--help');
    t.is(code, 0, verb);
    t.regex(stdout, /\n {2}\$ \.\/muster /, verb);
    t.regex(stdout, /Exit codes:\n +0 /, verb);
  }
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

test('an environment on other hosts is not touched without --yes', async (t) => {
  for (const verb of ['up', 'down']) {
    const { code, stderr } = await muster('--env', 'prod', verb);
    t.is(code, 64);
    t.regex(stderr, /--yes/);
  }
});

test('a service that is not there ends with 69 and the way out', async (t) => {
  // The hosts of prod do not exist where tests run.
  const { code, stderr } = await muster('--env', 'prod', 'trace', '4bf92f3577b34da6a3ce929d0e0e4736');
  t.is(code, 69);
  t.regex(stderr, /Jaeger does not answer .*status.*\(MUSTER_JAEGER_DOWN\)/);
});
