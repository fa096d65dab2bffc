/** Promotion reaction: are promotion events in time. */
import { limits } from '../catalog/alerting.ts';
import { metrics } from '../catalog/metrics.ts';
import { at, growing, type RuleGroup, rule, type Segment } from './rule.ts';

const { joinLatency } = metrics.promotion;

function bucket(le: string): string {
  return `${joinLatency}_bucket{process="promotion",promotion_affect="1",le="${le}"}`;
}

/** The histogram of 10 purchases a second, of which `slow` take between 2.5 and 5 s and the others under 0.25 s. */
function latencies(slow: number, from: `${number}m`): Record<string, readonly Segment[]> {
  const series = (le: string, perSecondAfter: number): readonly [string, readonly Segment[]] => [
    bucket(le),
    [growing(10, from), growing(perSecondAfter)],
  ];
  return Object.fromEntries([
    series('0.25', 10 - slow),
    series('1', 10 - slow),
    series('2.5', 10 - slow),
    series('5', 10),
    series('+Inf', 10),
    [`${joinLatency}_count{process="promotion",promotion_affect="1"}`, [growing(10)]],
  ]);
}

function p99(window: string): string {
  return `histogram_quantile(0.99, sum by (le) (rate(${joinLatency}_bucket[${window}])))`;
}

export function promotionAlerts(): RuleGroup {
  return {
    name: 'promotion',
    rules: [
      rule({
        name: 'PromotionTooLate',
        severity: 'page',
        // The short window says that it goes on: an election makes a few seconds late, and is over when this is asked.
        // With a handful of purchases one slow one is a percentile of its own.
        expr: `${p99('5m')} > ${limits.promotionSeconds} and ${p99('1m')} > ${limits.promotionSeconds} and sum(rate(${joinLatency}_count[5m])) > 0.1`,
        for: '3m',
        summary: 'One purchase in a hundred waits {{ $value | humanizeDuration }} for its answer.',
        meaning: `Promotion events must follow their purchase within ${limits.promotionSeconds} s; customers have left by then.`,
        firstStep:
          './muster status: lag of promotion-join? Then ./muster trace --last promotion: which step takes long?',
        runbook: 'alerts/runbooks/PromotionTooLate.md',
        inhibitedBy: ['BrokersMissing'],
        proof: {
          fires: [
            {
              when: 'every fifth purchase takes more than 2.5 s',
              series: latencies(2, '5m'),
              // 1 % of the last five minutes are slow after 15 s.
              trueFrom: '315s',
              within: '30s',
            },
          ],
          staysQuiet: [
            { when: 'one in two hundred is slow', series: latencies(0.05, '5m'), watchedFor: '30m' },
            {
              when: 'an election makes twenty seconds of purchases late',
              series: {
                ...latencies(2, '5m'),
                ...Object.fromEntries(
                  ['0.25', '1', '2.5'].map((le) => [
                    bucket(le),
                    [growing(10, '5m'), growing(5, '30s'), growing(10)],
                  ]),
                ),
              },
              watchedFor: '30m',
            },
            {
              when: 'a single slow purchase in a quiet hour',
              series: {
                [`${joinLatency}_bucket{promotion_affect="1",le="2.5"}`]: [at(0)],
                [`${joinLatency}_bucket{promotion_affect="1",le="5"}`]: [at(0, '6m'), at(1)],
                [`${joinLatency}_bucket{promotion_affect="1",le="+Inf"}`]: [at(0, '6m'), at(1)],
                [`${joinLatency}_count{promotion_affect="1"}`]: [at(0, '6m'), at(1)],
              },
              watchedFor: '30m',
            },
          ],
          live: {
            notLive: 'needs a worker that is slow and not stopped; stopped ones have alerts of their own',
          },
        },
      }),
    ],
  };
}
