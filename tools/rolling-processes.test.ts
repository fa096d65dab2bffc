import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { nodesFirst } from './rolling.ts';
import { rolledProcesses } from './rolling-processes.ts';
import type { PlannedChange } from './terraform.ts';

const { dev } = environments;
const change = (name: string, ...actions: PlannedChange['actions']): PlannedChange => ({
  address: `docker_container.${name}`,
  name,
  actions,
  files: { before: '', after: '' },
});
const rolled = (changes: readonly PlannedChange[], ready: Readonly<Record<string, boolean>> = {}) =>
  rolledProcesses(changes, dev, new Map(Object.entries(ready))).map(({ alias }) => alias);

test('what is behind the gateway goes one after the other, what is not ready first; all the rest is no part of it', (t) => {
  const all = ['api', 'api-2', 'pay', 'promotion', 'gateway'].map((name) => change(name, 'delete', 'create'));
  t.deepEqual(rolled(all, { api: true, 'api-2': true }), ['pay', 'api', 'api-2']);
  t.deepEqual(rolled(all, { api: true, 'api-2': false, pay: true }), ['api-2', 'api', 'pay']);
});

test('a plan names what is behind the gateway first, and what is replaced with all the rest after it', (t) => {
  const all = ['commerce', 'gateway', 'api-2', 'delivery', 'api'].map((name) =>
    change(name, 'delete', 'create'),
  );
  const inOrder = nodesFirst(all, rolledProcesses(all, dev, new Map()));
  t.deepEqual(
    inOrder.map(({ name }) => name),
    ['api', 'api-2', 'delivery', 'commerce', 'gateway'],
  );
});

test('what a run that was cut off has taken away is back before its other replica goes', (t) => {
  const changes = [change('api', 'create'), change('api-2', 'delete', 'create')];
  t.deepEqual(rolled(changes, { api: false, 'api-2': true }), ['api', 'api-2']);
});

test('what is only made, or stays, is not rolled', (t) => {
  t.deepEqual(rolled([change('api', 'create'), change('api-2', 'create')]), []);
  t.deepEqual(rolled([change('api', 'no-op'), change('api-2', 'delete')]), []);
  t.deepEqual(rolled([change('api', 'no-op'), change('api-2', 'delete', 'create')]), ['api-2']);
});
