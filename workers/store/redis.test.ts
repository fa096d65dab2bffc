import test from 'ava';
import { ClientOfflineError, ErrorReply, TimeoutError } from 'redis';
import { isNotNow, MusterError } from '../base/errors.ts';
import { translateRedisError } from './redis.ts';

const refusals = [
  'LOADING Redis is loading the dataset in memory',
  "READONLY You can't write against a read only replica.",
  "OOM command not allowed when used memory > 'maxmemory'.",
  "OOM command not allowed when used memory > 'maxmemory'. script: 2f0d0b, on @user_script:1.",
  'ERR Error running script (call to f_2f0d0b): @user_script:1: @user_script: 1: -OOM command not allowed',
  'MISCONF Redis is configured to save RDB snapshots, but it is currently not able to persist on disk.',
  "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
  'CLUSTERDOWN The cluster is down',
  'TRYAGAIN Multiple keys request during rehashing of slot',
  'NOREPLICAS Not enough good replicas to write.',
  'BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.',
  'ERR max number of clients reached',
];
for (const said of refusals)
  test(`not now: ${said}`, (t) => {
    const translated = translateRedisError(new ErrorReply(said)) as MusterError;
    t.true(isNotNow(translated));
    t.is(translated.code, 'MUSTER_REDIS_REFUSES');
  });

test('not now: nobody answers', (t) => {
  for (const error of [
    new ClientOfflineError(),
    new TimeoutError(),
    Object.assign(new Error('connect'), { code: 'ECONNREFUSED' }),
  ]) {
    const translated = translateRedisError(error, { host: 'h', port: 1 }) as MusterError;
    t.true(isNotNow(translated));
    t.is(translated.code, 'MUSTER_REDIS_DOWN');
  }
});

for (const error of [
  new ErrorReply('WRONGTYPE Operation against a key holding the wrong kind of value'),
  new ErrorReply('ERR value is not an integer or out of range'),
  new ErrorReply('ERR Error compiling script (new function): user_script:1: unexpected symbol'),
  new ErrorReply('NOAUTH Authentication required.'),
  new TypeError('x is not a function'),
  new MusterError('MUSTER_LOCK_LOST', 'the time of the lock is over'),
])
  test(`never: ${error.message}`, (t) => {
    t.is(translateRedisError(error), error);
    t.false(isNotNow(translateRedisError(error)));
  });
