/**
 * Charts as SVG text, by hand: a server that answers clients draws them too, and ECharts took 119 MB and tens of ms a chart. They
 * have no style of their own but attributes, which every page's policy allows. Sizes in pixels. Pure.
 */
import { colorOf, lineColor, themed } from './colors.ts';
import { escapeHtml } from './markup.ts';
import type { Band, Exemplar, FieldDefaults, Mark, Series } from './model.ts';
import type { Window } from './prometheus.ts';
import { format } from './units.ts';

export interface Size {
  readonly width: number;
  readonly height: number;
}

const fontSize = 11;
/** About as wide as the page's font draws it. */
const widthOf = (text: string) => text.length * 6.2;
const at = (pixels: number) => String(Math.round(pixels * 10) / 10);

/** Where things lie in a chart. */
interface Plane {
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const text = (content: string, x: number, y: number, anchor: 'start' | 'middle' | 'end') =>
  `<text x="${at(x)}" y="${at(y)}" font-size="${fontSize}" text-anchor="${anchor}" fill="${themed.text}">${escapeHtml(content)}</text>`;
const line = (x1: number, y1: number, x2: number, y2: number, look: string) =>
  `<path d="M${at(x1)} ${at(y1)}L${at(x2)} ${at(y2)}" fill="none" ${look}/>`;
const faint = `stroke="${themed.faint}"`;

/** The labels below a chart that have room beside each other. */
function labelsBelow(
  all: readonly (readonly [x: number, label: string])[],
  { bottom }: Plane,
  width: number,
) {
  let free = 0;
  return all.map(([x, label]) => {
    const half = widthOf(label) / 2;
    if (x - half < free || x + half > width) return '';
    free = x + half + 8;
    return text(label, x, bottom + 15, 'middle');
  });
}

const svgOf = ({ width, height }: Size, label: string, parts: readonly string[], role = 'img') =>
  `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${at(width)} ${at(height)}" role="${role}" aria-label="${escapeHtml(label)}">${parts.join('')}</svg>`;

const twoDigits = (value: number) => String(value).padStart(2, '0');

/** `08:31`, with seconds in a short window and the day in a long one. */
function clock(timeMs: number, { fromMs, toMs }: Window): string {
  const date = new Date(timeMs);
  const minutes = `${twoDigits(date.getUTCHours())}:${twoDigits(date.getUTCMinutes())}`;
  if (toMs - fromMs <= 10 * 60_000) return `${minutes}:${twoDigits(date.getUTCSeconds())}`;
  if (toMs - fromMs > 2 * 86_400_000)
    return `${twoDigits(date.getUTCMonth() + 1)}-${twoDigits(date.getUTCDate())} ${minutes}`;
  return minutes;
}

/** Round moments of a window, as far apart as their labels need. */
function momentsOf(window: Window, width: number): readonly number[] {
  const steps = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
  ];
  const wanted = (window.toMs - window.fromMs) / Math.max(2, width / 75);
  const interval = (steps.find((step) => step * 1000 >= wanted) ?? 604_800) * 1000;
  const whole: number[] = [];
  for (let ms = Math.ceil(window.fromMs / interval) * interval; ms <= window.toMs; ms += interval)
    whole.push(ms);
  return whole;
}

/** A round distance between lines: of 1024s for bytes, of minutes for long times, else of tens. */
function roundStep(span: number, unit: string, lines: number): number {
  const rough = span / lines;
  if (unit === 'bytes') return 2 ** Math.ceil(Math.log2(rough));
  if ((unit === 's' && rough > 45) || (unit === 'ms' && rough > 45_000)) {
    const scale = unit === 's' ? 1 : 1000;
    const steps = [60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 604_800];
    return (steps.find((step) => step * scale >= rough) ?? 2_592_000) * scale;
  }
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 2.5, 5, 10].find((step) => step * power >= rough) ?? 10) * power;
}

/** A number at an axis: without zeros at its end. */
function tick(value: number, unit: string): string {
  return format(Number(value.toPrecision(12)), unit)
    .replace(/(\.\d*?)0+(?=\D|$)/, '$1')
    .replace(/\.(?=\D|$)/, '');
}

