/** Signals that more than one dashboard shows: each is worded, measured and coloured once. */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { burnRates, recoveryObjectives, sloSeries, sloWindows } from '../catalog/slos.ts';
import {
  bars,
  highIsBad,
  lowIsBad,
  type PanelBuilder,
  percentiles,
  rate,
  rateOrZero,
  series,
  stat,
  table,
} from './kit.ts';

const { kafka, zookeeper, messaging, lag, canary, outbox, prometheus } = metrics;

/** Worker processes that an environment runs. */
export function expectedProcesses(environment: Environment): number {
  return environment.processes.list.reduce((sum, { replicas }) => sum + replicas, 0);
}

export function brokersUp(environment: Environment): PanelBuilder {
  const expected = environment.kafka.nodes.length;
  return stat({
    title: 'Brokers',
    description: `Brokers that Prometheus reaches; ${expected} are expected. A dead one counts as missing, not as fewer.`,
    expr: `count(${kafka.leaderCount}) or vector(0)`,
    unit: 'none',
    steps: lowIsBad({ yellow: expected - 1, green: expected }),
  });
}

export function zookeepersUp(environment: Environment): PanelBuilder {
  const expected = environment.zookeeper.nodes.length;
  const needed = Math.floor(expected / 2) + 1;
  return stat({
    title: 'ZooKeeper members',
    description: `Members that Prometheus reaches; ${expected} are expected, ${needed} are needed for a quorum.`,
    expr: `count(${zookeeper.quorumSize}) or vector(0)`,
    unit: 'none',
    steps: lowIsBad({ yellow: needed, green: expected }),
  });
}

export function workersUp(environment: Environment): PanelBuilder {
  const expected = expectedProcesses(environment);
  return stat({
    title: 'Worker processes',
    description: `Processes of our workers that Prometheus reaches; ${expected} are expected.`,
    expr: `count(${metrics.process.nodeVersion}) or vector(0)`,
    unit: 'none',
    steps: lowIsBad({ green: expected }),
  });
}

export function underReplicated(): PanelBuilder {
  return stat({
    title: 'Under-replicated partitions',
    description:
      'Partitions with fewer copies in sync than wanted. Above 0 for long: a broker is down or slow.',
    expr: `sum(${kafka.underReplicatedPartitions})`,
    unit: 'none',
    steps: highIsBad({ yellow: 1 }),
  });
}

export function refusingWrites(): PanelBuilder {
  return stat({
    title: 'Partitions that refuse writes',
    description: 'Partitions below their minimum of copies in sync, or without a leader.',
    expr: `sum(${kafka.underMinIsrPartitions}) + max(${kafka.offlinePartitions})`,
    unit: 'none',
    steps: highIsBad({ red: 1 }),
  });
}

export function controllers(): PanelBuilder {
  return stat({
    title: 'Controllers',
    description: 'Exactly one broker is the controller; for a few seconds after it died, none.',
    expr: `sum(${kafka.activeControllers})`,
    unit: 'none',
    steps: [
      { from: null, color: 'red' },
      { from: 1, color: 'green' },
      { from: 2, color: 'red' },
    ],
  });
}

export function firingAlerts(): PanelBuilder {
  return stat({
    title: 'Firing alerts',
    description: 'Pages and tickets that fire now. What they are is in the table of alerts.',
    expr: `count(${prometheus.alerts}{alertstate="firing", severity=~"page|ticket"}) or vector(0)`,
    unit: 'none',
    steps: highIsBad({ red: 1 }),
  });
}

export function alertTable(): PanelBuilder {
  return table({
    title: 'Alerts',
    description:
      'What fires or is about to. The Watchdog always fires: it proves that alerting works, and its absence is the alarm.',
    queries: [`max by (alertname, severity, alertstate) (${prometheus.alerts})`],
    columns: [
      { from: 'alertname', title: 'Alert' },
      {
        from: 'severity',
        title: 'Severity',
        names: {
          page: { text: 'page', color: 'red' },
          ticket: { text: 'ticket', color: 'orange' },
          none: { text: 'none', color: 'text' },
        },
      },
      {
        from: 'alertstate',
        title: 'State',
        names: { firing: { text: 'firing' }, pending: { text: 'pending' } },
      },
    ],
    sortBy: { title: 'Severity', descending: true },
    height: 6,
  });
}

/** Share of good canary probes: the service level, as clients see it. */
export function availability(): PanelBuilder {
  return stat({
    title: 'Availability, last hour',
    description:
      'Canary probes that were acked by all in-sync copies and received again in time, of all. Promised are 99.95 % over 30 days.',
    expr: `sum(increase(${canary.goodProbes}[1h])) / sum(increase(${canary.probes}[1h]))`,
    unit: 'percentunit',
    decimals: 3,
    steps: lowIsBad({ yellow: 0.999, green: 0.9995 }),
  });
}

