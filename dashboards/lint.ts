/** What every dashboard of ours must keep to, checked on the rendered JSON. Pure. */
import { metrics } from '../catalog/metrics.ts';
import { sloPeriod, sloSeries, sloWindows } from '../catalog/slos.ts';
import { units } from './kit.ts';

interface Panel {
  readonly id?: number;
  readonly type: string;
  readonly title?: string;
  readonly description?: string;
  readonly datasource?: { readonly uid?: string };
  readonly gridPos?: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
  readonly targets?: readonly {
    readonly expr?: string;
    readonly legendFormat?: string;
    readonly queryType?: string;
    readonly datasource?: { readonly uid?: string };
  }[];
  readonly fieldConfig?: {
    readonly defaults: { readonly unit?: string };
    readonly overrides?: readonly {
      readonly properties: readonly { readonly id: string; readonly value?: unknown }[];
    }[];
  };
}

interface Dashboard {
  readonly uid?: string;
  readonly title?: string;
  readonly description?: string;
  readonly panels?: readonly Panel[];
  readonly templating?: {
    readonly list: readonly {
      readonly type: string;
      readonly name: string;
      readonly query?: string | { readonly query: string };
    }[];
  };
}

const catalogNames: ReadonlySet<string> = new Set([
  ...Object.values(metrics).flatMap((section): string[] => Object.values(section)),
  ...sloWindows.flatMap((window) => [sloSeries.ratio(window), sloSeries.burnRate(window)]),
  sloSeries.ratio(sloPeriod),
  sloSeries.budgetRemaining,
  sloSeries.objective,
]);

/** Words of PromQL that are neither functions nor metrics. */
const keywords = new Set([
  'or',
  'and',
  'unless',
  'bool',
  'offset',
  'group_left',
  'group_right',
  'inf',
  'nan',
]);
const variableUids = ['$datasource', '$traces'];
const legendMostCharacters = 30;

/** Sentences, each naming the dashboard and the panel; empty when all is well. */
export function lint(text: string): string[] {
  const dashboard = JSON.parse(text) as Dashboard;
  const name = dashboard.uid ?? dashboard.title ?? '?';
  const problems: string[] = [];
  const say = (what: string, panel?: Panel) => {
    problems.push(`${name}${panel === undefined ? '' : `, "${panel.title ?? panel.type}"`}: ${what}`);
  };
  if (!dashboard.uid) say('has no uid');
  if (!dashboard.title) say('has no title');
  if (!dashboard.description) say('has no description');
  const variables = dashboard.templating?.list ?? [];
  if (!variables.some(({ type, query }) => type === 'datasource' && query === 'prometheus'))
    say('has no variable for its Prometheus');
  for (const { type, name: variable, query } of variables)
    if (type === 'query')
      for (const unknown of unknownMetrics(typeof query === 'object' ? query.query : (query ?? '')))
        say(`variable ${variable} asks for ${unknown}, which is not in the catalog`);

  const all = dashboard.panels ?? [];
  if (all[0]?.type !== 'row') say('does not begin with a row');
  const titles = new Set<string>();
  const ids = new Set<number>();
  for (const panel of all) {
    if (panel.id === undefined || ids.has(panel.id)) say('has no id of its own', panel);
    else ids.add(panel.id);
    if (panel.type === 'row') {
      if (!panel.title?.endsWith('?')) say('a row asks a question', panel);
      continue;
    }
    if (!panel.title) say('has no title', panel);
    else if (titles.has(panel.title)) say('has the title of another panel', panel);
    else titles.add(panel.title);
    if (!/\S.*[.!?]$/.test(panel.description ?? '')) say('has no description in whole sentences', panel);
    lintUnits(panel, say);
    lintTargets(panel, say);
  }
  lintGrid(all, say);
  return problems;
}

type Say = (what: string, panel?: Panel) => void;

function lintUnits(panel: Panel, say: Say): void {
  const overridden = (panel.fieldConfig?.overrides ?? []).flatMap(({ properties }) =>
    properties.filter(({ id }) => id === 'unit').map(({ value }) => value as string),
  );
  for (const unit of [panel.fieldConfig?.defaults.unit, ...overridden])
    if (unit === undefined || unit === '') say('has no unit', panel);
    else if (!(units as readonly string[]).includes(unit)) say(`has the unknown unit ${unit}`, panel);
}

