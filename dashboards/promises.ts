/** Promises: does what was promised hold now, and does somebody look? */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { promises as all } from '../catalog/promises.ts';
import { bars, dashboardOf, highIsBad, lowIsBad, series, stat } from './kit.ts';
import * as signals from './signals.ts';

const { broken, checkedTime, checkSeconds } = metrics.promises;

export const promises = (environment: Environment) =>
  dashboardOf(environment, {
    slug: 'promises',
    title: 'promises',
    description: 'Does what was promised hold now, and does somebody look?',
    rows: [
      {
        question: 'Does everything hold?',
        lines: [
          [
            stat({
              title: 'Broken promises',
              description: 'Promises that were not true when they were checked last. Each pages.',
              expr: `count(max by (promise) (${broken}) > 0) or vector(0)`,
              unit: 'none',
              steps: highIsBad({ red: 1 }),
            }),
            stat({
              title: 'Checked promises',
              description: `Promises that were checked within the last minute, of ${all.length}. What is not checked is not known to hold.`,
              expr: `count(time() - max by (promise) (${checkedTime}) < 60) or vector(0)`,
              unit: 'none',
              steps: lowIsBad({ green: all.length }),
            }),
            signals.firingAlerts(),
          ],
          [
            series({
              title: 'Broken, by promise',
              description: 'Of how many each promise was not true. The ids are in ./muster promises.',
              unit: 'none',
              queries: [{ expr: `max by (promise) (${broken})`, legend: '{{promise}}' }],
            }),
            bars({
              title: 'Since the last check',
              description: 'Seconds since each promise was last checked. Over 60 nobody knows.',
              unit: 's',
              decimals: 0,
              steps: highIsBad({ yellow: 45, red: 60 }),
              queries: [{ expr: `time() - max by (promise) (${checkedTime})`, legend: '{{promise}}' }],
            }),
          ],
        ],
      },
      {
        question: 'What does looking cost?',
        lines: [
          [
            series({
              title: 'Time in checks',
              description:
                'Share of time in which the check of a promise is under way, its waiting for answers included. One that grows reads more than it should.',
              unit: 'percentunit',
              queries: [
                { expr: `sum by (promise) (rate(${checkSeconds}[$__rate_interval]))`, legend: '{{promise}}' },
              ],
            }),
          ],
        ],
      },
    ],
  });
