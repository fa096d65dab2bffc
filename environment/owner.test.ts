import test from 'ava';
import { isForeign } from './owner.ts';

const own = { owner: 'a', folder: '/a' };
const other = { owner: 'b', folder: '/b' };
const seen = { mark: undefined, own, containers: 3, known: 5 };

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
