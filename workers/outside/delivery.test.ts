import test from 'ava';
import fc from 'fast-check';
import {
  type Answer,
  beginAttempt,
  type EventState,
  endAttempt,
  eventStates,
  type LoggedEvent,
  outcomeOfStatus,
  published,
  stateAfter,
} from './delivery.ts';

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

test('a status has the outcome of its class', (t) => {
  t.deepEqual([200, 204, 302, 400, 429, 500, 503].map(outcomeOfStatus), [
    '2xx',
    '2xx',
    '3xx',
    '4xx',
    '4xx',
    '5xx',
    '5xx',
  ]);
});

/** The edges that the specification draws, and the late 2xx. */
const edges: Readonly<Record<EventState, readonly EventState[]>> = {
  PUBLISHED: ['IN_PROGRESS'],
  IN_PROGRESS: ['IN_PROGRESS', 'COMPLETED', 'FAILED', 'DEAD_LETTER'],
  FAILED: ['IN_PROGRESS', 'COMPLETED'],
  DEAD_LETTER: ['IN_PROGRESS', 'COMPLETED'],
  COMPLETED: [],
};

type Step =
  | { readonly kind: 'begin' }
  | { readonly kind: 'end'; readonly which: number; readonly answer: Answer; readonly putOff: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constant({ kind: 'begin' } as const),
  fc.record({
    kind: fc.constant('end' as const),
    which: fc.nat(5),
    answer: fc.constantFrom(ok, refused, broken, silent, unreachable),
    putOff: fc.nat(4),
  }),
);

test('whatever overlaps, crashes, comes again or late: states go along the edges only, and COMPLETED is for ever', (t) => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      let event: LoggedEvent = published;
      // Attempts whose end has not been seen; one that is never ended is a crash.
      const running: number[] = [];
      let answered2xx = false;
      let leftOpen = false;
      for (const one of steps) {
        const before = event;
        let after: LoggedEvent | undefined;
        if (one.kind === 'begin') {
          after = beginAttempt(before);
          if (before.state === 'COMPLETED' && after !== undefined) return false;
          if (after !== undefined) running.push(after.attempts);
        } else {
          if (running.length === 0) continue;
          const [attempt] = running.splice(one.which % running.length, 1);
          answered2xx ||= one.answer.outcome === '2xx';
          leftOpen ||= one.answer.inDoubt;
          after = endAttempt(before, attempt!, one.answer, stateAfter(one.answer, one.putOff, 4));
        }
        if (after === undefined) continue;
        if (after.state !== before.state || one.kind === 'begin') {
          if (!edges[before.state].includes(after.state)) return false;
          seen.add(`${before.state} ${after.state}`);
        }
        if (after.attempts < before.attempts) return false;
        event = after;
      }
      // Completed if and only if a receiver said so; doubt is kept until then.
      if ((event.state === 'COMPLETED') !== answered2xx) return false;
      return event.state === 'COMPLETED' ? !event.inDoubt : !leftOpen || event.inDoubt;
    }),
    { numRuns: 2_000 },
  );
  const all = eventStates.flatMap((from) => edges[from].map((to) => `${from} ${to}`));
  t.deepEqual([...seen].sort(), all.sort(), 'every edge was gone along');
});

test('an attempt that nobody saw end leaves the event in doubt, also when the next one gets an answer other than 2xx', (t) => {
  const first = beginAttempt(published)!;
  t.false(first.inDoubt);
  const second = beginAttempt(first)!;
  t.deepEqual(second, { state: 'IN_PROGRESS', attempts: 2, inDoubt: true });
  const failed = endAttempt(second, 2, broken, 'FAILED')!;
  t.true(failed.inDoubt);
  t.false(endAttempt(beginAttempt(failed)!, 3, ok, 'COMPLETED')!.inDoubt);
});

test('an attempt that ends after a later one has begun does not put the event off', (t) => {
  const second = beginAttempt(beginAttempt(published)!)!;
  t.is(endAttempt({ ...second, inDoubt: false }, 1, broken, 'FAILED'), undefined);
  t.deepEqual(endAttempt({ ...second, inDoubt: false }, 1, silent, 'FAILED'), second);
  t.is(endAttempt(second, 1, ok, 'COMPLETED')?.state, 'COMPLETED');
});
