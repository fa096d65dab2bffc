/**
 * Proof that the ratio over the whole period is right, through restarts of the canary (its counters begin at 0 again)
 * and through time in which it was dead. In promtool's notation: these are values, not alerts.
 */
import { stringify } from 'yaml';
import { metrics } from '../catalog/metrics.ts';
import { sloPeriod, sloSeries } from '../catalog/slos.ts';

const { canary, promotion } = metrics;

/** A sample an hour and 3600 probes between two: `count` samples, with `badPerHour` bad ones between two. */
const hours = (count: number, badPerHour = 0) => `0+${3_600 - badPerHour}x${count - 1}`;
const dead = (count: number) => `stale _x${count - 2}`;

const good = `${canary.goodProbes}{partition="0"}`;
const total = `${canary.probes}{partition="0"}`;

interface PeriodCase {
  readonly name: string;
  readonly series: Readonly<Record<string, string>>;
  readonly atHours: number;
  /** Expression -> value that it has within a millionth; undefined: it has none. */
  readonly values: Readonly<Record<string, number | undefined>>;
}

const ratioOf = (slo: string) => `${sloSeries.ratio(sloPeriod)}{slo="${slo}"}`;
const budgetOf = (slo: string) => `${sloSeries.budgetRemaining}{slo="${slo}"}`;

const cases: readonly PeriodCase[] = [
  {
    name: 'as much fails as is allowed: nothing is left',
    series: { [good]: hours(721, 1.8), [total]: hours(721) },
    atHours: 720,
    values: { [ratioOf('availability')]: 0.9995, [budgetOf('availability')]: 0 },
  },
  {
    name: 'the canary restarts twice, and in between as much fails in one hour as is half the budget',
    series: {
      [good]: `${hours(240)} 0+3600x99 ${3_600 * 100 - 648}+3600x139 ${hours(241)}`,
      [total]: `${hours(240)} ${hours(240)} ${hours(241)}`,
    },
    atHours: 720,
    // Of the two hours in which it restarted nobody knows anything.
    values: {
      [ratioOf('availability')]: 1 - 648 / (3_600 * (720 - 2)),
      [budgetOf('availability')]: 1 - 648 / (3_600 * (720 - 2)) / 0.0005,
    },
  },
  {
    name: 'ten days dead: neither good nor bad',
    series: {
      [good]: `${hours(240, 3.6)} ${dead(240)} ${hours(241)}`,
      [total]: `${hours(240)} ${dead(240)} ${hours(241)}`,
    },
    atHours: 720,
    values: { [ratioOf('availability')]: 1 - (3.6 * 239) / (3_600 * (239 + 240)) },
  },
  {
    name: 'without purchases no promotion is late',
    series: {
      [`${promotion.joinLatency}_bucket{le="2"}`]: '0x100',
      [`${promotion.joinLatency}_count`]: '0x100',
    },
    atHours: 96,
    values: { [ratioOf('promotion_latency')]: undefined, [budgetOf('promotion_latency')]: undefined },
  },
];

/** A promtool test file; it names the rule files as `../rules/<name>.yml`. */
export function renderPeriodProof(): string {
  return stringify(
    {
      rule_files: ['../rules/slo.yml', '../rules/slo-budget.yml'],
      // Seldom, and the objective before what is measured by it.
      evaluation_interval: '24h',
      group_eval_order: ['slo', 'slo-budget'],
      tests: cases.map(({ name, series, atHours, values }) => ({
        name,
        interval: '1h',
        input_series: Object.entries(series).map(([one, samples]) => ({ series: one, values: samples })),
        promql_expr_test: Object.entries(values).map(([expr, value]) => ({
          expr: value === undefined ? expr : `sum(abs(${expr} - ${value}) < bool 0.000001)`,
          eval_time: `${atHours}h`,
          exp_samples: value === undefined ? [] : [{ labels: '{}', value: 1 }],
        })),
      })),
    },
    { lineWidth: 0 },
  );
}
