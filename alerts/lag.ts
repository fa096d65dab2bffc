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

/** One limit a group, so that one alert compares each group with its own. */
function limitOf(group: ConsumerGroup): RecordingRule {
  return {
    record: recorded.lagSecondsHigh,
    expr: `vector(${group.lagSecondsHigh})`,
    labels: { consumergroup: group.id },
  };
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

export function lagAlerts(): RuleGroup {
  const lagOf = recorded.lagSeconds;
  const limit = recorded.lagSecondsHigh;
  const over = `${lagOf} > on (consumergroup) group_left () ${limit} or (${lagOf} unless on (consumergroup) ${limit}) > ${limits.foreignGroupLagSeconds} and on (consumergroup) ${recorded.watchedGroups}`;
  return {
    name: 'lag',
    rules: [
      ...allGroups.map(limitOf),
      watched,
      { record: lagOf, expr: `max by (consumergroup) (${lag.groupLagSeconds})` },
      rule({
        name: 'LagSecondsHigh',
        severity: 'ticket',
        expr: over,
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
        name: 'LagKeepsGrowing',
        severity: 'page',
        expr: `deriv(${lagOf}[10m]) > ${limits.lagGrowthPerSecond} and on (consumergroup) (${over})`,
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
        expr: `max(${lag.age}) > ${limits.lagAgeSeconds} or absent(${lag.age})`,
        for: '2m',
        summary: 'Nobody has measured lag for minutes.',
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
          ],
          live: { cause: 'worker stopped' },
        },
      }),
    ],
  };
}
