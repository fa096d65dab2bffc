/** Disks of brokers, database and ZooKeeper: room for what was promised to be kept. */
import { limits } from '../catalog/alerting.ts';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { allTopics, type Topic } from '../catalog/topics.ts';
import { brokers } from './expressions.ts';
import {
  type AlertRule,
  at,
  type Duration,
  gone,
  growing,
  type QuietCase,
  type RecordingRule,
  type RuleGroup,
  rule,
  type Segment,
} from './rule.ts';

const { kafka, lag, recorded, tables, zookeeper } = metrics;

/** What fills a disk, as a series, and the room that the catalog gives it. */
interface Disk {
  /** Names of its alerts begin so. */
  readonly name: '' | 'Database' | 'ZooKeeper';
  readonly used: string;
  readonly bytes: number;
  /** What takes room, whose disk it is, what a full one means and what to look at, for people. */
  readonly what: string;
  readonly whose: string;
  readonly full: string;
  readonly firstStep: string;
  /** Series of a proof in which one disk is used like that and the others not. */
  readonly series: (used: readonly Segment[]) => Readonly<Record<string, readonly Segment[]>>;
  /** Labels of the alert in those proofs. */
  readonly labels: Readonly<Record<string, string>>;
  /** Low, and yet no reason to page: a case of its own. */
  readonly notLow: QuietCase;
}

/**
 * A window of the slope. Two of them, one after the other, must foresee a full disk: what was written at one time, a load
 * test or a replay, is a slope in one of them only, however steep.
 */
const window: Duration = '3h';

/** Half of everything. */
function halved(segments: readonly Segment[]): readonly Segment[] {
  return segments.map((segment) => {
    if ('value' in segment) return { ...segment, value: segment.value / 2 };
    return 'perSecond' in segment ? { ...segment, perSecond: segment.perSecond / 2 } : segment;
  });
}

function roomAlerts(disk: Disk): readonly AlertRule[] {
  const { bytes, used, series, labels } = disk;
  const aheadSeconds = limits.diskForeseenHours * 3_600;
  const foreseen = (offset = '') =>
    `${used} + ${aheadSeconds} * deriv(${used}[${window}]${offset}) > ${bytes}`;
  const low = `${disk.name}DiskLow`;
  const willFill = `${disk.name}DiskWillFill`;
  return [
    rule({
      name: low,
      severity: 'page',
      expr: `${used} > ${limits.diskRatio * bytes}`,
      for: '5m',
      summary: `${disk.what} take {{ $value | humanize1024 }}B of ${bytes / 1e9} GB.`,
      meaning: disk.full,
      firstStep: disk.firstStep,
      runbook: `alerts/runbooks/${low}.md`,
      proof: {
        fires: [
          {
            when: '81 % of one disk',
            series: series([at(bytes * 0.5, '5m'), at(bytes * 0.81)]),
            trueFrom: '5m',
            alerts: [labels],
          },
        ],
        staysQuiet: [
          {
            when: '79 %, and more for four minutes until the old goes',
            series: series([at(bytes * 0.79, '5m'), at(bytes * 0.85, '4m'), at(bytes * 0.79)]),
          },
          disk.notLow,
        ],
        live: { notLive: 'would fill the disk that everything here shares' },
      },
    }),
    rule({
      name: willFill,
      severity: 'ticket',
      // Half full already: a fresh one fills quickly until what is old enough begins to go.
      expr: `${foreseen()} and ${foreseen(` offset ${window}`)} and ${used} > ${bytes * 0.5}`,
      // What is written within an hour lies in both windows for an hour at most.
      for: '1h',
      summary: `At this rate ${disk.whose} is full within ${limits.diskForeseenHours} hours.`,
      meaning:
        'There is time to act in daylight; what is deleted for its age will not free enough by itself.',
      firstStep: 'What grows, and since when: the queries in the runbook. Is it more than was planned?',
      runbook: `alerts/runbooks/${willFill}.md`,
      proof: {
        fires: [
          {
            when: 'over half full, and the rest gone in a day',
            step: '5m',
            series: series([at(bytes * 0.45, '6h'), growing((bytes * 0.5) / (24 * 3_600))]),
            // An hour and a half of growth is enough of a slope for the earlier window.
            trueFrom: '10h',
            within: '50m',
            alerts: [labels],
          },
        ],
        staysQuiet: [
          {
            when: 'over half full, and full in four days only',
            step: '5m',
            series: series([at(bytes * 0.55, '6h'), growing((bytes * 0.45) / (96 * 3_600))]),
            watchedFor: '20h',
          },
          {
            when: 'a fresh one fills quickly up to a third, and what is old goes then',
            step: '5m',
            series: series([growing((bytes * 0.33) / (10 * 3_600), '10h'), at(bytes * 0.33)]),
            watchedFor: '20h',
          },
          {
            when: 'a fifth is written at one moment, and nothing more',
            step: '5m',
            series: series([at(bytes * 0.55, '8h'), at(bytes * 0.75)]),
            watchedFor: '24h',
          },
          {
            when: 'a fifth is written within an hour, and nothing more',
            step: '5m',
            series: series([at(bytes * 0.55, '8h'), growing((bytes * 0.2) / 3_600, '1h'), at(bytes * 0.75)]),
            watchedFor: '24h',
          },
        ],
        live: { notLive: 'needs half a disk of data and hours' },
      },
    }),
  ];
}

