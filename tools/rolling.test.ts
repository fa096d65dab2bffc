import test from 'ava';
import fc from 'fast-check';
import { environments } from '../catalog/environments.ts';
import { renderZooCfg } from '../stacks/config/zookeeper.ts';
import { inSteps, movesEnsemble, type Node, rolledNodes, rollingOrder } from './rolling.ts';

const node = (alias: string): Node => ({ alias, address: `docker_container.${alias}` });
const all = ['kafka-1', 'kafka-2', 'kafka-3', 'zookeeper-1', 'zookeeper-2', 'zookeeper-3'].map(node);
const order = (standing: Partial<Parameters<typeof rollingOrder>[1]>, nodes = all) =>
  rollingOrder(nodes, { down: new Set(), controller: undefined, leader: undefined, ...standing }).map(
    ({ alias }) => alias,
  );

test('ZooKeepers come before brokers, and of each kind the one that leads comes last', (t) => {
  t.deepEqual(order({ controller: 'kafka-1', leader: 'zookeeper-2' }), [
    'zookeeper-1',
    'zookeeper-3',
    'zookeeper-2',
    'kafka-2',
    'kafka-3',
    'kafka-1',
  ]);
});

test('a node that does not serve comes first of its kind: replacing it costs nobody anything', (t) => {
  t.deepEqual(order({ down: new Set(['kafka-3', 'zookeeper-3']), controller: 'kafka-3' }), [
    'zookeeper-1',
    'zookeeper-3',
    'zookeeper-2',
    'kafka-3',
    'kafka-1',
    'kafka-2',
  ]);
});

test('each node comes once, and none before a ZooKeeper that it depends on', (t) => {
  const aliases = all.map(({ alias }) => alias);
  fc.assert(
    fc.property(
      fc.subarray(all),
      fc.subarray(aliases),
      fc.constantFrom(undefined, ...aliases),
      fc.constantFrom(undefined, ...aliases),
      (nodes, down, controller, leader) => {
        const found = order({ down: new Set(down), controller, leader }, nodes);
        t.deepEqual([...found].sort(), nodes.map(({ alias }) => alias).sort());
        // What terraform takes along with a target must have been replaced before: a node alone is what is wanted.
        const kinds = found.map((alias) => alias.startsWith('kafka-'));
        t.deepEqual(kinds, [...kinds].sort());
        if (found.includes('zookeeper-1')) t.is(found[0], 'zookeeper-1');
      },
    ),
  );
});

const change = (name: string, ...actions: ('create' | 'update' | 'delete' | 'no-op')[]) => ({
  address: `docker_container.${name}`,
  name,
  actions,
  files: { before: '', after: '' },
});
const rolled = (...changes: ReturnType<typeof change>[]) => rolledNodes(changes).map(({ alias }) => alias);

test('only what is replaced is rolled: a first deployment, a stopped node and everything else are applied as they are', (t) => {
  t.deepEqual(
    rolled(
      change('kafka-1', 'delete', 'create'),
      change('kafka-3', 'update'),
      change('zookeeper-1', 'create', 'delete'),
      change('zookeeper-2', 'no-op'),
      change('topics', 'delete', 'create'),
      change('volume kafka-1-data', 'delete', 'create'),
    ),
    ['kafka-1', 'zookeeper-1'],
  );
  t.deepEqual(rolled(change('zookeeper-1', 'create'), change('kafka-1', 'create')), []);
});

test('what a run that was cut off has taken away comes in the roll of those that are left, which would wait for it', (t) => {
  t.deepEqual(
    rolled(
      change('kafka-2', 'create'),
      change('kafka-3', 'delete', 'create'),
      change('zookeeper-2', 'create'),
      change('topics', 'create'),
    ),
    ['kafka-2', 'kafka-3', 'zookeeper-2'],
  );
});

test('ZooKeepers that are to look for each other elsewhere are replaced together: the first alone would never serve', (t) => {
  const { dev } = environments;
  const [first] = dev.zookeeper.nodes;
  const now = renderZooCfg(dev, first);
  const changed = (before: string, after: string) => [
    {
      address: 'docker_container.zookeeper-1',
      name: 'zookeeper-1',
      actions: ['delete', 'create'] as const,
      files: { before, after },
    },
  ];
  // As it was when all members had the same ports.
  const before = now.replaceAll(/^(server[.]\d+=zookeeper-\d+):.*$/gm, '$1:2888:3888');
  t.not(before, now);
  t.true(movesEnsemble(changed(before, now)));
  t.false(movesEnsemble(changed(now, now)));
  const slower = { ...dev, zookeeper: { ...dev.zookeeper, tickTimeMs: 600 } };
  t.false(movesEnsemble(changed(now, renderZooCfg(slower, first))), 'another setting is rolled');
  t.false(movesEnsemble(changed('', now)), 'a first deployment is no move');

  const inOrder = rollingOrder(all, { down: new Set(), controller: 'kafka-1', leader: 'zookeeper-2' });
  const aliases = (isMoved: boolean) =>
    inSteps(inOrder, isMoved).map((step) => step.map(({ alias }) => alias));
  t.deepEqual(aliases(true), [
    ['zookeeper-1', 'zookeeper-3', 'zookeeper-2'],
    ['kafka-2'],
    ['kafka-3'],
    ['kafka-1'],
  ]);
  t.deepEqual(
    aliases(false),
    inOrder.map(({ alias }) => [alias]),
  );
  t.deepEqual(inSteps([node('kafka-1')], true), [[node('kafka-1')]]);
});
