/** Canary and SLO: is the promise kept, how fast is its budget used, and what do clients feel? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { atMost, sloPeriod, sloSeries } from '../catalog/slos.ts';
import { dashboardOf, gauge, heatmap, lowIsBad, rate, rateOrZero, series, stat } from './kit.ts';
import * as signals from './signals.ts';

const { canary, promotion } = metrics;

const ratio = (slo: string, title: string, what: string) =>
  stat({
    title,
    description: `${what}, over ${sloPeriod} or as long as there is data. Promised are 99.95 %.`,
    expr: `max(${sloSeries.ratio(sloPeriod)}{slo="${slo}"})`,
    unit: 'percentunit',
    decimals: 3,
    steps: lowIsBad({ yellow: 0.9995, green: 0.9997 }),
  });

const budget = (slo: string, title: string) =>
  gauge({
    title,
    description: `What is left of the 0.05 % that may fail in ${sloPeriod}. Below 0 the promise is broken.`,
    expr: `clamp_min(min(${sloSeries.budgetRemaining}{slo="${slo}"}), 0)`,
    unit: 'percentunit',
    max: 1,
    decimals: 1,
    steps: lowIsBad({ yellow: 0.1, green: 0.5 }),
  });

export const canaries = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'canary',
    title: 'canary and SLO',
    description: 'Is the promise kept, how fast is its budget used, and what do clients feel?',
    traces: true,
    rows: [
      {
        question: 'Is the promise kept?',
        lines: [
          [
            ratio('availability', `Availability, ${sloPeriod}`, 'Share of good canary probes'),
            ratio(
              'promotion_latency',
              `Promotions in time, ${sloPeriod}`,
              'Share of purchases answered within 2 s',
            ),
            signals.availability(),
            signals.currentOutage(),
            signals.lastOutage(),
            stat({
              title: 'Brokers seen',
              description: `Brokers that the cluster itself knows to be alive; ${environment.kafka.nodes.length} are expected.`,
              expr: `min(${canary.seenBrokers})`,
              unit: 'none',
              steps: lowIsBad({ green: environment.kafka.nodes.length }),
            }),
          ],
        ],
      },
      {
        question: 'How fast is the budget used?',
        lines: [
          [
            budget('availability', 'Budget of availability'),
            signals.burn('availability', 'Burn rate of availability'),
            budget('promotion_latency', 'Budget of promotions'),
            signals.burn('promotion_latency', 'Burn rate of promotions'),
          ],
        ],
      },
      {
        question: 'What do clients feel?',
        lines: [
          [
            signals.canaryLatency(),
            heatmap({
              title: 'From sending to receiving',
              description:
                'Probes by the time until they were read again. A second band far above: one broker is slow.',
              histogram: canary.endToEndLatency,
            }),
            signals.canaryTrouble(),
          ],
        ],
      },
      {
        question: 'Which partition fails?',
        lines: [
          [
            series({
              title: 'Sent, acked and received',
              description: 'Probes a second: all that were due, those judged good, those read again.',
              unit: 'ops',
              queries: [
                { expr: rate(canary.probes), legend: 'due' },
                { expr: rate(canary.goodProbes), legend: 'good' },
                { expr: rate(canary.received), legend: 'received' },
              ],
            }),
            series({
              title: 'Without ack, by partition',
              description:
                'Probes a second that got no ack in time. Each partition is led by another broker.',
              unit: 'ops',
              queries: [
                {
                  expr: `sum by (partition) (rate(${canary.failed}[$__rate_interval]))`,
                  legend: 'partition {{partition}}',
                },
              ],
            }),
            series({
              title: 'Promotions too late',
              description:
                'Share of purchases that took longer than 2 s from arrival to their enriched event.',
              unit: 'percentunit',
              queries: [
                {
                  expr: `1 - (${rate(`${promotion.joinLatency}_bucket`, '', atMost(2))}) / (${rate(`${promotion.joinLatency}_count`)})`,
                  legend: 'late',
                },
              ],
            }),
            series({
              title: 'Lost probes',
              description: 'Acked and never received: this must be 0 always. Anything else is lost data.',
              unit: 'ops',
              queries: [{ expr: rateOrZero(canary.lost), legend: 'lost' }],
            }),
          ],
        ],
      },
    ],
  });
