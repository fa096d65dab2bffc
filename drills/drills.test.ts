import test from 'ava';
import { ruleGroups } from '../alerts/index.ts';
import { isAlert } from '../alerts/rule.ts';
import { type Environment, environments } from '../catalog/environments.ts';
import { placements } from '../stacks/config/topology.ts';
import type { Drill } from './drill.ts';
import {
  changeDrills,
  deliveryCourseIn,
  drillNamed,
  drills,
  outagesIn,
  payOperations,
  soak,
} from './drills.ts';
import { matrixOf } from './matrix/plan.ts';
import { procedureNamed } from './runner/procedures.ts';

const { ci } = environments;
const everythingIn = (environment: Environment): readonly Drill[] => [
  ...drills,
  ...changeDrills,
  ...deliveryCourseIn(environment),
  ...outagesIn(environment),
  ...soak(60, 1, environment),
  ...payOperations(20_000, 1, environment),
  ...matrixOf(1, environment),
];
const everything = everythingIn(ci);

test('every drill has a name of its own, and its steps are over when its load is', (t) => {
  t.is(new Set(everything.map(({ name }) => name)).size, everything.length);
  for (const { name, loadMs, steps } of everything)
    for (const step of steps) t.true(step.atMs + (step.healAfterMs ?? 0) < loadMs, name);
});

test('what a drill of an environment breaks exists there', (t) => {
  for (const environment of Object.values(environments))
    for (const { name, steps } of everythingIn(environment))
      for (const step of steps) {
        if (!('inject' in step) || !('alias' in step.on)) continue;
        const { alias } = step.on;
        t.true(
          placements(environment).some((one) => one.alias === alias),
          `${name}: ${environment.name} has no ${alias}`,
        );
      }
  t.true(outagesIn(ci).some(({ name }) => name === 'pay-killed'));
  t.throws(() => drillNamed('pay-killed', environments.prod), { message: /No drill "pay-killed"/ });
});

test('procedures and alerts of a drill exist', (t) => {
  const alerts = ruleGroups(ci).flatMap(({ rules }) => rules.filter(isAlert));
  for (const { name, steps, expect } of everything) {
    for (const step of steps)
      if ('procedure' in step) t.is(typeof procedureNamed(step.procedure), 'function');
    for (const wanted of expect.alerts ?? [])
      t.true(
        alerts.some((alert) => alert.name === wanted.name),
        `${name}: there is no alert ${wanted.name}`,
      );
  }
});

test('a soak of one seed is always the same, has a fault each minute, and ends with the hour', (t) => {
  const hour = soak(60, 7, ci);
  t.deepEqual(hour, soak(60, 7, ci));
  t.notDeepEqual(hour, soak(60, 8, ci));
  t.is(
    hour.reduce((sum, { loadMs }) => sum + loadMs, 0),
    3_600_000,
  );
  for (const { cases, loadMs } of hour) t.is(cases?.length, loadMs / 60_000);
  t.deepEqual(
    soak(12, 7, ci).map(({ loadMs }) => loadMs),
    [600_000, 120_000],
  );
});

test('food delivery’s drill places 2,000 orders and breaks each worker, store and a broker on the way', (t) => {
  const [course] = deliveryCourseIn(ci);
  t.true((course!.loadMs / 1_000) * course!.loads.delivery!.rate >= 2_000);
  const broken = course!.steps.map((step) => ('inject' in step ? Object.values(step.on)[0] : ''));
  for (const alias of ['delivery', 'mysql-writer', 'redis']) t.true(broken.includes(alias), alias);
  t.deepEqual(deliveryCourseIn(environments.prod), []);
});

test('a drill that there is not is refused with the names of those that there are', (t) => {
  const error = t.throws(() => drillNamed('earthquake', ci));
  t.regex(error.message, /broker-1-killed.*rolling-restart/);
  t.throws(() => procedureNamed('toString'), { code: 'MUSTER_DRILL_PROCEDURE' });
});
