/** A drill's report as one HTML page that needs nothing else: no script, no font, no network. Pure. */
import { probeRules } from '../../catalog/slos.ts';
import { lines } from '../../workers/views/charts.ts';
import { colorOf, lineColor } from '../../workers/views/colors.ts';
import { escapeHtml } from '../../workers/views/markup.ts';
import type { Band, FieldDefaults, Mark, Series } from '../../workers/views/model.ts';
import type { Finding } from '../checker/verdict.ts';
import { answersFor, countByKind } from '../checker/verdict.ts';
import type { Curve, DrillEvent, DrillReport } from '../drill.ts';
import { boundMs, documentOf, doubledOf, findingsOf, seconds, utc } from './page.ts';
import { type Span, type Timeline, timelineOf, zeroOf } from './timeline.ts';

/**
 * The whole page. Text of the report is shown as text, never as markup. `dashboards`: sections of the preview for the drill's
 * time (`drawDashboards`); they are put below the report.
 */
export function renderReport(
  report: DrillReport,
  dashboards: readonly { readonly html: string }[] = [],
): string {
  const timeline = timelineOf(report);
  const body = [
    heading(report),
    tiles(report),
    facts(report),
    '<h2>What happened</h2>',
    strip(report, timeline),
    targets(report),
    requests(report),
    alerts(report),
    findings(report),
    log(report),
    context(report),
    dashboards.length === 0 ? '' : '<h2>Dashboards at that time</h2>',
  ];
  return documentOf(`${report.drill} ${report.passed ? 'passed' : 'failed'}`, body.join('\n'), dashboards);
}

// --- the result

function heading(report: DrillReport): string {
  const { drill, about, environment, startedAtMs, endedAtMs, passed } = report;
  const missed = report.targets.filter(({ met }) => !met);
  const why = missed.map(
    ({ name, target, measured }) =>
      `<li><b>${escapeHtml(name)}</b>: ${escapeHtml(measured)}, must be ${escapeHtml(pretty(target))}</li>`,
  );
  return `<header><div class="title"><h1>${escapeHtml(drill)}</h1><span class="stamp ${passed ? 'good' : 'bad'}">${passed ? '✔ passed: every target met' : `✖ failed: ${missed.length} of ${report.targets.length} targets missed`}</span></div>
<p class="about">${escapeHtml(about)}</p>
<div class="weak">Environment ${escapeHtml(environment)}, ${utc(startedAtMs)}, took ${seconds(endedAtMs - startedAtMs)}</div>${why.length === 0 ? '' : `<ul class="missed" style="list-style:none">${why.join('')}</ul>`}</header>`;
}

interface Tile {
  readonly title: string;
  readonly value: string;
  /** The target, and whether it is met; undefined: nothing was promised. */
  readonly target: string | undefined;
  readonly met: boolean | undefined;
  readonly more: string;
  /** Measured as a part of the target; undefined: nothing to draw. */
  readonly part?: number | undefined;
}

function tiles(report: DrillReport): string {
  const { rtoMs, answersMs, rpo, detectionMs, verdicts } = report;
  const rto = report.targets.find(({ name }) => name === 'RTO');
  const allowedMs = rto === undefined ? undefined : boundMs(rto.target);
  const pages = report.targets.filter(({ name }) => name.startsWith('alert '));
  const pageWithinMs = pages[0] === undefined ? undefined : boundMs(pages[0].target);
  const doubled = doubledOf(report);
  const repeats = verdicts.reduce((sum, one) => sum + one.repeats, 0);
  const part = (ms: number | undefined, of: number | undefined) =>
    of === undefined || of === 0 ? undefined : (ms ?? 0) / of;
  const all: readonly Tile[] = [
    {
      title: 'RTO: until it worked again',
      value: rtoMs === undefined ? 'no outage' : seconds(rtoMs),
      target: rto?.target,
      met: rto?.met,
      more: [
        rtoMs === undefined ? 'nobody saw a failure' : 'from the fault to the last failure seen',
        ...(answersMs === undefined ? [] : [`answers of workers: ${seconds(answersMs)}`]),
      ].join('; '),
      part: part(rtoMs, allowedMs),
    },
    {
      title: 'RPO: data lost',
      value: rpo.lost === 0 ? '0 s' : seconds(rpo.oldestLostAgeMs),
      target: '0 lost',
      met: rpo.lost === 0,
      more: `${count(rpo.lost, 'acked message')} lost of ${number(acked(report))}`,
    },
    {
      title: 'Detection: until the page',
      value: detectionMs === undefined ? 'no page' : seconds(detectionMs),
      target: pages[0]?.target,
      met: pages.length === 0 ? undefined : pages.every(({ met }) => met),
      more: pages.length === 0 ? 'none was expected' : 'from the fault to the receiver',
      part: detectionMs === undefined ? undefined : part(detectionMs, pageWithinMs),
    },
    {
      title: 'Duplicates',
      value: number(doubled),
      target: '0',
      met: doubled === 0,
      more:
        repeats === 0
          ? 'nothing took effect twice'
          : `effects that happened twice; ${count(repeats, 'event')} told again, without harm`,
    },
  ];
  return `<ul class="tiles">${all.map(tile).join('')}</ul>`;
}

