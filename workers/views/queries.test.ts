import test from 'ava';
import type { Dashboard, Panel } from './model.ts';
import type { Prometheus } from './prometheus.ts';
import {
  type Asked,
  exemplarsOf,
  interpolate,
  legendOf,
  linesOf,
  marksOf,
  resolutionOf,
  tableOf,
  variablesOf,
} from './queries.ts';

const dashboard: Dashboard = {
  uid: 'u',
  title: 't',
  panels: [],
  templating: {
    list: [
      { type: 'datasource', name: 'datasource' },
      { type: 'query', name: 'group', allValue: '.+', current: { value: ['$__all'] } },
      { type: 'query', name: 'topic', current: { value: ['a.b', 'c'] } },
      {
        type: 'query',
        name: 'job',
        query: { query: 'label_values(up{x="1"}, job)' },
        current: { value: ['$__all'] },
      },
    ],
  },
};
const halfAnHour = { fromMs: 1_000_003_000, toMs: 1_001_803_000 };

function panel(rest: Partial<Panel>): Panel {
  return { id: 1, type: 'timeseries', title: 'p', gridPos: { x: 0, y: 0, w: 8, h: 8 }, ...rest };
}

const unused = () => Promise.reject(new Error('not asked for'));

/** A Prometheus that answers only what a test gives. */
function prometheusOf(answers: Partial<Prometheus>): Prometheus {
  return { range: unused, instant: unused, labelValues: unused, exemplars: unused, ...answers };
}

function asked(window: { fromMs: number; toMs: number }): Asked {
  return { ...resolutionOf(window, 5_000), variables: new Map() };
}

test('a step is whole scrapes, at most 200 of them, and the window begins and ends on one', (t) => {
  const { window, stepMs } = resolutionOf(halfAnHour, 5_000);
  t.is(stepMs, 10_000);
  t.is(window.fromMs % stepMs, 0);
  t.is(window.toMs - window.fromMs, 1_800_000);
  t.is(resolutionOf({ fromMs: 0, toMs: 60_000 }, 5_000).stepMs, 5_000);
});

test('a rate’s interval covers four scrapes and a step', (t) => {
  const expr = (range: number) => interpolate('rate(x[$__rate_interval])', asked({ fromMs: 0, toMs: range }));
  t.is(expr(600_000), 'rate(x[20s])');
  t.is(expr(6 * 3_600_000), 'rate(x[125s])');
});

test('variables stand for all values, for those that are found, or for those that are chosen', async (t) => {
  const found = await variablesOf(
    dashboard,
    resolutionOf(halfAnHour, 5_000),
    prometheusOf({
      labelValues: async (metric, label) =>
        metric === 'up{x="1"}' && label === 'job' ? ['kafka', 'zk'] : [],
    }),
  );
  t.is(
    interpolate('x{g=~"$group", t=~"$topic", j=~"$job", u="$other"}[$__range]', found),
    'x{g=~".+", t=~"a\\\\.b|c", j=~"kafka|zk", u="$other"}[1800s]',
  );
});

test('a legend takes labels, and has none of those that are missing', (t) => {
  t.is(legendOf('{{ topic }} in {{group}}', { topic: 'a' }), 'a in');
  t.is(legendOf('', { a: '1' }), 'a=1');
});

test('a gap in the data stays a gap, and NaN is one', async (t) => {
  const prometheus = prometheusOf({
    range: async () => [
      {
        metric: { topic: 'a' },
        values: [
          [0, '1'],
          [5, 'NaN'],
          [15, '3'],
        ],
      },
    ],
  });
  const lines = await linesOf(
    panel({ targets: [{ refId: 'A', expr: 'x', legendFormat: '{{topic}}' }] }),
    asked({ fromMs: 0, toMs: 15_000 }),
    prometheus,
  );
  t.deepEqual(lines, [
    {
      name: 'a',
      labels: { topic: 'a' },
      points: [
        [0, 1],
        [5_000, null],
        [10_000, null],
        [15_000, 3],
      ],
    },
  ]);
});

test('a table joins its queries by label, names and orders its columns, and sorts its rows', async (t) => {
  const answers: Record<string, readonly [string, string][]> = {
    a: [
      ['x', '1'],
      ['y', '2'],
    ],
    b: [['y', '7']],
  };
  const prometheus = prometheusOf({
    instant: async (expr) =>
      answers[expr]!.map(([topic, value]) => ({ metric: { topic, job: 'j' }, value: [0, value] as const })),
  });
  const table = await tableOf(
    panel({
      type: 'table',
      targets: [
        { refId: 'A', expr: 'a' },
        { refId: 'B', expr: 'b' },
      ],
      transformations: [
        { id: 'merge', options: {} },
        {
          id: 'organize',
          options: {
            includeByName: { topic: true, 'Value #A': true, 'Value #B': true },
            indexByName: { 'Value #B': 0, topic: 1, 'Value #A': 2 },
            renameByName: { topic: 'Topic', 'Value #A': 'First', 'Value #B': 'Second' },
          },
        },
      ],
      options: { sortBy: [{ displayName: 'First', desc: true }] },
    }),
    asked(halfAnHour),
    prometheus,
  );
  t.deepEqual(table.columns, ['Second', 'Topic', 'First']);
  t.deepEqual(table.rows, [
    [7, 'y', 2],
    [null, 'x', 1],
  ]);
});

test('an alert that fires twice is two marks; what fired before the window began is none', async (t) => {
  const prometheus = prometheusOf({
    range: async () => [
      {
        metric: { alertname: 'A' },
        values: [
          [0, '1'],
          [5, '1'],
          [20, '1'],
          [25, '1'],
        ],
      },
    ],
  });
  const marks = await marksOf(
    {
      ...dashboard,
      annotations: {
        list: [{ name: 'Alerts', expr: 'ALERTS', iconColor: 'red', titleFormat: '{{alertname}}' }],
      },
    },
    asked({ fromMs: 0, toMs: 60_000 }),
    prometheus,
  );
  t.deepEqual(marks, [{ timeMs: 20_000, text: 'A', color: 'red' }]);
});

test('observations with a trace come from the queries that ask for them, the slowest of each moment', async (t) => {
  const answers: Readonly<Record<string, [number, number][]>> = {
    'a{x="1"}': Array.from({ length: 400 }, (_, n) => [n * 1_000, n % 10]),
  };
  const prometheus = prometheusOf({ exemplars: async (expr) => answers[expr] ?? unused() });
  const targets = [{ expr: 'a{x="1"}', exemplar: true }, { expr: 'b' }] as unknown as Panel['targets'];
  const found = await exemplarsOf(
    panel({ targets: targets! }),
    asked({ fromMs: 0, toMs: 400_000 }),
    prometheus,
  );
  t.is(found.length, 40);
  t.true(found.every(([, value]) => value === 9));
});
