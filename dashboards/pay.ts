/** my-pay: does money move, how fast is it booked, and who are its members? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { dashboardOf, heatmap, highIsBad, neutral, percentiles, rate, series, stat } from './kit.ts';

const { money, membership } = metrics;

export const pay = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'pay',
    title: 'my-pay',
    description: 'Does money move, how fast is it booked, and who joins?',
    traces: true,
    rows: [
      {
        question: 'Does money move?',
        lines: [
          [
            stat({
              title: 'Booked',
              description: 'Operations on the ledger that were done, a minute.',
              expr: `sum(rate(${money.operations}{outcome="DONE"}[$__rate_interval])) * 60`,
              unit: 'none',
              decimals: 1,
              steps: neutral,
            }),
            stat({
              title: 'Not known',
              description:
                'Operations that were answered 503: their callers were told to send the same again with the same key.',
              expr: `sum(increase(${money.operations}{outcome="UNAVAILABLE"}[$__range]))`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 1 }),
            }),
            stat({
              title: 'Share a commit',
              description: 'Operations that a transaction carries: more when many come at once.',
              expr: `sum(rate(${money.operations}[$__rate_interval])) / sum(rate(${money.commitDuration}_count[$__rate_interval]))`,
              unit: 'none',
              decimals: 1,
              steps: neutral,
            }),
          ],
          [
            series({
              title: 'Operations',
              description: 'Done a second, by kind.',
              unit: 'ops',
              queries: [{ expr: rate(money.operations, 'kind', '{outcome="DONE"}'), legend: '{{kind}}' }],
            }),
            series({
              title: 'Outcomes',
              description:
                'Of all kinds, a second; whatever is neither DONE nor REPEATED is a refusal or 503.',
              unit: 'ops',
              queries: [{ expr: rate(money.operations, 'outcome'), legend: '{{outcome}}' }],
            }),
          ],
        ],
      },
      {
        question: 'How fast is it booked?',
        lines: [
          [
            series({
              title: 'Transactions',
              description: 'Of the ledger, from beginning to commit. A point leads to a trace.',
              unit: 's',
              queries: percentiles(money.commitDuration),
            }),
            heatmap({
              title: 'Transactions, spread',
              description:
                'By the time they took: another process that holds the same accounts shows as a band.',
              histogram: money.commitDuration,
            }),
          ],
        ],
      },
      {
        question: 'Who joins, and who gets in?',
        lines: [
          [
            stat({
              title: 'Left behind',
              description:
                'Accounts of members who have left that still have money in them, or under way: staff has to pay it out.',
              expr: `max(${money.leftAccounts})`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 1 }),
            }),
            series({
              title: 'Members',
              description: 'Who joined or was changed, a minute.',
              unit: 'none',
              queries: [{ expr: `${rate(membership.changes, 'kind')} * 60`, legend: '{{kind}}' }],
            }),
            series({
              title: 'Logins',
              description:
                'A minute, by outcome: many WRONG or LIMITED ones are somebody who guesses passwords.',
              unit: 'none',
              queries: [{ expr: `${rate(membership.logins, 'outcome')} * 60`, legend: '{{outcome}}' }],
            }),
            series({
              title: 'Accounts that follow',
              description: 'Changes of members that money has heard of, a minute; KNOWN ones came again.',
              unit: 'none',
              queries: [{ expr: `${rate(money.memberEvents, 'outcome')} * 60`, legend: '{{outcome}}' }],
            }),
          ],
        ],
      },
    ],
  });