function tile({ title, value, target, met, more, part }: Tile): string {
  const state = met === undefined ? 'none' : met ? 'good' : 'bad';
  // The target's mark is at the end of the bar, or inside when the bar goes beyond it.
  const full = Math.max(1, part ?? 0);
  const meter =
    part === undefined
      ? ''
      : `<span class="meter"><i style="width:${percent(part / full)}"></i><u style="left:calc(${percent(1 / full)} - 1px)"></u></span>`;
  const wanted =
    target === undefined
      ? ''
      : `target ${escapeHtml(pretty(target))} <em class="${state}">${met ? '✔ met' : '✖ missed'}</em>`;
  return `<li class="tile ${state}"><span class="weak">${escapeHtml(title)}</span><b>${escapeHtml(value)}</b>${meter}<span>${wanted}</span><small>${escapeHtml(more)}</small></li>`;
}

function facts(report: DrillReport): string {
  const { sent, failed, latencyMs } = report;
  const entries = [
    [number(sent), 'requests sent'],
    [number(failed), 'failed for good'],
    [milliseconds(latencyMs.p50), 'p50'],
    [milliseconds(latencyMs.p99), 'p99'],
    [milliseconds(latencyMs.max), 'slowest'],
    [number(findingsOf(report)), findingsOf(report) === 1 ? 'finding of checkers' : 'findings of checkers'],
  ] as const;
  return `<ul class="facts">${entries.map(([value, what]) => `<li><b>${value}</b> ${what}</li>`).join('')}</ul>`;
}

// --- on one time axis

const lookOf: Readonly<Record<Span['row'], { readonly color: string; readonly label: string }>> = {
  load: { color: '#7b8494', label: 'load' },
  fault: { color: '#d64559', label: 'fault' },
  outage: { color: '#e07b1a', label: 'outage' },
  page: { color: '#8f5bbd', label: 'detection' },
  alert: { color: '#3f7ad6', label: 'alert' },
};
const lanesAtMost = 6;

function strip(report: DrillReport, timeline: Timeline): string {
  const { spans } = timeline;
  const lanes = (['load', 'fault', 'outage', 'page', 'alert'] as const).flatMap((row) => {
    const own = spans.filter((span) => span.row === row);
    if (own.length === 0) return [];
    // A few get a lane and words each; many (a soak) share one.
    return own.length > lanesAtMost
      ? [{ row, name: `${count(own.length, lookOf[row].label)}`, spans: own }]
      : own.map((span) => ({ row, name: row === 'alert' ? span.what : lookOf[row].label, spans: [span] }));
  });
  const first = spans.find(({ row }) => row === 'fault');
  const rows = lanes.map(({ row, name, spans: shown }) => {
    const bars = shown.map((span) => bar(span, timeline, shown.length === 1 ? words(span, first) : ''));
    return `<div class="lane"><span title="${escapeHtml(name)}">${escapeHtml(name)}</span><div class="track" style="--at:${lookOf[row].color}">${bars.join('')}</div></div>`;
  });
  return `<div class="axis">${rows.join('')}${plots(report, timeline)}</div>${key(timeline)}`;
}

