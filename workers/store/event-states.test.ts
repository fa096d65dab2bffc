import test from 'ava';
import fc from 'fast-check';
import {
  beginAttempt,
  type EventProgress,
  type EventState,
  endAttempt,
  eventStates,
  published,
} from './event-states.ts';

/** The edges that the specification draws, and the late success. */
const edges: Readonly<Record<EventState, readonly EventState[]>> = {
  PUBLISHED: ['IN_PROGRESS'],
  IN_PROGRESS: ['IN_PROGRESS', 'COMPLETED', 'FAILED', 'DEAD_LETTER'],
  FAILED: ['IN_PROGRESS', 'COMPLETED'],
  DEAD_LETTER: ['IN_PROGRESS', 'COMPLETED'],
  COMPLETED: [],
};

type Ended = 'COMPLETED' | 'FAILED' | 'DEAD_LETTER';

type Step =
  | { readonly kind: 'begin' }
  | { readonly kind: 'end'; readonly which: number; readonly state: Ended; readonly silent: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.constant({ kind: 'begin' } as const),
  fc.record({
    kind: fc.constant('end' as const),
    which: fc.nat(5),
    state: fc.constantFrom<Ended>('COMPLETED', 'FAILED', 'DEAD_LETTER'),
    silent: fc.boolean(),
  }),
);

test('whatever overlaps, crashes, comes again or late: states go along the edges only, and COMPLETED is for ever', (t) => {
  const seen = new Set<string>();
  fc.assert(
    fc.property(fc.array(step, { maxLength: 25 }), (steps) => {
      let event: EventProgress = published;
      // Attempts whose end has not been seen; one that is never ended is a crash.
      const running: number[] = [];
      let succeeded = false;
      let leftOpen = false;
      for (const one of steps) {
        const before = event;
        let after: EventProgress | undefined;
        if (one.kind === 'begin') {
          after = beginAttempt(before);
          if (before.state === 'COMPLETED' && after !== undefined) return false;
          if (after !== undefined) running.push(after.attempts);
        } else {
          if (running.length === 0) continue;
          const [attempt] = running.splice(one.which % running.length, 1);
          succeeded ||= one.state === 'COMPLETED';
          leftOpen ||= one.silent;
          after = endAttempt(before, attempt!, one.state, one.silent);
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
      if ((event.state === 'COMPLETED') !== succeeded) return false;
      return event.state === 'COMPLETED' ? !event.inDoubt : !leftOpen || event.inDoubt;
    }),
    { numRuns: 2_000 },
  );
  const all = eventStates.flatMap((from) => edges[from].map((to) => `${from} ${to}`));
  t.deepEqual([...seen].sort(), all.sort(), 'every edge was gone along');
});

test('an attempt that nobody saw end leaves the event in doubt, also when the next one gets an answer other than a success', (t) => {
  const first = beginAttempt(published)!;
  t.false(first.inDoubt);
  const second = beginAttempt(first)!;
  t.deepEqual(second, { state: 'IN_PROGRESS', attempts: 2, inDoubt: true });
  const failed = endAttempt(second, 2, 'FAILED', false)!;
  t.true(failed.inDoubt);
  t.false(endAttempt(beginAttempt(failed)!, 3, 'COMPLETED', false)!.inDoubt);
});

test('an attempt that ends after a later one has begun does not put the event off', (t) => {
  const second = beginAttempt(beginAttempt(published)!)!;
  t.is(endAttempt({ ...second, inDoubt: false }, 1, 'FAILED', false), undefined);
  t.deepEqual(endAttempt({ ...second, inDoubt: false }, 1, 'FAILED', true), second);
  t.is(endAttempt(second, 1, 'COMPLETED', false)?.state, 'COMPLETED');
});
