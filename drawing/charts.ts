/** Charts as SVG text, by ECharts on the server. Sizes in pixels. Pure. */
import * as echarts from 'echarts';
import { colorOf, lineColor, themed, themedSvg } from './colors.ts';
import type { Band, FieldDefaults, Mark, Series } from './model.ts';
import type { Window } from './prometheus.ts';
import { format } from './units.ts';

export interface Size {
  readonly width: number;
  readonly height: number;
}

const font = 'Inter, "Helvetica Neue", Arial, sans-serif';
const label = { color: themed.text, fontSize: 11, fontFamily: font } as const;

function svgOf(option: echarts.EChartsCoreOption, { width, height }: Size): string {
  const chart = echarts.init(null, null, { renderer: 'svg', ssr: true, width, height });
  try {
    chart.setOption({ animation: false, useUTC: true, textStyle: { fontFamily: font }, ...option });
    return themedSvg(chart.renderToSVGString({ useViewBox: true }))
      .replace(/<svg width="\d+" height="\d+"/, '<svg class="chart"')
      .replace(/<rect [^>]*fill="(?:none|transparent)"[^>]*><\/rect>/, '');
  } finally {
    chart.dispose();
  }
}

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

function timeAxis(window: Window, { width }: Size): echarts.EChartsCoreOption {
  const steps = [
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800,
  ];
  const wanted = (window.toMs - window.fromMs) / Math.max(2, width / 75);
  const interval = (steps.find((step) => step * 1000 >= wanted) ?? 604_800) * 1000;
  const whole: number[] = [];
  for (let ms = Math.ceil(window.fromMs / interval) * interval; ms <= window.toMs; ms += interval)
    whole.push(ms);
  return {
    type: 'value',
    // Not 'time': its ticks are unevenly spaced in narrow charts.
    min: window.fromMs,
    max: window.toMs,
    axisLabel: {
      ...label,
      hideOverlap: true,
      customValues: whole,
      formatter: (value: number) => clock(value, window),
    },
    axisLine: { show: false },
    axisTick: { show: true, length: 0, customValues: whole },
    splitLine: { show: true, lineStyle: { color: themed.faint, width: 1 } },
  };
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

function valueAxis(
  all: readonly number[],
  { unit = 'short', min, max, custom }: FieldDefaults,
  { height }: Size,
): echarts.EChartsCoreOption {
  const common = {
    axisLine: { show: false },
    axisTick: { show: false },
    splitLine: { show: true, lineStyle: { color: themed.faint, width: 1 } },
  };
  if (custom?.scaleDistribution?.type === 'log') {
    const positive = all.filter((value) => value > 0);
    return {
      type: 'log',
      logBase: 10,
      min: 10 ** Math.floor(Math.log10(Math.min(1, ...positive))),
      max: 10 ** Math.ceil(Math.log10(Math.max(10, ...positive))),
      axisLabel: {
        ...label,
        // Tens of seconds, where minutes would be odd numbers.
        formatter: (value: number) =>
          unit === 'ms' && value >= 60_000 ? `${value / 1000} s` : tick(value, unit),
      },
      ...common,
    };
  }
  const low = min ?? Math.min(...all);
  const top = max ?? Math.max(...all);
  // A line of zeros lies on the ground of an axis that goes up to one.
  const high = top > low ? top : low + (unit === 'none' || unit === 'short' || low === 0 ? 1 : Math.abs(low));
  const step = roundStep(high - low, unit, Math.max(2, Math.floor(height / 45)));
  const bottom = min ?? Math.floor(low / step) * step;
  return {
    type: 'value',
    min: bottom,
    max: max ?? bottom + Math.ceil((high - bottom) / step - 1e-9) * step,
    interval: step,
    axisLabel: {
      ...label,
      formatter: (value: number) => tick(value, unit),
    },
    ...common,
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
  readonly exemplars: readonly (readonly [timeMs: number, value: number])[];
  readonly size: Size;
}

/** Lines over time; those that are stacked lie on top of each other in the given order. */
export function lines(series: readonly Series[], options: LinesOptions): string {
  const { defaults, window, marks, exemplars, size, bands = [], sides } = options;
  const { custom } = defaults;
  const stacked = custom?.stacking?.mode === 'normal';
  const logarithmic = custom?.scaleDistribution?.type === 'log';
  const values = stacked
    ? stackTops(series)
    : series.flatMap(({ points }) => points.map(([, value]) => value));
  const shown = exemplars.filter(([, value]) => !logarithmic || value > 0);
  const numbers = values.filter((value): value is number => value !== null);
  // An outlier among the exemplars must not flatten the lines: it is drawn at the top.
  const highest = Math.max(...numbers, 0);
  const all = [...numbers, ...shown.map(([, value]) => Math.min(value, highest * 1.6))];
  const axis = valueAxis(all.length === 0 ? [0] : all, defaults, size);
  const ceiling = axis.max as number;
  const limit =
    custom?.thresholdsStyle?.mode === 'dashed'
      ? defaults.thresholds?.steps.filter(({ value, color }) => value !== null && color !== 'text')
      : [];
  const markLines = [
    ...marks.map(({ timeMs, color }) => ({
      xAxis: timeMs,
      lineStyle: { color: colorOf(color), type: 'dashed', width: 1, opacity: 0.8 },
    })),
    ...(limit ?? [])
      .filter(({ value }) => value! <= ceiling)
      .map(({ value, color }) => ({
        yAxis: value!,
        lineStyle: { color: colorOf(color), type: 'dashed', width: 1.2, opacity: 0.9 },
      })),
  ];
  return svgOf(
    {
      grid:
        sides === undefined
          ? { left: 6, right: 20, top: 10, bottom: 2, containLabel: true }
          : { ...sides, top: 10, bottom: 24, outerBoundsMode: 'none' },
      xAxis: timeAxis(window, size),
      yAxis: axis,
      series: [
        ...series.map(({ points, color: given }, index) => ({
          type: 'line',
          data: points.map(([time, value]) => [
            time,
            logarithmic && value !== null && value <= 0 ? null : value,
          ]),
          ...(stacked ? { stack: 'all' } : {}),
          // A point without neighbours would not be seen as a line.
          showSymbol: !stacked && points.filter(([, value]) => value !== null).length <= 2,
          symbol: 'circle',
          symbolSize: 4,
          color: given ?? lineColor(index),
          lineStyle: { width: 1.4, color: given ?? lineColor(index) },
          areaStyle: { color: given ?? lineColor(index), opacity: (custom?.fillOpacity ?? 0) / 100 },
          z: 3,
        })),
        {
          type: 'scatter',
          data: shown.map(([time, value]) => [time, Math.min(value, ceiling)]),
          symbol: 'diamond',
          symbolSize: 6,
          itemStyle: { color: '#8ab8ff', opacity: 0.85 },
          z: 4,
        },
        {
          type: 'line',
          data: [],
          markLine: { silent: true, symbol: 'none', label: { show: false }, data: markLines },
          markArea: {
            silent: true,
            data: bands.map(({ fromMs, toMs, color }) => [
              { xAxis: fromMs, itemStyle: { color: colorOf(color), opacity: 0.12 } },
              { xAxis: toMs },
            ]),
          },
        },
      ],
    },
    size,
  );
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

/** A value on a dial with the colours of its thresholds around it. */
export function dial(value: number, defaults: FieldDefaults, size: Size): string {
  const { min = 0, max = 1, unit = 'short', decimals } = defaults;
  const steps = defaults.thresholds?.steps ?? [];
  const share = (bound: number) => Math.min(1, Math.max(0, (bound - min) / (max - min)));
  const ring = steps.map(({ color }, index) => [share(steps[index + 1]?.value ?? max), colorOf(color)]);
  const color = colorOf(
    steps.findLast((step) => step.value === null || value >= step.value)?.color ?? 'blue',
  );
  const radius = Math.min(size.width / 2 - 16, size.height * 0.62);
  const shape = { center: ['50%', '68%'], radius, startAngle: 200, endAngle: -20, min, max };
  const bare = {
    axisTick: { show: false },
    splitLine: { show: false },
    axisLabel: { show: false },
    pointer: { show: false },
  };
  return svgOf(
    {
      series: [
        {
          type: 'gauge',
          ...shape,
          ...bare,
          progress: { show: true, width: radius * 0.26, itemStyle: { color } },
          axisLine: { lineStyle: { width: radius * 0.26, color: [[1, themed.faint]] } },
          data: [{ value: Math.min(max, Math.max(min, value)) }],
          detail: {
            offsetCenter: [0, '-8%'],
            color: themed.strong,
            fontSize: Math.max(18, radius * 0.3),
            fontWeight: 500,
            formatter: () => format(value, unit, decimals),
          },
        },
        {
          type: 'gauge',
          ...shape,
          ...bare,
          radius: radius + 8,
          axisLine: { lineStyle: { width: 4, color: ring } },
          detail: { show: false },
        },
      ],
    },
    size,
  );
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
    bucket.points.map(([, value], at) =>
      value === null ? 0 : Math.max(0, value - (bounds[index - 1]?.bucket.points[at]?.[1] ?? 0)),
    ),
  );
  const used = counts.map((row) => row.some((count) => count > 0.01));
  const lowest = used.indexOf(true);
  if (lowest === -1) return undefined;
  const from = Math.max(0, lowest - 1);
  const until = Math.min(bounds.length, used.lastIndexOf(true) + 2);
  const times = bounds[0]!.bucket.points.map(([time]) => time);
  // Wide enough to be seen: several steps make a cell.
  const together = Math.max(1, Math.ceil(times.length / Math.max(10, size.width / 9)));
  const columns = Array.from({ length: Math.ceil(times.length / together) }, (_, index) => index);
  const cells = counts
    .slice(from, until)
    .flatMap((row, bucket) =>
      columns.map((column) => {
        const part = row.slice(column * together, (column + 1) * together);
        return [column, bucket, part.reduce((sum, count) => sum + count, 0)] as const;
      }),
    )
    .filter(([, , count]) => count > 0.01);
  const most = Math.max(...cells.map(([, , count]) => count));
  const labelEvery = Math.max(1, Math.ceil(columns.length / (size.width / 75)));
  return svgOf(
    {
      grid: { left: 6, right: 20, top: 10, bottom: 2, containLabel: true },
      xAxis: {
        type: 'category',
        data: columns.map((column) => clock(times[column * together]!, window)),
        axisLabel: { ...label, interval: labelEvery - 1 },
        axisLine: { show: false },
        axisTick: { show: false },
      },
      yAxis: {
        type: 'category',
        data: bounds.slice(from, until).map(({ le }) => tick(le, unit)),
        axisLabel: { ...label },
        axisLine: { show: false },
        axisTick: { show: false },
        splitLine: { show: true, lineStyle: { color: themed.faint } },
      },
      series: [
        {
          type: 'custom',
          data: cells.map((cell) => [...cell]),
          renderItem: (_: unknown, api: echarts.CustomSeriesRenderItemAPI) => {
            const [x, y] = api.coord([api.value(0), api.value(1)]) as [number, number];
            const [width, height] = (api.size as (span: number[]) => number[])([1, 1]) as [number, number];
            const strength = Math.sqrt(Number(api.value(2)) / most);
            return {
              type: 'rect',
              shape: {
                x: x - width / 2 + 0.5,
                y: y - height / 2 + 0.5,
                width: Math.max(1, width - 1),
                height: Math.max(1, height - 1),
              },
              style: { fill: '#ff780a', opacity: Number((0.12 + 0.88 * strength).toFixed(2)) },
            };
          },
        },
      ],
    },
    size,
  );
}
