/** From a panel's queries to data: variables and intervals put in, labels put into legends. Pure but for `Prometheus`. */
import type { Dashboard, Exemplar, Mark, Panel, Series } from './model.ts';
import type { Prometheus, Window } from './prometheus.ts';

export interface Resolution {
  readonly window: Window;
  readonly stepMs: number;
  readonly scrapeIntervalMs: number;
}

/** Points a line; more than a panel has pixels for would only cost. */
const pointsAtMost = 200;

/** The window moved to whole steps, so that the same moments come again, and the step. */
export function resolutionOf(window: Window, scrapeIntervalMs: number): Resolution {
  const steps = [1, 2, 3, 6, 12, 24, 60, 120, 360, 720, 1440].map((factor) => factor * scrapeIntervalMs);
  const wanted = (window.toMs - window.fromMs) / pointsAtMost;
  const stepMs = steps.find((step) => step >= wanted) ?? Math.ceil(wanted / 60_000) * 60_000;
  const aligned = (ms: number) => Math.floor(ms / stepMs) * stepMs;
  return { window: { fromMs: aligned(window.fromMs), toMs: aligned(window.toMs) }, stepMs, scrapeIntervalMs };
}

/** A resolution with what a dashboard's variables stand for when it is opened. */
export interface Asked extends Resolution {
  readonly variables: ReadonlyMap<string, string>;
}

const escaped = (value: string) => value.replaceAll(/[\\^$.*+?()[\]{}|]/g, '\\\\$&');

/** Values that were chosen for variables, by the variable's name; of the others all. */
export type Chosen = Readonly<Record<string, string>>;

/** Finds the values of the dashboard's variables. Throws a RangeError for a query other than `label_values(metric, label)`. */
export async function variablesOf(
  dashboard: Dashboard,
  resolution: Resolution,
  prometheus: Prometheus,
  chosen: Chosen = {},
): Promise<Asked> {
  const variables = new Map<string, string>();
  for (const variable of queriedOf(dashboard)) {
    const { name, allValue, current } = variable;
    const values = [chosen[name] ?? current?.value ?? '$__all'].flat();
    if (!values.includes('$__all')) variables.set(name, values.map(escaped).join('|'));
    else if (allValue !== undefined) variables.set(name, allValue);
    else {
      const found = await foundFor(variable, resolution, prometheus);
      variables.set(name, found.map(escaped).join('|'));
    }
  }
  return { ...resolution, variables };
}

/** What can be chosen for a variable. */
export interface Choice {
  readonly name: string;
  readonly label: string;
  readonly values: readonly string[];
}

/** The choices that a dashboard gives. Throws as `variablesOf`. */
export function choicesOf(
  dashboard: Dashboard,
  resolution: Resolution,
  prometheus: Prometheus,
): Promise<readonly Choice[]> {
  return Promise.all(
    queriedOf(dashboard).map(async (variable) => {
      const values = await foundFor(variable, resolution, prometheus);
      return { name: variable.name, label: variable.label ?? variable.name, values: values.toSorted() };
    }),
  );
}

type Variable = NonNullable<Dashboard['templating']>['list'][number];

const queriedOf = ({ templating }: Dashboard) =>
  (templating?.list ?? []).filter(({ type }) => type === 'query');

function foundFor({ name, query }: Variable, { window }: Resolution, prometheus: Prometheus) {
  const text = (typeof query === 'object' ? query.query : query) ?? '';
  const [, metric, label] = /^label_values\((.+),\s*(\w+)\)$/.exec(text) ?? [];
  if (metric === undefined) throw new RangeError(`variable ${name} asks ${text}, which the preview cannot`);
  return prometheus.labelValues(metric, label!, window);
}