interface Axis {
  readonly min: number;
  readonly max: number;
  readonly ticks: readonly number[];
  readonly labelOf: (value: number) => string;
  /** How far up a value is, 0 to 1. */
  readonly shareOf: (value: number) => number;
}

const inside = (share: number) => Math.min(1, Math.max(0, share));

function logAxis(all: readonly number[], unit: string): Axis {
  const positive = all.filter((value) => value > 0);
  const low = Math.floor(Math.log10(Math.min(1, ...positive)));
  const high = Math.ceil(Math.log10(Math.max(10, ...positive)));
  return {
    min: 10 ** low,
    max: 10 ** high,
    ticks: Array.from({ length: high - low + 1 }, (_, index) => 10 ** (low + index)),
    // Tens of seconds, where minutes would be odd numbers.
    labelOf: (value) => (unit === 'ms' && value >= 60_000 ? `${value / 1000} s` : tick(value, unit)),
    shareOf: (value) => inside((Math.log10(value) - low) / (high - low)),
  };
}

function valueAxis(
  all: readonly number[],
  { unit = 'short', min, max, custom }: FieldDefaults,
  height: number,
): Axis {
  if (custom?.scaleDistribution?.type === 'log') return logAxis(all, unit);
  const low = min ?? Math.min(...all);
  const top = max ?? Math.max(...all);
  // A line of zeros lies on the ground of an axis that goes up to one.
  const high = top > low ? top : low + (unit === 'none' || unit === 'short' || low === 0 ? 1 : Math.abs(low));
  const step = roundStep(high - low, unit, Math.max(2, Math.floor(height / 45)));
  const bottom = min ?? Math.floor(low / step) * step;
  const ceiling =
    max !== undefined && max > bottom ? max : bottom + Math.ceil((high - bottom) / step - 1e-9) * step;
  const count = Math.floor((ceiling - bottom) / step + 1e-9);
  return {
    min: bottom,
    max: ceiling,
    ticks: Array.from({ length: count + 1 }, (_, index) => bottom + index * step),
    labelOf: (value) => tick(value, unit),
    shareOf: (value) => inside((value - bottom) / (ceiling - bottom)),
  };
}

export interface LinesOptions {
  readonly defaults: FieldDefaults;
  readonly window: Window;
  readonly marks: readonly Mark[];
  /** Spans of time with a tinted ground. */
  readonly bands?: readonly Band[];
  /** Room at both sides, so that charts below each other share their time axis; without it what labels need. */
  readonly sides?: { readonly left: number; readonly right: number };
  readonly exemplars: readonly Exemplar[];
  /** Where a trace is to be seen; without it exemplars lead nowhere. */
  readonly linkOf?: ((traceId: string) => string) | undefined;
  readonly size: Size;
}

type Point = readonly [x: number, y: number];

/** A series as it is drawn: what is missing is a gap. */
interface Curve {
  readonly color: string;
  readonly runs: readonly {
    readonly top: readonly Point[];
    /** What it stands on, from left to right. */
    readonly ground: readonly Point[];
  }[];
}