export function errorBudget(slo: string): PanelBuilder {
  return stat({
    title: 'Error budget left',
    description:
      'Of what may fail in 30 days: 100 % is untouched, 0 % used up, below 0 the promise is broken (-100 %: twice over, or more).',
    expr: `clamp_min(min(${sloSeries.budgetRemaining}{slo="${slo}"}), -1)`,
    unit: 'percentunit',
    decimals: 1,
    steps: lowIsBad({ yellow: 0.1, green: 0.5 }),
  });
}

export function burn(slo: string, title: string): PanelBuilder {
  const page = burnRates[0]!;
  const windows = sloWindows.filter((window) => ['5m', '1h', '6h'].includes(window));
  return series({
    title,
    description: `How many times faster than promised the error budget is used, over three windows. 1 uses it up in exactly 30 days; above ${page.rate} over ${page.long} and ${page.short} (the dashed line) people are paged.`,
    unit: 'none',
    limit: page.rate,
    queries: windows.map((window) => ({
      expr: `max(${sloSeries.burnRate(window)}{slo="${slo}"})`,
      legend: window,
    })),
  });
}

export function canaryLatency(): PanelBuilder {
  return series({
    title: 'Canary latency',
    description:
      'A probe a second for each broker: until it was acked by all in-sync copies, and until it was read again. A point leads to a trace.',
    unit: 's',
    queries: [
      ...percentiles(canary.produceLatency).map((query) => ({ ...query, legend: `acked ${query.legend}` })),
      ...percentiles(canary.endToEndLatency).map((query) => ({
        ...query,
        legend: `received ${query.legend}`,
      })),
    ],
  });
}

export function canaryTrouble(): PanelBuilder {
  return series({
    title: 'Canary trouble',
    description:
      'Probes a second that were not acked in time, never received, received twice or out of order. All 0 when all is well; lost must stay 0 always.',
    unit: 'ops',
    queries: (['failed', 'lost', 'duplicated', 'outOfOrder'] as const).map((name) => ({
      expr: rateOrZero(canary[name]),
      legend: name === 'outOfOrder' ? 'out of order' : name,
    })),
  });
}

export function currentOutage(): PanelBuilder {
  return stat({
    title: 'Outage now',
    description: 'Seconds since the first failing probe of the outage that is going on; 0: there is none.',
    expr: `max(${canary.currentOutage})`,
    unit: 's',
    steps: highIsBad({ yellow: 1, red: recoveryObjectives.rtoSeconds.target }),
  });
}

export function lastOutage(): PanelBuilder {
  const { target, required } = recoveryObjectives.rtoSeconds;
  return stat({
    title: 'Last outage',
    description: `How long the last outage lasted as clients saw it: the recovery time. ${target} s is the target, ${required} s are allowed.`,
    expr: `max(${canary.lastOutage})`,
    unit: 's',
    decimals: 1,
    steps: highIsBad({ yellow: target, red: required }),
  });
}

/** `selector` like `{consumergroup=~"$group"}`. */
export function lagSeconds(selector = ''): PanelBuilder {
  return series({
    title: 'Lag by group, in seconds',
    description:
      'How old the oldest record is that a group has not handled, worst partition. Flat near 0 is well; a line that climbs by a second a second is a group that stands still.',
    unit: 's',
    queries: [
      { expr: `max by (consumergroup) (${lag.groupLagSeconds}${selector})`, legend: '{{consumergroup}}' },
    ],
  });
}

export function worstLag(selector = ''): PanelBuilder {
  return stat({
    title: 'Worst lag',
    description: 'The group that is furthest behind, in seconds.',
    expr: `max(${lag.groupLagSeconds}${selector})`,
    unit: 's',
    decimals: 1,
    steps: highIsBad({ yellow: 5, red: 60 }),
  });
}

/** `topics`: a regular expression of source topics; without it all. */
export function deadLettersAndRetries(topics?: string): PanelBuilder {
  const selector = topics === undefined ? '' : `{messaging_destination_name=~"${topics}"}`;
  return series({
    title: 'Dead letters and retries',
    description:
      'Records a second that went to a dead letter topic (not understood, or given up) or to a retry topic. Look at them by ./muster dlq list.',
    unit: 'ops',
    queries: [
      { expr: rateOrZero(messaging.deadLetters, selector), legend: 'dead letters' },
      { expr: rateOrZero(messaging.retries, selector), legend: 'retries' },
    ],
  });
}

