/** Consumers: do they keep up, do they move at all, will data be deleted before they have read it. */
import { limits } from '../catalog/alerting.ts';
import { allGroups, type ConsumerGroup } from '../catalog/groups.ts';
import { metrics } from '../catalog/metrics.ts';
import { risen } from './expressions.ts';
import {
  at,
  growing,
  type LiveCause,
  type RecordingRule,
  type RuleGroup,
  rule,
  type Segment,
} from './rule.ts';

const { lag, recorded } = metrics;

/** Limits of each group as series, so that one alert compares each group with its own. */
function limitsOf(group: ConsumerGroup): readonly RecordingRule[] {
  const labels = { consumergroup: group.id };
  return [
    { record: recorded.lagSecondsHigh, expr: `vector(${group.lagSecondsHigh})`, labels },
    { record: recorded.lagRecordsHigh, expr: `vector(${recordsHigh(group)})`, labels },
  ];
}

/** Records that come in the seconds that a group may be behind, at the design load of the busiest of its topics. */
function recordsHigh({ lagSecondsHigh, topics }: ConsumerGroup): number {
  return lagSecondsHigh * Math.max(...topics.map(({ designLoad }) => designLoad.messagesPerSecond));
}

/**
 * A group that is in the catalog must run. Of others nobody knows whether they still should: one that has had no member
 * and no commit for an hour was left behind by a console, a test or a replay, and would page for ever.
 */
const watched: RecordingRule = {
  record: recorded.watchedGroups,
  expr: [
    `max by (consumergroup) (${recorded.lagSecondsHigh})`,
    `max by (consumergroup) (${lag.groupMembers}) > 0`,
    `max by (consumergroup) (${lag.groupMembers} offset 1h) > 0`,
    `max by (consumergroup) (${lag.groupOffset} unless ${lag.groupOffset} == ${lag.groupOffset} offset 1h)`,
  ].join(' or '),
};

/** Series of a group that is not in the catalog. */
const alive = (group: string) => ({ [`${lag.groupMembers}{consumergroup="${group}"}`]: [at(1)] });
/** Its last member left and its last commit was made before the series begin. */
const abandoned = (group: string) => ({
  [`${lag.groupMembers}{consumergroup="${group}"}`]: [at(0)],
  [`${lag.groupOffset}{consumergroup="${group}",topic="purchase",partition="0"}`]: [at(4711)],
});

function lagSeconds(group: string, partition: number, quality = 'interpolated'): string {
  return `${lag.groupLagSeconds}{consumergroup="${group}",topic="purchase",partition="${partition}",quality="${quality}"}`;
}

function status(group: string, verdicts: Readonly<Record<string, readonly Segment[]>>) {
  return Object.fromEntries(
    Object.entries(verdicts).map(([verdict, segments]) => [
      `${lag.groupStatus}{consumergroup="${group}",status="${verdict}"}`,
      segments,
    ]),
  );
}

const strict = allGroups.find(({ id }) => id === 'promotion-join')!;
const strictSeconds = strict.lagSecondsHigh;
const strictRecords = recordsHigh(strict);

/** Lag of partition 0 of which it is not known since when. */
function lagRecords(group: string, records: readonly Segment[], quality = 'unknown') {
  return {
    [`${lag.groupLag}{consumergroup="${group}",topic="purchase",partition="0"}`]: records,
    [lagSeconds(group, 0, quality)]: [at(0)],
  };
}

