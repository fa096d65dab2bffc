import test from 'ava';
import { isForeign } from './owner.ts';

const own = { owner: 'a', folder: '/a' };
const other = { owner: 'b', folder: '/b' };
const seen = { mark: undefined, own, containers: 3, known: 5, isShared: false };

test('containers are somebody else’s when their mark says so; before there were marks, when our state knows nothing', (t) => {
  t.true(isForeign({ ...seen, mark: other }));
  t.false(isForeign({ ...seen, mark: own, known: 0 }), 'a run that was cut off before it wrote its state');
  t.false(isForeign(seen));
  t.true(isForeign({ ...seen, known: 0 }));
});

test('where nothing is nothing can be taken away', (t) => {
  t.false(isForeign({ ...seen, containers: 0, known: 0 }));
  t.false(isForeign({ ...seen, containers: 0, mark: other }));
});

test('where the state is shared others are those with other secrets, also of volumes alone, and what runs is not ours when the state does not know it', (t) => {
  const shared = { ...seen, isShared: true };
  t.false(isForeign({ ...shared, mark: own }));
  t.true(isForeign({ ...shared, mark: other }));
  t.true(isForeign({ ...shared, mark: other, containers: 0 }));
  t.true(isForeign({ ...shared, mark: own, known: 0 }));
  t.false(isForeign({ ...shared, mark: own, containers: 0, known: 0 }));
  t.false(isForeign(shared));
});