/** Puts Grafana's own variables and the dashboard's into a query. */
export function interpolate(expr: string, { window, stepMs, scrapeIntervalMs, variables }: Asked): string {
  const seconds = (ms: number) => `${Math.max(1, Math.round(ms / 1000))}s`;
  const own: Readonly<Record<string, string>> = {
    // As Grafana's manual says: at least four scrapes, so that a rate always finds two.
    __rate_interval: seconds(Math.max(stepMs + scrapeIntervalMs, 4 * scrapeIntervalMs)),
    __interval: seconds(stepMs),
    __range: seconds(window.toMs - window.fromMs),
  };
  return expr.replaceAll(/\$(?:{(\w+)(?::\w+)?}|(\w+))/g, (whole, braced, plain) => {
    const name = (braced ?? plain) as string;
    return own[name] ?? variables.get(name) ?? whole;
  });
}

/** `{{topic}} in` -> `purchase in`; without a format all labels. */
export function legendOf(format: string | undefined, labels: Readonly<Record<string, string>>): string {
  if (format === undefined || format === '')
    return Object.entries(labels)
      .map(([name, value]) => `${name}=${value}`)
      .join(', ');
  return format.replaceAll(/{{\s*(\w+)\s*}}/g, (_, label) => labels[label as string] ?? '').trim();
}

const numberOf = (text: string): number | null => {
  const value = Number(text === '+Inf' ? 'Infinity' : text === '-Inf' ? '-Infinity' : text);
  return Number.isFinite(value) ? value : null;
};

/** All lines of a panel, with a null wherever a step has no value, so that gaps stay gaps. */
export async function linesOf(
  panel: Panel,
  asked: Asked,
  prometheus: Prometheus,
): Promise<readonly Series[]> {
  const { window, stepMs } = asked;
  const answers = await Promise.all(
    (panel.targets ?? []).map(async (target) => {
      if (target.expr === undefined) return [];
      const samples = await prometheus.range(interpolate(target.expr, asked), window, stepMs);
      return samples.map(({ metric, values }): Series => {
        const at = new Map(values.map(([seconds, value]) => [Math.round(seconds * 1000), numberOf(value)]));
        const points: [number, number | null][] = [];
        for (let ms = window.fromMs; ms <= window.toMs; ms += stepMs) points.push([ms, at.get(ms) ?? null]);
        return { name: legendOf(target.legendFormat, metric), labels: metric, points };
      });
    }),
  );
  return answers.flat();
}

/** What a panel's instant queries answer, as lines of one point. */
export async function valuesOf(
  panel: Panel,
  asked: Asked,
  prometheus: Prometheus,
): Promise<readonly Series[]> {
  const atMs = asked.window.toMs;
  const answers = await Promise.all(
    (panel.targets ?? []).map(async ({ expr, legendFormat }) =>
      (await prometheus.instant(interpolate(expr ?? '', asked), atMs)).map(
        ({ metric, value: [, text] }): Series => ({
          name: legendOf(legendFormat, metric),
          labels: metric,
          points: [[atMs, numberOf(text)]],
        }),
      ),
    ),
  );
  return answers.flat();
}

/** Observations with a trace, of those queries that ask for them. */
export async function exemplarsOf(
  panel: Panel,
  asked: Asked,
  prometheus: Prometheus,
): Promise<readonly Exemplar[]> {
  const wanted = (panel.targets ?? []).filter(
    ({ exemplar, expr }) => exemplar === true && expr !== undefined,
  );
  const found = await Promise.all(
    wanted.map(({ expr }) => prometheus.exemplars(interpolate(expr!, asked), asked.window)),
  );
  return thinned(found.flat());
}

/** The slowest of each of 40 stretches of time: hundreds of points on a line hide it. */
function thinned(points: readonly Exemplar[]): readonly Exemplar[] {
  if (points.length <= 40) return points;
  const first = Math.min(...points.map(([time]) => time));
  const last = Math.max(...points.map(([time]) => time));
  const slowest = new Map<number, Exemplar>();
  for (const point of points) {
    const slot = Math.floor(((point[0] - first) / Math.max(1, last - first)) * 39.99);
    if (point[1] > (slowest.get(slot)?.[1] ?? -1)) slowest.set(slot, point);
  }
  return [...slowest.values()];
}

