import { readFileSync } from 'node:fs';
import test from 'ava';
import fc from 'fast-check';
import {
  firstMarks,
  type Observation,
  observe,
  type Status,
  statuses,
  type VerdictSettings,
  verdict,
  worse,
} from './verdict.ts';

interface Vector {
  readonly name: string;
  readonly allowedLag?: number;
  readonly now: number;
  readonly observations: readonly (readonly [second: number, offset: number, lag: number, owned: boolean])[];
  readonly expected: Status;
}
const { vectors } = JSON.parse(readFileSync(new URL('verdict.vectors.json', import.meta.url), 'utf8')) as {
  vectors: readonly Vector[];
};

function verdictOf(observations: readonly Observation[], nowMs: number, settings: VerdictSettings): Status {
  const marks = firstMarks(observations[0]!, settings);
  for (const each of observations.slice(1)) observe(marks, each, settings);
  return verdict(marks, observations.at(-1)!.lag, nowMs, settings);
}

for (const { name, allowedLag, now, observations, expected } of vectors) {
  test(`published vector: ${name}`, (t) => {
    const settings = { allowedLag: allowedLag ?? 0, windowMs: 60_000, sampleMs: 6_000 };
    const list = observations.map(([second, offset, lag, owned]) => ({
      timeMs: second * 1_000,
      offset,
      lag,
      owned,
    }));
    t.is(verdictOf(list, now * 1_000, settings), expected);
  });
}

/** The rules as they are written, over all observations of the window: slow and plain. */
function plainVerdict(
  list: readonly Observation[],
  nowMs: number,
  { allowedLag, windowMs }: VerdictSettings,
): Status {
  const since = nowMs - windowMs;
  const changes = list.map((each, i) => ({ ...each, before: list[i - 1] }));
  const within = changes.filter(({ timeMs }) => timeMs >= since);
  if (list.at(-1)!.lag <= allowedLag) return 'ok';
  const committed = changes.filter(
    ({ before, offset, owned }) => !before || owned || before.offset !== offset,
  );
  if (committed.at(-1)!.timeMs < since) return 'stop';
  const rewound = within.findLastIndex(({ before, offset }) => before && offset < before.offset);
  if (rewound >= 0 && !within.slice(rewound + 1).some(({ lag }) => lag <= allowedLag)) return 'rewind';
  if (within.some(({ lag }) => lag <= allowedLag)) return 'ok';
  const moved = within.filter(({ before, offset }) => !before || before.offset !== offset);
  if (moved.length === 0) return 'stall';
  // Lags are compared between commits, the first observation counting as one.
  const commits = changes.filter(({ before, offset }) => !before || before.offset !== offset);
  const shrank = commits.some(
    ({ timeMs, lag }, i) => timeMs >= since && (i === 0 || lag < commits[i - 1]!.lag),
  );
  return shrank ? 'ok' : 'warn';
}

test('remembering when each thing last happened gives what the rules give over the whole window', (t) => {
  const settings = { allowedLag: 0, windowMs: 20_000, sampleMs: 0 };
  const observation = fc.record({
    afterMs: fc.integer({ min: 500, max: 9_000 }),
    move: fc.oneof({ weight: 4, arbitrary: fc.constant(0) }, fc.integer({ min: -5, max: 50 })),
    lag: fc.nat(30),
    owned: fc.boolean(),
  });
  const seen = new Set<Status>();
  fc.assert(
    fc.property(fc.array(observation, { minLength: 1, maxLength: 30 }), (list) => {
      let timeMs = 1_000_000;
      let offset = 1_000;
      const observations = list.map(({ afterMs, move, lag, owned }) => {
        timeMs += afterMs;
        offset += move;
        return { timeMs, offset, lag, owned };
      });
      const expected = plainVerdict(observations, timeMs, settings);
      seen.add(expected);
      return verdictOf(observations, timeMs, settings) === expected;
    }),
    { numRuns: 2_000 },
  );
  t.deepEqual([...seen].sort(), [...statuses].sort());
});

test('a group has the worst of its partitions', (t) => {
  t.is(worse('ok', 'warn'), 'warn');
  t.is(worse('rewind', 'stop'), 'rewind');
  t.is(worse('stall', 'stop'), 'stall');
});
