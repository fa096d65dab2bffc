/**
 * The checker's own proof on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): a worker
 * with a bug takes the place of the deployed one, and the checker of the drills must find it. The drills' own tests show
 * that it finds nothing without one. These are two quick ones of many: `./muster drill seeded-bugs` runs them all.
 */
import test from 'ava';
import { withFaults } from '../drills/faults.ts';
import { bugNamed } from '../drills/seeded-bugs/bugs.ts';
import { runSeededBug } from '../drills/seeded-bugs/run.ts';
import { environment } from './deployed.fixture.ts';

for (const name of ['late-acts-ignored', 'lock-only'])
  test.serial(`the checker catches the seeded bug ${name}`, async (t) => {
    t.timeout(15 * 60_000);
    const { signal } = new AbortController();
    const { acked, findings, asExpected } = await withFaults(environment, {}, (faults) =>
      runSeededBug(bugNamed(name), { environment, faults, signal, seed: 21 }),
    );
    t.log(`${acked} acked, ${findings.length} findings`, findings[0]);
    t.true(acked > 500, `only ${acked} were acked`);
    t.true(asExpected, `found: ${JSON.stringify(findings.slice(0, 5))}`);
  });
