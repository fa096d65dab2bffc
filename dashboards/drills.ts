/** Drills: how long did recovery take, was anything lost, and who noticed when? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { recoveryObjectives } from '../catalog/slos.ts';
import { dashboardOf, highIsBad, rate, rateOrZero, series, stat } from './kit.ts';
import * as signals from './signals.ts';

const { canary, recovery, kafka, prometheus, zookeeper } = metrics;
const { rtoSeconds, rpoSeconds } = recoveryObjectives;

export const drills = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'drills',
    title: 'drills',
    description:
      'How long did recovery take, was anything lost, and who noticed when? Marks show what was killed and what fired.',
    rows: [
      {
        question: 'Are the targets met?',
        lines: [
          [
            signals.currentOutage(),
            signals.lastOutage(),
            stat({
              title: 'Longest outage',
              description: `In the time shown. ${rtoSeconds.target} s is the target, ${rtoSeconds.required} s are allowed.`,
              expr: `max(max_over_time(${canary.lastOutage}[$__range]))`,
              unit: 's',
              decimals: 1,
              steps: highIsBad({ yellow: rtoSeconds.target, red: rtoSeconds.required }),
            }),
            stat({
              title: 'Acked and lost',
              description:
                'Canary messages in the time shown that were acked and never came. The target is 0.',
              expr: `sum(increase(${canary.lost}[$__range])) or vector(0)`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ red: 1 }),
            }),
            stat({
              title: 'Data at risk now',
              description: `Seconds of records that one copy only holds, worst partition. ${rpoSeconds.required} s are allowed.`,
              expr: `max(${recovery.secondsAtRisk})`,
              unit: 's',
              decimals: 1,
              steps: highIsBad({ yellow: 10, red: rpoSeconds.required }),
            }),
          ],
        ],
      },
      {
        question: 'How long did recovery take?',
        lines: [
          [
            series({
              title: 'Outages',
              description:
                'Seconds that the outage going on has lasted: each tooth is an outage, its height the recovery time.',
              unit: 's',
              queries: [
                { expr: `max(${canary.currentOutage})`, legend: 'going on' },
                { expr: `max(${canary.lastOutage})`, legend: 'last' },
              ],
            }),
            series({
              title: 'Good probes',
              description: 'Share of the canary’s probes that were acked and received in time.',
              unit: 'percentunit',
              max: 1,
              queries: [{ expr: `${rate(canary.goodProbes)} / ${rate(canary.probes)}`, legend: 'good' }],
            }),
            signals.canaryTrouble(),
          ],
        ],
      },
      {
        question: 'Could data have been lost?',
        lines: [
          [
            signals.dataAtRisk(),
            series({
              title: 'Since fully replicated',
              description: 'Seconds since all copies of a partition were in sync; 0 while they are.',
              unit: 's',
              queries: [
                { expr: `max(${recovery.replicationAge})`, legend: 'worst partition' },
                { expr: `avg(${recovery.replicationAge})`, legend: 'mean' },
              ],
            }),
            series({
              title: 'Partitions in trouble',
              description:
                'Under-replicated: a copy is missing. Below the minimum or without a leader: writes are refused.',
              unit: 'none',
              queries: [
                { expr: `sum(${kafka.underReplicatedPartitions})`, legend: 'under-replicated' },
                { expr: `sum(${kafka.underMinIsrPartitions})`, legend: 'below minimum' },
                { expr: `max(${kafka.offlinePartitions})`, legend: 'without leader' },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Who was gone, and who noticed?',
        lines: [
          [
            series({
              title: 'Parts that answer',
              description: 'Brokers, ZooKeeper members and worker processes that Prometheus reaches.',
              unit: 'none',
              queries: [
                { expr: `count(${kafka.leaderCount}) or vector(0)`, legend: 'brokers' },
                { expr: `count(${zookeeper.quorumSize}) or vector(0)`, legend: 'ZooKeeper' },
                { expr: `count(${metrics.process.nodeVersion}) or vector(0)`, legend: 'workers' },
              ],
            }),
            series({
              title: 'Alerts firing',
              description:
                'By name, the Watchdog included. Between the mark of a kill and the step lies the time to detect it.',
              unit: 'none',
              stacked: true,
              queries: [
                {
                  expr: `count by (alertname) (${prometheus.alerts}{alertstate="firing"})`,
                  legend: '{{alertname}}',
                },
              ],
            }),
            series({
              title: 'Restarts',
              description: 'Processes that new ones took the place of in the last moments, by job.',
              unit: 'none',
              queries: [
                {
                  expr: `sum by (job) (changes(${metrics.process.startTime}[$__rate_interval]))`,
                  legend: '{{job}}',
                },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Did consumers catch up?',
        lines: [
          [
            signals.lagSeconds(),
            signals.deadLettersAndRetries(),
            series({
              title: 'Canary, twice or out of order',
              description:
                'Probes a second received twice or after a later one: allowed after a failover (at least once), never in between.',
              unit: 'ops',
              queries: [
                { expr: rateOrZero(canary.duplicated), legend: 'twice' },
                { expr: rateOrZero(canary.outOfOrder), legend: 'out of order' },
              ],
            }),
          ],
        ],
      },
    ],
  });
