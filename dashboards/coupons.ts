/** Coupons: is the rush served fairly and fast, and never more issued than there are? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import {
  bars,
  dashboardOf,
  heatmap,
  highIsBad,
  neutral,
  percentiles,
  rate,
  rateOrZero,
  series,
  stat,
} from './kit.ts';
import { groupsOf, topicsOf } from './owners.ts';
import * as signals from './signals.ts';

const { coupon } = metrics;

export const coupons = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'coupons',
    title: 'coupons',
    description: 'Is the rush served fairly and fast, and never more issued than there are?',
    traces: true,
    rows: [
      {
        question: 'Is the promise kept?',
        lines: [
          [
            stat({
              title: 'Issued beyond stock',
              description:
                'Coupons issued that were not there, over all coupons: must be impossible, so it pages.',
              expr: `sum(max by (coupon) (clamp_min(${coupon.issued} - ${coupon.stock}, 0)))`,
              unit: 'none',
              steps: highIsBad({ red: 1 }),
            }),
            stat({
              title: 'Requests',
              description: 'Requests a second that were made durable and answered with their id.',
              expr: rateOrZero(coupon.requests),
              unit: 'reqps',
              decimals: 1,
              steps: neutral,
            }),
            stat({
              title: 'Successful',
              description:
                'Share of decisions that gave a coupon. The rest was too late, had one already, or came outside the period.',
              expr: `sum(increase(${coupon.outcomes}{outcome="SUCCESS"}[$__range])) / sum(increase(${coupon.outcomes}[$__range]))`,
              unit: 'percentunit',
              decimals: 0,
              steps: neutral,
            }),
            stat({
              title: 'Waiting clients',
              description: 'Clients connected for their result, by events or WebSocket.',
              expr: `sum(${coupon.pushClients})`,
              unit: 'none',
              steps: neutral,
            }),
          ],
        ],
      },
      {
        question: 'Does everybody get an answer?',
        lines: [
          [
            series({
              title: 'Requests and decisions',
              description: 'A second. Decisions follow requests; a gap that stays is a backlog.',
              unit: 'reqps',
              queries: [
                { expr: rateOrZero(coupon.requests), legend: 'requests' },
                { expr: rateOrZero(coupon.outcomes), legend: 'decisions' },
              ],
            }),
            series({
              title: 'Outcomes',
              description: 'Decisions a second, by outcome and reason.',
              unit: 'ops',
              stacked: true,
              queries: [{ expr: rate(coupon.outcomes, 'outcome, reason'), legend: '{{outcome}} {{reason}}' }],
            }),
            signals.lagOf(groupsOf('coupon')),
          ],
        ],
      },
      {
        question: 'Is it fast?',
        lines: [
          [
            series({
              title: 'To the decision',
              description: 'From the durable request to its decision. A point leads to a trace.',
              unit: 's',
              queries: percentiles(coupon.decisionLatency),
            }),
            series({
              title: 'To the client',
              description: 'From the durable request to the push of its result to the client.',
              unit: 's',
              queries: percentiles(coupon.pushLatency),
            }),
            heatmap({
              title: 'To the decision, spread',
              description:
                'Requests by the time to their decision: a rush shows as a band that rises and falls.',
              histogram: coupon.decisionLatency,
            }),
          ],
        ],
      },
      {
        question: 'How much is left?',
        lines: [
          [
            bars({
              title: 'Issued of stock',
              description:
                'Share of the stock that is issued, of the coupons that were handed out in the time shown; from the database. Never above 100 %.',
              unit: 'percentunit',
              max: 1,
              decimals: 0,
              steps: neutral,
              queries: [
                {
                  expr: `topk(10, max by (coupon) (${coupon.issued}) / (max by (coupon) (${coupon.stock}) > 0) and on (coupon) (max by (coupon) (delta(${coupon.issued}[$__range])) > 0))`,
                  legend: '{{coupon}}',
                },
              ],
            }),
            signals.outboxBacklog(),
            signals.deadLettersAndRetries(topicsOf('coupon')),
          ],
        ],
      },
    ],
  });
