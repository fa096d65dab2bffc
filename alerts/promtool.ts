/** Proofs as promtool's unit tests, and mutants of the rules that those tests must catch. */
import { stringify } from 'yaml';
import { inhibitedByLabel } from '../catalog/alerting.ts';
import { metrics } from '../catalog/metrics.ts';
import {
  type AlertRule,
  type Duration,
  type FiringCase,
  isAlert,
  type QuietCase,
  type RecordingRule,
  type RuleGroup,
  type Segment,
  seconds,
} from './rule.ts';

const defaultStep: Duration = '15s';

/** Value of the label: each name between commas. Never empty: an empty one would show as its template in ALERTS. */
function inhibitedBy(causes: NonNullable<AlertRule['inhibitedBy']>): string {
  const names = causes.map((entry) =>
    typeof entry === 'string'
      ? `${entry},`
      : `{{ if eq $labels.${entry.where.label} "${entry.where.value}" }}${entry.cause},{{ end }}`,
  );
  return `,${names.join('')}`;
}

/** What Prometheus makes of that template for an alert with these labels. */
function inhibitedByOf(
  causes: NonNullable<AlertRule['inhibitedBy']>,
  labels: Readonly<Record<string, string>>,
): string {
  const names = causes.map((entry) => {
    if (typeof entry === 'string') return `${entry},`;
    return labels[entry.where.label] === entry.where.value ? `${entry.cause},` : '';
  });
  return `,${names.join('')}`;
}

/** The rule as Prometheus reads it. */
export function prometheusRule(rule: AlertRule | RecordingRule): Record<string, unknown> {
  if (!isAlert(rule)) return { ...rule };
  const { inhibitedBy: causes = [] } = rule;
  return {
    alert: rule.name,
    expr: rule.expr,
    ...(rule.for === '0s' ? {} : { for: rule.for }),
    ...(rule.keepFiringFor === undefined ? {} : { keep_firing_for: rule.keepFiringFor }),
    labels: {
      severity: rule.severity,
      ...(causes.length === 0 ? {} : { [inhibitedByLabel]: inhibitedBy(causes) }),
    },
    annotations: {
      summary: rule.summary,
      description: rule.meaning,
      first_step: rule.firstStep,
      runbook: rule.runbook,
    },
  };
}

/** Samples in promtool's notation, one a step, up to and including `endSeconds`. */
export function samples(segments: readonly Segment[], stepSeconds: number, endSeconds: number): string {
  const parts: string[] = [];
  const total = Math.floor(endSeconds / stepSeconds) + 1;
  let count = 0;
  let value = 0;
  for (const segment of segments) {
    const wanted = segment.lasts === undefined ? total - count : seconds(segment.lasts) / stepSeconds;
    if (!Number.isInteger(wanted))
      throw new Error(`${segment.lasts} is not a whole number of steps of ${stepSeconds} s`);
    const length = Math.min(wanted, total - count);
    if (length <= 0) continue;
    count += length;
    if ('gone' in segment) parts.push(length === 1 ? 'stale' : `stale _x${length - 1}`);
    else if ('value' in segment) {
      value = segment.value;
      parts.push(`${value}+0x${length - 1}`);
    } else {
      const increment = segment.perSecond * stepSeconds;
      parts.push(`${value}${increment < 0 ? '-' : '+'}${Math.abs(increment)}x${length - 1}`);
      value += increment * length;
    }
  }
  return parts.join(' ');
}

/** The alert while it fires; with a range: whether it ever fired in it. */
function firing(rule: AlertRule): string {
  return `${metrics.prometheus.alerts}{alertname="${rule.name}",alertstate="firing"}`;
}

/** One element of promtool's `tests`. */
function testOf(
  rule: AlertRule,
  of: FiringCase | QuietCase,
  endSeconds: number,
  expectations: readonly { readonly atSeconds: number; readonly is: 'firing' | 'silent' | 'silent so far' }[],
): Record<string, unknown> {
  const step = seconds(of.step ?? defaultStep);
  const alerts = ('alerts' in of ? of.alerts : undefined) ?? [{}];
  const fires = alerts.map((labels) => {
    const { inhibitedBy: causes = [] } = rule;
    const all = {
      alertname: rule.name,
      alertstate: 'firing',
      severity: rule.severity,
      ...(causes.length === 0 ? {} : { [inhibitedByLabel]: inhibitedByOf(causes, labels) }),
      ...labels,
    };
    const inside = Object.entries(all).map(([name, value]) => `${name}=${JSON.stringify(value)}`);
    return { labels: `${metrics.prometheus.alerts}{${inside.join(',')}}`, value: 1 };
  });
  return {
    name: `${rule.name}: ${of.when}`,
    interval: `${step}s`,
    input_series: Object.entries(of.series).map(([series, segments]) => ({
      series,
      values: samples(segments, step, endSeconds),
    })),
    promql_expr_test: expectations.map(({ atSeconds, is }) => ({
      // The range is longer than the time gone by: a sample at its edge counts in some versions and not in others.
      expr: is === 'silent so far' ? `count_over_time(${firing(rule)}[${atSeconds + step}s])` : firing(rule),
      eval_time: `${atSeconds}s`,
      exp_samples: is === 'firing' ? fires : [],
    })),
  };
}

