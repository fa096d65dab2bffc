import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { renderDashboards } from './index.ts';
import { lint } from './lint.ts';

const everywhere = Object.values(environments).flatMap((environment) =>
  [...renderDashboards(environment)].map(([file, text]) => ({ environment, file, text })),
);
const overview = everywhere[0]!.text;

test('every dashboard of every environment passes the lint', (t) => {
  for (const { text } of everywhere) t.deepEqual(lint(text), []);
});

test('an environment’s dashboards have uids and titles of their own', (t) => {
  const all = everywhere.map(({ text }) => JSON.parse(text) as { uid: string; title: string });
  t.is(new Set(all.map(({ uid }) => uid)).size, all.length);
  t.is(new Set(all.map(({ title }) => title)).size, all.length);
});

test('a dead broker shows as missing, not as fewer: the expected number is pinned', (t) => {
  const brokers = panelsOf(overview).find(({ title }) => title === 'Brokers');
  t.regex(brokers!.description, /3 are expected/);
});

interface Panel {
  type: string;
  title: string;
  description: string;
  gridPos: { x: number; y: number; w: number; h: number };
  targets: { expr: string; legendFormat: string; datasource: { uid: string } }[];
  fieldConfig: { defaults: { unit?: string } };
}

function panelsOf(text: string): Panel[] {
  return (JSON.parse(text) as { panels: Panel[] }).panels;
}

/** What the lint says of the overview after a change to one of its graphs, or to all of it. */
function afterwards(change: (graph: Panel, dashboard: Record<string, unknown>) => void): string[] {
  const dashboard = JSON.parse(overview) as { panels: Panel[] } & Record<string, unknown>;
  const graph = dashboard.panels.find(({ type }) => type === 'timeseries')!;
  change(graph, dashboard);
  return lint(JSON.stringify(dashboard));
}

const faults: Readonly<Record<string, readonly [Parameters<typeof afterwards>[0], RegExp]>> = {
  'a panel without unit': [
    (graph) => {
      delete graph.fieldConfig.defaults.unit;
    },
    /has no unit/,
  ],
  'a unit that nobody can format': [
    (graph) => {
      graph.fieldConfig.defaults.unit = 'furlongs';
    },
    /unknown unit furlongs/,
  ],
  'a panel without description': [
    (graph) => {
      graph.description = '';
    },
    /no description/,
  ],
  'an empty legend': [
    (graph) => {
      graph.targets[0]!.legendFormat = '';
    },
    /empty legend/,
  ],
  'a legend that would come out empty': [
    (graph) => {
      graph.targets[0]!.legendFormat = '{{instance}}';
    },
    /names instance, which the query drops/,
  ],
  'a fixed datasource': [
    (graph) => {
      graph.targets[0]!.datasource.uid = 'prometheus';
    },
    /fixed datasource/,
  ],
  'a metric that is not in the catalog': [
    (graph) => {
      graph.targets[0]!.expr = 'sum(rate(kafka_server_messages_total[$__rate_interval]))';
    },
    /kafka_server_messages_total, which is not in the catalog/,
  ],
  'a rate over a fixed window': [
    (graph) => {
      graph.targets[0]!.expr = 'sum(rate(promotion_purchases_total[1m]))';
    },
    /rate over \[1m\]: use \$__rate_interval/,
  ],
  'panels that lie over each other': [
    (graph) => {
      graph.gridPos.x += 1;
    },
    /lies over/,
  ],
  'a panel beyond the grid': [
    (graph) => {
      graph.gridPos.w = 40;
    },
    /outside the grid/,
  ],
  'a gap at the end of a line': [
    (_graph, dashboard) => {
      (dashboard.panels as Panel[]).pop();
      (dashboard.panels as Panel[]).push({
        ...panelsOf(overview).at(-1)!,
        gridPos: { ...panelsOf(overview).at(-1)!.gridPos, w: 20 },
      });
    },
    /leaves a gap/,
  ],
  'a dashboard without a variable for its Prometheus': [
    (_graph, dashboard) => {
      dashboard.templating = { list: [] };
    },
    /no variable for its Prometheus/,
  ],
  'a row that asks nothing': [
    (_graph, dashboard) => {
      (dashboard.panels as Panel[])[0]!.title = 'Health';
    },
    /asks a question/,
  ],
  'two panels of one title': [
    (graph, dashboard) => {
      (dashboard.panels as Panel[]).find(({ type }) => type === 'stat')!.title = graph.title;
    },
    /title of another panel/,
  ],
};

for (const [what, [change, complaint]] of Object.entries(faults))
  test(`the lint finds ${what}`, (t) => {
    const found = afterwards(change);
    t.true(
      found.some((line) => complaint.test(line)),
      found.join('\n') || 'it found nothing',
    );
  });
