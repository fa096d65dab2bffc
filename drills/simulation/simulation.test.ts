import test from 'ava';
import { scenarios } from './scenarios.ts';
import { runSeeds } from './seeds.ts';

const seeds = 200;

for (const [scenario, { bugs }] of Object.entries(scenarios)) {
  test.serial(
    `${scenario}: ${seeds} seeds of disasters, and nothing is lost, doubled or wrong`,
    async (t) => {
      const report = await runSeeds({ scenario, first: 1, seeds, stopAt: 1 });
      t.deepEqual(report.failures, []);
      t.is(report.seeds, seeds);
    },
  );

  for (const bug of bugs)
    test.serial(`${scenario}: the seeded bug ${bug} is caught`, async (t) => {
      const report = await runSeeds({ scenario, bug, first: 1, seeds: 1_000, stopAt: 1 });
      t.log(report.failures[0]?.wrong[0] ?? 'not caught');
      t.true(report.failures.length > 0);
    });
}

for (const [scenario, bug] of [
  ['promotion', 'readsNothingBack'],
  ['coupons', 'notInOutbox'],
  ['orders', 'rankingOrdersForgotten'],
  ['pay', 'heldForgotten'],
] as const)
  test.serial(`${scenario}: a failing seed fails again, step by step`, async (t) => {
    const once = async () => (await runSeeds({ scenario, bug, first: 1, seeds: 25, stopAt: 1 })).failures[0];
    const [one, again] = [await once(), await once()];
    t.truthy(one);
    t.deepEqual(again, one);
  });
