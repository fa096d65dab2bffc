/** Disks of the brokers: room for what was promised to be kept. */
import { limits } from '../catalog/alerting.ts';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { allTopics } from '../catalog/topics.ts';
import { brokers } from './expressions.ts';
import { at, growing, type RecordingRule, type RuleGroup, rule } from './rule.ts';

const { kafka, lag, recorded } = metrics;

export function diskAlerts(environment: Environment): RuleGroup {
  const disk = environment.kafka.dataDiskBytes;
  const aheadSeconds = limits.diskForeseenHours * 3_600;
  const retentions = allTopics.map(
    ({ name, retentionMs }): RecordingRule => ({
      record: recorded.topicRetention,
      expr: `vector(${(retentionMs === 'environment' ? environment.retentionMs : retentionMs) / 1_000})`,
      labels: { topic: name },
    }),
  );
  const topic = 'purchase';
  const kept = environment.retentionMs / 1_000;
  const partition = `topic="${topic}",partition="0"`;
  /** All logs of a broker as one. */
  const logs = (...each: Parameters<typeof brokers>[1]) =>
    brokers(kafka.logSize, each, 'topic="purchase",partition="0"');
  return {
    name: 'disk',
    rules: [
      ...retentions,
      { record: recorded.brokerLogBytes, expr: `sum by (instance) (${kafka.logSize})` },
      rule({
        name: 'DiskLow',
        severity: 'page',
        expr: `${recorded.brokerLogBytes} > ${limits.diskRatio * disk}`,
        for: '5m',
        summary: `The logs of {{ $labels.instance }} take {{ $value | humanize1024 }}B of ${disk / 1e9} GB.`,
        meaning: 'A broker whose disk is full stops, and the next one follows: they hold the same data.',
        firstStep:
          'Which topic grows: the query in the runbook. Shorten its retention, or give the disk more room.',
        runbook: 'alerts/runbooks/DiskLow.md',
        proof: {
          fires: [
            {
              when: '81 % on one broker',
              series: logs([at(disk * 0.5, '5m'), at(disk * 0.81)], [at(disk * 0.5)], [at(disk * 0.5)]),
              trueFrom: '5m',
              alerts: [{ instance: 'kafka-1' }],
            },
          ],
          staysQuiet: [
            {
              when: '79 %, and more for four minutes until old segments go',
              series: logs(
                [at(disk * 0.79, '5m'), at(disk * 0.85, '4m'), at(disk * 0.79)],
                [at(disk * 0.5)],
                [at(disk * 0.5)],
              ),
            },
          ],
          live: { notLive: 'would fill the disk that everything here shares' },
        },
      }),
      rule({
        name: 'DiskWillFill',
        severity: 'ticket',
        // Half full already: a fresh cluster fills quickly until its first segments are old enough to go.
        expr: `predict_linear(${recorded.brokerLogBytes}[6h], ${aheadSeconds}) > ${disk} and ${recorded.brokerLogBytes} > ${disk * 0.5}`,
        for: '30m',
        summary: `At this rate the disk of {{ $labels.instance }} is full within ${limits.diskForeseenHours} hours.`,
        meaning: 'There is time to act in daylight; retention will not free enough by itself.',
        firstStep:
          'More messages than planned? Compare the rate in with the design load in build/catalog/topics.md.',
        runbook: 'alerts/runbooks/DiskWillFill.md',
        proof: {
          fires: [
            {
              when: 'over half full, and the rest gone in a day',
              step: '5m',
              series: logs(
                [at(disk * 0.45, '6h'), growing((disk * 0.5) / (24 * 3_600))],
                [at(disk * 0.5)],
                [at(disk * 0.5)],
              ),
              // Six hours of history show the slope after three of growth.
              trueFrom: '9h',
              within: '25m',
              alerts: [{ instance: 'kafka-1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'over half full, and full in four days only',
              step: '5m',
              series: logs(
                [at(disk * 0.55, '6h'), growing((disk * 0.45) / (96 * 3_600))],
                [at(disk * 0.5)],
                [at(disk * 0.5)],
              ),
              watchedFor: '20h',
            },
            {
              when: 'a fresh cluster fills quickly up to a third, where retention holds it',
              step: '5m',
              series: logs([growing((disk * 0.33) / (10 * 3_600), '10h'), at(disk * 0.33)], [at(0)], [at(0)]),
              watchedFor: '20h',
            },
          ],
          live: { notLive: 'needs half a disk of data and hours' },
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