/** What is said beside a bar; a drill's own fault is where times count from. */
function words({ row, what, fromMs, toMs }: Span, first: Span | undefined): string {
  const lasted = toMs === undefined ? '' : seconds(toMs - fromMs);
  switch (row) {
    case 'load':
      return lasted;
    case 'fault':
      return toMs === fromMs ? what : `${what}, ${lasted}`;
    case 'outage':
      return `${lasted}, ${what.replace('the last failure was seen by', 'last seen by')}`;
    case 'page':
      return lasted;
    case 'alert': {
      const after = first === undefined ? '' : `after ${seconds(fromMs - first.fromMs)}, `;
      return toMs === undefined ? `${after}still firing at the end` : `${after}for ${lasted}`;
    }
  }
}

const letterPx = 6.4;

function bar({ fromMs, toMs }: Span, timeline: Timeline, said: string): string {
  const length = timeline.toMs - timeline.fromMs;
  const at = (ms: number) => Math.min(1, Math.max(0, (ms - timeline.fromMs) / length));
  const [left, right] = [at(fromMs), at(toMs ?? timeline.toMs)];
  const open = toMs === undefined || toMs > timeline.toMs;
  const shape = `<i${open ? ' class="open"' : ''} style="left:${percent(left)};width:${percent(right - left)}"></i>`;
  if (said === '') return shape;
  // Inside a bar that is long enough on a wide page, else on the side that has more room.
  const place =
    right - left > (said.length * letterPx + 12) / 850
      ? `class="in" style="left:${percent(left)};max-width:${percent(right - left)}"`
      : 1 - right >= left
        ? `style="left:${percent(right)};max-width:${percent(1 - right)}"`
        : `style="right:${percent(1 - left)};max-width:${percent(left)}"`;
  return `${shape}<span ${place}>${escapeHtml(said)}</span>`;
}

interface Plot {
  readonly title: string;
  readonly about: string;
  readonly curves: readonly Curve[];
  readonly defaults: FieldDefaults;
}

/** Charts of everything that the runner has measured; a curve that none of the first ones wants is drawn at the end. */
function plotsOf(report: DrillReport): readonly Plot[] {
  // Where nobody was asked anything, lines of zeros would look like a perfect result.
  const idle = report.curves
    .filter(({ name, points }) => name.endsWith(' sent') && points.every(({ value }) => value === 0))
    .map(({ name }) => name.slice(0, -'sent'.length));
  const curves = report.curves.filter(({ name }) => !idle.some((prefix) => name.startsWith(prefix)));
  const failing = ({ name, unit }: Curve) => unit !== 'ms' && unit !== 's' && /fail|error|refus/i.test(name);
  const counted = curves.filter((curve) => curve.unit === 'per second' && !failing(curve));
  const limits = [
    { value: null, color: 'text' },
    { value: probeRules.goodWithinMs, color: 'red' },
  ];
  const dashed = { thresholdsStyle: { mode: 'dashed' } } as const;
  const plots: readonly Plot[] = [
    {
      title: 'Throughput',
      about: 'per second',
      // What probes and receivers of answers have asked for is no load.
      curves: counted.filter(({ name }) => !/^(probes|answers) sent$/.test(name)),
      defaults: { unit: 'short', min: 0 },
    },
    {
      title: 'Failures',
      about: 'per second, later made good or not',
      curves: curves.filter(failing),
      defaults: { unit: 'short', min: 0, custom: { fillOpacity: 18 } },
    },
    {
      title: 'Latency',
      about: `log scale; above the red line (${seconds(probeRules.goodWithinMs)}) it counts as a failure`,
      curves: curves.filter(({ name, unit }) => unit === 'ms' && !/^(probes|answers) .*p50$/.test(name)),
      defaults: {
        unit: 'ms',
        thresholds: { steps: limits },
        custom: { ...dashed, scaleDistribution: { type: 'log' } },
      },
    },
    {
      title: 'Lag',
      about: 'seconds that consumers are behind',
      curves: curves.filter(({ name, unit }) => unit === 's' && /lag/i.test(name)),
      defaults: { unit: 's', min: 0, custom: { fillOpacity: 10 } },
    },
    {
      title: 'More times',
      about: 'seconds',
      curves: curves.filter(({ name, unit }) => unit === 's' && !/lag/i.test(name)),
      defaults: { unit: 's', min: 0, custom: { fillOpacity: 10 } },
    },
    {
      title: 'Counts',
      about: '',
      curves: curves.filter((curve) => curve.unit === 'count' && !failing(curve)),
      defaults: { unit: 'short', min: 0 },
    },
  ];
  return plots.flatMap((plot) => {
    const drawn = plot.curves.filter(({ points }) => points.length > 0);
    const [only] = drawn;
    const title = plot.title === 'More times' && drawn.length === 1 ? capital(only!.name) : plot.title;
    return drawn.length === 0 ? [] : [{ ...plot, title, curves: drawn }];
  });
}