/** Lines over time; those that are stacked lie on top of each other in the given order. */
export function lines(series: readonly Series[], options: LinesOptions): string {
  const { defaults, window, marks, exemplars, size, bands = [], sides, linkOf } = options;
  const { custom } = defaults;
  const isStacked = custom?.stacking?.mode === 'normal';
  const isLogarithmic = custom?.scaleDistribution?.type === 'log';
  const values = isStacked
    ? stackTops(series)
    : series.flatMap(({ points }) => points.map(([, value]) => value));
  const shown = exemplars.filter(([, value]) => !isLogarithmic || value > 0);
  const numbers = values.filter((value): value is number => value !== null);
  // An outlier among the exemplars must not flatten the lines: it is drawn at the top.
  const highest = Math.max(...numbers, 0);
  const all = [...numbers, ...shown.map(([, value]) => Math.min(value, highest * 1.6))];
  const axis = valueAxis(all.length === 0 ? [0] : all, defaults, size.height);
  const labelWidth = Math.max(...axis.ticks.map((value) => widthOf(axis.labelOf(value))));
  const plane: Plane = {
    left: sides?.left ?? labelWidth + 14,
    right: size.width - (sides?.right ?? 20),
    top: 10,
    bottom: size.height - (sides === undefined ? 20 : 24),
  };
  const x = (ms: number) =>
    plane.left + inside((ms - window.fromMs) / (window.toMs - window.fromMs)) * (plane.right - plane.left);
  const y = (value: number) => plane.bottom - axis.shareOf(value) * (plane.bottom - plane.top);
  const isInside = (ms: number) => ms >= window.fromMs && ms <= window.toMs;
  const moments = momentsOf(window, size.width);
  const limits = custom?.thresholdsStyle?.mode === 'dashed' ? (defaults.thresholds?.steps ?? []) : [];
  return svgOf(
    size,
    lastOf(series, defaults),
    [
      ...bands.map(
        ({ fromMs, toMs, color }) =>
          `<rect x="${at(x(fromMs))}" y="${plane.top}" width="${at(x(toMs) - x(fromMs))}" height="${at(plane.bottom - plane.top)}" fill="${colorOf(color)}" fill-opacity=".12"/>`,
      ),
      ...axis.ticks.map((value) => line(plane.left, y(value), plane.right, y(value), faint)),
      ...axis.ticks.map((value) => text(axis.labelOf(value), plane.left - 8, y(value) + 4, 'end')),
      ...moments.map((ms) => line(x(ms), plane.top, x(ms), plane.bottom, faint)),
      ...labelsBelow(
        moments.map((ms) => [x(ms), clock(ms, window)]),
        plane,
        size.width,
      ),
      ...curvesOf(series, { x, y, axis, isStacked, isLogarithmic }).map((curve) =>
        drawCurve(curve, custom?.fillOpacity ?? 0),
      ),
      ...marks
        .filter(({ timeMs }) => isInside(timeMs))
        .map(({ timeMs, color }) => {
          const look = `stroke="${colorOf(color)}" stroke-dasharray="4 3" stroke-opacity=".8"`;
          return line(x(timeMs), plane.top, x(timeMs), plane.bottom, look);
        }),
      ...limits
        .filter(({ value, color }) => value !== null && value <= axis.max && color !== 'text')
        .map(({ value, color }) => {
          const look = `stroke="${colorOf(color)}" stroke-width="1.2" stroke-dasharray="4 3" stroke-opacity=".9"`;
          return line(plane.left, y(value!), plane.right, y(value!), look);
        }),
      ...shown
        .filter(([timeMs]) => isInside(timeMs))
        .map(([timeMs, value, traceId]) => {
          const diamond = `<path d="M${at(x(timeMs))} ${at(y(value) - 4)}l4 4l-4 4l-4 -4z" fill="#8ab8ff" fill-opacity=".85"/>`;
          if (linkOf === undefined || traceId === undefined) return diamond;
          const name = `trace: ${format(value, defaults.unit ?? 'short')} at ${clock(timeMs, window)}`;
          // By the keyboard traces are found in a list: dozens of diamonds would be dozens of stops.
          return `<a href="${escapeHtml(linkOf(traceId))}" tabindex="-1" aria-label="${escapeHtml(name)}">${diamond}</a>`;
        }),
    ],
    linkOf === undefined ? 'img' : 'group',
  );
}

/** What the lines end at, for who cannot see them. */
function lastOf(series: readonly Series[], { unit = 'short' }: FieldDefaults): string {
  return series
    .map(({ name, points }) => {
      const value = points.findLast(([, one]) => one !== null)?.[1] ?? undefined;
      return `${name} ${value === undefined ? 'nothing' : format(value, unit)}`;
    })
    .join(', ');
}

