/** The bugs that the live checker must catch, in the simulation: the same edits of the same text, in its processes. */
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import test from 'ava';
import { checkout } from '../../environment/paths.ts';
import type { Job, JobReport } from '../simulation/main.ts';
import { bugs } from './bugs.ts';
import { hookOf } from './process.ts';

/** Runs seeds in a process with the bug in it, until one goes wrong. */
async function runWith(bug: string, scenario: string): Promise<JobReport> {
  const child = fork(join(checkout, 'drills/simulation/main.ts'), { execArgv: ['--import', hookOf(bug)] });
  try {
    child.send({ scenario, first: 1, seeds: 150, stopAt: 1 } satisfies Job);
    const broken = once(child, 'exit').then(([code]) => Promise.reject(new Error(`exit code ${code}`)));
    const [report] = await Promise.race([once(child, 'message'), broken]);
    broken.catch(() => undefined);
    return report;
  } finally {
    if (child.connected) child.disconnect();
  }
}

// What is simulated itself has bugs of its own, which simulation.test.ts runs.
for (const { name, simulated } of bugs) {
  if (simulated === undefined || simulated.bug !== undefined) continue;
  const { scenario } = simulated;
  test.serial(`the simulation of ${scenario} catches the seeded bug ${name}`, async (t) => {
    const { failures } = await runWith(name, scenario);
    t.log(failures[0]?.seed, failures[0]?.wrong[0]);
    t.is(failures.length, 1);
  });
}
