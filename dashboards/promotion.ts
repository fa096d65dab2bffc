/** Promotion reaction: do purchases meet their acts in time, and who reacts to what? */
import type { Environment } from '../catalog/environments.ts';
import { groups } from '../catalog/groups.ts';
import { metrics } from '../catalog/metrics.ts';
import { bars, dashboardOf, heatmap, neutral, percentiles, rate, rateOrZero, series, stat } from './kit.ts';
import * as signals from './signals.ts';

const { promotion } = metrics;
const group = groups.promotionJoin;

export const promotions = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'promotion',
    title: 'promotion',
    description: 'Do purchases meet their acts in time, and who reacts to what?',
    traces: true,
    rows: [
      {
        question: 'Does the join do its work?',
        lines: [
          [
            stat({
              title: 'Purchases',
              description: 'Purchases joined a second.',
              expr: rate(promotion.purchases),
              unit: 'mps',
              decimals: 1,
              steps: neutral,
            }),
            stat({
              title: 'Affected',
              description:
                'Share of purchases that a promotion affected: the same user acted on it in the 5 minutes before.',
              expr: `(${rateOrZero(promotion.purchases, '{promotion_affect="1"}')}) / ${rate(promotion.purchases)}`,
              unit: 'percentunit',
              decimals: 0,
              steps: neutral,
            }),
            stat({
              title: 'Join latency, p99',
              description:
                'From a purchase’s arrival to its enriched event; misses wait up to 1.2 s for a possible act. 2 s are allowed.',
              expr: percentiles(promotion.joinLatency)[1]!.expr,
              unit: 's',
              steps: [
                { from: null, color: 'green' },
                { from: 1.5, color: 'yellow' },
                { from: 2, color: 'red' },
              ],
            }),
            stat({
              title: 'Held back',
              description: 'Purchases that wait for a possible act.',
              expr: `sum(${promotion.pendingMisses})`,
              unit: 'short',
              steps: neutral,
            }),
          ],
        ],
      },
      {
        question: 'Is it in time?',
        lines: [
          [
            series({
              title: 'Throughput',
              description: 'Purchases and acts taken in a second, and corrections that followed late acts.',
              unit: 'mps',
              queries: [
                { expr: rate(promotion.purchases), legend: 'purchases' },
                { expr: rate(promotion.acts), legend: 'acts' },
                { expr: rateOrZero(promotion.corrections), legend: 'corrections' },
              ],
            }),
            series({
              title: 'Join latency by answer',
              description:
                'p99 of hits (an act was there: at once) and misses (held until nothing can come any more). A point leads to a trace.',
              unit: 's',
              limit: 2,
              queries: [
                {
                  expr: `histogram_quantile(0.99, ${rate(`${promotion.joinLatency}_bucket`, 'le', '{promotion_affect="1"}')})`,
                  legend: 'hit',
                  exemplars: true,
                },
                {
                  expr: `histogram_quantile(0.99, ${rate(`${promotion.joinLatency}_bucket`, 'le', '{promotion_affect="0"}')})`,
                  legend: 'miss',
                  exemplars: true,
                },
              ],
            }),
            heatmap({
              title: 'Join latency, spread',
              description: 'Purchases by the time from arrival to enriched event.',
              histogram: promotion.joinLatency,
            }),
          ],
        ],
      },
      {
        question: 'Who reacts to what?',
        lines: [
          [
            bars({
              title: 'Reaction by age band',
              description:
                'Share of purchases in the last 15 minutes that any promotion affected, by age band.',
              unit: 'percentunit',
              max: 1,
              decimals: 0,
              steps: neutral,
              queries: [
                {
                  expr: `sum by (age_band) (${promotion.reactionAffected}{window="15m", promotion="all"}) / sum by (age_band) (${promotion.reactionPurchases}{window="15m", promotion="all"})`,
                  legend: '{{age_band}}',
                },
              ],
            }),
            bars({
              title: 'Best promotions',
              description: 'Purchases in the last 15 minutes that each promotion affected.',
              unit: 'short',
              steps: neutral,
              queries: [
                {
                  expr: `topk(8, sum by (promotion) (max by (promotion, age_band) (${promotion.reactionAffected}{window="15m", promotion!="all"})))`,
                  legend: '{{promotion}}',
                },
              ],
            }),
            series({
              title: 'Clicks and views',
              description: 'Acts a second, by kind.',
              unit: 'mps',
              stacked: true,
              queries: [{ expr: rate(promotion.acts, 'action'), legend: '{{action}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Is anything refused, repeated or left behind?',
        lines: [
          [
            series({
              title: 'Not taken',
              description: 'A second: rejected (not understood), duplicates (seen before: harmless).',
              unit: 'ops',
              queries: [
                { expr: rateOrZero(promotion.rejected), legend: 'rejected' },
                { expr: rateOrZero(promotion.duplicates), legend: 'duplicates' },
              ],
            }),
            signals.deadLettersAndRetries(group.topics.map(({ name }) => name).join('|')),
            signals.lagOf([group.id]),
          ],
          [
            series({
              title: 'Log files, lines read',
              description: 'Lines a second that the log follower published or refused, by topic.',
              unit: 'ops',
              queries: [{ expr: rate(promotion.logLines, 'topic, result'), legend: '{{topic}} {{result}}' }],
            }),
            series({
              title: 'Log files, bytes behind',
              description: 'Bytes in the inbox that are not read yet.',
              unit: 'bytes',
              queries: [{ expr: `sum by (topic) (${promotion.logFileLagBytes})`, legend: '{{topic}}' }],
            }),
            series({
              title: 'Purchases held back',
              description:
                'Purchases that wait for a possible act. Steady at about 1.2 s of the purchase rate, or below.',
              unit: 'short',
              queries: [{ expr: `sum(${promotion.pendingMisses})`, legend: 'purchases' }],
            }),
          ],
        ],
      },
    ],
  });
