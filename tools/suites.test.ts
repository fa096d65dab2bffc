import test from 'ava';
import { fileOfTitle } from './suites.ts';

test('a title leads to its file, whatever folders AVA leaves out', (t) => {
  const files = [
    'workers/order/consumers.integration.test.ts',
    'workers/lag/lag.integration.test.ts',
    'test/outside.test.ts',
  ];
  t.is(fileOfTitle('workers › order › consumers.integration › what Redis has lost', files), files[0]);
  t.is(fileOfTitle('consumers.integration › what Redis has lost', files), files[0]);
  t.is(fileOfTitle('outside › a receiver that is down', files), files[2]);
  t.is(fileOfTitle('tests hang: nothing finished for 20 minutes', files), undefined);
});
