import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { renderDashboards } from '../dashboards/index.ts';
import { lines } from '../workers/views/charts.ts';
import { drawServiceMap } from '../workers/views/graph.ts';
import type { Dashboard, Panel } from '../workers/views/model.ts';
import { dashboardWidth, framed, insideOf, sectionOf } from '../workers/views/page.ts';
import { drawPanel, type Sources } from '../workers/views/panels.ts';
import type { Prometheus } from '../workers/views/prometheus.ts';
import { resolutionOf, variablesOf } from '../workers/views/queries.ts';
import type { ServiceMap } from '../workers/views/service-map.ts';
import type { JaegerSpan, JaegerTrace } from '../workers/views/trace-tree.ts';
import { dashboardSlugs, fragmentOf, pageOf } from './index.ts';

const window = { fromMs: 1_795_000_000_000, toMs: 1_795_001_800_000 };
const resolution = resolutionOf(window, 5_000);

/** Answers every query with two series, buckets where a histogram is asked for. */
const busy: Prometheus = {
  async range(expr, { fromMs, toMs }, stepMs) {
    const bounds =
      expr.includes('_bucket') && expr.startsWith('sum by (le)') ? ['0.1', '1', '+Inf'] : ['', ''];
    return bounds.map((le, index) => ({
      metric: { le, topic: `topic-${index}`, instance: `<kafka-${index}>`, consumergroup: `g${index}` },
      values: Array.from({ length: (toMs - fromMs) / stepMs + 1 }, (_, at): [number, string] => [
        (fromMs + at * stepMs) / 1000,
        String(index + 1 + Math.sin(at / 9)),
      ]),
    }));
  },
  async instant() {
    return [0, 1].map((index) => ({
      metric: { topic: `topic-${index}`, consumergroup: `g${index}`, alertname: 'Watchdog', process: 'api' },
      value: [0, String(index)] as const,
    }));
  },
  labelValues: async () => ['kafka'],
  exemplars: async () => [[window.fromMs + 60_000, 2]],
};

function span(over: Partial<JaegerSpan> & { kind: string }): JaegerSpan {
  const { kind, ...rest } = over;
  return {
    traceID: '1'.repeat(32),
    spanID: 'a'.repeat(16),
    operationName: 'x',
    startTime: window.fromMs * 1000,
    duration: 2_000,
    processID: 'p1',
    ...rest,
    tags: [{ key: 'span.kind', value: kind }, ...(rest.tags ?? [])],
  };
}

const trace: JaegerTrace = {
  traceID: '1'.repeat(32),
  processes: { p1: { serviceName: 'api' } },
  spans: [
    span({
      kind: 'server',
      operationName: 'POST /purchases',
      tags: [
        { key: 'http.request.method', value: 'POST' },
        { key: 'http.route', value: '/purchases' },
      ],
    }),
  ],
};
const sources: Sources = { prometheus: busy, traces: async () => [{ trace, weight: 1 }] };

const dashboards = [...renderDashboards(environments.ci).values()].map(
  (text) => JSON.parse(text) as Dashboard,
);

