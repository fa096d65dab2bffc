/** Who watches the watchers: Prometheus, Alertmanager, Jaeger. */
import { metrics } from '../catalog/metrics.ts';
import { at, gone, growing, type RuleGroup, rule } from './rule.ts';

const { prometheus, alertmanager, jaeger } = metrics;
const self = '{job="prometheus",instance="prometheus"}';

/** Jobs of prometheus.yml that must have at least one target. */
const jobs = [
  'kafka',
  'zookeeper',
  'worker',
  'gateway',
  'pages',
  'mysql',
  'redis',
  'jaeger',
  'victorialogs',
  'alertmanager',
  'prometheus',
] as const;

export function selfAlerts(): RuleGroup {
  const spans = (metric: string) =>
    `${metric}{job="jaeger",instance="jaeger",receiver="otlp",transport="http"}`;
  const lost = [jaeger.receiverRefused, jaeger.receiverFailed, jaeger.exporterFailed].map(
    (metric) => `(sum(increase(${metric}[5m])) or vector(0))`,
  );
  const everyJob = (but?: string) =>
    Object.fromEntries(
      jobs.map((job) => [
        `${prometheus.up}{job="${job}",instance="${job}-1"}`,
        job === but ? [at(1, '2m'), gone()] : [at(1)],
      ]),
    );
  return {
    name: 'self',
    rules: [
      rule({
        name: 'PrometheusReloadFailed',
        severity: 'ticket',
        expr: `${prometheus.reloadSuccessful} == 0`,
        for: '1m',
        summary: 'Prometheus has refused its configuration.',
        meaning: 'It goes on with the old one: new alerts and targets are missing.',
        firstStep:
          './muster logs prometheus names the file; promtool check rules build/<env>/prometheus/rules/*.yml.',
        runbook: 'alerts/runbooks/PrometheusReloadFailed.md',
        proof: {
          fires: [
            {
              when: 'a reload fails',
              series: { [`${prometheus.reloadSuccessful}${self}`]: [at(1, '2m'), at(0)] },
              trueFrom: '2m',
              alerts: [{ job: 'prometheus', instance: 'prometheus' }],
            },
          ],
          staysQuiet: [
            {
              when: 'it is mended within 45 s',
              series: { [`${prometheus.reloadSuccessful}${self}`]: [at(1, '2m'), at(0, '45s'), at(1)] },
            },
          ],
          live: {
            notLive:
              'the rules are uploaded when the container is made; a bad file would keep it from starting',
          },
        },
      }),
      rule({
        name: 'PrometheusRuleFailures',
        severity: 'ticket',
        expr: `sum by (rule_group) (increase(${prometheus.ruleFailures}[5m])) > 0`,
        for: '1m',
        summary: 'Rules in {{ $labels.rule_group }} cannot be evaluated.',
        meaning: 'The alerts of this group are blind, although the files are in order.',
        firstStep:
          './muster logs prometheus | grep "Evaluating rule failed": mostly two series where one was expected.',
        runbook: 'alerts/runbooks/PrometheusRuleFailures.md',
        proof: {
          fires: [
            {
              when: 'one rule fails each time',
              series: { [`${prometheus.ruleFailures}{rule_group="a.yml;a"}`]: [at(0, '6m'), growing(0.2)] },
              trueFrom: '375s',
              alerts: [{ rule_group: 'a.yml;a' }],
            },
          ],
          staysQuiet: [
            {
              when: 'failures of long ago',
              series: { [`${prometheus.ruleFailures}{rule_group="a.yml;a"}`]: [at(12)] },
            },
          ],
          live: { notLive: 'needs a rule that fails' },
        },
      }),
      rule({
        name: 'AlertmanagerUnreachable',
        severity: 'page',
        // It cannot be sent while it is true for all of them; then Watchdog's silence says it.
        expr: `max(${prometheus.alertmanagersDiscovered}) < 1 or sum(increase(${prometheus.notificationErrors}[2m])) > 0`,
        for: '1m',
        keepFiringFor: '2m',
        summary: 'Prometheus cannot hand alerts to Alertmanager.',
        meaning:
          'Nobody is told of anything. When this arrives, it has got through just now, and others may have not.',
        firstStep: './muster status, ./muster logs alertmanager.',
        runbook: 'alerts/runbooks/AlertmanagerUnreachable.md',
        proof: {
          fires: [
            {
              when: 'sending fails',
              series: {
                [`${prometheus.alertmanagersDiscovered}${self}`]: [at(1)],
                [`${prometheus.notificationErrors}${self}`]: [at(0, '6m'), growing(0.2)],
              },
              trueFrom: '375s',
            },
            {
              when: 'none is known, and then one again',
              series: { [`${prometheus.alertmanagersDiscovered}${self}`]: [at(1, '2m'), at(0, '5m'), at(1)] },
              trueFrom: '2m',
              falseFrom: '7m',
            },
          ],
          staysQuiet: [
            {
              when: 'it was away for an hour yesterday',
              series: {
                [`${prometheus.alertmanagersDiscovered}${self}`]: [at(1)],
                [`${prometheus.notificationErrors}${self}`]: [at(720)],
              },
            },
            {
              when: 'one alert in a restart of 20 s is lost',
              series: {
                [`${prometheus.alertmanagersDiscovered}${self}`]: [at(0, '30s'), at(1)],
                [`${prometheus.notificationErrors}${self}`]: [at(0)],
              },
            },
          ],
          live: { cause: 'alertmanager stopped' },
        },
      }),
      rule({
        name: 'NotificationsFailing',
        severity: 'page',
        expr: `sum by (integration) (increase(${alertmanager.notificationsFailed}[5m])) > 0`,
        for: '1m',
        keepFiringFor: '5m',
        summary: 'Alertmanager cannot deliver to its receiver ({{ $labels.integration }}).',
        meaning: 'Alerts stop one step before the people.',
        firstStep: './muster logs alertmanager | grep Notify: which receiver, which answer?',
        runbook: 'alerts/runbooks/NotificationsFailing.md',
        proof: {
          fires: [
            {
              when: 'the webhook refuses',
              series: {
                [`${alertmanager.notificationsFailed}{integration="webhook"}`]: [
                  at(0, '6m'),
                  growing(0.1, '5m'),
                  growing(0),
                ],
                [`${alertmanager.notificationsFailed}{integration="email"}`]: [at(0)],
              },
              trueFrom: '375s',
              // The last failure was between 10:45 and 11:00.
              falseFrom: '945s',
              within: '15s',
              alerts: [{ integration: 'webhook' }],
            },
          ],
          staysQuiet: [
            {
              when: 'failures of long ago',
              series: { [`${alertmanager.notificationsFailed}{integration="webhook"}`]: [at(9)] },
            },
          ],
          live: { notLive: 'its own delivery would fail' },
        },
      }),
      rule({
        name: 'TargetsMissing',
        severity: 'page',
        // up == 0 says nothing about a job that has no targets at all.
        expr: jobs.map((job) => `absent(${prometheus.up}{job="${job}"})`).join(' or '),
        for: '2m',
        summary: 'Prometheus has no target in job {{ $labels.job }}.',
        meaning: 'Every alert on this job stays silent whatever happens.',
        firstStep:
          'build/<env>/prometheus/prometheus.yml: is the job there? ./muster up brings back what was rendered.',
        runbook: 'alerts/runbooks/TargetsMissing.md',
        proof: {
          fires: [
            {
              when: 'the job of the brokers is empty',
              series: everyJob('kafka'),
              trueFrom: '2m',
              alerts: [{ job: 'kafka' }],
            },
            {
              when: 'the job of the workers is empty',
              series: everyJob('worker'),
              trueFrom: '2m',
              alerts: [{ job: 'worker' }],
            },
          ],
          staysQuiet: [{ when: 'all have one', series: everyJob() }],
          live: { notLive: 'needs another configuration of Prometheus' },
        },
      }),
      rule({
        name: 'JaegerDropsSpans',
        severity: 'ticket',
        // Each of them is there only after its first span: one that is missing must not swallow the others.
        expr: `${lost.join(' + ')} > 0`,
        for: '1m',
        summary: 'Jaeger has refused or lost {{ $value | humanize }} spans in 5 minutes.',
        meaning: 'Traces have holes; messages are not touched.',
        firstStep:
          'Its memory limit (./muster status): fewer traces kept, a lower sample ratio, or more memory.',
        runbook: 'alerts/runbooks/JaegerDropsSpans.md',
        proof: {
          fires: [
            {
              when: 'the memory limit refuses spans',
              series: {
                [spans(jaeger.receiverRefused)]: [at(0, '6m'), growing(5)],
              },
              trueFrom: '375s',
            },
          ],
          staysQuiet: [
            {
              when: 'nothing is refused now',
              series: {
                [spans(jaeger.receiverRefused)]: [at(500)],
                [spans(jaeger.receiverFailed)]: [at(0)],
                [`${jaeger.exporterFailed}{job="jaeger",exporter="jaeger_storage_exporter"}`]: [at(0)],
              },
            },
          ],
          live: { notLive: 'needs more spans than its memory holds at once' },
        },
      }),
    ],
  };
}
