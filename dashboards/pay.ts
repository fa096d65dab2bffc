/** my-pay: does money move, how fast is it booked, who are its members, and do the banks do what they are asked? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { dashboardOf, heatmap, highIsBad, neutral, percentiles, rate, series, stat } from './kit.ts';

const { banking, delivery, http, membership, money, payment, remittance, settlement } = metrics;
const bankCalls = `${http.clientCalls}{client=~"bank-.*"}`;

export const pay = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'pay',
    title: 'my-pay',
    description:
      'Does money move, how fast is it booked, who joins, and do the banks do what they are asked?',
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
      {
        question: 'Do recharges and remittances end?',
        lines: [
          [
            stat({
              title: 'Recharges open',
              description: 'Accepted and not ended: they wait for banking, or for the bank.',
              expr: `sum(${money.openRecharges}) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 50 }),
            }),
            stat({
              title: 'Remittances open',
              description: 'Accepted and not ended, by whatever is under way.',
              expr: `sum(${remittance.open}) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 50 }),
            }),
            series({
              title: 'Recharges',
              description: 'That have ended, a minute; FAILED ones were refused, or rejected by the bank.',
              unit: 'none',
              queries: [{ expr: `${rate(money.recharges, 'state')} * 60`, legend: '{{state}}' }],
            }),
            series({
              title: 'Remittances',
              description: 'That have ended, a minute.',
              unit: 'none',
              queries: [{ expr: `${rate(remittance.remittances, 'state')} * 60`, legend: '{{state}}' }],
            }),
            series({
              title: 'Under way',
              description: 'Remittances that have not ended, by the call that is to be made next.',
              unit: 'none',
              queries: [{ expr: `sum by (state) (${remittance.open})`, legend: '{{state}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Are merchants paid, and customers given back?',
        lines: [
          [
            stat({
              title: 'Payments open',
              description: 'Payments and refunds, accepted and not ended, by whatever is under way.',
              expr: `sum(${payment.open}) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 50 }),
            }),
            series({
              title: 'Payments and refunds',
              description: 'That have ended, a minute; FAILED ones had no money, or no open account.',
              unit: 'none',
              queries: [{ expr: `${rate(payment.slips, 'state')} * 60`, legend: '{{state}}' }],
            }),
            series({
              title: 'Payments under way',
              description: 'Payments and refunds that have not ended, by the call that is to be made next.',
              unit: 'none',
              queries: [{ expr: `sum by (state) (${payment.open})`, legend: '{{state}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Are merchants paid out?',
        lines: [
          [
            stat({
              title: 'Settlements stopped',
              description:
                'Refused by banking or a bank, or of a merchant who is not in good standing: staff has to look and try them again.',
              expr: `max(${settlement.open}{state="STOPPED"}) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 1 }),
            }),
            series({
              title: 'Slips',
              description: 'Payments and refunds that settlement has taken, a second; repeats included.',
              unit: 'ops',
              queries: [{ expr: rate(settlement.slips, 'kind'), legend: '{{kind}}' }],
            }),
            series({
              title: 'Settlements',
              description: 'Of a merchant and a period, that have ended or stopped, a minute.',
              unit: 'none',
              queries: [{ expr: `${rate(settlement.lines, 'state')} * 60`, legend: '{{state}}' }],
            }),
            series({
              title: 'Settlements under way',
              description: 'That have not ended, by the call that is to be made next.',
              unit: 'none',
              queries: [{ expr: `max by (state) (${settlement.open})`, legend: '{{state}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Are dishes delivered, and people told?',
        lines: [
          [
            stat({
              title: 'Put off',
              description: 'What was due of an order and has thrown: it is tried again every 30 s.',
              expr: `sum(increase(${delivery.due}{outcome="PUT_OFF"}[$__range]))`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 1 }),
            }),
            series({
              title: 'Changes of orders',
              description: 'By the state entered, a second; repeats included.',
              unit: 'ops',
              queries: [{ expr: rate(delivery.changes, 'state'), legend: '{{state}}' }],
            }),
            series({
              title: 'Orders under way',
              description: 'By what is waited for.',
              unit: 'none',
              queries: [{ expr: `max by (state) (${delivery.open})`, legend: '{{state}}' }],
            }),
            series({
              title: 'Riders',
              description: 'By what they do.',
              unit: 'none',
              queries: [{ expr: `max by (state) (${delivery.riders})`, legend: '{{state}}' }],
            }),
          ],
          [
            series({
              title: 'Ends and assignments late',
              description: 'From when they were due.',
              unit: 's',
              queries: percentiles(delivery.dueLateness),
            }),
            series({
              title: 'Notified after',
              description: 'From a change to its notification.',
              unit: 's',
              queries: percentiles(delivery.notifyLatency),
            }),
            series({
              title: 'Notified',
              description: 'People told of changes, and notifications written into the log, a second.',
              unit: 'ops',
              queries: [
                { expr: `sum(rate(${delivery.notifications}[$__rate_interval]))`, legend: 'told' },
                { expr: `sum(rate(${delivery.logged}[$__rate_interval]))`, legend: 'logged' },
              ],
            }),
            series({
              title: 'Words on deliveries',
              description: 'A second, by what their orders made of them.',
              unit: 'ops',
              queries: [{ expr: rate(delivery.heard, 'outcome'), legend: '{{outcome}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Do the banks do what they are asked?',
        lines: [
          [
            stat({
              title: 'In doubt',
              description:
                'Firm bankings that were sent and of which the bank has not said how they ended. It is asked again and again.',
              expr: `sum(${banking.undecided}{state="IN_DOUBT"}) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 1, red: 20 }),
            }),
            stat({
              title: 'Wait',
              description: 'Firm bankings that wait for a bank that is down, or to be sent again.',
              expr: `sum(${banking.undecided}{state="WAITING"}) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 1 }),
            }),
            stat({
              title: 'Banks left alone',
              description: 'Banks that are not called because their calls have failed.',
              expr: `sum(${http.clientBreakerOpen}{client=~"bank-.*"}) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ red: 1 }),
            }),
          ],
          [
            series({
              title: 'Firm bankings',
              description: 'After calls of the banks, a second, by bank and the state that they led to.',
              unit: 'ops',
              queries: [
                {
                  expr: rate(banking.firmbankings, 'bank, state'),
                  legend: '{{bank}} {{state}}',
                },
              ],
            }),
            series({
              title: 'Calls of banks',
              description: 'A second, by how they ended: each may cost a fee. Membership is none.',
              unit: 'ops',
              queries: [
                {
                  expr: `sum by (client, outcome) (rate(${bankCalls}[$__rate_interval]))`,
                  legend: '{{client}} {{outcome}}',
                },
              ],
            }),
          ],
        ],
      },
    ],
  });