function lintTargets(panel: Panel, say: Say): void {
  const targets = panel.targets ?? [];
  if (targets.length === 0) say('asks nothing', panel);
  for (const uid of [panel.datasource?.uid, ...targets.map(({ datasource }) => datasource?.uid)])
    if (uid === undefined || !variableUids.includes(uid))
      say(`asks a fixed datasource (${uid ?? 'the default one'}): it must be a variable`, panel);
  const legends = new Set<string>();
  for (const { expr, legendFormat = '', queryType } of targets) {
    if (queryType !== undefined) continue;
    if (expr === undefined || expr.trim() === '') {
      say('has an empty query', panel);
      continue;
    }
    if (legendFormat.trim() === '' || legendFormat === '__auto') say(`has an empty legend: ${expr}`, panel);
    if (panel.type !== 'table' && legends.has(legendFormat))
      say(`has the legend ${legendFormat} twice`, panel);
    legends.add(legendFormat);
    if (legendFormat.replaceAll(/{{[^}]*}}/g, '').length > legendMostCharacters)
      say(`has a long legend: ${legendFormat}`, panel);
    const kept = labelsOf(expr);
    for (const [, label] of legendFormat.matchAll(/{{\s*(\w+)\s*}}/g))
      if (!kept.has(label!)) say(`its legend names ${label}, which the query drops: ${expr}`, panel);
    for (const unknown of unknownMetrics(expr))
      say(`asks for ${unknown}, which is not in the catalog`, panel);
    for (const [, call, range] of expr
      .replaceAll(/"[^"]*"/g, '""')
      .matchAll(/\b(\w+)\s*\([^()[\]]*(?:{[^}]*})?\s*\[([^\]]+)\]/g)) {
      const span = ['increase', 'delta', 'max_over_time'].includes(call!);
      // Over the time shown, or over hours that the title names: both do not change with the zoom by accident.
      const allowed =
        range === '$__rate_interval' || (span && (range === '$__range' || /^\d+[hd]$/.test(range!)));
      if (!allowed) say(`${call} over [${range}]: use $__rate_interval`, panel);
    }
  }
}

/** Labels that a query's result may have: those it groups by or counts into. */
function labelsOf(expr: string): ReadonlySet<string> {
  return new Set([
    ...[...expr.matchAll(/\bby\s*\(([^)]*)\)/g)].flatMap(([, list]) =>
      list!.split(',').map((label) => label.trim()),
    ),
    ...[...expr.matchAll(/count_values\s*\(\s*"(\w+)"/g)].map(([, label]) => label!),
  ]);
}

/** Names in a query that are no metric of the catalog. */
function unknownMetrics(expr: string): string[] {
  const labelValues = /^label_values\((.*),\s*\w+\)$/.exec(expr.trim());
  const bare = (labelValues?.[1] ?? expr)
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/{[^}]*}/g, '')
    .replaceAll(/\[[^\]]*\]/g, '')
    .replaceAll(/\b(by|without|on|ignoring)\s*\([^)]*\)/g, '');
  const names = [...bare.matchAll(/[A-Za-z_:][\w:]*(?!\w|\s*\()/g)].map(([name]) => name);
  return names.filter((name) => !keywords.has(name.toLowerCase()) && !isKnown(name));
}

/** A histogram's and a summary's parts go by their base name. */
function isKnown(name: string): boolean {
  return catalogNames.has(name) || catalogNames.has(name.replace(/_(bucket|sum|count)$/, ''));
}

function lintGrid(panels: readonly Panel[], say: Say): void {
  const taken = new Map<string, Panel>();
  const widths = new Map<number, number>();
  for (const panel of panels) {
    const { x, y, w, h } = panel.gridPos ?? { x: 0, y: 0, w: 0, h: 0 };
    if (w < 1 || h < 1 || x < 0 || y < 0 || x + w > 24) say('lies outside the grid', panel);
    widths.set(y, (widths.get(y) ?? 0) + w);
    let other: Panel | undefined;
    for (let column = x; column < x + w; column += 1)
      for (let line = y; line < y + h; line += 1) {
        other ??= taken.get(`${column},${line}`);
        taken.set(`${column},${line}`, panel);
      }
    if (other !== undefined) say(`lies over "${other.title}"`, panel);
  }
  for (const [y, width] of widths) if (width < 24) say(`leaves a gap at the end of the line at ${y}`);
}
