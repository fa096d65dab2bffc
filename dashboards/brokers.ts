/** Brokers: is the cluster whole, fast, steady, and big enough? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { dashboardOf, highIsBad, rate, rateOrZero, series, stat, type Variable } from './kit.ts';
import * as signals from './signals.ts';

const { kafka, jvm } = metrics;

const job: Variable = {
  name: 'job',
  label: 'Job',
  description: 'Scrape job of the brokers',
  query: `label_values(${kafka.leaderCount}, job)`,
};

export const brokers = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'brokers',
    title: 'brokers',
    description: 'Is the cluster whole, fast, steady, and big enough?',
    variables: [job],
    rows: [
      {
        question: 'Is the cluster whole?',
        lines: [
          [
            signals.brokersUp(environment),
            signals.controllers(),
            signals.underReplicated(),
            signals.refusingWrites(),
            stat({
              title: 'Offline disks',
              description: 'Log directories that a broker has given up, for instance after an I/O error.',
              expr: `sum(${kafka.offlineLogDirectories})`,
              unit: 'none',
              steps: highIsBad({ red: 1 }),
            }),
            stat({
              title: 'Leaders out of place',
              description:
                'Partitions not led by their preferred broker: after a restart for some minutes, then the controller moves them back.',
              expr: `max(${kafka.preferredReplicaImbalance})`,
              unit: 'none',
              steps: highIsBad({ yellow: 1 }),
            }),
          ],
        ],
      },
      {
        question: 'How much goes through?',
        lines: [
          [
            series({
              title: 'Messages in',
              description: 'Records appended a second, by broker that leads the partition.',
              unit: 'mps',
              queries: [{ expr: rate(kafka.messagesIn, 'instance', '{topic=""}'), legend: '{{instance}}' }],
            }),
            series({
              title: 'Bytes in',
              description: 'Bytes that clients produce a second, by broker. Replication is not in it.',
              unit: 'Bps',
              queries: [{ expr: rate(kafka.bytesIn, 'instance', '{topic=""}'), legend: '{{instance}}' }],
            }),
            series({
              title: 'Bytes out',
              description: 'Bytes that consumers fetch a second, by broker. Replication is not in it.',
              unit: 'Bps',
              queries: [{ expr: rate(kafka.bytesOut, 'instance', '{topic=""}'), legend: '{{instance}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Are requests answered fast?',
        lines: [
          [
            series({
              title: 'Writes, p99',
              description:
                'Time for a produce request until all in-sync copies have it, 99th percentile since the broker’s last minutes, by broker.',
              unit: 'ms',
              queries: [
                {
                  expr: `max by (instance) (${kafka.requestTime}{quantile="0.99", request="Produce"})`,
                  legend: '{{instance}}',
                },
              ],
            }),
            series({
              title: 'Other requests, p99',
              description:
                'Worst broker. Fetches wait on purpose until there is data (up to their maximum wait, 100 to 500 ms); the others should not.',
              unit: 'ms',
              logarithmic: true,
              queries: [
                {
                  expr: `max by (request) (${kafka.requestTime}{quantile="0.99", request!="Produce"})`,
                  legend: '{{request}}',
                },
              ],
            }),
            series({
              title: 'Requests',
              description: 'Requests a second over all brokers, by kind.',
              unit: 'reqps',
              queries: [{ expr: rate(kafka.requests, 'request'), legend: '{{request}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Are the brokers busy?',
        lines: [
          [
            series({
              title: 'Request handlers idle',
              description:
                'Share of time in which the threads that do the work have none. Below 0.3 requests queue up.',
              unit: 'percentunit',
              max: 1,
              queries: [
                // The meter adds up what the threads report, and can read a little above the whole.
                {
                  expr: `clamp_max(max by (instance) (${kafka.requestHandlerIdle}), 1)`,
                  legend: '{{instance}}',
                },
              ],
            }),
            series({
              title: 'Network threads idle',
              description:
                'Share of time in which the threads that read and write sockets have nothing to do.',
              unit: 'percentunit',
              max: 1,
              queries: [{ expr: `max by (instance) (${kafka.networkIdle})`, legend: '{{instance}}' }],
            }),
            series({
              title: 'Queues',
              description:
                'Requests that wait for a handler, and answers that wait for the network. Near 0 is well.',
              unit: 'none',
              queries: [
                { expr: `max by (instance) (${kafka.requestQueue})`, legend: '{{instance}} requests' },
                { expr: `max by (instance) (${kafka.responseQueue})`, legend: '{{instance}} answers' },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Is replication steady?',
        lines: [
          [
            series({
              title: 'In-sync sets, changes a minute',
              description:
                'Copies that left (shrinks) and came back (expands) to their partition’s in-sync set. Both together all the time: a broker is too slow.',
              unit: 'none',
              queries: [
                { expr: `${rate(kafka.isrShrinks)} * 60`, legend: 'shrinks' },
                { expr: `${rate(kafka.isrExpands)} * 60`, legend: 'expands' },
                { expr: `${rate(kafka.uncleanElections)} * 60`, legend: 'unclean elections' },
              ],
            }),
            series({
              title: 'Replica lag',
              description: 'Records that the slowest follower of each broker is behind its leader.',
              unit: 'short',
              queries: [{ expr: `max by (instance) (${kafka.followerMaxLag})`, legend: '{{instance}}' }],
            }),
            signals.zookeeperExpiries(),
          ],
          [
            series({
              title: 'Refused requests',
              description: 'Produce and fetch requests a second that a broker refused with an error.',
              unit: 'reqps',
              queries: [
                { expr: rateOrZero(kafka.failedProduceRequests, '{topic=""}'), legend: 'produce' },
                { expr: rateOrZero(kafka.failedFetchRequests, '{topic=""}'), legend: 'fetch' },
              ],
            }),
            series({
              title: 'Partitions led',
              description:
                'Partitions that each broker leads. Even is well; 0 right after a start is normal.',
              unit: 'none',
              queries: [{ expr: `max by (instance) (${kafka.leaderCount})`, legend: '{{instance}}' }],
            }),
            series({
              title: 'Data on disk',
              description: 'Bytes of all logs by broker, all copies.',
              unit: 'bytes',
              queries: [{ expr: `sum by (instance) (${kafka.logSize})`, legend: '{{instance}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Is the JVM well?',
        lines: [
          [signals.heapUsed('brokers'), signals.garbageCollection(), signals.cpu()],
          [
            series({
              title: 'Deadlocked threads',
              description: 'Threads that wait for each other for good: restart the broker. Always 0.',
              unit: 'none',
              queries: [
                { expr: `max by (instance) (${jvm.threadsDeadlocked}{job=~"$job"})`, legend: '{{instance}}' },
              ],
            }),
            series({
              title: 'Resident memory',
              description: 'Memory that the process holds, heap and all else.',
              unit: 'bytes',
              queries: [
                {
                  expr: `max by (instance) (${metrics.process.residentMemory}{job=~"$job"})`,
                  legend: '{{instance}}',
                },
              ],
            }),
            series({
              title: 'Scrape duration',
              description: 'Time to read a broker’s metrics. More than 0.3 s: too many MBeans are exported.',
              unit: 's',
              limit: 0.3,
              queries: [
                {
                  expr: `max by (instance) (${metrics.prometheus.scrapeDuration}{job=~"$job"})`,
                  legend: '{{instance}}',
                },
              ],
            }),
          ],
        ],
      },
    ],
  });