function curvesOf(
  series: readonly Series[],
  on: {
    readonly x: (ms: number) => number;
    readonly y: (value: number) => number;
    readonly axis: Axis;
    readonly isStacked: boolean;
    readonly isLogarithmic: boolean;
  },
): readonly Curve[] {
  const ground = on.isLogarithmic ? on.axis.min : Math.max(on.axis.min, Math.min(0, on.axis.max));
  const stack: number[] = [];
  return series.map(({ points, color }, index) => {
    const runs: { top: Point[]; ground: Point[] }[] = [];
    let run: (typeof runs)[number] | undefined;
    points.forEach(([ms, value], step) => {
      if (value === null || (on.isLogarithmic && value <= 0)) {
        run = undefined;
        return;
      }
      if (run === undefined) {
        run = { top: [], ground: [] };
        runs.push(run);
      }
      const below = on.isStacked ? (stack[step] ?? 0) : 0;
      if (on.isStacked) stack[step] = below + value;
      run.top.push([on.x(ms), on.y(below + value)]);
      run.ground.push([on.x(ms), on.y(on.isStacked ? below : ground)]);
    });
    return { color: color ?? lineColor(index), runs };
  });
}

const pathOf = (points: readonly Point[]) => points.map(([x, y]) => `${at(x)} ${at(y)}`).join('L');

function drawCurve({ color, runs }: Curve, fillOpacity: number): string {
  return runs
    .map(({ top, ground }) => {
      // A point without neighbours would not be seen as a line.
      if (top.length === 1)
        return `<circle cx="${at(top[0]![0])}" cy="${at(top[0]![1])}" r="2" fill="${color}"/>`;
      const area =
        fillOpacity === 0
          ? ''
          : `<path d="M${pathOf(top)}L${pathOf(ground.toReversed())}Z" fill="${color}" fill-opacity="${fillOpacity / 100}"/>`;
      return `${area}<path d="M${pathOf(top)}" fill="none" stroke="${color}" stroke-width="1.4" stroke-linejoin="round"/>`;
    })
    .join('');
}

function stackTops(series: readonly Series[]): number[] {
  const length = series[0]?.points.length ?? 0;
  return Array.from({ length }, (_, index) =>
    series.reduce((sum, { points }) => sum + (points[index]?.[1] ?? 0), 0),
  );
}

/** A course without axes, for behind a number. Fills its box. */
export function sparkline(series: Series): string {
  const values = series.points.map(([, value]) => value);
  const numbers = values.filter((value): value is number => value !== null);
  if (numbers.length < 2) return '';
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const at = (value: number) => (high === low ? 30 : 36 - ((value - low) / (high - low)) * 32).toFixed(1);
  const points = values.flatMap((value, index) =>
    value === null ? [] : [`${((index / (values.length - 1)) * 100).toFixed(2)} ${at(value)}`],
  );
  const first = points[0]!.split(' ')[0];
  const last = points.at(-1)!.split(' ')[0];
  return `<svg class="spark" viewBox="0 0 100 40" preserveAspectRatio="none" aria-hidden="true"><path d="M${first} 40 L${points.join(' L')} L${last} 40 Z" fill="#fff" fill-opacity=".16"/><path d="M${points.join(' L')}" fill="none" stroke="#fff" stroke-opacity=".5" stroke-width="1.2" vector-effect="non-scaling-stroke"/></svg>`;
}

/** A part of a circle's line from the left, over the top: of 220 degrees, from one share of them to another. */
function arc([x, y]: Point, radius: number, from: number, to: number, look: string): string {
  const point = (share: number): Point => {
    const angle = ((200 - 220 * share) * Math.PI) / 180;
    return [x + radius * Math.cos(angle), y - radius * Math.sin(angle)];
  };
  const [begin, end] = [point(from), point(to)];
  const isLong = (to - from) * 220 > 180 ? 1 : 0;
  return `<path d="M${pathOf([begin])}A${at(radius)} ${at(radius)} 0 ${isLong} 1 ${pathOf([end])}" fill="none" ${look}/>`;
}

