/** How our dashboards are made: a question a row, panels that look alike, the variables and annotations all of them have. */
import * as bargauge from '@grafana/grafana-foundation-sdk/bargauge';
import type { Builder, Dataquery } from '@grafana/grafana-foundation-sdk/cog';
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import * as gaugePanel from '@grafana/grafana-foundation-sdk/gauge';
import * as heatmapPanel from '@grafana/grafana-foundation-sdk/heatmap';
import * as nodegraph from '@grafana/grafana-foundation-sdk/nodegraph';
import { DataqueryBuilder, PromQueryFormat } from '@grafana/grafana-foundation-sdk/prometheus';
import * as statPanel from '@grafana/grafana-foundation-sdk/stat';
import * as tablePanel from '@grafana/grafana-foundation-sdk/table';
import * as timeseries from '@grafana/grafana-foundation-sdk/timeseries';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';

/** Whoever loads a dashboard says which Prometheus (and which Jaeger) it asks: a variable, never a fixed uid. */
const prometheus: common.DataSourceRef = { type: 'prometheus', uid: '$datasource' };
const jaeger: common.DataSourceRef = { type: 'jaeger', uid: '$traces' };

/** Grafana unit ids that we use; the preview can format these and no others. */
export const units = [
  'none',
  'short',
  'percentunit',
  's',
  'ms',
  'bytes',
  'Bps',
  'mps',
  'reqps',
  'ops',
] as const;
type Unit = (typeof units)[number];

type Color = 'green' | 'yellow' | 'orange' | 'red' | 'blue' | 'text';

/** Colour from this value on; null: from below. */
interface Step {
  readonly from: number | null;
  readonly color: Color;
}

/** Green below the first bound given, then yellow, then red. */
export function highIsBad(bounds: { readonly yellow?: number; readonly red?: number }): readonly Step[] {
  const { yellow, red } = bounds;
  return [
    { from: null, color: 'green' },
    ...(yellow === undefined ? [] : [{ from: yellow, color: 'yellow' } as const]),
    ...(red === undefined ? [] : [{ from: red, color: 'red' } as const]),
  ];
}

/** Red below `yellow` (or `green`), green from `green` on. */
export function lowIsBad(bounds: { readonly yellow?: number; readonly green: number }): readonly Step[] {
  const { yellow, green } = bounds;
  return [
    { from: null, color: 'red' },
    ...(yellow === undefined ? [] : [{ from: yellow, color: 'yellow' } as const]),
    { from: green, color: 'green' },
  ];
}

/** A number that is neither good nor bad. */
export const neutral: readonly Step[] = [{ from: null, color: 'blue' }];

export interface Query {
  readonly expr: string;
  readonly legend: string;
  /** Points that lead to a trace. */
  readonly exemplars?: boolean;
}

export interface Wording {
  readonly title: string;
  /** What it shows, and what a bad value means. */
  readonly description: string;
  readonly unit: Unit;
}

/** What a row is made of; the height is in grid units. */
export type PanelBuilder = Builder<dashboard.Panel> & {
  height(h: number): unknown;
  span(w: number): unknown;
};

function targetOf({ expr, legend, exemplars }: Query, index: number): DataqueryBuilder {
  const query = new DataqueryBuilder()
    .datasource(prometheus)
    .refId(String.fromCharCode(65 + index))
    .expr(expr)
    .legendFormat(legend);
  return exemplars === true ? query.exemplar(true) : query;
}

function thresholds(steps: readonly Step[]): dashboard.ThresholdsConfigBuilder {
  return new dashboard.ThresholdsConfigBuilder()
    .mode(dashboard.ThresholdsMode.Absolute)
    .steps(steps.map(({ from, color }) => ({ value: from, color })));
}

const lastValue = () => new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']);

/** Text in place of a number: value -> text. */
export type Names = Readonly<Record<string, { readonly text: string; readonly color?: Color }>>;

