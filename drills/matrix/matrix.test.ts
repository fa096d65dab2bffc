import test from 'ava';
import fc from 'fast-check';
import { environments } from '../../catalog/environments.ts';
import { seededRandom } from '../../workers/traffic/generate.ts';
import { drillNamed } from '../drills.ts';
import { cases, targets, variants } from './cases.ts';
import { pairsOf, pairwise } from './pairwise.ts';
import { aroundMs, matrixOf, partOf, valuesOf } from './plan.ts';

const { ci } = environments;
const pairsIn = (rows: readonly (readonly string[])[]) => [...new Set(rows.flatMap(pairsOf))].sort();

test('whatever rows there may be: every two values that are in one of them meet, with no row too many', (t) => {
  const row = fc.tuple(
    fc.constantFrom('a', 'b', 'c'),
    fc.constantFrom('1', '2'),
    fc.constantFrom('x', 'y', 'z'),
  );
  fc.assert(
    fc.property(fc.uniqueArray(row, { selector: String }), fc.integer(), (rows, seed) => {
      const chosen = pairwise(
        rows,
        (one) => one,
        () => 1,
        seededRandom(seed),
      );
      t.deepEqual(pairsIn(chosen), pairsIn(rows));
      // Each row brought a pair that was not there before it.
      for (const [index, one] of chosen.entries()) {
        const before = new Set(chosen.slice(0, index).flatMap(pairsOf));
        t.true(pairsOf(one).some((pair) => !before.has(pair)));
      }
    }),
  );
});

const named = new Map(cases.map((one) => [one.name, one]));
const namesOf = (legs: ReturnType<typeof matrixOf>) =>
  legs.flatMap((leg) => leg.cases!.map(({ name }) => name));

test('a matrix of any seed has every two of part, fault, length and load, within two hours', (t) => {
  const wanted = pairsIn(cases.map(valuesOf));
  for (const seed of [1, 2, 3, 4_711]) {
    const legs = matrixOf(seed, ci);
    t.deepEqual(pairsIn(namesOf(legs).map((name) => valuesOf(named.get(name)!))), wanted);
    t.true(legs.reduce((sum, { loadMs }) => sum + loadMs + aroundMs, 0) < 2 * 3_600_000);
  }
});

test('the same seed gives the same matrix, another one another', (t) => {
  t.deepEqual(matrixOf(5, ci), matrixOf(5, ci));
  t.notDeepEqual(namesOf(matrixOf(5, ci)), namesOf(matrixOf(6, ci)));
});

test('a leg fits in memory, begins one case when the one before it is over, and has one load', (t) => {
  for (const leg of matrixOf(1, ci)) {
    t.true(leg.loadMs < 900_000);
    t.is(new Set(leg.cases!.map(({ name }) => named.get(name)!.variant)).size, 1);
    let freeAtMs = 0;
    for (const { name } of leg.cases!) {
      const own = leg.steps.filter((step) => 'of' in step && step.of === name);
      t.is(own.length, targets[named.get(name)!.target]!.on.length);
      for (const { atMs } of own) t.true(atMs >= freeAtMs);
      freeAtMs = Math.max(...own.map(({ atMs, healAfterMs = 0 }) => atMs + healAfterMs));
    }
  }
});

test('the parts of a matrix are all of it, in order', (t) => {
  const legs = matrixOf(1, ci);
  const parts = [1, 2, 3].map((i) => partOf(legs, i, 3));
  t.deepEqual(parts.flat(), legs);
  t.true(parts.every((part) => part.length > 0));
});

test('a slice fits into its minutes, and another seed gives another one', (t) => {
  const slices = [1, 2, 3, 4, 5].map((seed) => matrixOf(seed, ci, 11));
  for (const legs of slices) {
    t.true(legs.length > 0);
    t.true(legs.reduce((sum, { loadMs }) => sum + loadMs + aroundMs, 0) <= 11 * 60_000);
  }
  t.is(new Set(slices.map((legs) => namesOf(legs).join())).size, slices.length);
});

test('every case runs by itself under its name, with the load that it has in the matrix', (t) => {
  t.is(named.size, cases.length);
  for (const { name, variant } of cases) {
    const drill = drillNamed(name, ci);
    t.is(drill.name, name);
    t.is(drill.loads.foreign?.kinds, variant === variants[0] ? undefined : variant);
  }
});
