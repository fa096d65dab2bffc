/** ZooKeeper: is there a quorum with one leader, and is it fast enough for sessions to live. */
import { limits } from '../catalog/alerting.ts';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { brokers, zookeepers } from './expressions.ts';
import { at, gone, growing, type RuleGroup, rule } from './rule.ts';

const { kafka, zookeeper } = metrics;

/** Mean of a summary over five minutes; nothing (0 / 0) when nothing was measured. */
function mean(summary: string): string {
  return `rate(${summary}_sum[5m]) / rate(${summary}_count[5m])`;
}

export function zookeeperAlerts(environment: Environment): RuleGroup {
  const expected = environment.zookeeper.nodes.length;
  const quorum = Math.floor(expected / 2) + 1;
  return {
    name: 'zookeeper',
    rules: [
      rule({
        name: 'ZooKeeperDown',
        severity: 'page',
        // quorum_size is what is configured: how many series there are says how many members answer.
        expr: `count(${zookeeper.quorumSize}) < ${expected} and count(${zookeeper.quorumSize}) >= ${quorum}`,
        for: '2m',
        summary: `Only {{ $value }} of ${expected} ZooKeepers answer.`,
        meaning:
          'The ensemble still decides, but with the next loss it does not, and Kafka has no controller then.',
        firstStep: './muster status names it; ./muster logs <zookeeper> says why it went.',
        runbook: 'alerts/runbooks/ZooKeeperDown.md',
        proof: {
          fires: [
            {
              when: 'one of three is gone',
              series: zookeepers(zookeeper.quorumSize, [[at(3)], [at(3)], [at(3, '2m'), gone()]]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'one restarts within 90 s',
              series: zookeepers(zookeeper.quorumSize, [[at(3)], [at(3)], [at(3, '2m'), gone('90s'), at(3)]]),
            },
          ],
          live: { cause: 'zookeeper killed' },
        },
      }),
      rule({
        name: 'ZooKeeperNoLeader',
        severity: 'page',
        expr: `absent(${zookeeper.leaderUptime})`,
        for: '1m',
        summary: 'ZooKeeper has no leader.',
        meaning:
          'Kafka goes on with the leaders it has, but chooses no new ones: the next broker that dies takes its partitions with it.',
        firstStep: './muster status: a leader needs two of the three ZooKeepers.',
        runbook: 'alerts/runbooks/ZooKeeperNoLeader.md',
        proof: {
          fires: [
            {
              when: 'the leader is gone and nobody takes over',
              series: zookeepers(zookeeper.leaderUptime, [[gone()], [growing(1000, '2m'), gone()], [gone()]]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'another takes over after 30 s',
              series: zookeepers(zookeeper.leaderUptime, [
                [gone('150s'), growing(1000)],
                [growing(1000, '2m'), gone()],
                [gone()],
              ]),
            },
          ],
          live: { cause: 'two zookeepers killed' },
        },
      }),
      rule({
        name: 'ZooKeeperTwoLeaders',
        severity: 'page',
        expr: `count(${zookeeper.leaderUptime}) > 1`,
        for: '30s',
        summary: '{{ $value }} ZooKeepers say that they lead.',
        meaning: 'The ensemble is split. One side must be wrong: what it was told may be lost.',
        firstStep: 'Ask each one (srvr), stop the one without followers.',
        runbook: 'alerts/runbooks/ZooKeeperTwoLeaders.md',
        proof: {
          fires: [
            {
              when: 'two for longer than an election',
              series: zookeepers(zookeeper.leaderUptime, [
                [gone('2m'), growing(1000)],
                [growing(1000)],
                [gone()],
              ]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'the old leader is seen for one more scrape',
              series: zookeepers(zookeeper.leaderUptime, [
                [gone('2m'), growing(1000)],
                [growing(1000, '135s'), gone()],
                [gone()],
              ]),
            },
          ],
          live: { notLive: 'a majority makes it impossible; needs two ensembles by mistake' },
        },
      }),
      rule({
        name: 'ZooKeeperQuorumDegraded',
        severity: 'ticket',
        expr: `max(${zookeeper.syncedFollowers}) + 1 < ${expected}`,
        for: '3m',
        summary: `{{ $value }} of ${expected} ZooKeepers are in sync with the leader, itself included.`,
        meaning: 'A member runs and does not keep up: when another one stops, the ensemble stops.',
        firstStep:
          'Its log (./muster logs <zookeeper>), its disk; a restart makes it fetch a fresh snapshot.',
        runbook: 'alerts/runbooks/ZooKeeperQuorumDegraded.md',
        inhibitedBy: ['ZooKeeperDown', 'ZooKeeperNoLeader'],
        proof: {
          fires: [
            {
              when: 'one follower falls out of step',
              series: zookeepers(zookeeper.syncedFollowers, [[gone()], [at(2, '2m'), at(1)], [gone()]]),
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'a restarted follower takes two minutes to load the state',
              series: zookeepers(zookeeper.syncedFollowers, [
                [gone()],
                [at(2, '2m'), at(1, '2m'), at(2)],
                [gone()],
              ]),
            },
          ],
          live: { cause: 'zookeeper killed' },
        },
      }),
      rule({
        name: 'ZooKeeperLatency',
        severity: 'ticket',
        // Of the last minutes: ZooKeeper's own average is one over its whole life and hardly moves.
        expr: `${mean(zookeeper.updateLatency)} > ${limits.zookeeperUpdateMs}`,
        for: '5m',
        summary: 'Writes to {{ $labels.instance }} take {{ $value | humanize }} ms on average.',
        meaning: 'Elections and changes of the in-sync set wait for it; sessions of brokers are at risk.',
        firstStep: 'ZooKeeperFsyncSlow too? Then it is the disk. Else CPU: who else runs on that host?',
        runbook: 'alerts/runbooks/ZooKeeperLatency.md',
        inhibitedBy: ['ZooKeeperNoLeader'],
        proof: {
          fires: [
            {
              when: '200 ms a write',
              series: {
                ...zookeepers(`${zookeeper.updateLatency}_sum`, [[growing(400)], [growing(40)], [at(0)]]),
                ...zookeepers(`${zookeeper.updateLatency}_count`, [[growing(2)], [growing(2)], [at(0)]]),
              },
              trueFrom: '15s',
              alerts: [{ job: 'zookeeper', instance: 'zookeeper-1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'one slow write in many, and a member without any',
              series: {
                ...zookeepers(`${zookeeper.updateLatency}_sum`, [
                  [growing(40, '10m'), growing(300, '15s'), growing(40)],
                  [at(5_000_000)],
                  [at(0)],
                ]),
                ...zookeepers(`${zookeeper.updateLatency}_count`, [[growing(2)], [at(10)], [at(0)]]),
              },
            },
          ],
          live: { notLive: 'needs a slow disk under ZooKeeper' },
        },
      }),
      rule({
        name: 'ZooKeeperOutstanding',
        severity: 'ticket',
        expr: `max by (instance) (${zookeeper.outstandingRequests}) > ${limits.zookeeperOutstanding}`,
        for: '2m',
        summary: '{{ $value }} requests wait in {{ $labels.instance }}.',
        meaning: 'ZooKeeper gets more than it can do; sessions expire next.',
        firstStep: 'Who asks so much? Connections per client, then latency and disk.',
        runbook: 'alerts/runbooks/ZooKeeperOutstanding.md',
        inhibitedBy: ['ZooKeeperNoLeader'],
        proof: {
          fires: [
            {
              when: 'a queue that stays',
              series: zookeepers(zookeeper.outstandingRequests, [[at(0, '2m'), at(80)], [at(0)], [at(0)]]),
              trueFrom: '2m',
              alerts: [{ instance: 'zookeeper-1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a burst of a minute',
              series: zookeepers(zookeeper.outstandingRequests, [
                [at(0, '2m'), at(500, '1m'), at(0)],
                [at(50)],
                [at(0)],
              ]),
            },
          ],
          live: { notLive: 'needs more load on ZooKeeper than Kafka makes' },
        },
      }),
      rule({
        name: 'ZooKeeperFsyncSlow',
        severity: 'ticket',
        expr: `${mean(zookeeper.fsyncTime)} > ${limits.zookeeperFsyncMs}`,
        for: '5m',
        summary: '{{ $labels.instance }} takes {{ $value | humanize }} ms to sync its log to disk.',
        meaning: 'Every write of ZooKeeper waits for that disk.',
        firstStep: 'Who else writes to that disk? ZooKeeper’s log wants one of its own.',
        runbook: 'alerts/runbooks/ZooKeeperFsyncSlow.md',
        proof: {
          fires: [
            {
              when: '150 ms a sync',
              series: {
                ...zookeepers(`${zookeeper.fsyncTime}_sum`, [[growing(150)], [growing(5)], [growing(5)]]),
                ...zookeepers(`${zookeeper.fsyncTime}_count`, [[growing(1)], [growing(1)], [growing(1)]]),
              },
              trueFrom: '15s',
              alerts: [{ job: 'zookeeper', instance: 'zookeeper-1' }],
            },
          ],
          staysQuiet: [
            {
              when: '90 ms a sync',
              series: {
                ...zookeepers(`${zookeeper.fsyncTime}_sum`, [[growing(90)], [growing(5)], [at(0)]]),
                ...zookeepers(`${zookeeper.fsyncTime}_count`, [[growing(1)], [growing(1)], [at(0)]]),
              },
            },
          ],
          live: { notLive: 'needs a slow disk under ZooKeeper' },
        },
      }),
      rule({
        name: 'ZooKeeperSessionExpiries',
        severity: 'ticket',
        expr: `sum by (instance) (increase(${kafka.zookeeperExpires}[10m])) > 0`,
        for: '0s',
        summary: '{{ $labels.instance }} has lost its ZooKeeper session.',
        meaning:
          'For the cluster the broker was dead for a moment: its partitions moved, its copies fell behind.',
        firstStep:
          'A pause (garbage collection, a stopped process, a starved host) longer than the session timeout.',
        runbook: 'alerts/runbooks/ZooKeeperSessionExpiries.md',
        inhibitedBy: ['BrokersMissing', 'ZooKeeperNoLeader'],
        proof: {
          fires: [
            {
              when: 'one session expires',
              series: brokers(kafka.zookeeperExpires, [[at(0)], [at(0, '12m'), at(1)], [at(0)]]),
              trueFrom: '12m',
              alerts: [{ instance: 'kafka-2' }],
            },
          ],
          staysQuiet: [
            {
              when: 'one expired long ago, and the broker restarts',
              series: brokers(kafka.zookeeperExpires, [[at(0)], [at(1, '12m'), gone('1m'), at(0)], [at(0)]]),
            },
          ],
          live: { cause: 'broker paused' },
        },
      }),
    ],
  };
}