function mapping(names: Names): dashboard.ValueMapping[] {
  return [{ type: dashboard.MappingType.ValueToText, options: { ...names } }];
}

/** One number, coloured by what it means, with its course behind it. */
export function stat(
  options: Wording & {
    readonly expr: string;
    readonly steps: readonly Step[];
    readonly decimals?: number;
    readonly names?: Names;
  },
): PanelBuilder {
  const panel = new statPanel.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit(options.unit)
    .height(4)
    .colorMode(common.BigValueColorMode.Background)
    .graphMode(common.BigValueGraphMode.Area)
    .reduceOptions(lastValue())
    .noValue('no data')
    .thresholds(thresholds(options.steps))
    .withTarget(targetOf({ expr: options.expr, legend: options.title.toLowerCase() }, 0));
  if (options.decimals !== undefined) panel.decimals(options.decimals);
  if (options.names !== undefined) panel.mappings(mapping(options.names));
  return panel;
}

/** A share of a whole on a dial. */
export function gauge(
  options: Wording & {
    readonly expr: string;
    readonly min?: number;
    readonly max: number;
    readonly steps: readonly Step[];
    readonly decimals?: number;
  },
): PanelBuilder {
  const panel = new gaugePanel.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit(options.unit)
    .height(8)
    .min(options.min ?? 0)
    .max(options.max)
    .reduceOptions(lastValue())
    .showThresholdMarkers(true)
    .thresholds(thresholds(options.steps))
    .withTarget(targetOf({ expr: options.expr, legend: options.title.toLowerCase() }, 0));
  if (options.decimals !== undefined) panel.decimals(options.decimals);
  return panel;
}

