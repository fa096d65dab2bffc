import test from 'ava';
import type { DrillReport } from '../drill.ts';
import { renderReport } from './html.ts';
import { failedReport, foundOut, passedReport } from './sample.fixture.ts';
import { timelineOf } from './timeline.ts';

const evil = '<img src=x onerror="alert(1)">';

test('text of a report is shown as text, wherever it stands', (t) => {
  const [verdict] = failedReport.verdicts;
  const html = renderReport({
    ...failedReport,
    drill: evil,
    about: evil,
    environment: evil,
    context: { [evil]: evil },
    events: [...failedReport.events, { atMs: failedReport.startedAtMs + 5, kind: 'fault', what: evil }],
    curves: failedReport.curves.map((curve) => ({ ...curve, name: evil })),
    alerts: [{ name: evil, receiver: evil, firedAtMs: failedReport.startedAtMs }],
    verdicts: [
      { ...verdict!, subject: evil, findings: [{ kind: 'lost', id: evil, detail: evil, traceId: evil }] },
    ],
    targets: [{ name: evil, target: evil, measured: evil, met: false }],
  });
  t.false(html.includes('<img'));
  t.true(html.includes('&lt;img src=x onerror=&quot;alert(1)&quot;&gt;'));
});

test('what clients saw of a change is on the page, by class and phase', (t) => {
  const count = { phase: 'while', of: 'orders', sent: 1_234, failed: 5, p50Ms: 3, p99Ms: 45 } as const;
  const html = renderReport({ ...passedReport, requests: [{ ...count, problems: { 503: 4, [evil]: 1 } }] });
  t.regex(html, /while<.*orders<.*1,234<.*5<.*4 503, 1 &lt;img.*45 ms/s);
  t.false(html.includes('<img'));
  t.false(renderReport(passedReport).includes('each try counted'));
});

test('every finding is on the page, with the command that shows its trace', (t) => {
  const html = renderReport(failedReport);
  for (const { id, traceId } of foundOut) {
    t.true(html.includes(`<code>${id}</code>`), id);
    if (traceId !== undefined) t.true(html.includes(`./muster --env ci trace ${traceId}`), id);
  }
  t.true(
    renderReport({ ...failedReport, environment: 'dev' }).includes(`./muster trace ${foundOut[0]!.traceId}`),
  );
});

