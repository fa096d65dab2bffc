/** ZooKeeper: is there a quorum, and is it fast enough for the brokers' sessions? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { dashboardOf, lowIsBad, neutral, rate, series, stat, type Variable } from './kit.ts';
import * as signals from './signals.ts';

const { zookeeper } = metrics;

const job: Variable = {
  name: 'job',
  label: 'Job',
  description: 'Scrape job of the ZooKeeper members',
  query: `label_values(${zookeeper.quorumSize}, job)`,
};

const gauges = (metric: string) => [{ expr: `max by (instance) (${metric})`, legend: '{{instance}}' }];
/** Mean of a summary over the last moments; 0 when there was nothing to take the mean of. */
const means = (summary: string) => {
  const count = rate(`${summary}_count`, 'instance');
  return [
    { expr: `${rate(`${summary}_sum`, 'instance')} / (${count} > 0) or ${count}`, legend: '{{instance}}' },
  ];
};
const counters = (metric: string, factor = '') => [
  { expr: `${rate(metric, 'instance')}${factor}`, legend: '{{instance}}' },
];

export const zookeepers = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'zookeeper',
    title: 'ZooKeeper',
    description: 'Is there a quorum, and is it fast enough for the brokers’ sessions?',
    variables: [job],
    rows: [
      {
        question: 'Is there a quorum?',
        lines: [
          [
            signals.zookeepersUp(environment),
            stat({
              title: 'Leaders',
              description:
                'Exactly one member leads. None: no quorum, the brokers go on but nothing can change.',
              expr: `count(${zookeeper.leaderUptime} > 0) or vector(0)`,
              unit: 'none',
              steps: [
                { from: null, color: 'red' },
                { from: 1, color: 'green' },
                { from: 2, color: 'red' },
              ],
            }),
            stat({
              title: 'Followers in sync',
              description: 'Members that follow the leader.',
              expr: `max(${zookeeper.syncedFollowers})`,
              unit: 'none',
              steps: lowIsBad({ yellow: 1, green: environment.zookeeper.nodes.length - 1 }),
            }),
            stat({
              title: 'Leader since',
              description: 'How long the present leader has led. A short time: there was an election.',
              expr: `max(${zookeeper.leaderUptime}) / 1000`,
              unit: 's',
              steps: neutral,
            }),
            stat({
              title: 'Entries',
              description: 'Znodes: topics, partitions, brokers and settings. Steady unless topics are made.',
              expr: `max(${zookeeper.znodes})`,
              unit: 'short',
              steps: neutral,
            }),
          ],
        ],
      },
      {
        question: 'Is it fast enough?',
        lines: [
          [
            series({
              title: 'Reads',
              description: 'Mean time of a read, by member.',
              unit: 'ms',
              queries: means(zookeeper.readLatency),
            }),
            series({
              title: 'Writes',
              description:
                'Mean time of a change, until a majority has it. The brokers’ session timeout must stay far above.',
              unit: 'ms',
              queries: means(zookeeper.updateLatency),
            }),
            series({
              title: 'Disk sync',
              description: 'Mean time to force the log to disk. Every change waits for it on a majority.',
              unit: 'ms',
              queries: means(zookeeper.fsyncTime),
            }),
            series({
              title: 'Requests waiting',
              description: 'Requests that are queued in a member. Above 10 for long: it does not keep up.',
              unit: 'none',
              queries: gauges(zookeeper.outstandingRequests),
            }),
          ],
        ],
      },
      {
        question: 'Do sessions last?',
        lines: [
          [
            signals.zookeeperExpiries(),
            series({
              title: 'Sessions expired',
              description:
                'Sessions a minute that ended because their client was silent for too long, by member.',
              unit: 'none',
              queries: counters(zookeeper.sessionsExpired, ' * 60'),
            }),
            series({
              title: 'Connections dropped',
              description: 'Connections a minute that a member closed on its own.',
              unit: 'none',
              queries: counters(zookeeper.connectionsDropped, ' * 60'),
            }),
          ],
        ],
      },
      {
        question: 'How much is asked of it?',
        lines: [
          [
            series({
              title: 'Packets in',
              description: 'Requests and pings that a member receives a second.',
              unit: 'ops',
              queries: counters(zookeeper.packetsReceived),
            }),
            series({
              title: 'Connections',
              description: 'Clients connected to each member: the brokers, and whoever looks in.',
              unit: 'none',
              queries: gauges(zookeeper.connections),
            }),
            series({
              title: 'Data',
              description: 'Size of all entries, held in memory.',
              unit: 'bytes',
              queries: gauges(zookeeper.dataBytes),
            }),
            series({
              title: 'Elections',
              description: 'How long elections took, mean of those since the member started.',
              unit: 'ms',
              queries: [
                {
                  expr: `max by (instance) (${zookeeper.electionTime}_sum / (${zookeeper.electionTime}_count > 0))`,
                  legend: '{{instance}}',
                },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Is the process well?',
        lines: [
          [
            signals.heapUsed('zookeepers'),
            signals.garbageCollection(),
            signals.cpu(),
            series({
              title: 'Open files',
              description: 'Share of the open files that the system allows; each connection is one.',
              unit: 'percentunit',
              queries: [
                {
                  expr: `max by (instance) (${zookeeper.openFiles} / ${zookeeper.maxFiles})`,
                  legend: '{{instance}}',
                },
              ],
            }),
          ],
        ],
      },
    ],
  });