/** Lines over time. */
export function series(
  options: Wording & {
    readonly queries: readonly Query[];
    readonly stacked?: boolean;
    /** Upper end of the axis, for shares. */
    readonly max?: number;
    /** A dashed line at what must not be exceeded (or, for `lowIsBad` steps, undercut). */
    readonly limit?: number;
    /** For values that span decades. */
    readonly logarithmic?: boolean;
    readonly decimals?: number;
    /** Where a line leads; its labels are ${__field.labels.<name>}. */
    readonly link?: { readonly title: string; readonly url: string };
  },
): PanelBuilder {
  const panel = new timeseries.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit(options.unit)
    .height(8)
    .lineWidth(1)
    .fillOpacity(options.stacked === true ? 30 : 6)
    .showPoints(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(
      new common.VizTooltipOptionsBuilder()
        .mode(common.TooltipDisplayMode.Multi)
        .sort(common.SortOrder.Descending),
    );
  if (options.logarithmic === true)
    panel.scaleDistribution(
      new common.ScaleDistributionConfigBuilder().type(common.ScaleDistribution.Log).log(10),
    );
  else panel.min(0);
  if (options.max !== undefined) panel.max(options.max);
  if (options.decimals !== undefined) panel.decimals(options.decimals);
  if (options.stacked === true)
    panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  if (options.limit !== undefined)
    panel
      .thresholds(
        thresholds([
          { from: null, color: 'text' },
          { from: options.limit, color: 'red' },
        ]),
      )
      .thresholdsStyle(
        new common.GraphThresholdsStyleConfigBuilder().mode(common.GraphThresholdsStyleMode.Dashed),
      );
  if (options.link !== undefined) {
    const { title, url } = options.link;
    panel.dataLinks([new dashboard.DashboardLinkBuilder(title).url(url).targetBlank(true)]);
  }
  options.queries.forEach((query, index) => {
    panel.withTarget(targetOf(query, index));
  });
  return panel;
}

/** A bar for each series, for comparing what is now. */
export function bars(
  options: Wording & {
    readonly queries: readonly Query[];
    readonly steps: readonly Step[];
    readonly max?: number;
    readonly decimals?: number;
  },
): PanelBuilder {
  const panel = new bargauge.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit(options.unit)
    .height(8)
    .min(0)
    .orientation(common.VizOrientation.Horizontal)
    .displayMode(common.BarGaugeDisplayMode.Basic)
    .valueMode(common.BarGaugeValueMode.Color)
    .showUnfilled(true)
    .reduceOptions(lastValue())
    .thresholds(thresholds(options.steps));
  if (options.max !== undefined) panel.max(options.max);
  if (options.decimals !== undefined) panel.decimals(options.decimals);
  options.queries.forEach((query, index) => {
    // As of now: over a range, topk would name all that were ever among the first.
    panel.withTarget(targetOf(query, index).instant());
  });
  return panel;
}

/** How durations spread: time across, duration up, the darker the more. `histogram` is the name without `_bucket`. */
export function heatmap(
  options: Omit<Wording, 'unit'> & { readonly histogram: string; readonly selector?: string },
): PanelBuilder {
  const { histogram, selector = '' } = options;
  return new heatmapPanel.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit('s')
    .height(8)
    .calculate(false)
    .color(
      new heatmapPanel.HeatmapColorOptionsBuilder()
        .mode(heatmapPanel.HeatmapColorMode.Scheme)
        .scheme('Oranges')
        .scale(heatmapPanel.HeatmapColorScale.Exponential)
        .exponent(0.5)
        .steps(64)
        .fill('dark-orange')
        .reverse(false),
    )
    .yAxis(new heatmapPanel.YAxisConfigBuilder().unit('s'))
    .cellGap(1)
    .withTarget(
      new DataqueryBuilder()
        .datasource(prometheus)
        .refId('A')
        .expr(`sum by (le) (increase(${histogram}_bucket${selector}[$__rate_interval]))`)
        .format(PromQueryFormat.Heatmap)
        .legendFormat('{{le}}')
        .exemplar(true),
    );
}

export interface Column {
  /** Label name, or refId of a query's value. */
  readonly from: string;
  readonly title: string;
  readonly unit?: Unit;
  readonly decimals?: number;
  readonly steps?: readonly Step[];
  readonly names?: Names;
}

/** Rows by label, a column for each query; `queries` in the order A, B, C ... that columns refer to. */
export function table(
  options: Omit<Wording, 'unit'> & {
    readonly queries: readonly string[];
    readonly columns: readonly Column[];
    /** Title of the column to sort by. */
    readonly sortBy?: { readonly title: string; readonly descending: boolean };
    /** In grid units; a row takes about one. */
    readonly height?: number;
  },
): PanelBuilder {
  const { columns, queries } = options;
  const nameOf = (from: string) =>
    /^[A-Z]$/.test(from) ? (queries.length === 1 ? 'Value' : `Value #${from}`) : from;
  const panel = new tablePanel.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit('short')
    .height(options.height ?? 8)
    .cellHeight(common.TableCellHeight.Sm)
    .withTransformation({ id: 'merge', options: {} })
    .withTransformation({
      id: 'organize',
      options: {
        excludeByName: { Time: true, ...(columns.some(({ from }) => from === 'A') ? {} : { Value: true }) },
        // Only what is named is shown: a label that nobody asked for is not a column.
        includeByName: Object.fromEntries(columns.map(({ from }) => [nameOf(from), true])),
        indexByName: Object.fromEntries(columns.map(({ from }, index) => [nameOf(from), index])),
        renameByName: Object.fromEntries(columns.map(({ from, title }) => [nameOf(from), title])),
      },
    });
  for (const { title, unit, decimals, steps, names } of columns) {
    const properties: dashboard.DynamicConfigValue[] = [
      ...(unit === undefined ? [] : [{ id: 'unit', value: unit }]),
      ...(decimals === undefined ? [] : [{ id: 'decimals', value: decimals }]),
      ...(names === undefined ? [] : [{ id: 'mappings', value: mapping(names) }]),
      ...(steps === undefined && names === undefined
        ? []
        : [
            {
              id: 'custom.cellOptions',
              value: { type: common.TableCellDisplayMode.ColorText },
            },
          ]),
      ...(steps === undefined ? [] : [{ id: 'thresholds', value: thresholds(steps).build() }]),
    ];
    if (properties.length > 0) panel.overrideByName(title, properties);
  }
  if (options.sortBy !== undefined)
    panel.sortBy([
      new common.TableSortByFieldStateBuilder()
        .displayName(options.sortBy.title)
        .desc(options.sortBy.descending),
    ]);
  queries.forEach((expr, index) => {
    panel.withTarget(
      new DataqueryBuilder()
        .datasource(prometheus)
        .refId(String.fromCharCode(65 + index))
        .expr(expr)
        .instant()
        .format(PromQueryFormat.Table)
        .legendFormat(columns[0]!.title),
    );
  });
  return panel;
}

/** Who calls whom, from Jaeger. */
export function callGraph(options: Omit<Wording, 'unit'>): PanelBuilder {
  const target: Builder<Dataquery> = {
    build: () => ({ refId: 'A', datasource: jaeger, queryType: 'dependencyGraph' }) as unknown as Dataquery,
  };
  return new nodegraph.PanelBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(jaeger)
    .unit('none')
    .height(16)
    .withTarget(target);
}

/** A row: the question that it answers, and its lines of panels; the panels of a line share its width equally. */
export interface Row {
  /** Ends in a question mark. */
  readonly question: string;
  readonly lines: readonly (readonly PanelBuilder[])[];
}

export interface Variable {
  readonly name: string;
  readonly label: string;
  readonly description: string;
  /** As Grafana writes it: `label_values(metric, label)`. */
  readonly query: string;
  /** Regular expression that stands for all values; without it, those that the query finds. */
  readonly all?: string;
}

export interface DashboardOptions {
  /** Names the file and ends the uid. */
  readonly slug: string;
  readonly title: string;
  readonly description: string;
  readonly rows: readonly Row[];
  readonly variables?: readonly Variable[];
  /** A Jaeger is asked for, too. */
  readonly traces?: boolean;
  /** How far back it looks when it is opened. */
  readonly from?: string;
}

const gridWidth = 24;

/** The log store's page, with a question to it (LogsQL). */
export function logLinesUrl({ hosts, victorialogs }: Environment, query = '*'): string {
  const { host, publishedPort } = victorialogs;
  return `http://${hosts[host]!.address}:${publishedPort}/select/vmui/#/?query=${query}&g0.range_input=30m`;
}

/** A dashboard of an environment as Grafana's JSON model. */
export function dashboardOf(environment: Environment, options: DashboardOptions): dashboard.Dashboard {
  const built = new dashboard.DashboardBuilder(`muster ${environment.name}: ${options.title}`)
    .uid(`muster-${environment.name}-${options.slug}`)
    .description(options.description)
    .tags(['muster', environment.name])
    .refresh('10s')
    .time({ from: options.from ?? 'now-30m', to: 'now' })
    .timezone('browser')
    .readonly()
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .link(
      new dashboard.DashboardLinkBuilder('muster dashboards')
        .type(dashboard.DashboardLinkType.Dashboards)
        .tags(['muster', environment.name])
        .asDropdown(true)
        .includeVars(false)
        .keepTime(true),
    )
    .link(
      new dashboard.DashboardLinkBuilder('log lines')
        .type(dashboard.DashboardLinkType.Link)
        .url(logLinesUrl(environment))
        .targetBlank(true),
    )
    .withVariable(
      new dashboard.DatasourceVariableBuilder('datasource')
        .label('Prometheus')
        .description('Where the metrics are')
        .type('prometheus')
        .current({ selected: true, text: 'Prometheus', value: 'prometheus' }),
    );
  if (options.traces === true)
    built.withVariable(
      new dashboard.DatasourceVariableBuilder('traces')
        .label('Jaeger')
        .description('Where the traces are')
        .type('jaeger')
        .current({ selected: true, text: 'Jaeger', value: 'jaeger' }),
    );
  for (const { name, label, description, query, all } of options.variables ?? []) {
    const variable = new dashboard.QueryVariableBuilder(name)
      .label(label)
      .description(description)
      .datasource(prometheus)
      .query({ query, refId: `variable-${name}` })
      .refresh(dashboard.VariableRefresh.OnTimeRangeChanged)
      .sort(dashboard.VariableSort.AlphabeticalAsc)
      .multi(true)
      .includeAll(true)
      .current({ selected: true, text: ['All'], value: ['$__all'] });
    built.withVariable(all === undefined ? variable : variable.allValue(all));
  }
  for (const annotation of annotations()) built.annotation(annotation);
  let id = 0;
  for (const { question, lines } of options.rows) {
    built.withRow(new dashboard.RowBuilder(question).id(++id));
    for (const line of lines)
      line.forEach((panel, index) => {
        const edge = (of: number) => Math.round((of * gridWidth) / line.length);
        panel.span(edge(index + 1) - edge(index));
        (panel as unknown as { id(id: number): unknown }).id(++id);
        built.withPanel(panel);
      });
  }
  return built.build();
}

/** Marks on every time axis: what fired, what (re)started, what people and drills noted. */
function annotations(): dashboard.AnnotationQueryBuilder[] {
  const { alerts } = metrics.prometheus;
  return [
    new dashboard.AnnotationQueryBuilder()
      .name('Alerts')
      .datasource(prometheus)
      .enable(true)
      .iconColor('red')
      .expr(`max by (alertname, severity) (${alerts}{alertstate="firing", severity=~"page|ticket"})`)
      .titleFormat('{{alertname}}')
      .textFormat('{{severity}}')
      .step('10s'),
    new dashboard.AnnotationQueryBuilder()
      .name('Starts')
      .datasource(prometheus)
      .enable(true)
      .iconColor('blue')
      .expr(`changes(${metrics.process.startTime}[1m]) > 0`)
      .titleFormat('{{instance}} started')
      .textFormat('Deployed, restarted or killed: its process is a new one.')
      .step('10s'),
    new dashboard.AnnotationQueryBuilder()
      .name('Drills and notes')
      .datasource({ type: 'grafana', uid: '-- Grafana --' })
      .enable(true)
      .iconColor('purple')
      .type('tags')
      .target(
        new dashboard.AnnotationTargetBuilder()
          .limit(100)
          .matchAny(true)
          .tags(['muster', 'drill', 'deployment'])
          .type('tags') as never,
      ),
  ];
}

/** `sum by (…) (rate(counter{…}[$__rate_interval]))`. */
export function rate(counter: string, by = '', selector = ''): string {
  const grouping = by === '' ? '' : ` by (${by})`;
  return `sum${grouping} (rate(${counter}${selector}[$__rate_interval]))`;
}

/** The same, 0 when nothing was ever counted: a counter with labels is not there before its first count. */
export function rateOrZero(counter: string, selector = ''): string {
  return `${rate(counter, '', selector)} or vector(0)`;
}

/** A quantile of a histogram in its unit. `histogram` is the name without `_bucket`. */
export function quantile(q: number, histogram: string, by = '', selector = ''): string {
  const grouping = by === '' ? 'le' : `le, ${by}`;
  return `histogram_quantile(${q}, ${rate(`${histogram}_bucket`, grouping, selector)})`;
}

/** p50 and p99 of a histogram as two lines; points of the second lead to traces. */
export function percentiles(histogram: string, selector = ''): Query[] {
  return [
    { expr: quantile(0.5, histogram, '', selector), legend: 'p50' },
    { expr: quantile(0.99, histogram, '', selector), legend: 'p99', exemplars: true },
  ];
}
