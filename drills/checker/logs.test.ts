import test from 'ava';
import { checkLogs } from './logs.ts';

const told = { process: 'p', written: 100, dropped: 10 };
const seen = { lines: 90, distinct: 90, last: 100, droppedBeforeLast: 10, personal: 0 };
const kinds = (change: Partial<typeof seen>, tells: Partial<typeof told> = {}) =>
  checkLogs({ ...told, ...tells }, { ...seen, ...change }).findings.map(({ kind }) => kind);

test('written is stored and told as dropped', (t) => {
  t.deepEqual(checkLogs(told, seen), { subject: 'logs', acked: 90, inDoubt: 0, repeats: 0, findings: [] });
});

test('a line that is neither stored nor told is lost; one that the lines do not tell of, too', (t) => {
  t.deepEqual(kinds({ lines: 89, distinct: 89 }), ['lost', 'lost']);
  t.deepEqual(kinds({ lines: 89, distinct: 89, last: 99 }), ['lost'], 'the last one');
  t.deepEqual(kinds({ droppedBeforeLast: 9 }), ['lost']);
});

test('a line twice is a repeat, a number that nobody wrote comes from nowhere, and a person is found', (t) => {
  t.is(checkLogs(told, { ...seen, lines: 93 }).repeats, 3);
  t.deepEqual(kinds({ last: 101, distinct: 91, lines: 91 }), ['from-nowhere']);
  t.deepEqual(kinds({ personal: 1 }), ['personal-data']);
});