test('the page needs nothing else: no script, no picture, no font, no network', (t) => {
  for (const report of [passedReport, failedReport]) {
    const html = renderReport(report);
    t.notRegex(html, /<script|<link|<img|<iframe|@import|url\((?!#)|src=|\son\w+=/);
    // Names of XML's vocabularies are no addresses.
    t.notRegex(html.replaceAll(/xmlns(:xlink)?="[^"]*"/g, ''), /https?:/);
    t.notRegex(html, /NaN|undefined|\[object/);
  }
});

test('a result stands beside its target', (t) => {
  const passed = renderReport(passedReport);
  t.regex(passed, /✔ passed/);
  t.regex(passed, /<b>3\.9 s<\/b>.*?target ≤ 5\.0 s <em class="good">✔ met/);
  t.regex(passed, /<b>64\.6 s<\/b>.*?target ≤ 75\.0 s <em class="good">✔ met/);
  const failed = renderReport(failedReport);
  t.regex(failed, /✖ failed: 3 of 5 targets missed/);
  t.regex(failed, /<b>19\.3 s<\/b>.*?target ≤ 12\.0 s <em class="bad">✖ missed/);
  t.regex(failed, /<b>4\.2 s<\/b>.*?9 acked messages lost/);
  t.regex(failed, /<b>no page<\/b>.*?none was expected/);
});

test('every event, alert, target and fact about the machine is on the page', (t) => {
  const html = renderReport(passedReport);
  const shown = [
    ...passedReport.events.map(({ what }) => what),
    ...passedReport.alerts.map(({ name }) => name),
    ...passedReport.targets.map(({ name }) => name),
    ...Object.values(passedReport.context),
  ];
  for (const text of shown) t.true(html.includes(`>${text}<`), text);
});

test('dashboards of the moment are put below the report', (t) => {
  const html = renderReport(passedReport, [{ html: '<section id="overview"></section>' }]);
  t.true(html.indexOf('<section id="overview">') > html.indexOf('Dashboards at that time'));
  t.false(renderReport(passedReport).includes('Dashboards at that time'));
});

test('a report of a run in which nothing was broken, sent or seen can be read too', (t) => {
  const empty: DrillReport = {
    ...passedReport,
    events: [],
    curves: [],
    alerts: [],
    verdicts: [],
    targets: [],
    rtoMs: undefined,
    detectionMs: undefined,
    context: {},
  };
  const html = renderReport(empty);
  t.notRegex(html, /NaN|undefined|Infinity/);
  t.regex(html, /no outage/);
});

test('an hour with a fault each minute stays readable and small', (t) => {
  const minutes = Array.from({ length: 60 }, (_, index) => passedReport.startedAtMs + index * 60_000);
  const points = Array.from({ length: 3_600 }, (_, second) => ({
    atMs: passedReport.startedAtMs + second * 1_000,
    value: second % 600,
  }));
  const html = renderReport({
    ...passedReport,
    endedAtMs: passedReport.startedAtMs + 3_700_000,
    events: minutes.flatMap((atMs) => [
      { atMs, kind: 'fault' as const, what: 'kill kafka-1' },
      { atMs: atMs + 20_000, kind: 'heal' as const, what: 'kafka-1 healed' },
    ]),
    curves: passedReport.curves.map((curve) => ({ ...curve, points })),
  });
  t.true(html.length < 1_500_000, `${html.length} characters`);
  t.regex(html, /60 faults/);
  t.regex(html, /<summary>120 events/);
});

test('where the load itself was what disturbed, the outage counts from its begin', (t) => {
  const events = [
    { atMs: passedReport.startedAtMs, kind: 'load', what: 'load begins' },
    {
      atMs: passedReport.startedAtMs + 4_000,
      kind: 'recovered',
      what: '4.0 s after load: the last failure was seen by promotion answers',
    },
  ] as const;
  const report = { ...passedReport, events };
  t.like(
    timelineOf(report).spans.find(({ row }) => row === 'outage'),
    { fromMs: passedReport.startedAtMs, toMs: passedReport.startedAtMs + 4_000 },
  );
  t.regex(renderReport(report), /4\.0 s, last seen by promotion answers/);
});

test('lines of a load that was not measured are left out, so that they do not look perfect', (t) => {
  const zero = (name: string) =>
    ({ name, unit: 'per second', points: [{ atMs: passedReport.startedAtMs, value: 0 }] }) as const;
  const curves = [zero('load sent'), zero('load failures'), zero('orders paid'), zero('probes failures')];
  const html = renderReport({ ...passedReport, curves });
  t.notRegex(html, /load failures|load sent/);
  t.regex(html, /orders paid/);
  t.regex(html, /probes failures/);
});

test('a fault is a tinted span on every chart, at both widths', (t) => {
  const tinted = (report: DrillReport) => renderReport(report).match(/ fill-opacity="\.12"/g)?.length ?? 0;
  // Four charts, two widths, the fault and the outage.
  t.is(tinted(passedReport), 4 * 2 * 2);
  t.is(tinted({ ...passedReport, events: [], rtoMs: undefined }), 0);
});

test('a fault lasts until its own heal, not that of another part', (t) => {
  const at = (second: number) => passedReport.startedAtMs + second * 1_000;
  const { spans } = timelineOf({
    ...passedReport,
    events: [
      { atMs: at(0), kind: 'load', what: 'load begins' },
      { atMs: at(1), kind: 'fault', what: 'kill zookeeper-2' },
      { atMs: at(2), kind: 'fault', what: 'kill zookeeper-3' },
      { atMs: at(3), kind: 'fault', what: 'crash promotion' },
      { atMs: at(5), kind: 'heal', what: 'zookeeper-3 healed' },
      { atMs: at(9), kind: 'heal', what: 'zookeeper-2 healed' },
      {
        atMs: at(10),
        kind: 'recovered',
        what: '1.0 s after zookeeper-2 healed: the last failure was seen by x',
      },
    ],
  });
  const shown = spans
    .filter(({ row }) => row === 'fault' || row === 'outage')
    .map(({ what, fromMs, toMs }) => [what, (fromMs - at(0)) / 1_000, (toMs! - at(0)) / 1_000]);
  t.deepEqual(shown, [
    ['kill zookeeper-2', 1, 9],
    ['kill zookeeper-3', 2, 5],
    ['crash promotion', 3, 3],
    ['the last failure was seen by x', 9, 10],
  ]);
});
