/** Coupons: what must be impossible. */
import { metrics } from '../catalog/metrics.ts';
import { at, growing, type RuleGroup, rule } from './rule.ts';

const { coupon } = metrics;

export function couponAlerts(): RuleGroup {
  const per = (metric: string) => `max without (instance, job, process) (${metric})`;
  return {
    name: 'coupon',
    rules: [
      rule({
        name: 'CouponOverissued',
        severity: 'page',
        // Whatever else labels a coupon: both figures carry the same.
        expr: `${per(coupon.issued)} > ${per(coupon.stock)}`,
        for: '0s',
        summary: '{{ $value }} coupons are out, more than there were.',
        meaning:
          'Must be impossible: the database forbids it. Customers hold coupons that nobody planned to pay for.',
        firstStep:
          'Stop the issue of this coupon (validUntil), then compare the history rows with its stock.',
        runbook: 'alerts/runbooks/CouponOverissued.md',
        proof: {
          fires: [
            {
              when: 'one too many, and issued by another process than the one that shows the stock',
              series: {
                [`${coupon.issued}{process="commerce",instance="commerce",coupon="c1"}`]: [
                  at(100, '2m'),
                  at(101),
                ],
                [`${coupon.stock}{process="api",instance="api",coupon="c1"}`]: [at(100)],
              },
              trueFrom: '2m',
              alerts: [{ coupon: 'c1' }],
            },
          ],
          staysQuiet: [
            {
              when: 'all are out, and another coupon has more',
              series: {
                [`${coupon.issued}{process="commerce",coupon="c1"}`]: [at(100)],
                [`${coupon.stock}{process="commerce",coupon="c1"}`]: [at(100)],
                [`${coupon.issued}{process="commerce",coupon="c2"}`]: [growing(1)],
                [`${coupon.stock}{process="commerce",coupon="c2"}`]: [at(100_000)],
              },
            },
          ],
          live: { cause: 'rule row in the database' },
        },
      }),
    ],
  };
}
