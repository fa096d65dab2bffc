import test from 'ava';
import { ClusterState } from './cluster-state.ts';
import { clusterView } from './cluster-view.ts';

const base = 1_700_000_000_000;
const settings = { allowedLag: 0, windowMs: 60_000, sampleMs: 6_000, goneAfterMs: 0, expected: new Map() };

/** Topic `t` with two partitions, the second of which nobody leads; group `g` has committed 4 of 10 on both. */
function seen(groups: readonly string[] = ['g']): ClusterState {
  const state = new ClusterState(settings);
  state.controller = 2;
  const partition = (number: number, leader: number) => ({
    ...{ partition: number, leader, replicas: [1, 2, 3] },
    inSync: leader < 0 ? [] : [1, 2],
  });
  state.seeTopology([1, 2], [{ name: 't', id: 'x', partitions: [partition(0, 1), partition(1, -1)] }], base);
  state.seeGroups(new Set(groups), true, base);
  state.seeDescription({ id: 'g', members: 3, assigned: new Map([['t', [0, 1]]]) });
  for (const number of [0, 1]) state.seeCommitted('g', 't', number, 4);
  state.seeAllCommitted('g');
  state.seeOffset('start', { topic: 't', partition: 0 }, 2, base);
  state.seeOffset('end', { topic: 't', partition: 0 }, 10, base);
  return state;
}

test('brokers that are missed are shown, and of each what it leads and has', (t) => {
  const { brokers, controller, ageSeconds } = clusterView(seen(), 1.5, base);
  t.is(controller, 2);
  t.is(ageSeconds, 1.5);
  t.deepEqual(brokers, [
    { id: 1, isThere: true, leads: 1, copies: 2, inSync: 1 },
    { id: 2, isThere: true, leads: 0, copies: 2, inSync: 1 },
    { id: 3, isThere: false, leads: 0, copies: 2, inSync: 0 },
  ]);
});

test('of a partition that nobody leads nothing is made up', (t) => {
  const [topic] = clusterView(seen(), 0, base).topics;
  t.is(topic!.name, 't');
  t.deepEqual(topic!.partitions, [
    { partition: 0, leader: 1, replicas: [1, 2, 3], inSync: [1, 2], start: 2, end: 10 },
    { partition: 1, leader: null, replicas: [1, 2, 3], inSync: [], start: null, end: null },
  ]);
});

test('a lag that is not known of one of its partitions is not known', (t) => {
  const state = seen();
  state.settle(base);
  t.deepEqual(clusterView(state, 0, base).groups, [
    { id: 'g', members: 3, status: 'ok', topics: ['t'], lag: null, lagSeconds: null },
  ]);
  state.seeOffset('start', { topic: 't', partition: 1 }, 0, base);
  state.seeOffset('end', { topic: 't', partition: 1 }, 5, base);
  state.settle(base);
  t.like(clusterView(state, 0, base).groups[0], { lag: 7 });
});

test('a group at the end waits for nothing; of one that has never committed nothing is known', (t) => {
  const state = seen(['g', 'h']);
  state.seeCommitted('g', 't', 0, 10);
  state.seeCommitted('g', 't', 1, 5);
  state.seeOffset('start', { topic: 't', partition: 1 }, 0, base);
  state.seeOffset('end', { topic: 't', partition: 1 }, 5, base);
  state.settle(base);
  const [g, h] = clusterView(state, 0, base + 60_000).groups;
  t.like(g, { id: 'g', lag: 0, lagSeconds: 0 });
  t.like(h, { id: 'h', lag: null, lagSeconds: null, topics: [] });
});