/** For both widths that a page may have; `sides` are those of its style, in parts of the width. */
const sizes = [
  { className: 'wide', width: 930, height: 150, left: 0.065, right: 0.03 },
  { className: 'narrow', width: 360, height: 150, left: 0.15, right: 0.07 },
] as const;

function plots(report: DrillReport, timeline: Timeline): string {
  const bands = bandsOf(timeline);
  const marks = marksOf(report, timeline);
  return plotsOf(report)
    .map(({ title, about, curves, defaults }) => {
      const series = curves.map((curve, index) => seriesOf(curve, index, timeline));
      const legend = series.map(
        ({ name, color }) =>
          `<li><i style="background:${color}"></i>${escapeHtml(name.replace(' latency ', ' '))}</li>`,
      );
      const charts = sizes.map(({ className, width, height, left, right }) => {
        const sides = { left: width * left, right: width * right };
        const options = { defaults, window: timeline, marks, bands, sides, exemplars: [] };
        return `<div class="${className}">${lines(series, { ...options, size: { width, height } })}</div>`;
      });
      return `<div class="plot"><div><h3>${escapeHtml(title)}</h3><p>${escapeHtml(about)}</p><ul>${legend.join('')}</ul></div><div>${charts.join('')}</div></div>`;
    })
    .join('');
}

const colors: readonly (readonly [name: RegExp, color: string])[] = [
  [/^load sent|p50/, '#8e8e98'],
  [/^load/, '#3f7ad6'],
  [/^probes/, '#ff9830'],
  [/^answers/, '#b877d9'],
  [/^coupons|lag/i, '#56a64b'],
  [/^orders/, '#d8a200'],
  [/outage/, '#f2495c'],
];
const pointsAtMost = 450;

