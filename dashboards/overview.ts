/** Overview: is it well? One screen for whoever is woken up. */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { dashboardOf, percentiles, rateOrZero, series } from './kit.ts';
import * as signals from './signals.ts';

const { promotion, coupon, order, http } = metrics;

export const overview = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'overview',
    title: 'overview',
    description: 'Is it well? The promise to clients, the cluster, who falls behind, what fires.',
    rows: [
      {
        question: 'Is it well?',
        lines: [
          [
            signals.availability(),
            signals.errorBudget('availability'),
            signals.currentOutage(),
            signals.worstLag(),
            signals.firingAlerts(),
          ],
          [
            signals.brokersUp(environment),
            signals.zookeepersUp(environment),
            signals.controllers(),
            signals.underReplicated(),
            signals.refusingWrites(),
            signals.workersUp(environment),
          ],
        ],
      },
      {
        question: 'Do clients notice anything?',
        lines: [
          [signals.canaryLatency(), signals.canaryTrouble(), signals.burn('availability', 'Burn rate')],
        ],
      },
      {
        question: 'Does anybody fall behind or give up?',
        lines: [[signals.lagSeconds(), signals.deadLettersAndRetries(), signals.outboxBacklog()]],
      },
      {
        question: 'Do messages flow?',
        lines: [
          [
            signals.messagesByTopic(),
            series({
              title: 'Business',
              description: 'What the services did a second: purchases joined, coupons decided, orders taken.',
              unit: 'ops',
              queries: [
                { expr: rateOrZero(promotion.purchases), legend: 'purchases' },
                { expr: rateOrZero(coupon.outcomes), legend: 'coupons' },
                { expr: rateOrZero(order.orders), legend: 'orders' },
              ],
            }),
            series({
              title: 'API latency',
              description: 'Requests to the HTTP API until their answer. A point leads to a trace.',
              unit: 's',
              queries: percentiles(http.requestDuration),
            }),
          ],
        ],
      },
      { question: 'What fires?', lines: [[signals.alertTable()]] },
    ],
  });