export function outboxBacklog(): PanelBuilder {
  return series({
    title: 'Outbox age',
    description:
      'Age of the oldest event that is committed to a database and not published yet. Growing: its relay or the brokers stand still.',
    unit: 's',
    queries: [{ expr: `max by (database) (${outbox.oldestAgeSeconds})`, legend: '{{database}}' }],
  });
}

export function messagesByTopic(selector = '{topic!="", topic!~"__.*"}'): PanelBuilder {
  return series({
    title: 'Messages in, by topic',
    description: 'Records appended a second, over all brokers. Topics without any are left out.',
    unit: 'mps',
    stacked: true,
    queries: [{ expr: `${rate(kafka.messagesIn, 'topic', selector)} > 0`, legend: '{{topic}}' }],
  });
}

export function zookeeperExpiries(): PanelBuilder {
  return series({
    title: 'Brokers’ ZooKeeper sessions',
    description:
      'Sessions that expired or were cut a minute, by broker. An expired session makes a broker leave the cluster: it was stopped, starved, or ZooKeeper was away.',
    unit: 'none',
    queries: [
      {
        expr: `sum by (instance) (rate(${kafka.zookeeperExpires}[$__rate_interval])) * 60`,
        legend: '{{instance}} expired',
      },
      {
        expr: `sum by (instance) (rate(${kafka.zookeeperDisconnects}[$__rate_interval])) * 60`,
        legend: '{{instance}} cut',
      },
    ],
  });
}

/** Seconds of acked data that a second failure would cost. */
export function dataAtRisk(): PanelBuilder {
  const { required } = recoveryObjectives.rpoSeconds;
  return series({
    title: 'Data on one copy only',
    description: `Seconds of records that no second broker holds: what would be lost if that broker died now. ${required} s are the most that may ever be lost.`,
    unit: 's',
    limit: required,
    queries: [
      { expr: `max(${metrics.recovery.secondsAtRisk})`, legend: 'worst partition' },
      { expr: `avg(${metrics.recovery.secondsAtRisk})`, legend: 'mean' },
    ],
  });
}

/** How far behind these groups are. */
export function lagOf(groups: readonly string[], title = 'Lag of its consumers'): PanelBuilder {
  const selector = `{consumergroup=~"${groups.join('|')}"}`;
  return series({
    title,
    description: 'Seconds behind, worst partition of each consumer group of this service.',
    unit: 's',
    queries: [
      { expr: `max by (consumergroup) (${lag.groupLagSeconds}${selector})`, legend: '{{consumergroup}}' },
    ],
  });
}

export function heapUsed(environmentKind: 'brokers' | 'zookeepers'): PanelBuilder {
  const [used, max] =
    environmentKind === 'brokers'
      ? [metrics.jvm.memoryUsed, metrics.jvm.memoryMax]
      : [zookeeper.jvmUsed, zookeeper.jvmMax];
  return series({
    title: 'Heap used',
    description:
      'Share of the heap in use. Saw teeth are well; teeth that start above 0.8 mean that the collector no longer finds garbage.',
    unit: 'percentunit',
    max: 1,
    queries: [
      {
        expr: `sum by (instance) (${used}{area="heap", job=~"$job"}) / sum by (instance) (${max}{area="heap", job=~"$job"})`,
        legend: '{{instance}}',
      },
    ],
  });
}

export function garbageCollection(): PanelBuilder {
  return series({
    title: 'Time in garbage collection',
    description: 'Share of a second that the collector stops the process. Above 0.1 requests wait for it.',
    unit: 'percentunit',
    queries: [{ expr: rate(metrics.jvm.gcSeconds, 'instance', '{job=~"$job"}'), legend: '{{instance}}' }],
  });
}

export function cpu(by: 'instance' | 'process' = 'instance', selector = '{job=~"$job"}'): PanelBuilder {
  return series({
    title: 'CPU',
    description: 'Cores that a process uses, 1 is one core all the time.',
    unit: 'none',
    queries: [{ expr: rate(metrics.process.cpuSeconds, by, selector), legend: `{{${by}}}` }],
  });
}

/** How full a thing is that must not become full, now. */
export function retentionUsed(selector = ''): PanelBuilder {
  return bars({
    title: 'Retention used',
    description:
      'How close a group’s oldest committed offset is to being deleted: 0 it is at the end, 1 data is deleted before it was read.',
    unit: 'percentunit',
    max: 1,
    steps: highIsBad({ yellow: 0.5, red: 0.8 }),
    queries: [
      { expr: `max by (consumergroup) (${lag.groupRetentionUsed}${selector})`, legend: '{{consumergroup}}' },
    ],
  });
}
