import test from 'ava';
import { scenarios } from './scenarios.ts';
import { runSeeds } from './seeds.ts';

for (const [scenario, { bugs }] of Object.entries(scenarios)) {
  test.serial(`${scenario}: 300 seeds of disasters, and nothing is lost, doubled or wrong`, async (t) => {
    const report = await runSeeds({ scenario, first: 1, seeds: 300, stopAt: 1 });
    t.deepEqual(report.failures, []);
    t.is(report.seeds, 300);
  });

  for (const bug of bugs)
    test.serial(`${scenario}: the seeded bug ${bug} is caught`, async (t) => {
      const report = await runSeeds({ scenario, bug, first: 1, seeds: 1_000, stopAt: 1 });
      t.log(report.failures[0]?.wrong[0] ?? 'not caught');
      t.true(report.failures.length > 0);
    });
}

test.serial('a failing seed fails again with the same diary', async (t) => {
  const once = async () =>
    (
      await runSeeds({
        scenario: 'promotion',
        bug: 'readsNothingBack',
        first: 1,
        seeds: 20,
        stopAt: 1,
      })
    ).failures[0];
  const [one, again] = [await once(), await once()];
  t.truthy(one);
  t.deepEqual(again, one);
});
