/** Workers: rate, errors and duration of what they handle, and whether their processes and stores are well. */
import { limits } from '../catalog/alerting.ts';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import {
  dashboardOf,
  highIsBad,
  lowIsBad,
  quantile,
  rate,
  rateOrZero,
  series,
  stat,
  type Variable,
} from './kit.ts';
import * as signals from './signals.ts';

const { messaging, http, process, mysql, redis, backup, gateway, guard } = metrics;

const variable: Variable = {
  name: 'process',
  label: 'Process',
  description: 'Worker processes to look at',
  query: `label_values(${process.nodeVersion}, process)`,
  all: '.+',
};
const chosen = '{process=~"$process"}';
const failed = '{process=~"$process", error_type!=""}';

export const workers = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'workers',
    title: 'workers',
    description:
      'Rate, errors and duration of what the workers handle, and whether their processes and stores are well.',
    variables: [variable],
    traces: true,
    rows: [
      {
        question: 'Are they there?',
        lines: [
          [
            signals.workersUp(environment),
            stat({
              title: 'Messages handled',
              description: 'Records a second that handlers took.',
              expr: rate(messaging.consumedMessages, '', chosen),
              unit: 'mps',
              decimals: 1,
              steps: [{ from: null, color: 'blue' }],
            }),
            stat({
              title: 'Requests that failed',
              description: 'Share of HTTP requests that were answered with 5xx.',
              expr: `(${rateOrZero(`${http.requestDuration}_count`, '{process=~"$process", http_response_status_code=~"5.."}')}) / ${rate(`${http.requestDuration}_count`, '', chosen)}`,
              unit: 'percentunit',
              decimals: 2,
              steps: highIsBad({ yellow: 0.0001, red: 0.01 }),
            }),
            stat({
              title: 'Youngest process',
              description:
                'How long ago the last process started. A short time that comes back: one dies again and again.',
              expr: `time() - max(${process.startTime}${chosen})`,
              unit: 's',
              steps: lowIsBad({ yellow: 0, green: 120 }),
            }),
          ],
        ],
      },
      {
        question: 'Messages: how many, how well, how fast?',
        lines: [
          [
            series({
              title: 'Handled by group',
              description: 'Records a second that each consumer group’s handlers took.',
              unit: 'mps',
              queries: [
                {
                  expr: rate(messaging.consumedMessages, 'messaging_consumer_group_name', chosen),
                  legend: '{{messaging_consumer_group_name}}',
                },
              ],
            }),
            series({
              title: 'Errors',
              description:
                'Handlings, sends and commits a second that failed; records that were sent to retries or dead letters.',
              unit: 'ops',
              queries: [
                { expr: rateOrZero(`${messaging.processDuration}_count`, failed), legend: 'handling' },
                {
                  expr: rateOrZero(`${messaging.clientOperationDuration}_count`, failed),
                  legend: 'send, commit',
                },
                { expr: rateOrZero(messaging.retries, chosen), legend: 'retries' },
                { expr: rateOrZero(messaging.deadLetters, chosen), legend: 'dead letters' },
              ],
            }),
            series({
              title: 'Handling, p99',
              description:
                'Time that a handler takes for a record or a batch, by group. A point leads to a trace.',
              unit: 's',
              queries: [
                {
                  expr: quantile(0.99, messaging.processDuration, 'messaging_consumer_group_name', chosen),
                  legend: '{{messaging_consumer_group_name}}',
                  exemplars: true,
                },
              ],
            }),
          ],
          [
            series({
              title: 'Sent by topic',
              description: 'Records a second that the brokers acked.',
              unit: 'mps',
              stacked: true,
              queries: [
                {
                  expr: rate(messaging.sentMessages, 'messaging_destination_name', chosen),
                  legend: '{{messaging_destination_name}}',
                },
              ],
            }),
            series({
              title: 'Sends and commits, p99',
              description:
                'From the first record queued to the ack of all in-sync copies; and of commits of offsets.',
              unit: 's',
              queries: [
                {
                  expr: quantile(0.99, messaging.clientOperationDuration, 'messaging_operation_name', chosen),
                  legend: '{{messaging_operation_name}}',
                },
              ],
            }),
            signals.outboxBacklog(),
          ],
        ],
      },
      {
        question: 'Requests: how many, how well, how fast?',
        lines: [
          [
            series({
              title: 'Requests by route',
              description: 'HTTP requests a second.',
              unit: 'reqps',
              queries: [
                {
                  expr: rate(`${http.requestDuration}_count`, 'http_request_method, http_route', chosen),
                  legend: '{{http_request_method}} {{http_route}}',
                },
              ],
            }),
            series({
              title: 'Answers by status',
              description: '4xx are requests that were refused with a reason; 5xx are our failures.',
              unit: 'reqps',
              stacked: true,
              queries: [
                {
                  expr: rate(`${http.requestDuration}_count`, 'http_response_status_code', chosen),
                  legend: '{{http_response_status_code}}',
                },
              ],
            }),
            series({
              title: 'Duration by route, p99',
              description: 'From the request to its answer. A point leads to a trace.',
              unit: 's',
              queries: [
                {
                  expr: quantile(0.99, http.requestDuration, 'http_route', chosen),
                  legend: '{{http_route}}',
                  exemplars: true,
                },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Does everybody get through the gateway?',
        lines: [
          [
            series({
              title: 'Answers at the gateway',
              description:
                'Answers a second by entrance. 4xx beyond those of the processes: a wrong Host, too many requests, too slow, too long. 5xx: nobody was there.',
              unit: 'reqps',
              stacked: true,
              queries: [
                {
                  expr: rate(gateway.responses, 'proxy, code', '{job="gateway",proxy!="metrics"}'),
                  legend: '{{proxy}} {{code}}',
                },
              ],
            }),
            series({
              title: 'Ready behind it',
              description: 'Replicas that say they are ready. At 0 requests go to those that are alive.',
              unit: 'none',
              queries: [
                {
                  expr: `max by (proxy) (${gateway.ready}{job="gateway",proxy!~"clients|.*-alive"})`,
                  legend: '{{proxy}}',
                },
              ],
            }),
            series({
              title: 'Tried again',
              description:
                'Requests a second that did not arrive, or whose replica ended: sent again, to the same one or to another.',
              unit: 'reqps',
              queries: [
                {
                  expr: rate(gateway.retries, 'proxy', '{job="gateway",proxy!~"clients|.*-alive"}'),
                  legend: '{{proxy}}',
                },
                {
                  expr: rate(gateway.redispatches, 'proxy', '{job="gateway",proxy!~"clients|.*-alive"}'),
                  legend: '{{proxy}}, to another one',
                },
              ],
            }),
            series({
              title: 'Connections',
              description: 'Open ones of clients, streams included.',
              unit: 'none',
              queries: [
                {
                  expr: `sum by (proxy) (${gateway.sessions}{job="gateway",proxy!="metrics"})`,
                  legend: '{{proxy}}',
                },
              ],
            }),
          ],
        ],
      },
      {
        question: 'Are the processes well?',
        lines: [
          [
            series({
              title: 'Event loop lag, p99',
              description:
                'How late timers run: time in which a process could do nothing else. Above 0.1 s something blocks it.',
              unit: 's',
              queries: [
                { expr: `max by (process) (${process.eventLoopLagP99}${chosen})`, legend: '{{process}}' },
              ],
            }),
            signals.cpu('process', chosen),
            series({
              title: 'Time in garbage collection',
              description: 'Share of a second.',
              unit: 'percentunit',
              queries: [{ expr: rate(process.gcSeconds, 'process', chosen), legend: '{{process}}' }],
            }),
          ],
          [
            series({
              title: 'Heap used',
              description:
                'JavaScript heap in use. Saw teeth are well; a floor that rises for hours is a leak.',
              unit: 'bytes',
              queries: [{ expr: `sum by (process) (${process.heapUsed}${chosen})`, legend: '{{process}}' }],
            }),
            series({
              title: 'Memory of its own',
              description:
                'Without the code that all processes share. The engine kills it at its container’s limit.',
              unit: 'bytes',
              queries: [
                { expr: `sum by (process) (${process.anonymousMemory}${chosen})`, legend: '{{process}}' },
              ],
            }),
            series({
              title: 'Open files',
              description: 'Sockets and files. Growing for hours: something is not closed.',
              unit: 'none',
              queries: [{ expr: `sum by (process) (${process.openFiles}${chosen})`, legend: '{{process}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Are their stores well?',
        lines: [
          [
            series({
              title: 'Database connections',
              description: 'Open connections, those that work right now, and how many are allowed.',
              unit: 'none',
              queries: [
                { expr: `sum(${mysql.threadsConnected})`, legend: 'open' },
                { expr: `sum(${mysql.threadsRunning})`, legend: 'working' },
                { expr: `sum(${mysql.maxConnections})`, legend: 'allowed' },
              ],
            }),
            series({
              title: 'Database work',
              description: 'Statements a second, and how often one had to wait for another’s row lock.',
              unit: 'ops',
              queries: [
                { expr: rate(mysql.queries), legend: 'statements' },
                { expr: rate(mysql.rowLockWaits), legend: 'lock waits' },
              ],
            }),
            series({
              title: 'Redis work',
              description: 'Commands a second.',
              unit: 'ops',
              queries: [{ expr: rate(redis.commands), legend: 'commands' }],
            }),
            series({
              title: 'Redis memory',
              description: 'Memory in use and its limit. At the limit writes are refused.',
              unit: 'bytes',
              queries: [
                { expr: `sum(${redis.memoryUsed})`, legend: 'used' },
                { expr: `sum(${redis.memoryMax})`, legend: 'limit' },
              ],
            }),
          ],
          [
            series({
              title: 'Members of MySQL',
              description:
                '1 for the member that takes writes, and how many answer. Where it changes another one has taken over.',
              unit: 'none',
              queries: [
                { expr: `max by (member) (${guard.writer})`, legend: '{{member}} writes' },
                { expr: `sum(${guard.memberUp})`, legend: 'answer' },
              ],
            }),
            series({
              title: 'On one member only',
              description:
                'For how long what was acked may be on one member of MySQL alone; 0: it is on both.',
              unit: 's',
              queries: [{ expr: `max(${guard.atRisk})`, legend: 'at risk' }],
            }),
            stat({
              title: 'Writer changes in a day',
              description: 'How often another member of MySQL has taken over, by itself or by hand.',
              expr: `sum(increase(${guard.changes}[1d]))`,
              unit: 'none',
              steps: highIsBad({ yellow: 1, red: 5 }),
            }),
          ],
          [
            series({
              title: 'Data at risk',
              description:
                'For how long what was committed may be on the disk of MySQL alone: its log is kept a second later.',
              unit: 's',
              queries: [{ expr: `max(${backup.atRisk})`, legend: 'at risk' }],
            }),
            stat({
              title: 'Age of the last backup',
              description: 'Since the base copy was taken that a restore would begin with.',
              expr: `time() - max(${backup.baseTime})`,
              unit: 's',
              steps: highIsBad({ yellow: 90_000, red: limits.backupLateHours * 3_600 }),
            }),
            stat({
              title: 'Age of the last trial',
              description: 'Since a backup was restored and found to be what was there.',
              expr: `time() - max(${backup.verifiedTime})`,
              unit: 's',
              steps: highIsBad({ yellow: 90_000, red: limits.backupLateHours * 3_600 }),
            }),
          ],
        ],
      },
    ],
  });
