/** A panel of a dashboard as HTML: what Grafana would show, without Grafana. */

import { dial, heat, lines, type Size, sparkline } from './charts.ts';
import { backgroundOf, colorOf, lineColor } from './colors.ts';
import { drawServiceMap } from './graph.ts';
import { escapeHtml } from './markup.ts';
import type { FieldDefaults, Mark, Panel, Series } from './model.ts';
import type { Prometheus, Window } from './prometheus.ts';
import { type Asked, exemplarsOf, linesOf, tableOf, valuesOf } from './queries.ts';
import { type ServiceMap, serviceMap, type WeightedTrace } from './service-map.ts';
import { format } from './units.ts';

export interface Sources {
  readonly prometheus: Prometheus;
  /** Traces of a window; undefined: there is no Jaeger to ask. */
  readonly traces: ((window: Window) => Promise<readonly WeightedTrace[]>) | undefined;
  /** Where a trace is to be seen; undefined: nowhere. */
  readonly linkOf?: ((traceId: string) => string) | undefined;
}

export interface Drawn {
  readonly html: string;
  /** Nothing to show: no series, no row, no trace. */
  readonly empty: boolean;
}

const nothing: Drawn = { html: '<p class="nothing">No data</p>', empty: true };

/** The inside of a panel below its title, for a box of `size` pixels. Throws a RangeError for a type it cannot draw. */
export async function drawPanel(
  panel: Panel,
  asked: Asked,
  sources: Sources,
  size: Size,
  marks: readonly Mark[],
): Promise<Drawn> {
  const { prometheus } = sources;
  const defaults = panel.fieldConfig?.defaults ?? {};
  const data = () => linesOf(panel, asked, prometheus);
  switch (panel.type) {
    case 'timeseries': {
      const [series, exemplars] = await Promise.all([data(), exemplarsOf(panel, asked, prometheus)]);
      const { linkOf } = sources;
      return drawLines(series, { defaults, window: asked.window, marks, exemplars, linkOf, size });
    }
    case 'stat':
      return drawStat(await data(), defaults);
    case 'gauge': {
      const value = last((await data())[0]);
      return value === undefined ? nothing : { html: dial(value, defaults, size), empty: false };
    }
    case 'bargauge':
      return drawBars(await valuesOf(panel, asked, prometheus), defaults, size);
    case 'heatmap': {
      const svg = heat(await data(), asked.window, defaults.unit ?? 'short', size);
      return svg === undefined ? nothing : { html: svg, empty: false };
    }
    case 'table':
      return drawTable(panel, await tableOf(panel, asked, prometheus));
    case 'nodeGraph': {
      if (sources.traces === undefined) return nothing;
      const map: ServiceMap = serviceMap(await sources.traces(asked.window), asked.window);
      const drawn = drawServiceMap(map, size);
      return drawn === undefined ? nothing : { html: drawn.svg, empty: false };
    }
    case 'text':
      return { html: `<p class="words">${escapeHtml(panel.options?.content ?? '')}</p>`, empty: false };
    default:
      throw new RangeError(`the preview cannot draw a panel of type ${panel.type} ("${panel.title}")`);
  }
}

/** The last value that is one. */
function last(series: Series | undefined): number | undefined {
  return series?.points.findLast(([, value]) => value !== null)?.[1] ?? undefined;
}

const legendLine = 18;

function drawLines(series: readonly Series[], options: Parameters<typeof lines>[1]): Drawn {
  const { size } = options;
  const shown = series.filter(({ points }) => points.some(([, value]) => value !== null));
  if (shown.length === 0) return nothing;
  // As many lines of legend as it takes, but the chart keeps the better part.
  const wanted = shown.reduce((sum, { name }) => sum + name.length * 6.1 + 30, 0) / size.width;
  const legendHeight = Math.min(Math.ceil(wanted), Math.floor((size.height * 0.4) / legendLine)) * legendLine;
  const chart = lines(shown, { ...options, size: { ...size, height: size.height - legendHeight - 2 } });
  const names = shown
    .map(({ name }, index) => `<li><i style="background:${lineColor(index)}"></i>${escapeHtml(name)}</li>`)
    .join('');
  return {
    html: `${chart}<ul class="legend" style="max-height:${legendHeight}px">${names}</ul>`,
    empty: false,
  };
}

function mapped(
  value: number | string,
  { mappings }: FieldDefaults,
): { text?: string; color?: string } | undefined {
  return mappings?.find(({ type }) => type === 'value')?.options[String(value)];
}

function stepColor(value: number, { thresholds }: FieldDefaults): string {
  return thresholds?.steps.findLast((step) => step.value === null || value >= step.value)?.color ?? 'text';
}