function firingTest(rule: AlertRule, of: FiringCase): Record<string, unknown> {
  const step = seconds(of.step ?? defaultStep);
  const from = seconds(of.trueFrom) + seconds(rule.for);
  const before = from === 0 ? [] : [{ atSeconds: from - step, is: 'silent so far' } as const];
  const leeway = seconds(of.within ?? '0s');
  const expectations = [...before, { atSeconds: from + leeway, is: 'firing' } as const];
  if (of.falseFrom === undefined) return testOf(rule, of, from + leeway + step, expectations);
  const until = seconds(of.falseFrom) + seconds(rule.keepFiringFor ?? '0s');
  return testOf(rule, of, until + leeway + step, [
    ...expectations,
    { atSeconds: until - step, is: 'firing' },
    { atSeconds: until + leeway, is: 'silent' },
  ]);
}

function quietTest(rule: AlertRule, of: QuietCase): Record<string, unknown> {
  const step = seconds(of.step ?? defaultStep);
  const changes = Object.values(of.series).map((segments) =>
    segments.reduce((sum, { lasts }) => sum + (lasts === undefined ? 0 : seconds(lasts)), 0),
  );
  const end =
    of.watchedFor === undefined
      ? Math.max(0, ...changes) + 2 * seconds(rule.for) + 40 * step
      : seconds(of.watchedFor);
  return testOf(rule, of, end, [{ atSeconds: end, is: 'silent so far' }]);
}

function casesOf({ proof }: AlertRule): {
  readonly fires: readonly FiringCase[];
  readonly quiet: readonly QuietCase[];
} {
  return { fires: proof.fires, quiet: 'never' in proof.staysQuiet ? [] : proof.staysQuiet };
}

/** promtool test files, one a step: evaluation keeps the step of the samples, and a file has one for all its tests. */
function testFiles(
  ruleFile: string,
  cases: readonly { readonly step?: Duration; readonly test: Record<string, unknown> }[],
): ReadonlyMap<Duration, string> {
  const files = new Map<Duration, string>();
  for (const step of new Set(cases.map((each) => each.step ?? defaultStep))) {
    const tests = cases.filter((each) => (each.step ?? defaultStep) === step).map(({ test }) => test);
    files.set(
      step,
      stringify(
        { rule_files: [ruleFile], evaluation_interval: `${seconds(step)}s`, tests },
        { lineWidth: 0, aliasDuplicateObjects: false },
      ),
    );
  }
  return files;
}

function firingTests(rule: AlertRule) {
  return casesOf(rule).fires.map((of) => ({ ...of, test: firingTest(rule, of) }));
}

function quietTests(rule: AlertRule) {
  return casesOf(rule).quiet.map((of) => ({ ...of, test: quietTest(rule, of) }));
}

/** promtool test files of a group: file name -> text. They name their rule file as `../rules/<name>.yml`. */
export function renderProofs(group: RuleGroup): Map<string, string> {
  const cases = group.rules.filter(isAlert).flatMap((rule) => [...firingTests(rule), ...quietTests(rule)]);
  return new Map(
    [...testFiles(`../rules/${group.name}.yml`, cases)].map(([step, text]) => [
      `${group.name}-${step}.yml`,
      text,
    ]),
  );
}

/** One rule made wrong in one way, with the proofs that must notice. */
interface Mutant {
  readonly title: string;
  /** Rule file with the wrong rule and the recording rules it may need. */
  readonly rules: string;
  /** Test files that name it as `rules.yml`; one that fails is enough. */
  readonly tests: readonly string[];
}

/** Every way in which a rule is made wrong: never true, always true, without `for`, without `keep_firing_for`. */
export function mutants(group: RuleGroup): readonly Mutant[] {
  return group.rules.filter(isAlert).flatMap((rule) => {
    const [fires, quiet] = [firingTests(rule), quietTests(rule)];
    const mutant = (how: string, wrong: AlertRule, cases: Parameters<typeof testFiles>[1]): Mutant => ({
      title: `${rule.name}-${how}`,
      rules: renderGroup({
        ...group,
        rules: group.rules.flatMap((other): (AlertRule | RecordingRule)[] =>
          other === rule ? [wrong] : isAlert(other) ? [] : [other],
        ),
      }),
      tests: [...testFiles('rules.yml', cases).values()],
    });
    return [
      mutant('never', { ...rule, expr: 'vector(0) > 1' }, fires),
      ...(quiet.length === 0 ? [] : [mutant('always', { ...rule, expr: 'vector(1)' }, quiet)]),
      ...(rule.for === '0s' ? [] : [mutant('without-for', { ...rule, for: '0s' }, [...fires, ...quiet])]),
      ...(rule.keepFiringFor === undefined
        ? []
        : [mutant('without-keep', { ...rule, keepFiringFor: '0s' }, fires)]),
    ];
  });
}

/** A Prometheus rule file with this one group. */
export function renderGroup(group: RuleGroup): string {
  return stringify(
    {
      groups: [
        {
          name: group.name,
          ...(group.interval === undefined ? {} : { interval: group.interval }),
          rules: group.rules.map(prometheusRule),
        },
      ],
    },
    { lineWidth: 0, aliasDuplicateObjects: false },
  );
}
