/** Topics: how much goes through, how much is kept, and is it spread evenly? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import {
  bars,
  dashboardOf,
  highIsBad,
  neutral,
  rate,
  rateOrZero,
  series,
  table,
  type Variable,
} from './kit.ts';
import * as signals from './signals.ts';

const { kafka, lag } = metrics;

const topic: Variable = {
  name: 'topic',
  label: 'Topic',
  description: 'Topics to look at',
  query: `label_values(${kafka.messagesIn}, topic)`,
  all: '.+',
};
/** Internal topics only when they are asked for by name. */
const chosen = '{topic=~"$topic", topic!~"__.*"}';

export const topics = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'topics',
    title: 'topics',
    description: 'How much goes through each topic, how much is kept, and is it spread evenly?',
    variables: [topic],
    rows: [
      {
        question: 'How much goes through?',
        lines: [
          [
            signals.messagesByTopic(chosen),
            series({
              title: 'Bytes in, by topic',
              description: 'Bytes that clients produce a second.',
              unit: 'Bps',
              stacked: true,
              queries: [{ expr: `${rate(kafka.bytesIn, 'topic', chosen)} > 0`, legend: '{{topic}}' }],
            }),
            series({
              title: 'Bytes out, by topic',
              description:
                'Bytes that consumers fetch a second. A topic that is missing here and not on the left is read by nobody.',
              unit: 'Bps',
              stacked: true,
              queries: [{ expr: `${rate(kafka.bytesOut, 'topic', chosen)} > 0`, legend: '{{topic}}' }],
            }),
          ],
        ],
      },
      {
        question: 'What is in each?',
        lines: [
          [
            table({
              title: 'Topics',
              description:
                'Partitions and copies; records that are kept; how old the oldest is; bytes of all copies; copies that are not in sync.',
              queries: [
                `count by (topic) (${lag.currentOffset}${chosen})`,
                `max by (topic) (${lag.replicas}${chosen})`,
                `sum by (topic) (${lag.currentOffset}${chosen} - ${lag.oldestOffset}${chosen})`,
                `max by (topic) (${lag.oldestRecordAge}${chosen})`,
                `sum by (topic) (${kafka.logSize}${chosen})`,
                `sum by (topic) (${lag.replicas}${chosen} - ${lag.inSyncReplicas}${chosen})`,
              ],
              columns: [
                { from: 'topic', title: 'Topic' },
                { from: 'A', title: 'Partitions', unit: 'none' },
                { from: 'B', title: 'Copies', unit: 'none' },
                { from: 'C', title: 'Records', unit: 'short' },
                { from: 'D', title: 'Oldest', unit: 's' },
                { from: 'E', title: 'Size', unit: 'bytes' },
                { from: 'F', title: 'Not in sync', unit: 'none', steps: highIsBad({ red: 1 }) },
              ],
              sortBy: { title: 'Records', descending: true },
              height: 14,
            }),
          ],
        ],
      },
      {
        question: 'How long is it kept?',
        lines: [
          [
            bars({
              title: 'Bytes on disk',
              description: 'All copies together, by topic.',
              unit: 'bytes',
              steps: neutral,
              queries: [
                { expr: `topk(12, sum by (topic) (${kafka.logSize}${chosen}))`, legend: '{{topic}}' },
              ],
            }),
            series({
              title: 'Age of the oldest record',
              description:
                'How far back each topic reaches. It must reach the retention before anything is deleted.',
              unit: 's',
              queries: [{ expr: `max by (topic) (${lag.oldestRecordAge}${chosen})`, legend: '{{topic}}' }],
            }),
          ],
        ],
      },
      {
        question: 'Is the load spread evenly?',
        lines: [
          [
            series({
              title: 'Share of the fullest partition',
              description:
                'Records that the busiest partition of a topic gets, as a multiple of an even share. 1 is even; far above, keys are skewed and one consumer does the work of all.',
              unit: 'none',
              queries: [
                {
                  expr: `max by (topic) (rate(${lag.currentOffset}${chosen}[$__rate_interval])) / avg by (topic) (rate(${lag.currentOffset}${chosen}[$__rate_interval]) > 0)`,
                  legend: '{{topic}}',
                },
              ],
            }),
            series({
              title: 'Partitions led, by broker id',
              description: 'How many of the chosen partitions each broker leads.',
              unit: 'none',
              queries: [
                { expr: `count_values("broker", ${lag.leader}${chosen})`, legend: 'broker {{broker}}' },
              ],
            }),
            series({
              title: 'Refusals and losses',
              description:
                'Produce and fetch requests a second that were refused for a topic, and offsets that went backwards (a topic deleted and made anew, or data lost).',
              unit: 'ops',
              queries: [
                {
                  expr: rateOrZero(kafka.failedProduceRequests, '{topic=~"$topic"}'),
                  legend: 'produce refused',
                },
                { expr: rateOrZero(kafka.failedFetchRequests, '{topic=~"$topic"}'), legend: 'fetch refused' },
                { expr: rateOrZero(lag.offsetDecreases, '{topic=~"$topic"}'), legend: 'offset went back' },
              ],
            }),
          ],
        ],
      },
    ],
  });
