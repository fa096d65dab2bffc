/** Log lines: what do processes say, and does it reach the store? */
import type { Environment } from '../catalog/environments.ts';
import { groups } from '../catalog/groups.ts';
import { metrics } from '../catalog/metrics.ts';
import { dashboardOf, highIsBad, logLinesUrl, neutral, percentiles, rate, series, stat } from './kit.ts';

const { lag, log, victorialogs } = metrics;

// biome-ignore lint/suspicious/noTemplateCurlyInString: Grafana's own interpolation
const linesOf = '{process="${__field.labels.process}"}';

export const logs = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'logs',
    title: 'Logs',
    description: 'What do processes say, and does it reach the store?',
    traces: true,
    rows: [
      {
        question: 'Is a line missing?',
        lines: [
          [
            stat({
              title: 'Dropped',
              description:
                'Lines that are on stdout only, in the period shown: Kafka was away for long, or more was logged than fits into memory.',
              expr: `sum(increase(${log.dropped}[$__range]))`,
              unit: 'none',
              decimals: 0,
              steps: highIsBad({ yellow: 1 }),
            }),
            stat({
              title: 'Behind',
              description:
                'Age of the oldest line that is not known to be on the disk of the store. Some ten seconds are its rule: so long lines are kept twice.',
              expr: `max(${lag.groupLagSeconds}{consumergroup="${groups.logStore.id}"})`,
              unit: 's',
              decimals: 0,
              steps: highIsBad({ yellow: groups.logStore.lagSecondsHigh }),
            }),
            stat({
              title: 'Errors',
              description: 'Lines of level error, a minute. ./muster logs --level error shows them.',
              expr: `sum(rate(${log.lines}{level="error"}[$__rate_interval])) * 60`,
              unit: 'none',
              decimals: 1,
              steps: highIsBad({ yellow: 1 }),
            }),
            stat({
              title: 'Store',
              description: 'Room that the lines take on the disk of the log store.',
              expr: `sum(${victorialogs.dataBytes})`,
              unit: 'bytes',
              decimals: 0,
              steps: neutral,
            }),
          ],
        ],
      },
      {
        question: 'Who says what?',
        lines: [
          [
            series({
              title: 'Lines by level',
              description: 'Written a second, by level.',
              unit: 'ops',
              stacked: true,
              queries: [{ expr: rate(log.lines, 'level'), legend: '{{level}}' }],
            }),
            series({
              title: 'Lines by process',
              description: 'Written a second, by process. One that says the same again and again stands out.',
              unit: 'ops',
              link: { title: 'its lines', url: logLinesUrl(environment, linesOf) },
              queries: [{ expr: rate(log.lines, 'process'), legend: '{{process}}' }],
            }),
            series({
              title: 'Warnings and errors',
              description: 'Written a second, by process.',
              unit: 'ops',
              link: { title: 'its lines', url: logLinesUrl(environment, `${linesOf} level:in(warn,error)`) },
              queries: [{ expr: rate(log.lines, 'process', '{level=~"warn|error"}'), legend: '{{process}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Does it reach the store?',
        lines: [
          [
            series({
              title: 'On the way',
              description:
                'Lines a second that processes wrote, that came to the topic, and that the store took. The three lie over each other.',
              unit: 'ops',
              queries: [
                { expr: rate(log.lines), legend: 'written' },
                { expr: rate(log.published), legend: 'published' },
                { expr: rate(log.stored, '', '{outcome="stored"}'), legend: 'stored' },
                { expr: rate(log.stored, '', '{outcome="repeated"}'), legend: 'came again' },
              ],
            }),
            series({
              title: 'Wait for Kafka',
              description:
                'Memory of each process with lines that are not on the topic. What finds no room is dropped.',
              unit: 'bytes',
              queries: [{ expr: `sum by (process) (${log.waitingBytes})`, legend: '{{process}}' }],
            }),
            series({
              title: 'From written to stored',
              description:
                'The oldest line of each insert. After an outage of the store it is as long as that was.',
              unit: 's',
              queries: percentiles(log.storeLatency),
            }),
          ],
        ],
      },
    ],
  });
