/** Orders and outside systems: are orders paid, does the side logic follow, do the others hear of it? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import {
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

const { order, outside } = metrics;

export const orders = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'orders',
    title: 'orders and outside systems',
    description: 'Are orders paid, does the side logic follow, and do outside systems hear of it?',
    traces: true,
    rows: [
      {
        question: 'Are orders paid?',
        lines: [
          [
            stat({
              title: 'Orders',
              description: 'Orders taken a minute.',
              expr: `(${rateOrZero(order.orders)}) * 60`,
              unit: 'none',
              decimals: 1,
              steps: neutral,
            }),
            stat({
              title: 'Paid',
              description:
                'Share of payments that went through; the others were refused with a reason. Repetitions do not count.',
              expr: `sum(increase(${order.payments}{outcome="COMPLETED"}[$__range])) / sum(increase(${order.payments}{outcome!="REPEATED"}[$__range]))`,
              unit: 'percentunit',
              decimals: 0,
              steps: neutral,
            }),
            stat({
              title: 'Webhooks delivered',
              description: 'Share of attempts that an outside system answered with 2xx.',
              expr: `sum(increase(${outside.webhookAttempts}{outcome="2xx"}[$__range])) / sum(increase(${outside.webhookAttempts}[$__range]))`,
              unit: 'percentunit',
              decimals: 0,
              steps: [
                { from: null, color: 'red' },
                { from: 0.5, color: 'yellow' },
                { from: 0.9, color: 'green' },
              ],
            }),
            stat({
              title: 'Given up',
              description:
                'Events that an outside system never took, waiting for an operator: DEAD_LETTER in the event log.',
              expr: `sum(${outside.deadLettered})`,
              unit: 'none',
              steps: highIsBad({ red: 1 }),
            }),
            stat({
              title: 'In doubt',
              description:
                'Events of which a webhook got no answer: the outside system may have done the work. Each is sent again under the same key.',
              expr: `sum(${outside.inDoubt})`,
              unit: 'none',
              steps: highIsBad({ yellow: 1 }),
            }),
          ],
        ],
      },
      {
        question: 'What happens to orders?',
        lines: [
          [
            series({
              title: 'Orders and payments',
              description: 'A second; payments by outcome.',
              unit: 'ops',
              queries: [
                { expr: rateOrZero(order.orders), legend: 'orders' },
                { expr: rate(order.payments, 'outcome'), legend: 'payment {{outcome}}' },
              ],
            }),
            series({
              title: 'Side logic',
              description:
                'Events a second that ranking, analytics and the product catalogue handled. When one fails, the order stands and the others go on.',
              unit: 'ops',
              queries: [
                { expr: rateOrZero(order.rankingEvents), legend: 'ranking' },
                { expr: rateOrZero(order.analyticsEvents), legend: 'analytics' },
                { expr: rateOrZero(order.productEvents), legend: 'products' },
              ],
            }),
            signals.lagOf(groupsOf('order'), 'Lag of the side logic'),
          ],
        ],
      },
      {
        question: 'Do outside systems hear of it?',
        lines: [
          [
            series({
              title: 'Webhook attempts',
              description:
                'Attempts a second, by outcome. 5xx, timeout and network are tried again after 1, 2, 4, 8 s.',
              unit: 'ops',
              stacked: true,
              queries: [{ expr: rate(outside.webhookAttempts, 'outcome'), legend: '{{outcome}}' }],
            }),
            series({
              title: 'Webhook duration',
              description:
                'Time until the outside system answered or was given up on. A point leads to a trace.',
              unit: 's',
              queries: percentiles(outside.webhookDuration),
            }),
            heatmap({
              title: 'Webhook duration, spread',
              description: 'Attempts by the time they took: a hanging system shows as a band at its timeout.',
              histogram: outside.webhookDuration,
            }),
          ],
          [
            series({
              title: 'Event log',
              description: 'Changes of state a second, by the state entered.',
              unit: 'ops',
              queries: [{ expr: rate(outside.events, 'state'), legend: '{{state}}' }],
            }),
            signals.lagOf(groupsOf('outside'), 'Lag of the webhooks'),
            signals.deadLettersAndRetries(topicsOf('order', 'outside')),
          ],
        ],
      },
      { question: 'Are events published?', lines: [[signals.outboxBacklog()]] },
    ],
  });
