import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { causes } from '../catalog/alerting.ts';
import { environments } from '../catalog/environments.ts';
import { allGroups } from '../catalog/groups.ts';
import { metrics } from '../catalog/metrics.ts';
import { sloPeriod, sloSeries, sloWindows } from '../catalog/slos.ts';
import { allTopics } from '../catalog/topics.ts';
import { renderAlertTable, renderRules, ruleGroups } from './index.ts';
import { prometheusRule } from './promtool.ts';
import { isAlert, type RecordingRule, seconds } from './rule.ts';

const everywhere = Object.values(environments);
const alertsOf = (environment: (typeof everywhere)[number]) =>
  ruleGroups(environment).flatMap(({ rules }) => rules.filter(isAlert));
const alerts = alertsOf(environments.prod);
const root = join(import.meta.dirname, '..');
const runbooks = new Map(
  readdirSync(join(root, 'alerts/runbooks')).map((file) => [
    file.replace(/\.md$/, ''),
    readFileSync(join(root, 'alerts/runbooks', file), 'utf8'),
  ]),
);

const known = new Set<string>([
  ...Object.values(metrics).flatMap((section): string[] => Object.values(section)),
  ...sloWindows.flatMap((window) => [sloSeries.ratio(window), sloSeries.burnRate(window)]),
  sloSeries.ratio(sloPeriod),
  sloSeries.budgetRemaining,
  sloSeries.objective,
  sloSeries.measuredSince,
]);
const words = new Set(['or', 'and', 'unless', 'bool', 'offset', 'group_left', 'group_right']);

/** Names in a query that are no metric of the catalog. */
function unknownMetrics(expression: string): string[] {
  const bare = expression
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/{[^}]*}/g, '')
    .replaceAll(/\[[^\]]*\]/g, '')
    .replaceAll(/\b(by|without|on|ignoring|group_left)\s*\([^)]*\)/g, '')
    .replaceAll(/\b(offset)\s+\d+[smhd]/g, '');
  return [...bare.matchAll(/[A-Za-z_:][\w:]*(?!\w|\s*\()/g)]
    .map(([name]) => name)
    .filter((name) => !words.has(name) && !known.has(name))
    .filter((name) => !known.has(name.replace(/_(bucket|sum|count)$/, '')));
}

test('unknown metrics are found in a query', (t) => {
  t.deepEqual(unknownMetrics('sum by (x) (rate(nonsense_total{a="b"}[5m])) > 3 and on (y) up offset 5m'), [
    'nonsense_total',
  ]);
});

