import test from 'ava';
import { MusterError } from '../workers/base/errors.ts';
import { describeExits, exitCodes, exitOf } from './exit-codes.ts';

test('the code of an error decides the exit code', (t) => {
  const cases = [
    ['MUSTER_INTERRUPTED', 130],
    ['MUSTER_USAGE', 64],
    ['MUSTER_ENV_UNKNOWN', 64],
    ['MUSTER_ENGINE_DOWN', 69],
    ['MUSTER_ENGINE_MISSING', 69],
    ['MUSTER_TOOL_MISSING', 69],
    ['MUSTER_TERRAFORM_MISSING', 69],
    ['MUSTER_PORTS_IN_USE', 69],
    ['MUSTER_DISK_SPACE', 69],
    ['MUSTER_KAFKA_DOWN', 69],
    ['MUSTER_KAFKA_UNREACHABLE', 69],
    ['MUSTER_SECRETS', 78],
    ['MUSTER_PORT_TAKEN', 78],
    ['MUSTER_DEPLOY', 1],
    ['MUSTER_UNHEALTHY', 1],
  ] as const;
  for (const [code, exit] of cases) t.is(exitCodes[exitOf(new MusterError(code, 'x'))].code, exit, code);
});

test('an error without a code of ours is a bug', (t) => {
  t.is(exitOf(new TypeError('x')), 'internal');
  t.is(exitOf(Object.assign(new Error('x'), { code: 'ENOENT' })), 'internal');
});

test('help shows the codes that every verb has and those of its own, in order', (t) => {
  const numbers = [...describeExits(['unavailable']).matchAll(/^ +(\d+) /gm)].map(([, code]) => Number(code));
  t.deepEqual(numbers, [0, 64, 69, 70, 130]);
});
