import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { limits } from '../catalog/alerting.ts';
import { environments } from '../catalog/environments.ts';
import { promises, uncheckedAfterMs } from '../catalog/promises.ts';
import { checkout } from '../environment/paths.ts';
import type { ToldPromise } from '../environment/promises.ts';
import { promiseLine, promiseProblems, renderPromiseDocs, renderPromises } from './promise-table.ts';

const holding = promises.map(
  ({ name, capability, promised }): ToldPromise => ({
    name,
    capability,
    promised,
    status: 'holds',
    checkedAt: '2026-11-28T10:00:00.000Z',
    broken: 0,
    ids: [],
    brokenSince: null,
    why: null,
    runbook: 'r',
  }),
);
const [first, ...rest] = holding as [ToldPromise, ...ToldPromise[]];

test('nothing is wrong only when every promise of the catalog was told to hold', (t) => {
  t.deepEqual(promiseProblems(holding), []);
  t.deepEqual(promiseProblems(rest), [`promise ${first.name} is not checked: the worker does not know it`]);
  t.is(promiseProblems([]).length, promises.length);
  t.deepEqual(promiseProblems(new Error('watch does not say what holds: it does not run')), [
    'promises are not checked: watch does not say what holds: it does not run',
  ]);
});

test('a broken promise is named with its number, its first id and the command that shows the others', (t) => {
  const broken = {
    ...first,
    status: 'broken',
    broken: 6,
    ids: ['a', 'b'],
    brokenSince: first.checkedAt,
  } as const;
  t.deepEqual(promiseProblems([broken, ...rest]), [
    `promise ${first.name} is broken 6 times (a, …): ./muster promises ${first.name}`,
  ]);
});

test('one that is not checked says why, and what was found last', (t) => {
  const unchecked = { ...first, status: 'not checked', why: 'the database is away' } as const;
  t.deepEqual(promiseProblems([unchecked, ...rest]), [
    `promise ${first.name} is not checked, the database is away: ./muster promises ${first.name}`,
  ]);
  t.deepEqual(promiseProblems([{ ...unchecked, broken: 1, ids: ['a'] }, ...rest]), [
    `promise ${first.name} is not checked, the database is away; it was broken once (a): ./muster promises ${first.name}`,
  ]);
});

test('the table shows all of them, and the ids of those that do not hold', (t) => {
  const told = [
    { ...first, status: 'broken', broken: 2, ids: ['a-1', 'b-2'], brokenSince: first.checkedAt } as const,
    ...rest,
  ];
  const text = renderPromises(told, Date.parse(first.checkedAt!) + 12_000, false);
  for (const { name } of promises) t.true(text.includes(name));
  t.true(text.includes('12 s'));
  t.true(text.includes('a-1') && text.includes('b-2'));
});

test('the line of the status counts what was checked and holds, and nothing else', (t) => {
  const all = promises.length;
  t.is(promiseLine(holding), `${all} of ${all} checked and hold`);
  t.is(promiseLine(rest), `${all - 1} of ${all} checked and hold`);
  t.is(promiseLine([{ ...first, status: 'not checked' }, ...rest]), `${all - 1} of ${all} checked and hold`);
  t.is(promiseLine(new Error('away')), `0 of ${all} checked and hold`);
});

test('docs/promises.md has the table of the catalog, and the runbook a part for each promise', (t) => {
  const docs = readFileSync(join(checkout, 'docs/promises.md'), 'utf8');
  const runbook = readFileSync(join(checkout, 'alerts/runbooks/PromiseBroken.md'), 'utf8');
  t.true(docs.includes(renderPromiseDocs()), `docs/promises.md needs this table:\n${renderPromiseDocs()}`);
  for (const { name } of promises) t.true(runbook.includes(`\n**${name}**\n`), name);
});

test('a promise that is not checked is told by an alert, and every environment has who checks', (t) => {
  for (const promise of promises) t.true(uncheckedAfterMs(promise) / 1_000 <= limits.promiseUncheckedSeconds);
  for (const { name, processes } of Object.values(environments))
    t.is(processes.list.filter(({ workers }) => workers.includes('promises')).length, 1, name);
});
