/** What is promised, as the worker `promises` finds it on the live stores and topics. */
import { limits } from '../catalog/alerting.ts';
import { metrics } from '../catalog/metrics.ts';
import { promises } from '../catalog/promises.ts';
import { at, gone, growing, type RuleGroup, rule, type Segment } from './rule.ts';

const { broken, checkedTime } = metrics.promises;
const worker = 'process="watch",instance="watch",job="worker"';
const [first] = promises;

export function promiseAlerts(): RuleGroup {
  const all = promises.length;
  const unchecked = limits.promiseUncheckedSeconds;
  const brokenOf = (name: string) => `${broken}{${worker},promise="${name}"}`;
  /** Checked in every moment from the start of the test on (its time begins at 0); the first promise as given. */
  const checked = (course: readonly Segment[]) =>
    Object.fromEntries(
      promises.map(({ name }) => [
        `${checkedTime}{${worker},promise="${name}"}`,
        name === first!.name ? course : [growing(1)],
      ]),
    );
  const noneChecked = Object.fromEntries(
    promises.map(({ name }) => [
      `${checkedTime}{${worker},promise="${name}"}`,
      [growing(1, '5m'), gone()] as const,
    ]),
  );
  return {
    name: 'promises',
    rules: [
      rule({
        name: 'PromiseBroken',
        severity: 'page',
        expr: `max by (promise) (${broken}) > 0`,
        for: '30s',
        summary: 'The promise {{ $labels.promise }} is broken {{ $value }} times.',
        meaning:
          'Something that was promised is not true on the live stores or topics: somebody waits in vain, or figures are wrong.',
        firstStep: './muster promises names the ids; the runbook has a part for each promise.',
        runbook: 'alerts/runbooks/PromiseBroken.md',
        inhibitedBy: [
          ...(['MysqlDown', 'RedisDown'] as const).map((cause) => ({
            cause,
            where: { label: 'promise', value: 'stores-take-writes' },
          })),
          { cause: 'MysqlOneCopy', where: { label: 'promise', value: 'commits-on-both' } },
        ],
        proof: {
          fires: [
            {
              when: 'six requests are forgotten, and decided ten minutes later',
              series: {
                [brokenOf('coupon-requests-decided')]: [at(0, '2m'), at(6, '10m'), at(0)],
                [brokenOf('outbox-published')]: [at(0)],
              },
              trueFrom: '2m',
              falseFrom: '12m',
              alerts: [{ promise: 'coupon-requests-decided' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a store is started anew and refuses writes for 20 s',
              series: { [brokenOf('stores-take-writes')]: [at(0, '2m'), at(1, '15s'), at(0)] },
            },
          ],
          live: { cause: 'rule row in the database' },
        },
      }),
      rule({
        name: 'PromiseUnchecked',
        severity: 'ticket',
        expr: `time() - max by (promise) (${checkedTime}) > ${unchecked}`,
        for: '1m',
        summary: 'The promise {{ $labels.promise }} was not checked for {{ $value | humanizeDuration }}.',
        meaning: 'Nobody knows whether it holds: silence is not health.',
        firstStep: './muster promises says why; the worker promises runs in process watch.',
        runbook: 'alerts/runbooks/PromiseUnchecked.md',
        inhibitedBy: ['MysqlDown', 'RedisDown'],
        proof: {
          fires: [
            {
              when: 'one check cannot be made any more',
              series: checked([growing(1, '5m'), growing(0)]),
              trueFrom: '435s',
              alerts: [{ promise: first!.name }],
            },
          ],
          staysQuiet: [
            {
              when: 'one is always 90 s old',
              series: checked([growing(1, '5m'), growing(0, '90s'), growing(1)]),
            },
          ],
          live: { notLive: 'a worker that is stopped has no series: PromisesUnwatched' },
        },
      }),
      rule({
        name: 'PromisesUnwatched',
        severity: 'ticket',
        expr: `(count(count by (promise) (${checkedTime})) or vector(0)) < ${all}`,
        for: '1m',
        summary: `Of ${all} promises {{ $value }} are checked by anybody.`,
        meaning: 'Nobody looks whether what was promised holds: silence is not health.',
        firstStep: './muster status: the worker promises runs in the process watch.',
        runbook: 'alerts/runbooks/PromisesUnwatched.md',
        proof: {
          fires: [{ when: 'the worker is gone', series: noneChecked, trueFrom: '5m' }],
          staysQuiet: [{ when: 'all are there', series: checked([growing(1)]) }],
          live: { cause: 'worker stopped' },
        },
      }),
    ],
  };
}