/** The three verdicts on a consumer that is not merely slow differ in words only. */
function verdict<const Name extends string>(
  name: Name,
  word: 'stall' | 'stop' | 'rewind',
  texts: {
    readonly severity: 'page' | 'ticket';
    readonly summary: string;
    readonly meaning: string;
    readonly firstStep: string;
    readonly live: LiveCause;
  },
) {
  const holds = word === 'rewind' ? '0s' : '2m';
  return rule<Name>({
    name,
    severity: texts.severity,
    expr: `max by (consumergroup) (${lag.groupStatus}{status="${word}"}) == 1 and on (consumergroup) ${recorded.watchedGroups}`,
    for: holds,
    // A verdict looks back over a window and flaps at its end.
    keepFiringFor: '1m',
    summary: texts.summary,
    meaning: texts.meaning,
    firstStep: texts.firstStep,
    runbook: `alerts/runbooks/${name}.md` as never,
    inhibitedBy: ['MysqlDown', 'RedisDown'],
    proof: {
      fires: [
        {
          when: `the verdict is ${word}`,
          series: {
            ...alive('g'),
            ...status('g', {
              ok: [at(1, '3m'), at(0, '7m'), at(1)],
              [word]: [at(0, '3m'), at(1, '7m'), at(0)],
            }),
          },
          trueFrom: '3m',
          falseFrom: '10m',
          alerts: [{ consumergroup: 'g' }],
        },
        {
          when: 'a group of the catalog never had a member nor a commit',
          series: { ...status(strict.id, { ok: [at(1, '3m'), at(0)], [word]: [at(0, '3m'), at(1)] }) },
          trueFrom: '3m',
          alerts: [{ consumergroup: strict.id }],
        },
      ],
      staysQuiet: [
        {
          when: 'it is slow, and the verdict warn',
          series: { ...alive('g'), ...status('g', { warn: [at(1)], [word]: [at(0)] }) },
        },
        {
          when: 'nobody has used the group for more than an hour',
          step: '1m',
          series: { ...abandoned('g'), ...status('g', { [word]: [at(0, '62m'), at(1)] }) },
          watchedFor: '3h',
        },
        ...(word === 'rewind'
          ? []
          : [
              {
                when: 'a rebalance of 90 s looks the same',
                series: {
                  ...alive('g'),
                  ...status('g', { [word]: [at(0, '3m'), at(1, '90s'), at(0)] }),
                },
              },
            ]),
      ],
      live: { cause: texts.live },
    },
  });
}

/** One series a group: what is over its own limit, or, of groups without one, over that of all others. */
function over(lagOf: string, limit: string, limitOfOthers: number): string {
  return `${lagOf} > on (consumergroup) group_left () ${limit} or (${lagOf} unless on (consumergroup) ${limit}) > ${limitOfOthers} and on (consumergroup) ${recorded.watchedGroups}`;
}

