/** A rush for two coupons side by side, one in each order of handling, that share the rate and the stock. */
import { orderBys } from '../../catalog/events/coupon.ts';
import { groups } from '../../catalog/groups.ts';
import { type CouponRushReport, runCouponRush } from '../../workers/traffic/coupons.ts';
import { followRequests, type Part, type Seen, triesOf } from './load.ts';

export interface CouponRates {
  /** Requests a second. */
  readonly rate: number;
  readonly stock: number;
}

const requestsEach = 2;

export const coupons: Part<CouponRates> = {
  groups: [groups.couponIssue, groups.couponRequest],
  async start(rates, { entrances, variables, person, loadMs, closing, retryForMs, signal }) {
    const progress = followRequests('coupons');
    const rate = rates.rate / orderBys.length;
    const all = Promise.all(
      orderBys.map((orderBy) =>
        runCouponRush({
          apiUrl: entrances.apiUrl,
          token: variables.MUSTER_API_TOKEN!,
          orderBy,
          stock: Math.ceil(rates.stock / orderBys.length),
          rate,
          users: Math.ceil((rate * loadMs) / 1_000 / requestsEach),
          requestsEach,
          watchers: 10,
          userPrefix: `${person}-${orderBy}`,
          retryForMs,
          answersWithinMs: retryForMs,
          closing,
          signal,
          onInsisted: progress.onInsisted,
        }),
      ),
    );
    return {
      progress,
      done: all.then(seenOf),
      told: async () => ({ coupons: await all }),
    };
  },
};

function seenOf(told: readonly CouponRushReport[]): Seen {
  const sum = (count: (one: CouponRushReport) => number) => told.reduce((so, one) => so + count(one), 0);
  return {
    sent: sum(({ requests }) => requests),
    failed: sum(({ failed }) => failed),
    failedTries: sum(({ problems }) => triesOf(problems)),
    undecided: told.flatMap(({ requestIds, outcomeOf }) => requestIds.filter((id) => !outcomeOf.has(id))),
    ...(told[0]?.acceptMs === undefined ? {} : { latencyMs: told[0].acceptMs }),
  };
}
