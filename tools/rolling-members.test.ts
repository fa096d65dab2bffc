import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { fakeStack } from './fake-stack.fixture.ts';
import { applyMembers, rolledMembers } from './rolling-members.ts';
import type { PlannedChange } from './terraform.ts';

const change = (name: string, ...actions: PlannedChange['actions'][number][]): PlannedChange => ({
  name,
  actions,
  address: `docker_container.${name}`,
  files: { before: '', after: '' },
});
const standing = {
  writer: 'mysql-1',
  members: [
    { name: 'mysql-1', up: true },
    { name: 'mysql-2', up: true },
  ],
  atRiskSeconds: 0,
};
const changes = [
  change('mysql-1', 'delete', 'create'),
  change('mysql-2', 'delete', 'create'),
  change('mysql-guard', 'delete', 'create'),
  change('redis', 'delete', 'create'),
];
const rolled = (of: Parameters<typeof rolledMembers>[1], list = changes) =>
  rolledMembers(list, of).map(({ alias }) => alias);

test('of two members that are replaced the one that takes writes goes last', (t) => {
  t.deepEqual(rolled(standing), ['mysql-2', 'mysql-1']);
  t.deepEqual(rolled({ ...standing, writer: 'mysql-2' }), ['mysql-1', 'mysql-2']);
  t.deepEqual(rolled(standing, [change('mysql-1', 'delete', 'create')]), ['mysql-1']);
});

test('a member that a roll which was cut off has taken away is made before the other one goes', (t) => {
  const left = [change('mysql-1', 'delete', 'create'), change('mysql-2', 'create')];
  t.deepEqual(rolled({ ...standing, atRiskSeconds: 40 }, left), ['mysql-2', 'mysql-1']);
  t.deepEqual(rolled({ ...standing, writer: 'mysql-2', atRiskSeconds: 40 }, left), ['mysql-2', 'mysql-1']);
});

test('without a guard that answers, and while there is one copy only, nothing takes turns', (t) => {
  t.deepEqual(rolled(undefined), []);
  t.deepEqual(rolled({ ...standing, atRiskSeconds: 3 }), []);
  t.deepEqual(rolled(standing, [change('mysql-1', 'create'), change('mysql', 'delete')]), []);
});

test.serial(
  'the one that takes writes gives them away before it goes, and then comes all the rest',
  async (t) => {
    const environment = environments.dev;
    const { stack, deeds } = await fakeStack(t, 'dev-data', changes, {
      containers: ['mysql-guard', 'mysql-1', 'mysql-2'].map((name) => `${environment.prefix}-${name}`),
      places: [],
      writer: 'mysql-1',
    });
    const { signal } = new AbortController();
    await applyMembers(stack, { environment, variables: {}, signal, tell() {}, onProgress() {} });
    t.deepEqual(await deeds(), [
      'terraform apply -target=docker_container.mysql-2',
      'failover mysql-2',
      'terraform apply -target=docker_container.mysql-1',
      'terraform apply',
    ]);
  },
);