export function diskAlerts(environment: Environment): RuleGroup {
  // What may take only so many bytes is kept for as long as they last: that is no squeeze.
  const timed = allTopics.filter(({ retentionBytes }: Topic) => retentionBytes === undefined);
  const retentions = timed.map(
    ({ name, retentionMs }): RecordingRule => ({
      record: recorded.topicRetention,
      expr: `vector(${(retentionMs === 'environment' ? environment.retentionMs : retentionMs) / 1_000})`,
      labels: { topic: name },
    }),
  );
  const topic = 'purchase';
  const kept = environment.retentionMs / 1_000;
  const members = environment.zookeeper.nodes.length;
  const partition = `topic="${topic}",partition="0"`;
  const [broker, database, ensemble] = [
    environment.kafka.dataDiskBytes,
    environment.mysql.dataDiskBytes,
    environment.zookeeper.dataDiskBytes,
  ];
  const tablesOf = (schema: string, instance = 'outside') =>
    `${tables.bytes}{schema="${schema}",table="t",instance="${instance}"}`;
  const member = (id: number) => `${zookeeper.diskBytes}{instance="watch",server="zookeeper-${id}:2181"}`;
  return {
    name: 'disk',
    rules: [
      ...retentions,
      { record: recorded.brokerLogBytes, expr: `sum by (instance) (${kafka.logSize})` },
      // Two that measure see the same.
      { record: recorded.databaseBytes, expr: `sum(max by (schema, table) (${tables.bytes}))` },
      { record: recorded.zookeeperDiskBytes, expr: `max by (server) (${zookeeper.diskBytes})` },
      ...roomAlerts({
        name: '',
        used: recorded.brokerLogBytes,
        bytes: broker,
        what: 'The logs of {{ $labels.instance }}',
        whose: 'the disk of {{ $labels.instance }}',
        full: 'A broker whose disk is full stops, and the next one follows: they hold the same data.',
        firstStep:
          'Which topic grows: the query in the runbook. Shorten its retention, or give the disk more room.',
        series: (used) =>
          brokers(
            kafka.logSize,
            [used, [at(broker * 0.4)], [at(broker * 0.4)]],
            'topic="purchase",partition="0"',
          ),
        labels: { instance: 'kafka-1' },
        notLow: {
          when: '79 % on each of three',
          series: brokers(
            kafka.logSize,
            [[at(broker * 0.79)], [at(broker * 0.79)], [at(broker * 0.79)]],
            'topic="purchase",partition="0"',
          ),
        },
      }),
      ...roomAlerts({
        name: 'Database',
        used: recorded.databaseBytes,
        bytes: database,
        what: 'The tables of MySQL',
        whose: 'MySQL’s disk',
        full: 'With a full disk nothing can be written: no coupon, no order, no payment.',
        firstStep: 'Which table grows: the query in the runbook. Then more disk, or shorter retention.',
        // Of two schemas together.
        series: (used) => ({
          [tablesOf('muster')]: halved(used),
          [tablesOf('muster_analytics')]: halved(used),
        }),
        labels: {},
        notLow: {
          when: 'two processes measure the same 79 %',
          series: {
            [tablesOf('muster')]: [at(database * 0.79)],
            [tablesOf('muster', 'outside-2')]: [at(database * 0.79)],
          },
        },
      }),
      ...roomAlerts({
        name: 'ZooKeeper',
        used: recorded.zookeeperDiskBytes,
        bytes: ensemble,
        what: 'Snapshots and log of {{ $labels.server }}',
        whose: 'the disk of {{ $labels.server }}',
        full: 'A ZooKeeper whose disk is full ends; with two of them Kafka has no controller and chooses no leaders.',
        firstStep:
          'Are old snapshots deleted (every six hours)? Who writes so much? The queries in the runbook.',
        series: (used) => ({ [member(1)]: used, [member(2)]: [at(ensemble * 0.4)] }),
        labels: { server: 'zookeeper-1:2181' },
        notLow: {
          when: '79 % on each of three',
          series: Object.fromEntries([1, 2, 3].map((id) => [member(id), [at(ensemble * 0.79)]])),
        },
      }),
      rule({
        name: 'ZooKeeperDiskUnknown',
        severity: 'ticket',
        expr: `(count(${recorded.zookeeperDiskBytes}) or vector(0)) < ${members}`,
        for: '15m',
        summary: `Of {{ $value }} of ${members} ZooKeepers it is known what they have on their disks.`,
        meaning: 'Nothing tells before the disk of one of the others is full.',
        firstStep: './muster logs watch: what does the worker zookeeper-disk say?',
        runbook: 'alerts/runbooks/ZooKeeperDiskUnknown.md',
        inhibitedBy: ['ZooKeeperDown', 'ZooKeeperNoLeader'],
        proof: {
          fires: [
            {
              when: 'one of three does not say',
              series: { [member(1)]: [at(1)], [member(2)]: [at(1)], [member(3)]: [at(1, '3m'), gone()] },
              trueFrom: '3m',
            },
            { when: 'nobody asks', series: { [member(1)]: [at(1, '3m'), gone()] }, trueFrom: '0s' },
          ],
          staysQuiet: [
            {
              when: 'the worker that asks restarts and takes ten minutes',
              series: Object.fromEntries(
                [1, 2, 3].map((id) => [member(id), [at(1, '3m'), gone('10m'), at(1)]]),
              ),
            },
          ],
          live: { notLive: 'takes 15 minutes; WorkerDown is caused by the same fault in 1' },
        },
      }),
      rule({
        name: 'RetentionSqueezed',
        severity: 'page',
        // Something was deleted, and even the oldest record that there was before was younger than promised. After
        // ordinary retention the oldest one before was older, however thin the traffic.
        expr: `max by (topic, partition) (delta(${lag.oldestOffset}[10m])) > 0 and on (topic, partition) (max by (topic, partition) (max_over_time(${lag.oldestRecordAge}[10m])) < on (topic) group_left () (0.95 * ${recorded.topicRetention}))`,
        for: '0s',
        keepFiringFor: '10m',
        summary: '{{ $labels.topic }}-{{ $labels.partition }} has lost records younger than its retention.',
        meaning: 'Data was deleted before its time: who was going to read or replay it cannot.',
        firstStep: './muster topics plan: has somebody set retention.bytes, or called delete-records?',
        runbook: 'alerts/runbooks/RetentionSqueezed.md',
        proof: {
          fires: [
            {
              when: 'the first half of a log is deleted at half its age',
              step: '1m',
              series: {
                [`${lag.oldestOffset}{${partition}}`]: [at(0, '30m'), at(5_000)],
                [`${lag.oldestRecordAge}{${partition}}`]: [at(kept * 0.5, '30m'), at(kept * 0.2)],
              },
              trueFrom: '30m',
              falseFrom: '39m',
              within: '1m',
              alerts: [{ topic, partition: '0' }],
            },
          ],
          staysQuiet: [
            {
              when: 'ordinary retention in a topic with one record in a long while',
              step: '1m',
              series: {
                [`${lag.oldestOffset}{${partition}}`]: [at(41, '30m'), at(42)],
                [`${lag.oldestRecordAge}{${partition}}`]: [at(kept * 1.05, '30m'), at(kept * 0.2)],
              },
            },
            {
              when: 'a young log from which nothing goes',
              step: '1m',
              series: {
                [`${lag.oldestOffset}{${partition}}`]: [at(0)],
                [`${lag.oldestRecordAge}{${partition}}`]: [growing(1)],
              },
            },
          ],
          live: { notLive: 'would delete data of a topic' },
        },
      }),
    ],
  };
}
