/**
 * Cases of the matrix of drills on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): parts
 * are broken under everything at once, and what was acked comes out once and right. Two fixed ones, until a whole matrix was
 * seen; then a slice, another one for each commit. Times are measured and not judged here, as this machine has other things
 * to do.
 */
import test from 'ava';
import { drillNamed } from '../drills/drills.ts';
import { withFaults } from '../drills/faults.ts';
import { runDrill } from '../drills/runner/run.ts';
import { environment } from './deployed.fixture.ts';

const seed = 2;
const names = ['two-brokers-gone-35s', 'mysql-frozen-150s'];

const judged =
  /^(acked and lost|wrong, doubled or untold|requests failed for good|processes that ended|dead letters that are not owed|steady state again)$/;

for (const leg of names.map((name) => drillNamed(name, environment)))
  test.serial(
    `${leg.name}: nothing lost or wrong, no process ends, no good record is put aside`,
    async (t) => {
      t.timeout(leg.loadMs + 15 * 60_000);
      t.log(`again: ./muster --env ${environment.name} drill ${leg.name} --seed ${seed}`);
      const signal = new AbortController().signal;
      const report = await withFaults(environment, {}, (faults) =>
        runDrill(leg, { environment, faults, signal, seed }),
      );
      t.log(`RTO ${report.rtoMs ?? 'none'} ms`);
      for (const { subject, acked, repeats } of report.verdicts)
        t.log(`${subject}: ${acked} acked, ${repeats} repeats`);
      t.deepEqual(
        report.verdicts.flatMap(({ findings }) => findings.slice(0, 5)),
        [],
      );
      const missed = report.targets.filter(({ name, met }) => judged.test(name) && !met);
      t.deepEqual(missed, []);
      t.is(report.targets.filter(({ name }) => judged.test(name)).length, 6);
      t.is(report.undecided, 0);
      for (const { subject, acked } of report.verdicts)
        t.true(subject === 'stores' || acked > 20, `only ${acked} of ${subject}`);
    },
  );
