import { spawnSync } from 'node:child_process';
import test from 'ava';
import { takePrecedence } from './precedence.ts';

const policyOf = (pid: number | undefined) =>
  spawnSync('chrt', ['--pid', String(pid)], { encoding: 'utf8' }).stdout ?? '';
const mayTakeIt = process.platform === 'linux' && process.getuid?.() === 0;

(mayTakeIt ? test : test.skip)(
  'who measures goes before what is measured, its children do not',
  async (t) => {
    const before = policyOf(process.pid);
    const precedence = await takePrecedence();
    const during = policyOf(process.pid);
    const ofChild = spawnSync('sh', ['-c', 'chrt --pid $$'], { encoding: 'utf8' }).stdout;
    const waited = await precedence.waited();
    await precedence.end();
    t.regex(during, /SCHED_RR/);
    t.notRegex(ofChild, /SCHED_RR/);
    t.notRegex(policyOf(process.pid), /SCHED_RR/);
    t.regex(before, /SCHED_OTHER|SCHED_IDLE|SCHED_BATCH/);
    t.true(waited !== undefined && waited >= 0 && waited <= 1, String(waited));
  },
);