export function lagAlerts(): RuleGroup {
  const lagOf = recorded.lagSeconds;
  const late = over(lagOf, recorded.lagSecondsHigh, limits.foreignGroupLagSeconds);
  const unknown = `${lag.groupLagSeconds}{quality="unknown"}`;
  const ofUnknownAge = `max by (consumergroup) (${lag.groupLag} and on (consumergroup, topic, partition) ${unknown})`;
  return {
    name: 'lag',
    rules: [
      ...allGroups.flatMap(limitsOf),
      watched,
      { record: lagOf, expr: `max by (consumergroup) (${lag.groupLagSeconds})` },
      rule({
        name: 'LagSecondsHigh',
        severity: 'ticket',
        expr: late,
        for: '2m',
        keepFiringFor: '1m',
        summary: '{{ $labels.consumergroup }} is {{ $value | humanizeDuration }} behind.',
        meaning: 'What this group does happens later than its owner has promised.',
        firstStep:
          './muster status: is its worker running? Then: more messages than usual, or slower handling?',
        runbook: 'alerts/runbooks/LagSecondsHigh.md',
        inhibitedBy: ['BrokersMissing', 'MysqlDown', 'RedisDown'],
        proof: {
          fires: [
            {
              when: `a group of the catalog is over its own ${strictSeconds} s, on one partition of two`,
              series: {
                [lagSeconds(strict.id, 0)]: [at(0)],
                [lagSeconds(strict.id, 1)]: [
                  at(0, '3m'),
                  at(strictSeconds + 0.5, '7m'),
                  at(strictSeconds - 0.5),
                ],
              },
              trueFrom: '3m',
              falseFrom: '10m',
              alerts: [{ consumergroup: strict.id }],
            },
            {
              when: 'a group of the catalog has never committed: what lies there gets older',
              series: { [lagSeconds(strict.id, 0, 'uncommitted')]: [at(0, '3m'), at(86_400)] },
              trueFrom: '3m',
              alerts: [{ consumergroup: strict.id }],
            },
            {
              when: 'a group that nobody wrote down is over the limit for all others',
              series: {
                ...alive('foreign'),
                [lagSeconds('foreign', 0)]: [at(0, '3m'), at(limits.foreignGroupLagSeconds + 1)],
              },
              trueFrom: '3m',
              alerts: [{ consumergroup: 'foreign' }],
            },
            {
              when: 'a foreign group committed for the first time, and then its only member left',
              series: {
                [`${lag.groupOffset}{consumergroup="foreign",topic="purchase",partition="0"}`]: [at(7)],
                [lagSeconds('foreign', 0)]: [at(0, '3m'), at(limits.foreignGroupLagSeconds + 1)],
              },
              trueFrom: '3m',
              alerts: [{ consumergroup: 'foreign' }],
            },
            {
              when: 'the quality of the figure changes while it is high',
              series: {
                [lagSeconds(strict.id, 0)]: [at(0, '3m'), at(60, '1m'), { gone: true }],
                [lagSeconds(strict.id, 0, 'estimated')]: [{ gone: true, lasts: '4m' }, at(90)],
              },
              trueFrom: '3m',
              alerts: [{ consumergroup: strict.id }],
            },
          ],
          staysQuiet: [
            {
              when: 'just under its limit, or over it for a minute',
              series: {
                [lagSeconds(strict.id, 0)]: [at(strictSeconds)],
                [lagSeconds(strict.id, 1)]: [at(0, '3m'), at(60, '1m'), at(0)],
              },
            },
            {
              when: 'a foreign group is over the limit of another',
              series: { ...alive('foreign'), [lagSeconds('foreign', 0)]: [at(strictSeconds + 10)] },
            },
            {
              when: 'a foreign group was left behind more than an hour ago',
              step: '1m',
              series: { ...abandoned('foreign'), [lagSeconds('foreign', 0)]: [at(0, '62m'), growing(1)] },
              watchedFor: '4h',
            },
          ],
          live: { cause: 'consumer stopped' },
        },
      }),
      rule({
        name: 'LagRecordsHigh',
        severity: 'ticket',
        expr: over(ofUnknownAge, recorded.lagRecordsHigh, limits.foreignGroupLagRecords),
        for: '2m',
        keepFiringFor: '1m',
        summary:
          '{{ $labels.consumergroup }} is {{ $value | humanize }} records behind, nobody knows for how long.',
        meaning:
          'Alerts on seconds are blind here: as far as records tell, this group is later than promised.',
        firstStep:
          'Has the partition a leader? ./muster status. Without one nobody can read what waits there.',
        runbook: 'alerts/runbooks/LagRecordsHigh.md',
        inhibitedBy: ['MysqlDown', 'RedisDown'],
        proof: {
          fires: [
            {
              when: 'a group of the catalog has more to read than comes in the seconds that it may be behind',
              series: lagRecords(strict.id, [at(0, '3m'), at(strictRecords + 1, '7m'), at(0)]),
              trueFrom: '3m',
              falseFrom: '10m',
              alerts: [{ consumergroup: strict.id }],
            },
            {
              when: 'a group that nobody wrote down is over the limit for all others',
              series: {
                ...alive('foreign'),
                ...lagRecords('foreign', [at(0, '3m'), at(limits.foreignGroupLagRecords + 1)]),
              },
              trueFrom: '3m',
              alerts: [{ consumergroup: 'foreign' }],
            },
          ],
          staysQuiet: [
            {
              when: 'as many records as may be, and more for a minute',
              series: lagRecords(strict.id, [
                at(strictRecords, '3m'),
                at(strictRecords + 1, '1m'),
                at(strictRecords),
              ]),
            },
            {
              when: 'many records that came just now, as is known',
              series: lagRecords(strict.id, [at(100 * strictRecords)], 'interpolated'),
            },
          ],
          live: {
            notLive: 'needs a lag worker that starts while a partition has no leader, and a clock set back',
          },
        },
      }),
      rule({
        name: 'LagKeepsGrowing',
        severity: 'page',
        expr: `deriv(${lagOf}[10m]) > ${limits.lagGrowthPerSecond} and on (consumergroup) (${late})`,
        for: '10m',
        summary:
          '{{ $labels.consumergroup }} falls back by {{ $value | humanize }} s every second, and has for 10 minutes.',
        meaning: 'It will not catch up by itself: in the end data is deleted before it was read.',
        firstStep:
          'Stopped or too slow? ConsumerStopped and ConsumerStalled tell. Too slow: more partitions and workers.',
        runbook: 'alerts/runbooks/LagKeepsGrowing.md',
        inhibitedBy: ['MysqlDown', 'RedisDown'],
        proof: {
          fires: [
            {
              when: 'it does half of what comes in',
              series: { [lagSeconds(strict.id, 0)]: [at(0, '5m'), growing(0.5)] },
              trueFrom: '315s',
              // A limit of some seconds, and a slope over ten minutes, are passed a little after the first step.
              within: '2m',
              alerts: [{ consumergroup: strict.id }],
            },
          ],
          staysQuiet: [
            {
              when: 'a burst is worked off within 15 minutes',
              series: {
                [lagSeconds(strict.id, 0)]: [at(0, '5m'), growing(0.5, '6m'), growing(-0.4, '7m'), at(0)],
              },
            },
            {
              when: 'far behind, but catching up',
              series: { [lagSeconds(strict.id, 0)]: [at(3_600, '1m'), growing(-0.5)] },
              watchedFor: '40m',
            },
          ],
          live: { notLive: 'takes 20 minutes; ConsumerStopped is caused by the same fault in 2' },
        },
      }),
      verdict('ConsumerStalled', 'stall', {
        severity: 'page',
        summary: '{{ $labels.consumergroup }} commits the same offset again and again.',
        meaning: 'Its worker runs and does not get past a record: a dependency is down, or a handler hangs.',
        firstStep: './muster logs <process>: what does it wait for? /readyz of the process says it too.',
        live: 'worker paused',
      }),
      verdict('ConsumerStopped', 'stop', {
        severity: 'page',
        summary: '{{ $labels.consumergroup }} has messages to read and commits nothing.',
        meaning: 'Nobody reads for this group: its worker is gone, or hangs.',
        firstStep: './muster status: is the process running? Its logs; then restart it.',
        live: 'consumer stopped',
      }),
      verdict('ConsumerRewound', 'rewind', {
        severity: 'ticket',
        summary: 'The committed offset of {{ $labels.consumergroup }} went back.',
        meaning:
          'What was handled is handled again. Effects of ours are idempotent; those of others may not be.',
        firstStep:
          'Was it a reset on purpose? Else an old generation has committed: look for a rebalance at that time.',
        live: 'offset reset',
      }),
      rule({
        name: 'RetentionRisk',
        severity: 'page',
        expr: `max by (consumergroup, topic) (${lag.groupRetentionUsed}) > ${limits.retentionUsedRatio} and on (consumergroup) ${recorded.watchedGroups}`,
        for: '1m',
        summary:
          '{{ $labels.consumergroup }} has used {{ $value | humanizePercentage }} of the retention of {{ $labels.topic }}.',
        meaning: 'When it reaches 100 % messages are deleted before this group has read them.',
        firstStep: 'Raise retention.ms of the topic now; then make the group read again.',
        runbook: 'alerts/runbooks/RetentionRisk.md',
        proof: {
          fires: [
            {
              when: 'one partition is at 71 %',
              series: {
                ...alive('g'),
                [`${lag.groupRetentionUsed}{consumergroup="g",topic="purchase",partition="0"}`]: [at(0.1)],
                [`${lag.groupRetentionUsed}{consumergroup="g",topic="purchase",partition="1"}`]: [
                  at(0.1, '3m'),
                  at(0.71),
                ],
              },
              trueFrom: '3m',
              alerts: [{ consumergroup: 'g', topic: 'purchase' }],
            },
          ],
          staysQuiet: [
            {
              when: 'at 70 %',
              series: {
                ...alive('g'),
                [`${lag.groupRetentionUsed}{consumergroup="g",topic="purchase",partition="0"}`]: [at(0.7)],
              },
            },
          ],
          live: { cause: 'offset reset' },
        },
      }),
      rule({
        name: 'OffsetDecreased',
        severity: 'page',
        expr: risen(lag.offsetDecreases, '10m', ['topic']),
        for: '0s',
        summary: 'The end of {{ $labels.topic }} went back: the log is shorter than it was.',
        meaning: 'Records that were there are not any more: lost in an election, or the topic was made anew.',
        firstStep: 'Was the topic deleted and created? Else UncleanElection, or disks that lost writes.',
        runbook: 'alerts/runbooks/OffsetDecreased.md',
        proof: {
          fires: [
            {
              when: 'once, and the series is born with it',
              series: {
                [`${lag.offsetDecreases}{topic="purchase",partition="2"}`]: [
                  { gone: true, lasts: '12m' },
                  at(1),
                ],
              },
              trueFrom: '12m',
              alerts: [{ topic: 'purchase' }],
            },
            {
              when: 'once more',
              series: {
                [`${lag.offsetDecreases}{topic="purchase",partition="2"}`]: [at(0, '12m'), at(1)],
              },
              trueFrom: '12m',
              alerts: [{ topic: 'purchase' }],
            },
          ],
          staysQuiet: [
            {
              when: 'the lag worker restarts and counts from 0',
              series: {
                [`${lag.offsetDecreases}{topic="purchase",partition="2"}`]: [
                  at(0, '12m'),
                  { gone: true, lasts: '1m' },
                  at(0),
                ],
              },
            },
          ],
          live: { notLive: 'a topic of the environment would have to be deleted' },
        },
      }),
      rule({
        name: 'LagUnknown',
        severity: 'ticket',
        // The last: a partition whose end was never read. Its lag is shown as 0 records and 0 seconds.
        expr: `max(${lag.age}) > ${limits.lagAgeSeconds} or absent(${lag.age}) or count(${unknown} unless on (topic, partition) ${lag.currentOffset} and on (consumergroup) ${recorded.watchedGroups}) > 0`,
        for: '2m',
        summary: 'Nobody has measured lag for minutes, on all partitions or on some.',
        meaning: 'All alerts on lag are blind: they see old figures, or none.',
        firstStep: './muster status and ./muster logs watch: the lag worker runs in the process watch.',
        runbook: 'alerts/runbooks/LagUnknown.md',
        proof: {
          fires: [
            {
              when: 'the figures get old',
              series: { [`${lag.age}{instance="watch"}`]: [at(1, '3m'), growing(1)] },
              trueFrom: '4m',
              within: '15s',
            },
            {
              when: 'one partition has not been read since the worker started',
              series: {
                [`${lag.age}{instance="watch"}`]: [at(1)],
                ...lagRecords(strict.id, [at(0)]),
                [`${lag.currentOffset}{topic="purchase",partition="1"}`]: [at(7)],
              },
              trueFrom: '0s',
            },
            {
              when: 'there are none',
              series: { [`${lag.age}{instance="watch"}`]: [at(1, '3m'), { gone: true }] },
              trueFrom: '3m',
            },
          ],
          staysQuiet: [
            {
              when: 'the worker restarts within a minute',
              series: { [`${lag.age}{instance="watch"}`]: [at(1, '3m'), { gone: true, lasts: '1m' }, at(1)] },
            },
            {
              when: 'how many records wait is known, and only not since when',
              series: {
                [`${lag.age}{instance="watch"}`]: [at(1)],
                ...lagRecords(strict.id, [at(7)]),
                [`${lag.currentOffset}{topic="purchase",partition="0"}`]: [at(7)],
              },
            },
          ],
          live: { cause: 'worker stopped' },
        },
      }),
    ],
  };
}
