import test from 'ava';
import type { Answer } from '../http/outgoing.ts';
import { stateAfter } from './delivery.ts';

const ok: Answer = { outcome: '2xx', status: 200, inDoubt: false };
const refused: Answer = { outcome: '4xx', status: 422, inDoubt: false };
const broken: Answer = { outcome: '5xx', status: 503, inDoubt: false };
const silent: Answer = { outcome: 'timeout', status: null, inDoubt: true };
const unreachable: Answer = { outcome: 'network', status: null, inDoubt: false };

test('5xx, timeout and network are put off as often as allowed, then given up; 408 and 429 too; refusals at once', (t) => {
  for (const answer of [
    broken,
    silent,
    unreachable,
    { ...refused, status: 408 },
    { ...refused, status: 429 },
  ])
    t.deepEqual(
      [0, 1, 2, 3, 4, 5].map((putOff) => stateAfter(answer, putOff, 4)),
      ['FAILED', 'FAILED', 'FAILED', 'FAILED', 'DEAD_LETTER', 'DEAD_LETTER'],
    );
  t.is(stateAfter(refused, 0, 4), 'DEAD_LETTER');
  t.is(stateAfter({ outcome: '3xx', status: 302, inDoubt: false }, 0, 4), 'DEAD_LETTER');
  t.is(stateAfter(ok, 9, 4), 'COMPLETED');
});
