import test from 'ava';
import { daysOf } from './days.ts';

const range = (zone: string, day: string) => {
  const { fromMs, toMs } = daysOf(zone).rangeOf(day)!;
  return [new Date(fromMs).toISOString(), new Date(toMs).toISOString()];
};

test('a day begins at midnight of its zone and ends where the next begins', (t) => {
  t.deepEqual(range('Asia/Seoul', '2026-11-28'), ['2026-11-27T15:00:00.000Z', '2026-11-28T15:00:00.000Z']);
  t.deepEqual(range('UTC', '2024-02-29'), ['2024-02-29T00:00:00.000Z', '2024-03-01T00:00:00.000Z']);
  t.deepEqual(range('Asia/Kathmandu', '2026-01-01'), [
    '2025-12-31T18:15:00.000Z',
    '2026-01-01T18:15:00.000Z',
  ]);
});

test('a day has as many hours as its clocks say, also where they skip midnight', (t) => {
  const hours = (zone: string, day: string) => {
    const { fromMs, toMs } = daysOf(zone).rangeOf(day)!;
    return (toMs - fromMs) / 3_600_000;
  };
  t.is(hours('Europe/Berlin', '2026-03-29'), 23);
  t.is(hours('Europe/Berlin', '2026-10-25'), 25);
  t.is(hours('America/Santiago', '2026-09-06'), 23);
  t.deepEqual(range('America/Santiago', '2026-09-06')[0], '2026-09-06T04:00:00.000Z');
});

test('every moment is in the range of its own day and of no other', (t) => {
  for (const zone of ['Asia/Seoul', 'America/Santiago', 'Pacific/Apia', 'UTC']) {
    const days = daysOf(zone);
    for (let ms = Date.UTC(2026, 0, 1); ms < Date.UTC(2027, 0, 1); ms += 31 * 3_600_000 + 1) {
      const { fromMs, toMs } = days.rangeOf(days.dayOf(ms))!;
      t.is(days.nextDayMs(ms), toMs);
      t.true(fromMs <= ms && ms < toMs, `${zone} ${new Date(ms).toISOString()}`);
      t.not(days.dayOf(fromMs - 1), days.dayOf(ms));
    }
  }
});

test('what is no day of the calendar has no range', (t) => {
  for (const day of ['2026-02-30', '2026-13-01', '2025-02-29', 'today', ''])
    t.is(daysOf('UTC').rangeOf(day), undefined, day);
});
