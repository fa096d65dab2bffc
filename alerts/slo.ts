/** Objectives: how much of the promise is kept, how fast its budget is used up, and whether anybody measures it. */
import { metrics } from '../catalog/metrics.ts';
import { burnRates, probeRules, type Slo, sloPeriod, sloSeries, slos, sloWindows } from '../catalog/slos.ts';
import {
  at,
  type Duration,
  type FiringCase,
  gone,
  growing,
  type QuietCase,
  type RecordingRule,
  type RuleGroup,
  rule,
  type Segment,
  seconds,
} from './rule.ts';

const { canary } = metrics;
const availability = slos.find(({ id }) => id === 'availability')!;

/**
 * Since when the objectives are measured: kept by naming itself, through restarts of Prometheus of up to two days.
 */
const measuredSince: RecordingRule = {
  record: sloSeries.measuredSince,
  expr: `last_over_time(${sloSeries.measuredSince}[2d]) or vector(time())`,
};

/**
 * Share of good events; nothing while there are no events, so that a quiet night is neither good nor bad. What the window
 * has from before the first measurement counts as good: else an outage of five seconds in the first ten minutes would
 * weigh as one of half a minute in the hour, and as one of hours in the month.
 */
function goodRatio(
  { id, good, total }: Slo,
  window: (typeof sloWindows)[number] | typeof sloPeriod,
): RecordingRule {
  const bad = `(1 - sum(rate(${good}[${window}])) / (sum(rate(${total}[${window}])) > 0))`;
  const measured = `clamp_max((time() - ${sloSeries.measuredSince}) / ${seconds(window)}, 1)`;
  return { record: sloSeries.ratio(window), expr: `1 - ${bad} * ${measured}`, labels: { slo: id } };
}

const objectives: readonly RecordingRule[] = slos.map(({ id, objective }) => ({
  record: sloSeries.objective,
  expr: `vector(${objective})`,
  labels: { slo: id },
}));

const spent = (ratio: string) => `(1 - ${ratio}) / on (slo) (1 - ${sloSeries.objective})`;

// ---- proofs: both objectives, with a share of bad events that uses the budget up `burn` times too fast

const events: Readonly<Record<Slo['id'], readonly [good: string, total: string]>> = {
  availability: [`${canary.goodProbes}{partition="0"}`, `${canary.probes}{partition="0"}`],
  promotion_latency: [
    `${metrics.promotion.joinLatency}_bucket{le="2",promotion_affect="1"}`,
    `${metrics.promotion.joinLatency}_count{promotion_affect="1"}`,
  ],
};

function burning(slo: Slo['id'], ...stretches: readonly (readonly [burn: number, lasts?: Duration])[]) {
  const [good, total] = events[slo];
  const perSecond = 100;
  const { objective } = slos.find(({ id }) => id === slo)!;
  const segments = (of: (burn: number) => number): Segment[] =>
    stretches.map(([burn, lasts]) => growing(of(burn), lasts));
  return {
    [good]: segments((burn) => perSecond * (1 - burn * (1 - objective))),
    [total]: segments(() => perSecond),
  };
}

/** How the proofs of one pair of windows differ: their steps, and a burst that only the short window minds. */
interface BurnTexts<Name extends string> {
  readonly name: Name;
  /** When a burn that is a twentieth too fast from the first moment on has used up what the long window allows. */
  readonly usedUpAfter: Duration;
  /** A failure soon after the first start that would matter if nothing else were known of the window. */
  readonly young?: QuietCase;
  /** Minutes in which the short window forgets, tried where it is short. */
  readonly forgets?: FiringCase;
  readonly step: Duration;
  readonly healthyFor: Duration;
  readonly burst: readonly [burn: number, lasts: Duration];
  readonly usesUp: string;
  readonly firstStep: string;
}

function burnAlert<const Name extends string>(index: 0 | 1 | 2 | 3, texts: BurnTexts<Name>) {
  const { rate, long, short, severity } = burnRates[index]!;
  const { name, step, healthyFor, burst, usedUpAfter } = texts;
  return rule<Name>({
    name,
    severity,
    expr: `${sloSeries.burnRate(long)} > ${rate} and ${sloSeries.burnRate(short)} > ${rate}`,
    // The windows are the patience: the long one says that it matters, the short one that it still goes on. A page waits
    // two minutes more, so that the alert that names the cause (a dead broker: one minute) comes first and holds it back.
    for: severity === 'page' ? '2m' : '0s',
    summary: `The error budget of {{ $labels.slo }} burns {{ $value | printf "%.1f" }} times too fast.`,
    meaning: `Over ${long} and over ${short} more than ${rate} times as much fails as the objective allows: ${texts.usesUp}`,
    firstStep: texts.firstStep,
    runbook: `alerts/runbooks/${name}.md` as `alerts/runbooks/${NoInfer<Name>}.md`,
    ...(severity === 'page'
      ? {
          inhibitedBy: [
            'BrokersMissing',
            'BrokersRecentlyMissing',
            'ZooKeeperNoLeader',
            'ZooKeeperDown',
          ] as const,
        }
      : {}),
    proof: {
      fires: [
        {
          when: 'probes fail a little faster than that',
          step,
          series: burning('availability', [rate * 1.05]),
          trueFrom: usedUpAfter,
          alerts: [{ slo: 'availability' }],
        },
        {
          when: 'promotions are late a little more often than that',
          step,
          series: burning('promotion_latency', [rate * 1.05]),
          trueFrom: usedUpAfter,
          alerts: [{ slo: 'promotion_latency' }],
        },
        ...(texts.forgets === undefined ? [] : [texts.forgets]),
      ],
      staysQuiet: [
        {
          when: 'as much fails all the time as just does not reach it',
          step,
          series: {
            ...burning('availability', [rate * 0.95]),
            ...burning('promotion_latency', [rate * 0.95]),
          },
          watchedFor: long,
        },
        {
          when: 'a short burst: the long window does not mind it',
          step,
          series: burning('availability', [0, healthyFor], burst, [0]),
        },
        ...(texts.young === undefined ? [] : [texts.young]),
      ],
      live: {
        notLive:
          'it needs minutes to hours of failing; a killed broker is over and paged by its own alert before',
      },
    },
  });
}