/** A value on a dial with the colours of its thresholds around it. */
export function dial(value: number, defaults: FieldDefaults, size: Size): string {
  const { min = 0, max = 1, unit = 'short', decimals } = defaults;
  const steps = defaults.thresholds?.steps ?? [];
  const share = (bound: number) => inside((bound - min) / (max - min));
  const color = colorOf(
    steps.findLast((step) => step.value === null || value >= step.value)?.color ?? 'blue',
  );
  const center: Point = [size.width / 2, size.height * 0.68];
  const radius = Math.min(size.width / 2 - 16, size.height * 0.62);
  const width = radius * 0.26;
  const letters = Math.max(18, radius * 0.3);
  const written = format(value, unit, decimals);
  return svgOf(size, written, [
    arc(center, radius - width / 2, 0, 1, `stroke="${themed.faint}" stroke-width="${at(width)}"`),
    arc(center, radius - width / 2, 0, share(value), `stroke="${color}" stroke-width="${at(width)}"`),
    ...steps.map((step, index) => {
      const look = `stroke="${colorOf(step.color)}" stroke-width="4"`;
      return arc(center, radius + 6, share(step.value ?? min), share(steps[index + 1]?.value ?? max), look);
    }),
    `<text x="${at(center[0])}" y="${at(center[1] + letters * 0.1)}" font-size="${at(letters)}" font-weight="500" text-anchor="middle" fill="${themed.strong}">${escapeHtml(written)}</text>`,
  ]);
}

/** How values spread over time: `series` are cumulative buckets with their upper bound as label `le`. */
export function heat(
  series: readonly Series[],
  window: Window,
  unit: string,
  size: Size,
): string | undefined {
  const bounds = [...series]
    .map((bucket) => ({ bucket, le: Number(bucket.labels.le === '+Inf' ? 'Infinity' : bucket.labels.le) }))
    .sort((a, b) => a.le - b.le);
  const counts = bounds.map(({ bucket }, index) =>
    bucket.points.map(([, value], step) =>
      value === null ? 0 : Math.max(0, value - (bounds[index - 1]?.bucket.points[step]?.[1] ?? 0)),
    ),
  );
  const used = counts.map((row) => row.some((count) => count > 0.01));
  const lowest = used.indexOf(true);
  if (lowest === -1) return undefined;
  const from = Math.max(0, lowest - 1);
  const rows = bounds.slice(from, used.lastIndexOf(true) + 2).map(({ le }) => tick(le, unit));
  const times = bounds[0]!.bucket.points.map(([time]) => time);
  // Wide enough to be seen: several steps make a cell.
  const together = Math.max(1, Math.ceil(times.length / Math.max(10, size.width / 9)));
  const columns = Math.ceil(times.length / together);
  const cells = rows.flatMap((_, row) =>
    Array.from({ length: columns }, (_, column) => {
      const part = counts[from + row]!.slice(column * together, (column + 1) * together);
      return { row, column, count: part.reduce((sum, count) => sum + count, 0) };
    }).filter(({ count }) => count > 0.01),
  );
  const most = Math.max(...cells.map(({ count }) => count));
  const plane: Plane = {
    left: Math.max(...rows.map(widthOf)) + 14,
    right: size.width - 20,
    top: 10,
    bottom: size.height - 20,
  };
  const [width, height] = [(plane.right - plane.left) / columns, (plane.bottom - plane.top) / rows.length];
  const every = Math.max(1, Math.ceil(fontSize / height));
  return svgOf(size, `from ${rows[0]} to ${rows.at(-1)}`, [
    ...rows.map((label, row) =>
      row % every === 0 ? text(label, plane.left - 8, plane.bottom - (row + 0.5) * height + 4, 'end') : '',
    ),
    ...Array.from({ length: rows.length + 1 }, (_, row) =>
      line(plane.left, plane.bottom - row * height, plane.right, plane.bottom - row * height, faint),
    ),
    ...labelsBelow(
      Array.from({ length: columns }, (_, column) => [
        plane.left + (column + 0.5) * width,
        clock(times[column * together]!, window),
      ]),
      plane,
      size.width,
    ),
    ...cells.map(
      ({ row, column, count }) =>
        `<rect x="${at(plane.left + column * width + 0.5)}" y="${at(plane.bottom - (row + 1) * height + 0.5)}" width="${at(Math.max(1, width - 1))}" height="${at(Math.max(1, height - 1))}" fill="#ff780a" fill-opacity="${(0.12 + 0.88 * Math.sqrt(count / most)).toFixed(2)}"/>`,
    ),
  ]);
}