/** A table's rows: labels and a value for each query, joined where all labels are equal, columns in order. */
export async function tableOf(
  panel: Panel,
  asked: Asked,
  prometheus: Prometheus,
): Promise<{
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | null)[])[];
}> {
  const targets = panel.targets ?? [];
  const rows = new Map<string, Record<string, string | number | null>>();
  await Promise.all(
    targets.map(async ({ expr, refId }) => {
      const value = targets.length === 1 ? 'Value' : `Value #${refId}`;
      const samples = await prometheus.instant(interpolate(expr ?? '', asked), asked.window.toMs);
      for (const {
        metric,
        value: [, text],
      } of samples) {
        const key = JSON.stringify(Object.entries(metric).sort());
        rows.set(key, { ...metric, ...rows.get(key), [value]: numberOf(text) });
      }
    }),
  );
  return organised(panel, [...rows.values()]);
}

interface Organize {
  readonly excludeByName?: Readonly<Record<string, boolean>>;
  readonly includeByName?: Readonly<Record<string, boolean>>;
  readonly indexByName?: Readonly<Record<string, number>>;
  readonly renameByName?: Readonly<Record<string, string>>;
}

/** Applies the transformations `merge` (done already) and `organize`, and the sorting. */
function organised(
  panel: Panel,
  records: readonly Readonly<Record<string, string | number | null>>[],
): { columns: string[]; rows: (string | number | null)[][] } {
  let options: Organize = {};
  for (const { id, options: given } of panel.transformations ?? []) {
    if (id === 'organize') options = given as Organize;
    else if (id !== 'merge') throw new RangeError(`unknown transformation ${id} in panel ${panel.title}`);
  }
  const { excludeByName = {}, includeByName = {}, indexByName = {}, renameByName = {} } = options;
  const asked = Object.keys(includeByName);
  const present = [...new Set([...asked, ...records.flatMap((record) => Object.keys(record))])];
  const names = present
    .filter((name) => excludeByName[name] !== true && (asked.length === 0 || includeByName[name] === true))
    .sort((a, b) => (indexByName[a] ?? present.indexOf(a)) - (indexByName[b] ?? present.indexOf(b)));
  const columns = names.map((name) => renameByName[name] ?? name);
  const rows = records.map((record) => names.map((name) => record[name] ?? null));
  const sort = panel.options?.sortBy?.[0];
  if (sort !== undefined) {
    const column = columns.indexOf(sort.displayName);
    const direction = sort.desc === true ? -1 : 1;
    rows.sort((a, b) => direction * compare(a[column] ?? null, b[column] ?? null));
  }
  return { columns, rows };
}

function compare(a: string | number | null, b: string | number | null): number {
  if (a === null || b === null) return (a === null ? 0 : 1) - (b === null ? 0 : 1);
  return typeof a === 'number' && typeof b === 'number' ? a - b : String(a).localeCompare(String(b));
}

/** Marks of the dashboard's Prometheus annotations: where a series begins, as Grafana draws a region's start. */
export async function marksOf(
  dashboard: Dashboard,
  asked: Asked,
  prometheus: Prometheus,
): Promise<readonly Mark[]> {
  const { window, stepMs } = asked;
  const found = await Promise.all(
    (dashboard.annotations?.list ?? []).map(async ({ expr, enable, iconColor = 'blue', titleFormat }) => {
      if (expr === undefined || enable === false) return [];
      const samples = await prometheus.range(interpolate(expr, asked), window, stepMs);
      return samples.flatMap(({ metric, values }) => {
        const begins = values.filter(
          ([seconds], index) => index === 0 || seconds - values[index - 1]![0] > (stepMs / 1000) * 1.5,
        );
        return begins
          .map(([seconds]) => ({
            timeMs: seconds * 1000,
            text: legendOf(titleFormat, metric),
            color: iconColor,
          }))
          .filter(({ timeMs }) => timeMs > window.fromMs + stepMs);
      });
    }),
  );
  return found.flat().sort((a, b) => a.timeMs - b.timeMs);
}