test('every alert has a name of its own, a runbook in its four parts, and no runbook is left over', (t) => {
  const names = alerts.map(({ name }) => name);
  t.is(new Set(names).size, names.length);
  t.deepEqual([...runbooks.keys()].sort(), [...names].sort());
  for (const [name, text] of runbooks) {
    const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading);
    t.deepEqual(
      headings.filter((heading) => heading !== undefined && !heading.startsWith('#')),
      [name, 'What it means', 'How to confirm', 'What to do', 'How to know that it is over'],
      name,
    );
    t.regex(text, /```sh\n\S/, `${name} has commands`);
  }
});

test('the rules of all environments hold the same alerts; what differs are numbers', (t) => {
  for (const environment of everywhere)
    t.deepEqual(
      alertsOf(environment).map(({ name }) => name),
      alerts.map(({ name }) => name),
    );
});

test('rules and runbooks ask for metrics of the catalog only', (t) => {
  for (const { rules } of ruleGroups(environments.prod))
    for (const rule of rules)
      t.deepEqual(unknownMetrics(rule.expr), [], isAlert(rule) ? rule.name : rule.record);
  for (const [name, text] of runbooks)
    for (const [, query] of text.matchAll(/query=([^']*)'/g))
      t.deepEqual(unknownMetrics(query!), [], `${name}: ${query}`);
});

test('a summary names only labels that its firing alerts have', (t) => {
  for (const alert of alerts)
    for (const [, label] of alert.summary.matchAll(/\$labels\.(\w+)/g))
      for (const { when, alerts: firing } of alert.proof.fires)
        for (const labels of firing ?? [{}])
          t.true(Object.hasOwn(labels, label!), `${alert.name}, ${when}: no label ${label}`);
});

test('pages have somebody’s attention: few words, no code, one line', (t) => {
  for (const { name, summary, meaning, firstStep } of alerts) {
    t.false(summary.includes('\n'), name);
    t.true(summary.length <= 140, `${name}: ${summary.length} characters`);
    t.regex(meaning, /[.!?:]$|\.$/, name);
    t.true(firstStep.length > 5, name);
  }
});

test('no alert compares a count or a rate with what it can never be', (t) => {
  for (const { name, expr } of alerts) {
    // count() over nothing is nothing: it is never 0. A rate is never negative.
    t.notRegex(expr, /count\([^)]*\)\s*(==|<=)\s*0/, name);
    t.notRegex(expr, /(rate|increase)\([^)]*\)\s*<\s*0/, name);
  }
});

test('UnderReplicated outlives a rolling restart, and a broker that is gone pages after one minute', (t) => {
  const holds = (name: string) => seconds(alerts.find((alert) => alert.name === name)!.for);
  t.true(holds('UnderReplicated') >= 600);
  t.is(holds('BrokersMissing'), 60);
});

test('the number of brokers is pinned, not counted', (t) => {
  const { expr } = alerts.find(({ name }) => name === 'BrokersMissing')!;
  t.regex(expr, /< 3/);
});

test('every cause is an alert, and what it keeps back is less urgent or explained by it', (t) => {
  const names = new Set(alerts.map(({ name }) => name));
  for (const cause of Object.keys(causes)) t.true(names.has(cause), cause);
  for (const alert of alerts)
    for (const entry of alert.inhibitedBy ?? [])
      t.not(typeof entry === 'string' ? entry : entry.cause, alert.name);
  // A second fault must not hide behind the first: these page whatever else fires.
  for (const name of [
    'UnderMinIsr',
    'OfflinePartitions',
    'RpoAtRisk',
    'RtoExceeded',
    'AllBrokersGone',
    'Watchdog',
  ])
    t.is(alerts.find((alert) => alert.name === name)!.inhibitedBy, undefined, name);
});

test('each group and each topic of the catalog has its limit as a series', (t) => {
  const recorded = ruleGroups(environments.prod)
    .flatMap(({ rules }) => rules)
    .filter((rule): rule is RecordingRule => !isAlert(rule));
  const limits = recorded.filter(({ record }) => record === metrics.recorded.lagSecondsHigh);
  t.deepEqual(
    limits.map(({ labels, expr }) => [labels?.consumergroup, expr]),
    allGroups.map(({ id, lagSecondsHigh }) => [id, `vector(${lagSecondsHigh})`]),
  );
  t.deepEqual(
    recorded
      .filter(({ record }) => record === metrics.recorded.lagRecordsHigh)
      .map(({ labels }) => labels?.consumergroup),
    allGroups.map(({ id }) => id),
  );
  const retentions = recorded.filter(({ record }) => record === metrics.recorded.topicRetention);
  t.deepEqual(
    retentions.map(({ labels }) => labels?.topic),
    allTopics.flatMap(({ name, retentionBytes }) => (retentionBytes === undefined ? [name] : [])),
  );
  t.is(retentions.find(({ labels }) => labels?.topic === 'purchase')!.expr, 'vector(432000)');
});

test('Watchdog fires on its first evaluation, whatever the metrics say', (t) => {
  const { groups } = parse(renderRules(environments.dev).get('watchdog.yml')!);
  t.is(groups[0].rules[0].expr, 'vector(1)');
  t.is(groups[0].rules[0].for, undefined);
});

test('an alert reaches Prometheus with severity, texts, runbook and the names of its causes', (t) => {
  const under = prometheusRule(alerts.find(({ name }) => name === 'UnderReplicated')!);
  t.like(under, {
    alert: 'UnderReplicated',
    for: '10m',
    labels: { severity: 'ticket', inhibited_by: ',BrokersMissing,OfflineLogDir,' },
    annotations: { runbook: 'alerts/runbooks/UnderReplicated.md' },
  });
});

test('docs/alerts.md has the table of the alerts as they are (./muster render writes build/catalog/alerts.md)', (t) => {
  const docs = readFileSync(join(root, 'docs/alerts.md'), 'utf8');
  const table = /<!-- alerts -->\n\n([\s\S]*?)\n<!-- end of alerts -->/.exec(docs)?.[1];
  t.is(table, renderAlertTable(environments.prod));
});
