/** Consumer lag: who is behind, by how many seconds, since when, and is data about to be lost? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { bars, dashboardOf, highIsBad, rate, rateOrZero, series, stat, table, type Variable } from './kit.ts';
import * as signals from './signals.ts';

const { lag, messaging } = metrics;

const group: Variable = {
  name: 'group',
  label: 'Group',
  description: 'Consumer groups to look at',
  query: `label_values(${lag.groupLag}, consumergroup)`,
  all: '.+',
};
const chosen = '{consumergroup=~"$group"}';

/** Burrow's verdict as a number, so that it can be a column: the worst wins. */
const verdicts = ['ok', 'warn', 'stall', 'stop', 'rewind'] as const;
const verdict = verdicts
  .map((name, index) => `${lag.groupStatus}{consumergroup=~"$group", status="${name}"} * ${index}`)
  .map((expr) => `(max by (consumergroup) (${expr}))`)
  .join(' + ');

export const consumerLag = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'lag',
    title: 'consumer lag',
    description: 'Who is behind, by how many seconds, since when, and is data about to be lost?',
    variables: [group],
    rows: [
      {
        question: 'Is anybody behind?',
        lines: [
          [
            signals.worstLag(chosen),
            stat({
              title: 'Groups in trouble',
              description:
                'Groups whose verdict is not OK: lag that never shrinks, a consumer that stands still, stopped or was set back.',
              expr: `count(max by (consumergroup) (${lag.groupStatus}{consumergroup=~"$group", status!="ok"}) > 0) or vector(0)`,
              unit: 'none',
              steps: highIsBad({ red: 1 }),
            }),
            stat({
              title: 'Groups watched',
              description: 'Groups with committed offsets that the lag worker knows.',
              expr: `count(count by (consumergroup) (${lag.groupLag}${chosen}))`,
              unit: 'none',
              steps: [{ from: null, color: 'blue' }],
            }),
            stat({
              title: 'Age of these values',
              description:
                'Seconds since lag was last read from the cluster. The values stay when brokers are down, and this grows.',
              expr: `max(${lag.age})`,
              unit: 's',
              decimals: 1,
              steps: highIsBad({ yellow: 15, red: 60 }),
            }),
          ],
          [
            signals.lagSeconds(chosen),
            table({
              title: 'Groups',
              description:
                'Verdict over the last minutes (Burrow’s rules), seconds and records behind, members of the group.',
              queries: [
                verdict,
                `max by (consumergroup) (${lag.groupLagSeconds}${chosen})`,
                `sum by (consumergroup) (${lag.groupLag}${chosen})`,
                `max by (consumergroup) (${lag.groupMembers}${chosen})`,
              ],
              columns: [
                { from: 'consumergroup', title: 'Group' },
                {
                  from: 'A',
                  title: 'Verdict',
                  names: {
                    0: { text: 'ok', color: 'green' },
                    1: { text: 'warn', color: 'yellow' },
                    2: { text: 'stall', color: 'orange' },
                    3: { text: 'stop', color: 'red' },
                    4: { text: 'rewind', color: 'red' },
                  },
                },
                {
                  from: 'B',
                  title: 'Seconds',
                  unit: 's',
                  decimals: 1,
                  steps: highIsBad({ yellow: 5, red: 60 }),
                },
                { from: 'C', title: 'Records', unit: 'short' },
                { from: 'D', title: 'Members', unit: 'none' },
              ],
              sortBy: { title: 'Seconds', descending: true },
            }),
          ],
        ],
      },
      {
        question: 'Where are they behind?',
        lines: [
          [
            bars({
              title: 'Worst partitions, in seconds',
              description: 'The ten partitions that are furthest behind now.',
              unit: 's',
              decimals: 1,
              steps: highIsBad({ yellow: 5, red: 60 }),
              queries: [
                {
                  expr: `topk(10, max by (consumergroup, topic, partition) (${lag.groupLagSeconds}${chosen}))`,
                  legend: '{{consumergroup}} {{topic}}-{{partition}}',
                },
              ],
            }),
            series({
              title: 'Lag by group, in records',
              description:
                'Records that are not handled yet. How bad that is depends on the rate: see the seconds.',
              unit: 'short',
              queries: [
                { expr: `sum by (consumergroup) (${lag.groupLag}${chosen})`, legend: '{{consumergroup}}' },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Do they keep up?',
        lines: [
          [
            series({
              title: 'Committed',
              description:
                'Records a second that each group marks as handled. Seen from outside, so also for groups that are not ours.',
              unit: 'mps',
              queries: [
                { expr: rate(lag.groupOffset, 'consumergroup', chosen), legend: '{{consumergroup}}' },
              ],
            }),
            series({
              title: 'Handled',
              description: 'Records a second that our workers’ handlers took, as they count them themselves.',
              unit: 'mps',
              queries: [
                {
                  expr: rate(messaging.consumedMessages, 'messaging_consumer_group_name'),
                  legend: '{{messaging_consumer_group_name}}',
                },
              ],
            }),
            series({
              title: 'Members',
              description:
                'Consumers that share a group’s partitions. A drop is a consumer that died or left.',
              unit: 'none',
              queries: [
                {
                  expr: `max by (consumergroup) (${lag.groupMembers}${chosen})`,
                  legend: '{{consumergroup}}',
                },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Is data about to be lost?',
        lines: [
          [
            signals.retentionUsed(chosen),
            series({
              title: 'Retention used, over time',
              description:
                'How close each group’s oldest committed offset is to deletion. A steady climb to 1: read faster, or keep longer, before it gets there.',
              unit: 'percentunit',
              max: 1,
              queries: [
                {
                  expr: `max by (consumergroup) (${lag.groupRetentionUsed}${chosen})`,
                  legend: '{{consumergroup}}',
                },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Can these numbers be trusted?',
        lines: [
          [
            series({
              title: 'How lag was found',
              description:
                'Partitions by how their seconds were found: nothing to do (caught up), from the record’s own timestamp (fetched), between two observations (interpolated), beyond them (estimated), not at all (unknown).',
              unit: 'none',
              stacked: true,
              queries: [
                { expr: `count by (quality) (${lag.groupLagSeconds}${chosen})`, legend: '{{quality}}' },
              ],
            }),
            series({
              title: 'Duration of a pass',
              description: 'Time to read all groups and topics once. It must stay below the interval.',
              unit: 's',
              queries: [
                {
                  expr: `${rate(`${lag.cycleDuration}_sum`)} / ${rate(`${lag.cycleDuration}_count`)}`,
                  legend: 'mean',
                },
              ],
            }),
            series({
              title: 'Passes that failed',
              description:
                'Passes a minute in which brokers did not answer. The last values stay, and their age grows.',
              unit: 'none',
              queries: [{ expr: `(${rateOrZero(lag.cycleFailures)}) * 60`, legend: 'failed' }],
            }),
          ],
        ],
      },
    ],
  });