function write(value: number, defaults: FieldDefaults): string {
  return mapped(value, defaults)?.text ?? format(value, defaults.unit ?? 'short', defaults.decimals);
}

/** Unit a little smaller than the number. */
function bigText(text: string): string {
  const [number = '', ...unit] = text.split(' ');
  return unit.length === 0
    ? escapeHtml(text)
    : `${escapeHtml(number)} <small>${escapeHtml(unit.join(' '))}</small>`;
}

function drawStat(series: readonly Series[], defaults: FieldDefaults): Drawn {
  const value = last(series[0]);
  if (value === undefined)
    return {
      html: `<div class="big" style="background:${backgroundOf('text')}"><b>${escapeHtml(defaults.noValue ?? 'No data')}</b></div>`,
      empty: true,
    };
  const color = backgroundOf(mapped(value, defaults)?.color ?? stepColor(value, defaults));
  return {
    html: `<div class="big" style="--stat:${color}">${sparkline(series[0]!)}<b>${bigText(write(value, defaults))}</b></div>`,
    empty: false,
  };
}

function drawBars(series: readonly Series[], defaults: FieldDefaults, { height }: Size): Drawn {
  const values = series.flatMap((each) => {
    const value = last(each);
    return value === undefined ? [] : [{ name: each.name, value }];
  });
  if (values.length === 0) return nothing;
  values.sort((a, b) => b.value - a.value || a.name.localeCompare(b.name));
  const max = defaults.max ?? Math.max(...values.map(({ value }) => value), 1e-9);
  const rows = values.map(({ name, value }) => {
    const color = colorOf(stepColor(value, defaults));
    const share = Math.min(100, Math.max(0, (value / max) * 100));
    return `<tr><th scope="row">${escapeHtml(name)}</th><td><span class="bar"><i style="width:${share.toFixed(1)}%;background:${color}"></i></span></td><td class="colored" style="--state:${color}">${escapeHtml(write(value, defaults))}</td></tr>`;
  });
  // Thinner rather than cut off; and what does not fit at all is counted.
  const fitting = Math.floor((height - 4) / 19);
  const shown = rows.length <= fitting ? rows : rows.slice(0, fitting - 1);
  if (shown.length < rows.length) shown.push(`<tr><th>and ${rows.length - shown.length} more</th></tr>`);
  const thickness = Math.max(5, Math.min(16, Math.floor((height - 8) / shown.length) - 8));
  return {
    html: `<table class="bars" style="--bar:${thickness}px">${shown.join('')}</table>`,
    empty: false,
  };
}

function drawTable(
  panel: Panel,
  { columns, rows }: { columns: readonly string[]; rows: readonly (readonly (string | number | null)[])[] },
): Drawn {
  if (rows.length === 0) return nothing;
  const fields = columns.map((column): FieldDefaults => {
    const override = panel.fieldConfig?.overrides?.find(
      ({ matcher }) => matcher.id === 'byName' && matcher.options === column,
    );
    const own = Object.fromEntries((override?.properties ?? []).map(({ id, value }) => [id, value]));
    return { ...panel.fieldConfig?.defaults, thresholds: { steps: [] }, ...own };
  });
  const cell = (value: string | number | null, index: number): string => {
    const field = fields[index]!;
    if (value === null) return '<td class="number">-</td>';
    const known = mapped(value, field);
    const colored = known?.color ?? (typeof value === 'number' ? stepColor(value, field) : 'text');
    const style = colored === 'text' ? '' : ` style="--state:${colorOf(colored)}"`;
    const isNumber = typeof value === 'number' && known === undefined;
    const classes = [...(isNumber ? ['number'] : []), ...(style === '' ? [] : ['colored'])].join(' ');
    const text = typeof value === 'number' ? write(value, field) : (known?.text ?? value);
    return `<td${classes === '' ? '' : ` class="${classes}"`}${style}>${escapeHtml(text)}</td>`;
  };
  const numeric = columns.map((_, index) =>
    rows.every((row) => {
      const value = row[index] ?? null;
      return value === null || (typeof value === 'number' && mapped(value, fields[index]!) === undefined);
    }),
  );
  const head = columns.map(
    (column, index) => `<th scope="col"${numeric[index] ? ' class="number"' : ''}>${escapeHtml(column)}</th>`,
  );
  const body = rows.map((row) => `<tr>${row.map(cell).join('')}</tr>`);
  return {
    html: `<div class="scroll" role="region" aria-label="${escapeHtml(panel.title)}" tabindex="0"><table class="rows"><thead><tr>${head.join('')}</tr></thead><tbody>${body.join('')}</tbody></table></div>`,
    empty: false,
  };
}