test('every panel of every dashboard is drawn when there is data, and the page needs nothing else', async (t) => {
  const drawn = [];
  for (const dashboard of dashboards) {
    const asked = await variablesOf(dashboard, resolution, busy);
    const panels = [];
    for (const panel of dashboard.panels) {
      if (panel.type === 'row') {
        panels.push({ panel, html: framed(panel, ''), empty: false });
        continue;
      }
      const { html, empty } = await drawPanel(panel, asked, sources, insideOf(panel), []);
      t.false(empty, `${dashboard.title}: ${panel.title}`);
      t.notRegex(html, /NaN|undefined|\[object/, `${dashboard.title}: ${panel.title}`);
      for (const [svg] of html.matchAll(/<svg.*?<\/svg>/gs))
        t.notRegex(svg, /<style| style=|class="(?!chart|spark)/, 'a policy of a page may forbid styles');
      panels.push({ panel, html: framed(panel, html), empty });
    }
    const parts = { uid: dashboard.uid, title: dashboard.title, description: '', panels, marks: [] };
    drawn.push({ ...parts, html: sectionOf(parts) });
  }
  const page = pageOf('all', 'now', drawn);
  t.is(page.match(/<section /g)!.length, dashboardSlugs(environments.ci).length);
  t.notRegex(page, /<script|<link|@import|url\((?!#)|src=/);
  t.notRegex(page, /<kafka-/, 'a label is text, never markup');
});

test('panels stand alone in another page, with their looks', (t) => {
  const fragment = fragmentOf([{ html: framed(dashboards[0]!.panels[1]!, 'drawn') }]);
  t.regex(fragment, /^<style>/);
  t.regex(fragment, /<article[^>]*>.*drawn<\/article>/);
});

test('without data a panel says so', async (t) => {
  const silent: Sources = {
    prometheus: {
      range: async () => [],
      instant: async () => [],
      labelValues: async () => [],
      exemplars: async () => [],
    },
    traces: async () => [],
  };
  for (const dashboard of dashboards) {
    const asked = await variablesOf(dashboard, resolution, silent.prometheus);
    for (const panel of dashboard.panels.filter(({ type }) => type !== 'row')) {
      const { html, empty } = await drawPanel(panel, asked, silent, insideOf(panel), []);
      t.true(empty, panel.title);
      t.regex(html, /no data/i, panel.title);
    }
  }
});

test('a panel that the preview does not know is an error, not a gap', async (t) => {
  const panel: Panel = { id: 1, type: 'geomap', title: 'Where', gridPos: { x: 0, y: 0, w: 8, h: 8 } };
  const asked = await variablesOf(dashboards[0]!, resolution, busy);
  await t.throwsAsync(drawPanel(panel, asked, sources, insideOf(panel), []), { message: /geomap.*Where/ });
});

test('what happened is marked on the time axis, and a limit across it', (t) => {
  const options = {
    defaults: {
      unit: 's',
      min: 0,
      custom: { thresholdsStyle: { mode: 'dashed' } },
      thresholds: {
        steps: [
          { value: null, color: 'text' },
          { value: 3, color: 'red' },
        ],
      },
    },
    window,
    exemplars: [],
    size: { width: 440, height: 220 },
  };
  const series = [
    { name: 'a', labels: {}, points: [[window.fromMs, 1] as const, [window.toMs, 5] as const] },
  ];
  const dashes = (svg: string) => svg.match(/stroke-dasharray/g)?.length ?? 0;
  const without = dashes(lines(series, { ...options, marks: [] }));
  t.is(without, 1, 'the limit');
  const mark = { timeMs: window.fromMs + 600_000, text: 'kafka-2 killed', color: 'red' };
  t.is(dashes(lines(series, { ...options, marks: [mark] })), 2);
});

test('what is missing is a gap, and what has no neighbour a dot', (t) => {
  const points = [1, 2, null, 3, null, 4, 5].map(
    (value, index) => [window.fromMs + index * 60_000, value] as const,
  );
  const options = { defaults: {}, window, marks: [], exemplars: [], size: { width: 440, height: 220 } };
  const svg = lines([{ name: 'a', labels: {}, points }], options);
  t.is(svg.match(/stroke-width="1.4"/g)?.length, 2);
  t.is(svg.match(/<circle/g)?.length, 1);
  t.regex(svg, /aria-label="a 5"/);
});

test('an axis whose lowest value is its highest has room all the same', (t) => {
  const points = [[window.fromMs, 1] as const, [window.toMs, 1] as const];
  const options = { window, marks: [], exemplars: [], size: { width: 440, height: 220 } };
  const svg = lines([{ name: 'a', labels: {}, points }], { ...options, defaults: { max: 1 } });
  t.notRegex(svg, /NaN|Infinity/);
});

test('an observation leads to its trace where there is somewhere to see it', (t) => {
  const options = {
    ...{ defaults: { unit: 's' }, window, marks: [], size: { width: 440, height: 220 } },
    exemplars: [[window.fromMs + 60_000, 2, 'abc'] as const],
  };
  const series = [
    { name: 'a', labels: {}, points: [[window.fromMs, 1] as const, [window.toMs, 5] as const] },
  ];
  t.notRegex(lines(series, options), /<a /);
  t.regex(lines(series, { ...options, linkOf: (id) => `#traces/${id}` }), /<a href="#traces\/abc"/);
});

test('the same service map lies the same, in whatever order its calls come', (t) => {
  const call = { calls: 10, perSecond: 1, errors: 0, errorRatio: 0, p50Ms: 1, p95Ms: 2 };
  const topic = (name: string) => ({ kind: 'topic', topic: name }) as const;
  const map: ServiceMap = {
    ...window,
    traces: 10,
    services: ['api', 'promotion'],
    calls: [
      { ...call, from: undefined, to: 'api', way: { kind: 'http', method: 'POST', route: '/purchases' } },
      { ...call, from: 'api', to: 'promotion', way: topic('purchase') },
      { ...call, from: 'promotion', to: 'api', way: topic('purchase_enriched'), errors: 5, errorRatio: 0.5 },
      { ...call, from: 'promotion', to: undefined, way: topic('promotion') },
    ],
  };
  const size = { width: dashboardWidth, height: 500 };
  const drawn = drawServiceMap(map, size)!;
  t.is(drawServiceMap({ ...map, calls: map.calls.toReversed() }, size)!.svg, drawn.svg);
  for (const name of ['outside', 'api', 'purchase', 'promotion', 'purchase_enriched', '50% failed'])
    t.true(drawn.svg.includes(`${name}</text>`), name);
  t.is(drawServiceMap({ ...map, calls: [] }, size), undefined);
});
