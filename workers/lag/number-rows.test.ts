import test from 'ava';
import { numberRows } from './number-rows.ts';

test('rows keep their numbers apart, also when the block grows', (t) => {
  const rows = numberRows(['a', 'b'])(2);
  t.is(rows.capacity, 2);
  rows.at(0).a = 1;
  rows.at(1).b = 2.5;
  const last = rows.at(9);
  last.a = Number.NaN;
  t.true(rows.capacity >= 10);
  t.deepEqual([rows.at(0).a, rows.at(0).b, rows.at(1).a, rows.at(1).b], [1, 0, 0, 2.5]);
  t.true(Number.isNaN(rows.at(9).a));
});

test('fields can be set all at once', (t) => {
  const rows = numberRows(['a', 'b'])(1);
  Object.assign(rows.at(0), { a: 3, b: Number.NEGATIVE_INFINITY });
  t.is(rows.at(0).a, 3);
  t.is(rows.at(0).b, Number.NEGATIVE_INFINITY);
});
