import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { renderDashboards } from './index.ts';

interface Panel {
  readonly type: string;
  readonly title: string;
  readonly description?: string;
  readonly datasource?: { uid: string };
  readonly targets?: readonly { expr: string }[];
  readonly fieldConfig?: { defaults: { unit?: string } };
}

function panels(text: string): Panel[] {
  const all = JSON.parse(text).panels as (Panel & { panels?: Panel[] })[];
  return all.flatMap((panel) => [panel, ...(panel.panels ?? [])]).filter(({ type }) => type !== 'row');
}

const everywhere = Object.values(environments).flatMap((environment) =>
  [...renderDashboards(environment)].map(([name, text]) => ({ environment, name, text })),
);

test('every panel says what it shows, in which unit, and from which datasource', (t) => {
  for (const { text } of everywhere)
    for (const panel of panels(text)) {
      t.truthy(panel.description, panel.title);
      t.truthy(panel.fieldConfig?.defaults.unit, panel.title);
      t.is(panel.datasource?.uid, 'prometheus', panel.title);
      t.true(panel.targets!.length > 0, panel.title);
    }
});

test('queries use metric names of the catalog, and of Prometheus itself, only', (t) => {
  const known = new Set<string>(Object.values(metrics).flatMap((group) => Object.values(group)));
  for (const name of ['up', 'ALERTS']) known.add(name);
  const words = new Set(
    'messaging_destination_name sum count max rate increase histogram_quantile vector by le topic or alertstate alertname job request quantile'.split(
      ' ',
    ),
  );
  for (const { text } of everywhere)
    for (const { targets, title } of panels(text))
      for (const { expr } of targets!) {
        const bare = expr.replaceAll(/"[^"]*"|\[[^\]]*\]/g, '');
        for (const [name] of bare.matchAll(/[A-Za-z_]\w*/g))
          t.true(words.has(name) || known.has(name.replace(/_bucket$/, '')), `${title}: ${name} in ${expr}`);
      }
});

test('an environment’s dashboards have uids of their own', (t) => {
  const uids = everywhere.map(({ text }) => JSON.parse(text).uid as string);
  t.is(new Set(uids).size, uids.length);
});

test('a dead broker shows as missing, not as fewer: the expected number is pinned', (t) => {
  const [first] = everywhere;
  const brokers = panels(first!.text).find(({ title }) => title === 'Brokers');
  t.regex(brokers!.description!, /3 are expected/);
});