/** Thinned to what can be seen, and broken where nothing was measured. */
function seriesOf({ name, unit, points }: Curve, index: number, { fromMs, toMs }: Timeline): Series {
  const inside = points.filter(({ atMs }) => atMs >= fromMs && atMs <= toMs);
  const together = Math.max(1, Math.ceil(inside.length / pointsAtMost));
  const thinned = Array.from({ length: Math.ceil(inside.length / together) }, (_, at) => {
    const part = inside.slice(at * together, (at + 1) * together).map(({ value }) => value);
    // A second of failures must still be seen in an hour: only throughput is averaged.
    const average = unit === 'per second' && !/fail|error/i.test(name);
    const value = average ? part.reduce((sum, one) => sum + one, 0) / part.length : Math.max(...part);
    return [inside[at * together]!.atMs, value] as const;
  });
  const steps = thinned.slice(1).map(([atMs], at) => atMs - thinned[at]![0]);
  const usualMs = [...steps].sort((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
  return {
    name,
    labels: {},
    color: colors.find(([pattern]) => pattern.test(name))?.[1] ?? lineColor(index),
    points: thinned.flatMap(([atMs, value], at): Series['points'] =>
      (steps[at] ?? 0) > usualMs * 2.5
        ? [
            [atMs, value],
            [atMs + usualMs, null],
          ]
        : [[atMs, value]],
    ),
  };
}

/** Spans that overlap are one band, or their ground would grow darker. */
function bandsOf({ spans }: Timeline): readonly Band[] {
  return (['fault', 'outage'] as const).flatMap((wanted) => {
    const bands: Band[] = [];
    for (const { fromMs, toMs = fromMs } of spans
      .filter(({ row }) => row === wanted)
      .sort((a, b) => a.fromMs - b.fromMs)) {
      const last = bands.at(-1);
      if (toMs <= fromMs) continue;
      if (last === undefined || fromMs > last.toMs)
        bands.push({ fromMs, toMs, color: wanted === 'fault' ? 'red' : 'orange' });
      else bands[bands.length - 1] = { ...last, toMs: Math.max(last.toMs, toMs) };
    }
    return bands;
  });
}

const markOf: Partial<Record<DrillEvent['kind'], string>> = {
  fault: 'red',
  heal: 'green',
  recovered: 'orange',
  detected: 'purple',
};
const marksAtMost = 40;

function marksOf({ events }: DrillReport, { fromMs, toMs }: Timeline): readonly Mark[] {
  const marks = events.flatMap(({ atMs, kind, what }) => {
    const color = markOf[kind];
    return color === undefined || atMs < fromMs || atMs > toMs ? [] : [{ timeMs: atMs, text: what, color }];
  });
  // In a soak the bands say it; lines everywhere would hide the curves.
  return marks.length > marksAtMost ? [] : marks;
}

function key({ spans }: Timeline): string {
  if (!spans.some(({ row }) => row === 'fault')) return '';
  const dash = (color: string, what: string) =>
    `<li><i class="dash" style="border-color:${colorOf(color)}"></i>${what}</li>`;
  const band = (color: string, what: string) =>
    `<li><i class="band" style="background:${colorOf(color)}"></i>${what}</li>`;
  return `<ul class="key">${band('red', 'broken')}${band('orange', 'outage')}${dash('red', 'fault')}${dash('green', 'healed')}${dash('orange', 'recovered')}${dash('purple', 'page received')}<li>times are UTC</li></ul>`;
}

// --- tables

function targets(report: DrillReport): string {
  const rows = report.targets.map(
    ({ name, target, measured, met }) =>
      `<tr><td class="t ${met ? 'good' : 'bad'}">${met ? '✔ met' : '✖ missed'}</td><td>${escapeHtml(name)}</td><td class="t">${escapeHtml(pretty(target))}</td><td><b>${escapeHtml(measured)}</b></td></tr>`,
  );
  return `<h2>Targets</h2>${table(['', 'what', 'target', 'measured'], rows)}`;
}

/** What clients saw of a change, who ask once. */
function requests(report: DrillReport): string {
  if (report.requests === undefined) return '';
  const rows = report.requests.map(({ phase, of, sent, failed, problems, p50Ms, p99Ms }) => {
    const why = Object.entries(problems).map(([problem, times]) => `${times} ${problem}`);
    const name = of === 'all' ? '<b>all</b>' : escapeHtml(of);
    return `<tr><td>${escapeHtml(phase)}</td><td>${name}</td><td class="n">${number(sent)}</td><td class="n ${failed === 0 ? '' : 'bad'}">${number(failed)}</td><td>${escapeHtml(why.join(', '))}</td><td class="n">${milliseconds(p50Ms)}</td><td class="n">${milliseconds(p99Ms)}</td></tr>`;
  });
  const head = ['', 'requests', 'n:sent', 'n:failed', 'why', 'n:p50', 'n:p99'];
  return `<h2>Requests before, while and after the change, each try counted</h2>${table(head, rows)}`;
}

function alerts(report: DrillReport): string {
  if (report.alerts.length === 0)
    return '<h2>Alerts received</h2><div class="box"><p class="weak">None arrived at a receiver.</p></div>';
  const zeroMs = zeroOf(report);
  const rows = [...report.alerts]
    .sort((a, b) => a.firedAtMs - b.firedAtMs)
    .map(
      ({ name, receiver, firedAtMs, resolvedAtMs }) =>
        `<tr><td><b>${escapeHtml(name)}</b></td><td>${escapeHtml(receiver)}</td><td class="t">${clock(firedAtMs)}</td><td class="n">${relative(firedAtMs - zeroMs)}</td><td class="t">${resolvedAtMs === undefined ? '<span class="weak">not before the end</span>' : `${clock(resolvedAtMs)}, after ${seconds(resolvedAtMs - firedAtMs)}`}</td></tr>`,
    );
  return `<h2>Alerts received</h2>${table(['alert', 'receiver', 'arrived', 'n:since the fault', 'resolved'], rows)}`;
}

const findingsShown = 8;

function findings(report: DrillReport): string {
  const env = report.environment === 'dev' ? '' : `--env ${report.environment} `;
  const row = ({ kind, id, detail, traceId }: Finding) =>
    `<tr><td><span class="pill">${escapeHtml(kind)}</span></td><td><code>${escapeHtml(id)}</code></td><td>${escapeHtml(detail)}</td><td>${traceId === undefined ? '<span class="weak">no trace</span>' : `<code>./muster ${escapeHtml(env)}trace ${escapeHtml(traceId)}</code>`}</td></tr>`;
  const head = ['finding', 'id', 'what is wrong', 'look at it'];
  const parts = report.verdicts.map((verdict) => {
    const { subject, findings: found } = verdict;
    const kinds = [...countByKind(found)].map(([kind, times]) => `${number(times)} ${kind}`);
    const said = `${answersFor(verdict)}: `;
    const result =
      found.length === 0
        ? '<b class="good">✔ nothing to find</b>'
        : `<b class="bad">✖ ${escapeHtml(kinds.join(', '))}</b>`;
    const rest = found.slice(findingsShown);
    const shown = found.length === 0 ? '' : table(head, found.slice(0, findingsShown).map(row), 'stacked');
    const more =
      rest.length === 0
        ? ''
        : `<details><summary>${number(rest.length)} more</summary>${table(head, rest.map(row), 'stacked')}</details>`;
    return `<div class="box" style="margin-bottom:10px"><p><b>${escapeHtml(subject)}</b> <span class="weak">${said}</span>${result}</p>${shown}${more}</div>`;
  });
  const none =
    parts.length === 0 ? '<div class="box"><p class="weak">No checker has judged this run.</p></div>' : '';
  return `<h2>What checkers found</h2><p class="weak" style="margin:0 0 8px">They know what was sent and acked, and read every output to its end.</p>${parts.join('')}${none}`;
}

const eventColor: Readonly<Record<DrillEvent['kind'], string>> = {
  load: 'var(--muster-text-weak)',
  fault: 'var(--bad)',
  heal: 'var(--good)',
  detected: '#9f6bcd',
  alert: '#3f7ad6',
  recovered: 'var(--good)',
  check: 'var(--muster-text-weak)',
  note: 'var(--warn)',
};
const eventsShown = 40;

function log(report: DrillReport): string {
  const zeroMs = zeroOf(report);
  const rows = [...report.events]
    .sort((a, b) => a.atMs - b.atMs)
    .map(
      ({ atMs, kind, what }) =>
        `<tr><td class="t">${clock(atMs)}</td><td class="n">${relative(atMs - zeroMs)}</td><td class="kind" style="--at:${eventColor[kind] ?? 'inherit'}">${escapeHtml(kind)}</td><td>${escapeHtml(what)}</td></tr>`,
    );
  const all = table(['time', 'n:since the fault', 'kind', 'what'], rows, 'box events');
  return rows.length > eventsShown
    ? `<h2>Events</h2><details><summary>${rows.length} events</summary>${all}</details>`
    : `<h2>Events</h2>${all}`;
}

function context(report: DrillReport): string {
  const entries = Object.entries(report.context).map(
    ([name, value]) => `<dt>${escapeHtml(name)}</dt><dd>${escapeHtml(value)}</dd>`,
  );
  return `<h2>Where it ran</h2><div class="box"><dl>${entries.join('')}</dl></div>`;
}

/** Heads that begin with `n:` are those of numbers. */
function table(head: readonly string[], rows: readonly string[], looks = 'box'): string {
  const titles = head.map((title) =>
    title.startsWith('n:') ? `<th class="n">${title.slice(2)}</th>` : `<th>${title}</th>`,
  );
  return `<div class="${looks}"><div class="scroll"><table><thead><tr>${titles.join('')}</tr></thead><tbody>${rows.join('')}</tbody></table></div></div>`;
}

// --- figures

const percent = (share: number): string => `${(share * 100).toFixed(2)}%`;
const number = (value: number): string => value.toLocaleString('en-GB');
const count = (value: number, what: string): string => `${number(value)} ${what}${value === 1 ? '' : 's'}`;
const capital = (text: string): string => text.charAt(0).toUpperCase() + text.slice(1);
const pretty = (target: string): string => target.replaceAll('<=', '≤').replaceAll('>=', '≥');
const milliseconds = (ms: number): string => (ms >= 10_000 ? seconds(ms) : `${number(Math.round(ms))} ms`);
const clock = (atMs: number): string => new Date(atMs).toISOString().slice(11, 23);
const relative = (ms: number): string => `${ms < 0 ? '−' : '+'}${seconds(Math.abs(ms))}`;
const acked = ({ verdicts }: DrillReport): number => verdicts.reduce((sum, one) => sum + one.acked, 0);