/** A probe is due every second for each broker: half of them missing is no jitter. */
const silent = `sum(rate(${canary.probes}[2m])) < ${0.5 / (probeRules.intervalMs / 1_000)} * max(${canary.expectedBrokers}) or absent(${canary.probes})`;

function probed(segments: readonly Segment[]): Record<string, readonly Segment[]> {
  return {
    [`${canary.probes}{job="worker",instance="watch",partition="0"}`]: segments,
    [`${canary.expectedBrokers}{job="worker",instance="watch"}`]: [at(1)],
  };
}

/** Ratios and burn rates over the windows that are alerted on. */
export function sloAlerts(): RuleGroup {
  return {
    name: 'slo',
    interval: '30s',
    rules: [
      measuredSince,
      ...objectives,
      ...sloWindows.flatMap((window) => [
        ...slos.map((slo) => goodRatio(slo, window)),
        { record: sloSeries.burnRate(window), expr: spent(sloSeries.ratio(window)) },
      ]),
      burnAlert(0, {
        name: 'SloBurn1h',
        step: '1m',
        usedUpAfter: '58m',
        young: {
          when: 'two minutes of trouble, eight minutes after the first start',
          step: '1m',
          series: burning('availability', [0, '8m'], [100, '2m'], [0]),
        },
        healthyFor: '1h',
        burst: [100, '2m'],
        forgets: {
          when: 'it is over: the five minutes know, the hour does not yet',
          step: '1m',
          series: burning('availability', [20, '60m'], [0]),
          trueFrom: '44m',
          falseFrom: '62m',
          alerts: [{ slo: 'availability' }],
        },
        usesUp: 'the budget of 30 days is gone in two days.',
        firstStep:
          './muster status, and canary_failed_total by partition: one partition is one broker, all are the cluster.',
      }),
      burnAlert(1, {
        name: 'SloBurn6h',
        step: '1m',
        usedUpAfter: '343m',
        healthyFor: '6h',
        burst: [100, '10m'],
        usesUp: 'the budget of 30 days is gone in five.',
        firstStep: 'The canary dashboard: since when, which partition, acks or receipts.',
      }),
      burnAlert(2, {
        name: 'SloBurn1d',
        step: '15m',
        usedUpAfter: '1380m',
        healthyFor: '1d',
        burst: [100, '30m'],
        usesUp: 'the budget of 30 days is gone in ten.',
        firstStep: 'The canary dashboard over a day: many short outages, or a few per cent all the time?',
      }),
      burnAlert(3, {
        name: 'SloBurn3d',
        step: '15m',
        usedUpAfter: '4125m',
        healthyFor: '1d',
        burst: [60, '1h'],
        usesUp: 'at this rate nothing of it is left at the end of the 30 days.',
        firstStep: 'The canary dashboard over a week; then what changed when it began.',
      }),
      rule({
        name: 'CanarySilent',
        severity: 'page',
        expr: silent,
        for: '3m',
        summary: 'The canary does not probe: nobody measures the availability.',
        meaning: `Fewer than half of the probes that are due every second have a verdict. The platform may be well, but an outage would not be seen, and this time is missing from the ${sloPeriod} of the ${availability.id} objective.`,
        firstStep: './muster status: is the process watch running? ./muster logs watch says why not.',
        runbook: 'alerts/runbooks/CanarySilent.md',
        proof: {
          fires: [
            {
              when: 'the canary is dead',
              series: probed([growing(1, '10m'), gone()]),
              trueFrom: '10m',
            },
            {
              when: 'it hangs: its metrics are there, its probes are not',
              series: probed([growing(1, '10m'), growing(0)]),
              trueFrom: '11m',
              within: '30s',
            },
          ],
          staysQuiet: [
            {
              when: 'it restarts within 90 s',
              series: probed([growing(1, '10m'), gone('90s'), at(0, '15s'), growing(1)]),
            },
            { when: 'a quarter of the probes is missing', series: probed([growing(0.75)]) },
          ],
          live: { cause: 'worker stopped' },
        },
      }),
    ],
  };
}

/** The whole period. It reads millions of samples, so not at every turn. */
export function sloBudget(): RuleGroup {
  return {
    name: 'slo-budget',
    interval: '1m',
    rules: [
      ...slos.map((slo) => goodRatio(slo, sloPeriod)),
      { record: sloSeries.budgetRemaining, expr: `1 - ${spent(sloSeries.ratio(sloPeriod))}` },
    ],
  };
}
