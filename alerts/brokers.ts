/** Brokers: are they there, do they lead, do their copies keep up. */

import { limits } from '../catalog/alerting.ts';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { brokers } from './expressions.ts';
import { at, gone, growing, type RuleGroup, rule } from './rule.ts';

const { kafka, jvm, lag, prometheus, zookeeper } = metrics;
const steady = [at(0)];

export function brokerAlerts(environment: Environment): RuleGroup {
  const expected = environment.kafka.nodes.length;
  const leads = (each: Parameters<typeof brokers>[1]) => brokers(kafka.leaderCount, each);
  const failing = (metric: string) =>
    `sum by (instance) (increase(${metric}{topic=""}[5m])) > 0 and sum by (instance) (increase(${metric}{topic=""}[5m] offset 5m)) > 0`;
  return {
    name: 'brokers',
    rules: [
      rule({
        name: 'AllBrokersGone',
        severity: 'page',
        // A count over nothing is nothing, not 0: only absent() speaks when there is no broker left.
        expr: `absent(${kafka.leaderCount})`,
        for: '30s',
        summary: 'No broker can be seen at all.',
        meaning: 'Nothing is published and nothing is read. Or Prometheus has lost its way to all brokers.',
        firstStep:
          './muster status: are the brokers running? If they are, look at Prometheus and the network.',
        runbook: 'alerts/runbooks/AllBrokersGone.md',
        proof: {
          fires: [
            {
              when: 'all three stop at once',
              series: leads([
                [at(12, '2m'), gone()],
                [at(12, '2m'), gone()],
                [at(12, '2m'), gone()],
              ]),
              trueFrom: '2m',
            },
            { when: 'there has never been one', series: {}, trueFrom: '0s' },
          ],
          staysQuiet: [
            {
              when: 'one is left',
              series: leads([[at(12, '2m'), gone()], [at(12, '2m'), gone()], [at(12)]]),
            },
            {
              when: 'all are away for 15 s',
              series: leads([
                [at(12, '2m'), gone('15s'), at(12)],
                [at(12, '2m'), gone('15s'), at(12)],
                [at(12, '2m'), gone('15s'), at(12)],
              ]),
            },
          ],
          live: { cause: 'all brokers stopped' },
        },
      }),
      rule({
        name: 'BrokersMissing',
        severity: 'page',
        // The number expected is pinned: counting what lives against what lives would never notice. The second half
        // is the cluster's own view, for a process that still answers the scrape but has left the cluster.
        expr: `count(${kafka.leaderCount}) < ${expected} or min(${lag.brokers}) < ${expected}`,
        for: '1m',
        summary: `Only {{ $value }} of ${expected} brokers are there.`,
        meaning:
          'Publishing and reading go on with two brokers, but there is no copy to spare: the next loss stops publishing.',
        firstStep: './muster status names the broker; ./muster logs <broker> says why it went.',
        runbook: 'alerts/runbooks/BrokersMissing.md',
        proof: {
          fires: [
            {
              when: 'one of three is gone',
              series: leads([[at(12)], [at(12)], [at(12, '2m'), gone('5m'), at(0)]]),
              trueFrom: '2m',
              falseFrom: '7m',
            },
            {
              when: 'all answer the scrape, but the cluster knows two only',
              series: {
                ...leads([[at(12)], [at(12)], [at(12)]]),
                [`${lag.brokers}{job="worker",instance="watch"}`]: [at(3, '2m'), at(2)],
              },
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'one restarts within 45 s',
              series: leads([[at(12)], [at(12)], [at(12, '2m'), gone('45s'), at(0, '1m'), at(12)]]),
            },
            { when: 'a broker leads nothing, but is there', series: leads([[at(18)], [at(18)], [at(0)]]) },
            {
              when: 'a rolling restart takes them away one after the other',
              series: leads([
                [at(12, '2m'), gone('45s'), at(12)],
                [at(12, '4m'), gone('45s'), at(12)],
                [at(12, '6m'), gone('45s'), at(12)],
              ]),
            },
          ],
          live: { cause: 'broker killed' },
        },
      }),
      rule({
        name: 'BrokersRecentlyMissing',
        severity: 'none',
        // Longer than the longest window of the burn rates that page by themselves after an outage is over (30 m).
        expr: `max(max_over_time(${prometheus.alerts}{alertname="BrokersMissing",alertstate="firing"}[35m]))`,
        for: '0s',
        summary: 'A broker was missing within the last 35 minutes.',
        meaning:
          'Is not sent. It keeps back the burn rates, which remember an outage that is over and has been paged.',
        firstStep: 'Nothing.',
        runbook: 'alerts/runbooks/BrokersRecentlyMissing.md',
        proof: {
          fires: [
            {
              when: 'BrokersMissing fires for ten minutes',
              series: {
                [`${prometheus.alerts}{alertname="BrokersMissing",alertstate="firing",severity="page"}`]: [
                  gone('5m'),
                  at(1, '10m'),
                  gone(),
                ],
              },
              trueFrom: '5m',
            },
          ],
          staysQuiet: [
            {
              when: 'a broker was away, but not long enough to page',
              series: {
                [`${prometheus.alerts}{alertname="BrokersMissing",alertstate="pending",severity="page"}`]: [
                  gone('5m'),
                  at(1, '45s'),
                  gone(),
                ],
              },
            },
          ],
          live: { cause: 'broker killed' },
        },
      }),
      rule({
        name: 'ActiveControllerNotOne',
        severity: 'page',
        expr: `sum(${kafka.activeControllers}) != 1`,
        for: '1m',
        summary: 'The cluster has {{ $value }} active controllers instead of one.',
        meaning:
          'Without a controller no new leader is chosen when a broker dies; with two, they contradict each other.',
        firstStep: './muster status shows the controller; then look at ZooKeeper, where it is elected.',
        runbook: 'alerts/runbooks/ActiveControllerNotOne.md',
        inhibitedBy: ['ZooKeeperNoLeader'],
        proof: {
          fires: [
            {
              when: 'nobody is',
              series: brokers(kafka.activeControllers, [steady, steady, [at(1, '2m'), at(0)]]),
              trueFrom: '2m',
            },
            {
              when: 'two are',
              series: brokers(kafka.activeControllers, [[at(0, '2m'), at(1)], steady, [at(1)]]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'the controller moves and for 30 s nobody is',
              series: brokers(kafka.activeControllers, [
                steady,
                [at(0, '150s'), at(1)],
                [at(1, '2m'), at(0)],
              ]),
            },
          ],
          live: { cause: 'two zookeepers killed' },
        },
      }),
      rule({
        name: 'OfflinePartitions',
        severity: 'page',
        // Only the active controller counts them; the others say 0.
        expr: `max(${kafka.offlinePartitions}) > 0`,
        for: '1m',
        summary: '{{ $value }} partitions have no leader.',
        meaning: 'Nothing can be published to these partitions or read from them until a copy comes back.',
        firstStep: './muster status names the brokers that are missing: bring back one that holds a copy.',
        runbook: 'alerts/runbooks/OfflinePartitions.md',
        proof: {
          fires: [
            {
              when: 'four partitions lose their leader',
              series: brokers(kafka.offlinePartitions, [steady, [at(0, '2m'), at(4)], steady]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'elections take 30 s after a kill',
              series: brokers(kafka.offlinePartitions, [steady, [at(0, '2m'), at(4, '30s'), at(0)], steady]),
            },
          ],
          live: { cause: 'two brokers killed' },
        },
      }),
      rule({
        name: 'UnderMinIsr',
        severity: 'page',
        expr: `sum(${kafka.underMinIsrPartitions}) > 0`,
        for: '1m',
        summary: '{{ $value }} partitions have fewer in-sync copies than an ack needs.',
        meaning:
          'Publishing with acks=all to these partitions fails. What was acked is safe. One dead broker does not do that: something more is wrong.',
        firstStep:
          './muster status; bring back the broker that is missing, or find out why a follower hangs.',
        runbook: 'alerts/runbooks/UnderMinIsr.md',
        proof: {
          fires: [
            {
              when: 'six partitions are left with one copy',
              series: brokers(kafka.underMinIsrPartitions, [[at(0, '2m'), at(6)], steady, steady]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'a second follower falls behind for 45 s',
              series: brokers(kafka.underMinIsrPartitions, [
                [at(0, '2m'), at(6, '45s'), at(0)],
                steady,
                steady,
              ]),
            },
          ],
          live: { cause: 'two brokers killed' },
        },
      }),
      rule({
        name: 'UnderReplicated',
        severity: 'ticket',
        expr: `sum by (instance) (${kafka.underReplicatedPartitions}) > 0`,
        // Long enough for a rolling restart, in which each broker's partitions catch up one after the other.
        for: '10m',
        summary: '{{ $labels.instance }} leads {{ $value }} partitions whose copies are not all in sync.',
        meaning:
          'There is less safety than promised: a copy is missing although every broker may be running.',
        firstStep:
          './muster status; then the logs of the followers: disk, network, or a fetcher thread that died.',
        runbook: 'alerts/runbooks/UnderReplicated.md',
        inhibitedBy: ['BrokersMissing', 'OfflineLogDir'],
        proof: {
          fires: [
            {
              when: 'one broker leads partitions whose copies stay behind',
              series: brokers(kafka.underReplicatedPartitions, [[at(0, '2m'), at(7)], steady, steady]),
              trueFrom: '2m',
              alerts: [{ instance: 'kafka-1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a rolling restart: behind for 3 minutes after each of three restarts',
              series: brokers(kafka.underReplicatedPartitions, [
                [at(0, '6m'), at(9, '3m'), at(0, '1m'), at(9, '3m'), at(0)],
                [at(0, '2m'), at(9, '3m'), at(0, '5m'), at(9, '3m'), at(0)],
                [at(0, '2m'), at(9, '3m'), at(0, '1m'), at(9, '3m'), at(0)],
              ]),
            },
          ],
          live: { notLive: 'needs a broker that runs and does not replicate for 10 minutes' },
        },
      }),
      rule({
        name: 'IsrChurn',
        severity: 'ticket',
        // In four of four neighbouring windows: one restart makes many shrinks at once, churn makes a few all the time.
        expr: ['', ' offset 5m', ' offset 10m', ' offset 15m']
          .map((offset) => `sum(increase(${kafka.isrShrinks}[5m]${offset})) > 0`)
          .join(' and '),
        for: '1m',
        summary: 'Copies have fallen out of sync and come back again for 20 minutes.',
        meaning: 'Followers are at the edge of what they can do; each drop makes publishing wait.',
        firstStep:
          'Which broker: compare the shrinks per instance. Then its disk, CPU and garbage collection.',
        runbook: 'alerts/runbooks/IsrChurn.md',
        inhibitedBy: ['BrokersMissing'],
        proof: {
          fires: [
            {
              when: 'a follower drops out every minute or so',
              // The oldest of the four windows has its first two samples then.
              series: brokers(kafka.isrShrinks, [[growing(1 / 60)], steady, steady]),
              trueFrom: '915s',
            },
          ],
          staysQuiet: [
            {
              when: 'two broker restarts a quarter of an hour apart',
              series: brokers(kafka.isrShrinks, [
                [at(0, '10m'), at(40, '15m'), at(80)],
                steady,
                [at(0, '10m'), at(38, '15m'), at(70)],
              ]),
              watchedFor: '60m',
            },
          ],
          live: { notLive: 'needs 20 minutes of a follower that is just too slow' },
        },
      }),
      rule({
        name: 'UncleanElection',
        severity: 'page',
        expr: `sum(increase(${kafka.uncleanElections}[10m])) > 0`,
        for: '0s',
        summary: 'A broker that lacked acked messages has become leader.',
        meaning: 'Acked messages are lost. The configuration forbids it, so somebody has changed a setting.',
        firstStep: 'Find the topic: ./muster logs | grep -i unclean, and its settings: ./muster topics plan.',
        runbook: 'alerts/runbooks/UncleanElection.md',
        proof: {
          fires: [
            {
              when: 'it happens once',
              series: brokers(kafka.uncleanElections, [steady, steady, [at(0, '12m'), at(1)]]),
              trueFrom: '12m',
            },
          ],
          staysQuiet: [
            {
              when: 'it happened before Prometheus looked, and the broker restarts now',
              series: brokers(kafka.uncleanElections, [steady, steady, [at(3, '12m'), gone('1m'), at(0)]]),
            },
          ],
          live: { notLive: 'would lose acked messages on purpose' },
        },
      }),
      rule({
        name: 'PreferredReplicaImbalance',
        severity: 'ticket',
        expr: `max(${kafka.preferredReplicaImbalance}) > 0`,
        for: '30m',
        summary: '{{ $value }} partitions are led by another broker than planned.',
        meaning: 'Load is uneven: some brokers work for others. It should right itself within a minute.',
        firstStep:
          './muster status: has a broker stayed away? Else the controller’s log says why it does not move them.',
        runbook: 'alerts/runbooks/PreferredReplicaImbalance.md',
        inhibitedBy: ['BrokersMissing', 'OfflineLogDir'],
        proof: {
          fires: [
            {
              when: 'leaders stay where a restart has put them',
              series: brokers(kafka.preferredReplicaImbalance, [[at(0, '2m'), at(12)], steady, steady]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'a broker is away for 25 minutes and gets its leaders back',
              series: brokers(kafka.preferredReplicaImbalance, [
                [at(0, '2m'), at(12, '25m'), at(0)],
                steady,
                steady,
              ]),
            },
          ],
          live: { notLive: 'takes 30 minutes with automatic balancing switched off' },
        },
      }),
      rule({
        name: 'OfflineLogDir',
        severity: 'page',
        expr: `sum by (instance) (${kafka.offlineLogDirectories}) > 0`,
        for: '0s',
        summary: '{{ $labels.instance }} has given up a log directory.',
        meaning:
          'The disk failed or is full: all copies on it are gone for the cluster until the broker restarts.',
        firstStep:
          './muster logs <broker> | grep -i "log dir": what did the disk say? Then df in the container.',
        runbook: 'alerts/runbooks/OfflineLogDir.md',
        proof: {
          fires: [
            {
              when: 'one directory goes offline',
              series: brokers(kafka.offlineLogDirectories, [steady, [at(0, '2m'), at(1)], steady]),
              trueFrom: '2m',
              alerts: [{ instance: 'kafka-2' }],
            },
          ],
          staysQuiet: [
            {
              when: 'the broker is restarted and does not answer for a while',
              series: brokers(kafka.offlineLogDirectories, [
                steady,
                [at(0, '2m'), gone('2m'), at(0)],
                steady,
              ]),
            },
          ],
          live: { notLive: 'a broker with one directory halts when it fails; needs a disk that breaks' },
        },
      }),
      rule({
        name: 'FailedProduce',
        severity: 'ticket',
        // Twice in a row: a single burst while leaders move is retried by every client.
        expr: failing(kafka.failedProduceRequests),
        for: '1m',
        summary: '{{ $labels.instance }} refuses publish requests: {{ $value | humanize }} in 5 minutes.',
        meaning: 'Producers get errors that are no ordinary change of leader, and are retrying or giving up.',
        firstStep:
          'Which topic: the query without sum by. UnderMinIsr would explain it; so would a wrong client.',
        runbook: 'alerts/runbooks/FailedProduce.md',
        inhibitedBy: ['BrokersMissing'],
        proof: {
          fires: [
            {
              when: 'requests fail all the time',
              series: brokers(kafka.failedProduceRequests, [[at(0, '10m'), growing(0.5)], steady, steady]),
              trueFrom: '915s',
              alerts: [{ instance: 'kafka-1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a burst of 200 while leaders move',
              series: brokers(kafka.failedProduceRequests, [[at(0, '10m'), at(200)], steady, steady]),
              watchedFor: '30m',
            },
            {
              when: 'only the figures per topic move, of which the sum is made',
              series: brokers(
                kafka.failedProduceRequests,
                [[growing(0.5)], steady, steady],
                'topic="purchase"',
              ),
              watchedFor: '30m',
            },
          ],
          live: { cause: 'two brokers killed' },
        },
      }),
      rule({
        name: 'FailedFetch',
        severity: 'ticket',
        expr: failing(kafka.failedFetchRequests),
        for: '1m',
        summary: '{{ $labels.instance }} refuses fetch requests: {{ $value | humanize }} in 5 minutes.',
        meaning: 'Consumers or followers get errors that are no ordinary change of leader.',
        firstStep:
          './muster logs <broker> | grep ERROR: a log segment that cannot be read is the worst of the causes.',
        runbook: 'alerts/runbooks/FailedFetch.md',
        inhibitedBy: ['BrokersMissing'],
        proof: {
          fires: [
            {
              when: 'requests fail all the time',
              series: brokers(kafka.failedFetchRequests, [[at(0, '10m'), growing(0.5)], steady, steady]),
              trueFrom: '915s',
              alerts: [{ instance: 'kafka-1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a burst of 200 while leaders move',
              series: brokers(kafka.failedFetchRequests, [[at(0, '10m'), at(200)], steady, steady]),
              watchedFor: '30m',
            },
          ],
          live: { notLive: 'needs a log segment that cannot be read' },
        },
      }),
      rule({
        name: 'RequestHandlersBusy',
        severity: 'ticket',
        expr: `min by (instance) (${kafka.requestHandlerIdle}) < ${limits.requestHandlerIdleRatio}`,
        for: '10m',
        summary:
          'The request handlers of {{ $labels.instance }} are idle {{ $value | humanizePercentage }} of the time only.',
        meaning: 'The broker is near the end of what it can do; latency grows before anything fails.',
        firstStep:
          'Compare the brokers: is one of them the leader of too much? Else add handlers, cores or brokers.',
        runbook: 'alerts/runbooks/RequestHandlersBusy.md',
        inhibitedBy: ['BrokersMissing'],
        proof: {
          fires: [
            {
              when: 'idle a fifth of the time',
              series: brokers(kafka.requestHandlerIdle, [[at(0.9, '2m'), at(0.2)], [at(0.9)], [at(0.9)]]),
              trueFrom: '2m',
              alerts: [{ instance: 'kafka-1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'busy for 9 minutes',
              series: brokers(kafka.requestHandlerIdle, [
                [at(0.9, '2m'), at(0.1, '9m'), at(0.8)],
                [at(0.9)],
                [at(0.31)],
              ]),
            },
          ],
          live: { notLive: 'needs 10 minutes of more load than this machine can make' },
        },
      }),
      rule({
        name: 'JvmHeapHigh',
        severity: 'ticket',
        // The lowest point of the sawtooth is what garbage collection cannot free.
        // ZooKeeper brings an older exporter, with other names for the same.
        expr: [
          [jvm.memoryUsed, jvm.memoryMax],
          [zookeeper.jvmUsed, zookeeper.jvmMax],
        ]
          .map(([used, max]) => `min_over_time(${used}{area="heap"}[15m]) / ${max}{area="heap"}`)
          .map((ratio) => `${ratio} > ${limits.memoryRatio}`)
          .join(' or '),
        for: '5m',
        summary:
          'The heap of {{ $labels.instance }} has been over {{ $value | humanizePercentage }} full for 15 minutes.',
        meaning: 'Garbage collection frees next to nothing: long pauses come first, then OutOfMemoryError.',
        firstStep:
          'Has the number of partitions or connections grown? Raise the heap in the catalog, restart one by one.',
        runbook: 'alerts/runbooks/JvmHeapHigh.md',
        proof: {
          fires: [
            {
              when: 'even the lowest point is over 90 %',
              series: {
                [`${jvm.memoryUsed}{job="kafka",instance="kafka-1",area="heap"}`]: [at(50, '20m'), at(95)],
                [`${jvm.memoryMax}{job="kafka",instance="kafka-1",area="heap"}`]: [at(100)],
              },
              // The last low sample is 15 minutes old: at the edge of the window.
              trueFrom: '2085s',
              within: '15s',
              alerts: [{ job: 'kafka', instance: 'kafka-1', area: 'heap' }],
            },
            {
              when: 'it is a ZooKeeper',
              series: {
                [`${zookeeper.jvmUsed}{job="zookeeper",instance="zookeeper-2",area="heap"}`]: [at(95)],
                [`${zookeeper.jvmMax}{job="zookeeper",instance="zookeeper-2",area="heap"}`]: [at(100)],
              },
              trueFrom: '0s',
              alerts: [{ job: 'zookeeper', instance: 'zookeeper-2', area: 'heap' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a sawtooth between 40 and 95 %',
              series: {
                [`${jvm.memoryUsed}{job="kafka",instance="kafka-1",area="heap"}`]: [
                  at(40, '1m'),
                  at(95, '10m'),
                  at(40, '1m'),
                  at(95, '10m'),
                ],
                [`${jvm.memoryMax}{job="kafka",instance="kafka-1",area="heap"}`]: [at(100)],
              },
              watchedFor: '30m',
            },
          ],
          live: { notLive: 'needs a leak' },
        },
      }),
      rule({
        name: 'JvmDeadlock',
        severity: 'page',
        expr: `${jvm.threadsDeadlocked} > 0`,
        for: '1m',
        summary: '{{ $value }} threads of {{ $labels.instance }} wait for each other for ever.',
        meaning: 'They will not go on by themselves. The process answers, and part of it is dead.',
        firstStep: 'Take a thread dump, then restart that one process.',
        runbook: 'alerts/runbooks/JvmDeadlock.md',
        proof: {
          fires: [
            {
              when: 'two threads',
              series: brokers(jvm.threadsDeadlocked, [steady, steady, [at(0, '2m'), at(2)]]),
              trueFrom: '2m',
              alerts: [{ job: 'kafka', instance: 'kafka-3' }],
            },
          ],
          staysQuiet: [
            {
              when: 'they were seen in one sample only',
              series: brokers(jvm.threadsDeadlocked, [steady, steady, [at(0, '2m'), at(2, '15s'), at(0)]]),
            },
          ],
          live: { notLive: 'needs a bug in the JVM’s program' },
        },
      }),
    ],
  };
}
