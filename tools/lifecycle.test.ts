import test from 'ava';
import { orphansIn } from './lifecycle.ts';

const found = {
  containers: new Map([
    ['muster-dev-pay', 'c1'],
    ['muster-dev-pay-reserve', 'c2'],
    ['muster-dev-half-made', 'c3'],
  ]),
  networks: new Map([['muster-dev', 'n1']]),
};
const reserves = new Set(['muster-dev-pay-reserve', 'muster-dev-api-reserve']);

test('what no state knows goes, but a reserve serves on until what it stands in for is back', (t) => {
  t.deepEqual(orphansIn(found, new Set(['c1', 'n1']), reserves), {
    containers: ['muster-dev-half-made'],
    networks: [],
  });
});

test('where nothing is kept, or the network itself goes, a reserve goes, too', (t) => {
  const both = ['muster-dev-pay-reserve', 'muster-dev-half-made'];
  t.deepEqual(orphansIn(found, new Set(['c1', 'n1']), new Set()).containers, both);
  t.deepEqual(orphansIn(found, new Set(['c1']), reserves), { containers: both, networks: ['muster-dev'] });
});
