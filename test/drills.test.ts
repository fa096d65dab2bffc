/**
 * Drills on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): parts are killed and
 * frozen under load, and every acked purchase comes out once and as the oracle says. The same as `./muster drill`, with
 * shorter faults, and a soak; times are measured and not judged here, as this machine has other things to do.
 */
import test, { type ExecutionContext } from 'ava';
import type { Drill, DrillReport } from '../drills/drill.ts';
import { drillNamed, soak } from '../drills/drills.ts';
import { withFaults } from '../drills/faults.ts';
import { runDrill } from '../drills/runner/run.ts';
import { environment } from './deployed.fixture.ts';

/** Nobody has to be paged in here: the fault need not last. */
function short(drill: Drill): Drill {
  const steps = drill.steps.map((step) =>
    (step.healAfterMs ?? 0) > 12_000 ? { ...step, healAfterMs: 12_000 } : step,
  );
  const { alerts: _, ...expect } = drill.expect;
  return { ...drill, steps, expect, loadMs: 25_000 };
}

/** Of an outage, what does not hang on the speed of this machine. */
const outageExpects = { rtoMs: Number.POSITIVE_INFINITY, restarts: 0, deadLetters: 0 };

async function holds(t: ExecutionContext, drill: Drill, seed: number): Promise<DrillReport> {
  t.timeout(drill.loadMs + 15 * 60_000);
  const signal = new AbortController().signal;
  const report = await withFaults(environment, {}, (faults) =>
    runDrill(drill, { environment, faults, signal, seed }),
  );
  const [verdict] = report.verdicts;
  t.log(
    `RTO ${report.rtoMs} ms, ${report.sent} sent, ${report.failed} without ack, ${verdict?.repeats} repeats, p99 ${report.latencyMs.p99} ms, ZooKeeper sessions lost: ${report.targets.find(({ name }) => name === 'ZooKeeper sessions lost')?.measured}`,
  );
  t.true((verdict?.acked ?? 0) > 500, `only ${verdict?.acked} were acked`);
  t.deepEqual(
    report.verdicts.flatMap(({ findings }) => findings.slice(0, 5)),
    [],
  );
  t.is(report.rpo.lost, 0);
  t.true(
    report.events.some(({ kind }) => kind === 'fault'),
    'nothing was broken',
  );
  t.like(
    report.targets.find((target) => target.name === 'steady state again'),
    { met: true },
  );
  return report;
}

test.serial(
  'the controller killed under load: every acked purchase comes out and equals the oracle',
  async (t) => {
    const report = await holds(t, short(drillNamed('controller-killed')), 11);
    // Every partition waits until the dead broker has lost its session, which is longer than any client wants to.
    t.true((report.rtoMs ?? 0) > 2_000, 'nobody saw the outage');
    t.true(
      report.curves.some(
        ({ name, points }) => name === 'probes failures' && points.some(({ value }) => value > 0),
      ),
      'the outage is on no curve',
    );
  },
);

test.serial(
  'the leader of ZooKeeper killed under load: every acked purchase comes out and equals the oracle',
  async (t) => {
    await holds(t, short(drillNamed('zookeeper-leader-killed')), 12);
  },
);

test.serial(
  'the join frozen beyond its session under load: every acked purchase comes out and equals the oracle',
  async (t) => {
    await holds(t, short(drillNamed('worker-frozen')), 13);
  },
);

for (const [name, seed] of [
  ['two-brokers-gone-35s', 15],
  ['mysql-frozen-150s', 16],
] as const)
  test.serial(
    `${name}: everything that was accepted is served, no process ends and nothing is put aside`,
    async (t) => {
      const { targets } = await holds(t, { ...drillNamed(name), expect: outageExpects }, seed);
      for (const target of ['processes that ended', 'dead letters', 'requests failed for good'])
        t.like(
          targets.find((one) => one.name === target),
          { met: true },
          target,
        );
    },
  );

test.serial(
  'ten minutes with a random fault in each: every acked purchase comes out and equals the oracle',
  async (t) => {
    const [drill] = soak(environment, 10, 14);
    const report = await holds(t, drill!, 14);
    t.true(report.events.filter(({ kind }) => kind === 'fault').length >= 9, 'there were fewer faults');
  },
);
