/** What every worker stands on: processes, dead letters, retries, the outbox, the event loop, memory, HTTP. */
import { limits } from '../catalog/alerting.ts';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { risen } from './expressions.ts';
import { at, gone, growing, type RecordingRule, type RuleGroup, rule } from './rule.ts';

const { messaging, order, outbox, process, prometheus, http, recorded } = metrics;
const topicLabel = 'messaging_destination_name';

export function platformAlerts(environment: Environment): RuleGroup {
  const memoryLimits = environment.processes.list.map(
    ({ name, size }): RecordingRule => ({
      record: recorded.processMemoryLimit,
      expr: `vector(${size.memoryMiB * 1_048_576})`,
      labels: { process: name },
    }),
  );
  const first = environment.processes.list[0]!;
  const firstBytes = first.size.memoryMiB * 1_048_576;
  const up = (job: string, instance: string) => `${prometheus.up}{job="${job}",instance="${instance}"}`;
  const request = (status: number) =>
    `${http.requestDuration}_count{process="api",http_response_status_code="${status}"}`;
  const requests = (filter: string) => `sum by (process) (rate(${http.requestDuration}_count${filter}[5m]))`;
  const ageOf = (database: string) => `${outbox.oldestAgeSeconds}{process="commerce",database="${database}"}`;
  return {
    name: 'platform',
    rules: [
      ...memoryLimits,
      rule({
        name: 'TargetDown',
        severity: 'ticket',
        expr: `${prometheus.up}{job!="worker"} == 0`,
        for: '2m',
        summary: 'Prometheus cannot read the metrics of {{ $labels.instance }} ({{ $labels.job }}).',
        meaning: 'Either it is down, or it is well and we cannot see it; alerts on it are blind.',
        firstStep: './muster status: does it run? ./muster logs <component>.',
        runbook: 'alerts/runbooks/TargetDown.md',
        inhibitedBy: [
          { cause: 'BrokersMissing', where: { label: 'job', value: 'kafka' } },
          { cause: 'ZooKeeperDown', where: { label: 'job', value: 'zookeeper' } },
          { cause: 'ZooKeeperNoLeader', where: { label: 'job', value: 'zookeeper' } },
          { cause: 'MysqlDown', where: { label: 'job', value: 'mysql' } },
          { cause: 'RedisDown', where: { label: 'job', value: 'redis' } },
          { cause: 'GatewayDown', where: { label: 'job', value: 'gateway' } },
        ],
        proof: {
          fires: [
            {
              when: 'a broker and an exporter stop answering',
              series: {
                [up('kafka', 'kafka-2')]: [at(1, '2m'), at(0)],
                [up('redis', 'redis-exporter')]: [at(1, '2m'), at(0)],
                [up('jaeger', 'jaeger')]: [at(1, '2m'), at(0)],
                [up('kafka', 'kafka-1')]: [at(1)],
              },
              trueFrom: '2m',
              alerts: [
                { job: 'kafka', instance: 'kafka-2' },
                { job: 'redis', instance: 'redis-exporter' },
                { job: 'jaeger', instance: 'jaeger' },
              ],
            },
          ],
          staysQuiet: [
            {
              when: 'a restart of 90 s',
              series: { [up('jaeger', 'jaeger')]: [at(1, '2m'), at(0, '90s'), at(1)] },
            },
            { when: 'it is a worker: those page', series: { [up('worker', 'api')]: [at(0)] } },
          ],
          live: { cause: 'exporter stopped' },
        },
      }),
      rule({
        name: 'WorkerDown',
        severity: 'page',
        expr: `${prometheus.up}{job="worker"} == 0`,
        for: '1m',
        summary: 'The process {{ $labels.instance }} does not answer.',
        meaning: 'What its workers do does not happen: requests are refused, or messages wait.',
        firstStep:
          './muster status, ./muster logs <process>: its last line says why it ended (exit 78: settings).',
        runbook: 'alerts/runbooks/WorkerDown.md',
        proof: {
          fires: [
            {
              when: 'it is gone',
              series: { [up('worker', 'promotion')]: [at(1, '2m'), at(0)], [up('worker', 'api')]: [at(1)] },
              trueFrom: '2m',
              alerts: [{ job: 'worker', instance: 'promotion' }],
            },
          ],
          staysQuiet: [
            {
              when: 'the engine restarts it within 45 s',
              series: { [up('worker', 'promotion')]: [at(1, '2m'), at(0, '45s'), at(1)] },
            },
          ],
          live: { cause: 'worker stopped' },
        },
      }),
      rule({
        name: 'GatewayDown',
        severity: 'page',
        expr: `${prometheus.up}{job="gateway"} == 0`,
        for: '30s',
        summary: 'The gateway does not answer.',
        meaning:
          'Nobody reaches the API, my-pay or food delivery, however well they are. What was accepted is worked on.',
        firstStep: './muster status, ./muster logs gateway.',
        runbook: 'alerts/runbooks/GatewayDown.md',
        proof: {
          fires: [
            {
              when: 'it is gone',
              series: { [up('gateway', 'gateway')]: [at(1, '2m'), at(0)] },
              trueFrom: '2m',
              alerts: [{ job: 'gateway', instance: 'gateway' }],
            },
          ],
          staysQuiet: [
            {
              when: 'it is replaced within 15 s',
              series: { [up('gateway', 'gateway')]: [at(1, '2m'), at(0, '15s'), at(1)] },
            },
          ],
          live: { cause: 'gateway stopped' },
        },
      }),
      rule({
        name: 'DeadLetters',
        severity: 'ticket',
        expr: risen(messaging.deadLetters, '10m', [topicLabel, 'code']),
        for: '0s',
        keepFiringFor: '5m',
        summary:
          '{{ $value | humanize }} messages went to {{ $labels.messaging_destination_name }} ({{ $labels.code }}).',
        meaning:
          'They could not be understood or handled, and wait there with the reason; nothing else is held up.',
        firstStep: './muster dlq list shows each one’s reason; replay when the cause is gone.',
        runbook: 'alerts/runbooks/DeadLetters.md',
        proof: {
          fires: [
            {
              when: 'the very first one, with which the series is born',
              series: {
                [`${messaging.deadLetters}{process="promotion",${topicLabel}="purchase.dlq",code="X"}`]: [
                  gone('12m'),
                  at(1),
                ],
              },
              trueFrom: '12m',
              // Born within the last ten minutes: the edge of the window and of `offset` are the same moment.
              falseFrom: '22m',
              alerts: [{ [topicLabel]: 'purchase.dlq', code: 'X' }],
            },
            {
              when: 'one more in a series that was there',
              series: {
                [`${messaging.deadLetters}{process="promotion",${topicLabel}="purchase.dlq",code="X"}`]: [
                  at(0, '12m'),
                  at(1),
                ],
              },
              trueFrom: '12m',
              alerts: [{ [topicLabel]: 'purchase.dlq', code: 'X' }],
            },
          ],
          staysQuiet: [
            {
              when: 'none, and the worker restarts',
              series: {
                [`${messaging.deadLetters}{process="promotion",${topicLabel}="purchase.dlq",code="X"}`]: [
                  at(0, '12m'),
                  gone('1m'),
                  at(0),
                ],
              },
            },
          ],
          live: { cause: 'poison message' },
        },
      }),
      rule({
        name: 'RetriesHigh',
        severity: 'ticket',
        expr: `sum by (${topicLabel}) (rate(${messaging.retries}[5m])) > ${limits.retriesPerSecond}`,
        for: '5m',
        summary:
          '{{ $value | humanize }} messages a second are put off to {{ $labels.messaging_destination_name }}.',
        meaning:
          'A handler keeps failing. Messages come late, and go to the dead letters after the last retry.',
        firstStep: './muster logs <process> | grep error: which handler, which error?',
        runbook: 'alerts/runbooks/RetriesHigh.md',
        inhibitedBy: ['MysqlDown', 'RedisDown'],
        proof: {
          fires: [
            {
              when: 'one a second, from two workers together',
              series: {
                [`${messaging.retries}{instance="a",${topicLabel}="t.retry-1s",attempt="1"}`]: [
                  at(0, '5m'),
                  growing(0.5),
                ],
                [`${messaging.retries}{instance="b",${topicLabel}="t.retry-1s",attempt="1"}`]: [
                  at(0, '5m'),
                  growing(0.5),
                ],
              },
              // Half of the five minutes must have gone by.
              trueFrom: '450s',
              within: '60s',
              alerts: [{ [topicLabel]: 't.retry-1s' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a burst of a hundred',
              series: {
                [`${messaging.retries}{instance="a",${topicLabel}="t.retry-1s",attempt="1"}`]: [
                  at(0, '5m'),
                  at(100),
                ],
              },
            },
          ],
          live: { cause: 'failing webhook' },
        },
      }),
      rule({
        name: 'RankingPartial',
        severity: 'ticket',
        expr: `max(${order.rankingPartial}) == 1`,
        for: '1m',
        summary: 'The ranking of products lacks orders that nobody has any more.',
        meaning: 'Best-sellers are shown with too small numbers, perhaps in the wrong order.',
        firstStep: './muster logs commerce: since when, and why had the data platform not read the orders?',
        runbook: 'alerts/runbooks/RankingPartial.md',
        inhibitedBy: ['RedisDown'],
        proof: {
          fires: [
            {
              when: 'one of two workers has seen it',
              series: {
                [`${order.rankingPartial}{instance="commerce"}`]: [at(0, '2m'), at(1)],
                [`${order.rankingPartial}{instance="commerce-2"}`]: [at(0)],
              },
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'the ranking is whole, and was not for half a minute',
              series: {
                [`${order.rankingPartial}{instance="commerce"}`]: [at(0, '2m'), at(1, '30s'), at(0)],
              },
            },
          ],
          live: { notLive: 'would delete orders of a topic' },
        },
      }),
      rule({
        name: 'OutboxStuck',
        severity: 'page',
        // Events in order, requests for coupons and overdue timers alike.
        expr: `max by (database) (${outbox.oldestAgeSeconds}) > ${limits.outboxAgeSeconds}`,
        for: '1m',
        summary:
          'The oldest unpublished event of database {{ $labels.database }} has waited {{ $value | humanizeDuration }}.',
        meaning:
          'What was decided and stored is not told to anybody: results do not come, orders are not counted.',
        firstStep: './muster logs <process> | grep outbox: can the relay reach Kafka and the database?',
        runbook: 'alerts/runbooks/OutboxStuck.md',
        inhibitedBy: ['MysqlDown'],
        proof: {
          fires: [
            {
              when: 'nothing of one database is published any more, in a process that publishes another one’s, too',
              series: {
                [ageOf('money')]: [at(0, '2m'), growing(1)],
                [ageOf('shop')]: [at(0)],
              },
              trueFrom: '195s',
              alerts: [{ database: 'money' }],
            },
          ],
          staysQuiet: [
            {
              when: 'Kafka is away for a minute and a half',
              series: {
                [ageOf('shop')]: [at(0, '2m'), growing(1, '90s'), at(0)],
              },
            },
          ],
          live: { cause: 'outbox relay stopped' },
        },
      }),
      rule({
        name: 'EventLoopBlocked',
        severity: 'ticket',
        expr: `${process.eventLoopLagP99} > ${limits.eventLoopLagSeconds}`,
        for: '2m',
        summary:
          'The event loop of {{ $labels.instance }} hangs for {{ $value | humanizeDuration }} at a time.',
        meaning: 'Everything in this process waits: requests, heartbeats to Kafka, health checks.',
        firstStep:
          'CPU of the container (./muster status); then what it was doing: ./muster trace --last promotion.',
        runbook: 'alerts/runbooks/EventLoopBlocked.md',
        proof: {
          fires: [
            {
              when: 'a second at a time, for minutes',
              series: {
                [`${process.eventLoopLagP99}{job="worker",instance="api"}`]: [at(0.01, '2m'), at(1)],
              },
              trueFrom: '2m',
              alerts: [{ job: 'worker', instance: 'api' }],
            },
          ],
          staysQuiet: [
            {
              when: 'once, at the start',
              series: {
                [`${process.eventLoopLagP99}{job="worker",instance="api"}`]: [at(2, '30s'), at(0.4)],
              },
            },
          ],
          live: { notLive: 'needs a handler that computes for seconds' },
        },
      }),
      rule({
        name: 'ProcessMemoryHigh',
        severity: 'ticket',
        expr: `max by (process, instance) (${process.anonymousMemory}{job="worker"}) / on (process) group_left () ${recorded.processMemoryLimit} > ${limits.memoryRatio}`,
        for: '5m',
        summary: '{{ $labels.instance }} uses {{ $value | humanizePercentage }} of the memory it may have.',
        meaning:
          'The engine kills it at 100 %, and its work is done again by the next one: a loop of restarts.',
        firstStep:
          'Does it grow for ever (a leak) or with the load? Raise its size in the catalog for the latter.',
        runbook: 'alerts/runbooks/ProcessMemoryHigh.md',
        proof: {
          fires: [
            {
              when: '95 % of its own limit',
              series: {
                [`${process.anonymousMemory}{job="worker",process="${first.name}",instance="${first.name}"}`]:
                  [at(firstBytes * 0.5, '2m'), at(firstBytes * 0.95)],
              },
              trueFrom: '2m',
              alerts: [{ process: first.name, instance: first.name }],
            },
          ],
          staysQuiet: [
            {
              when: '85 %, and a peak of four minutes',
              series: {
                [`${process.anonymousMemory}{job="worker",process="${first.name}",instance="${first.name}"}`]:
                  [at(firstBytes * 0.85, '2m'), at(firstBytes * 0.97, '4m'), at(firstBytes * 0.85)],
              },
            },
          ],
          live: { notLive: 'needs a leak' },
        },
      }),
      rule({
        name: 'HttpErrors',
        severity: 'page',
        expr: `${requests('{http_response_status_code=~"5.."}')} / ${requests('')} > ${limits.httpErrorRatio} and ${requests('')} > 0.1`,
        for: '2m',
        summary: '{{ $value | humanizePercentage }} of the requests to {{ $labels.process }} fail.',
        meaning: 'Customers get errors (5xx) from the API.',
        firstStep: './muster logs api | grep error: the error’s code names the part that fails.',
        runbook: 'alerts/runbooks/HttpErrors.md',
        inhibitedBy: ['MysqlDown', 'RedisDown', 'BrokersMissing'],
        proof: {
          fires: [
            {
              when: 'every fifth request fails',
              series: {
                [request(202)]: [growing(8)],
                [request(503)]: [at(0, '5m'), growing(2)],
              },
              // 5 % of five minutes are full after a quarter of the slow fifth: 75 s and a step.
              trueFrom: '375s',
              within: '60s',
              alerts: [{ process: 'api' }],
            },
          ],
          staysQuiet: [
            {
              when: 'one in thirty fails, and many are refused for what the client did',
              series: {
                [request(202)]: [growing(8)],
                [request(503)]: [growing(0.3)],
                [request(422)]: [growing(5)],
              },
            },
            {
              when: 'the only request in minutes fails',
              series: { [request(503)]: [at(0, '6m'), at(1)] },
            },
          ],
          live: { cause: 'mysql stopped' },
        },
      }),
    ],
  };
}
