import test from 'ava';
import { isAskedFor, isCopy, lineOfRow, logsQl, momentMs } from './log-query.ts';

const line = (fields: object) => ({
  component: 'api',
  time: '2026-11-28T12:00:00.000000000Z',
  text: JSON.stringify(fields),
});

test('a question to the store names process, period and what is asked for', (t) => {
  t.is(
    logsQl(
      'api',
      { trace: 'abc', level: 'warn' },
      { fromMs: Date.UTC(2026, 10, 28), toMs: Date.UTC(2026, 10, 29) },
    ),
    '_time:>="2026-11-28T00:00:00.000Z" _time:<"2026-11-29T00:00:00.000Z" {process="api"} ' +
      '(trace_id:="abc" or line:"abc") level:in("error","warn")',
  );
});

test('text is looked for as it is: no part of it means anything', (t) => {
  t.is(
    logsQl('api', { text: 'a.b (c) "d" | delete' }),
    '{process="api"} (_msg:~"(?i)a\\\\.b \\\\(c\\\\) \\"d\\" \\\\| delete" or line:~"(?i)a\\\\.b \\\\(c\\\\) \\"d\\" \\\\| delete")',
  );
});

test('a line of a container is asked for by the same rules', (t) => {
  const one = line({ level: 'warn', message: 'Stock is LOW', user: 'u_1', trace_id: 'abc' });
  for (const filter of [
    {},
    { trace: 'abc' },
    { user: 'u_1' },
    { level: 'warn' },
    { level: 'info' },
    { text: 'stock is low' },
  ])
    t.true(isAskedFor(one, filter), JSON.stringify(filter));
  for (const filter of [{ trace: 'abd' }, { user: 'u_2' }, { level: 'error' }, { text: 'high' }])
    t.false(isAskedFor(one, filter), JSON.stringify(filter));
  t.false(isAskedFor({ ...one, text: 'INFO of a broker' }, { level: 'error' }));
});

test('a moment is so long ago, or a date', (t) => {
  const now = Date.UTC(2026, 10, 28, 12);
  t.is(momentMs('10m', now), now - 600_000);
  t.is(momentMs('1h30m', now), now - 5_400_000);
  t.is(momentMs('2026-11-28T10:00:00Z', now), Date.UTC(2026, 10, 28, 10));
  for (const no of ['', 'ten', '10', '10x', 'm', '2026-99-99']) t.is(momentMs(no, now), undefined, no);
});

test('a row of the store is the line as it was written, in time by its nine digits', (t) => {
  t.deepEqual(lineOfRow({ _time: '2026-11-28T12:00:00.1Z', process: 'api', line: '{"a":1}', _msg: 'a' }), {
    component: 'api',
    time: '2026-11-28T12:00:00.100000000Z',
    text: '{"a":1}',
  });
  t.is(lineOfRow({ _time: '2026-11-28T12:00:00Z', process: 'api' })?.time, '2026-11-28T12:00:00.000000000Z');
});

test('what log-store writes of others to its stdout is not shown twice', (t) => {
  t.true(isCopy({ ...line({ process: 'api' }), component: 'logging' }));
  t.false(isCopy({ ...line({ process: 'logging' }), component: 'logging' }));
  t.false(isCopy({ ...line({}), component: 'kafka-1' }));
});
