/**
 * A slice of the matrix of drills on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables):
 * parts are broken under everything at once, and what was acked comes out once and right. Each commit has another slice:
 * its id is the seed, so that the same commit breaks the same things again; MUSTER_SEED gives another. Times are measured
 * and not judged here, as this machine has other things to do.
 */
import test from 'ava';
import { execa } from 'execa';
import { answersFor } from '../drills/checker/verdict.ts';
import { withFaults } from '../drills/faults.ts';
import { matrixOf } from '../drills/matrix/plan.ts';
import { runDrill } from '../drills/runner/run.ts';
import { environment } from './deployed.fixture.ts';

const sliceMinutes = 11;
const commit = await execa('git', ['rev-parse', 'HEAD'], { reject: false });
/** A tree without git has one slice. */
const seed = Number(process.env.MUSTER_SEED ?? (Number.parseInt(commit.stdout?.slice(0, 7) ?? '', 16) || 1));
const judged =
  /^(acked and lost|wrong, doubled or untold|requests failed for good|accepted, and no end seen|processes that ended|dead letters that are not owed|steady state again)$/;

for (const leg of matrixOf(seed, environment, sliceMinutes))
  test.serial(
    `${leg.name} of seed ${seed} (${leg.cases!.map(({ name }) => name).join(', ')}): nothing lost or wrong, no process ends, no good record is put aside`,
    async (t) => {
      t.timeout(leg.loadMs + 15 * 60_000);
      t.log(
        `again: ./muster --env ${environment.name} drill matrix --seed ${seed} --minutes ${sliceMinutes}`,
      );
      const signal = new AbortController().signal;
      const report = await withFaults(environment, {}, (faults) =>
        runDrill(leg, { environment, faults, signal, seed }),
      );
      for (const { name, rtoMs, lost, wrong, restarted, deadLetters } of report.cases!)
        t.log(
          `${name}: RTO ${rtoMs ?? 'none'} ms, ${lost} lost, ${wrong} wrong, ${restarted.length} restarts, ${deadLetters} dead letters`,
        );
      for (const verdict of report.verdicts) t.log(`${verdict.subject}: ${answersFor(verdict)}`);
      t.deepEqual(
        report.verdicts.flatMap(({ findings }) => findings.slice(0, 5)),
        [],
      );
      const missed = report.targets.filter(({ name, met }) => judged.test(name) && !met);
      t.deepEqual(missed, []);
      t.is(report.targets.filter(({ name }) => judged.test(name)).length, 7);
      t.is(report.cases!.length, leg.cases!.length, 'not every case began');
      for (const { subject, acked, looked } of report.verdicts)
        t.true(looked !== undefined || acked > leg.loadMs / 20_000, `only ${acked} of ${subject}`);
    },
  );
