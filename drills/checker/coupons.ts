/** Judges a rush on a coupon: what its clients were told, against the store of truth. Pure. */
import type { CouponRushReport } from '../../workers/coupon/rush.ts';
import type { Reconciliation } from '../../workers/coupon/store.ts';
import type { Finding, Verdict } from './verdict.ts';

export function checkCoupons(told: CouponRushReport, store: Reconciliation): Verdict {
  const findings: Finding[] = [];
  const { couponId: id } = told;
  const check = (wrong: boolean, kind: Finding['kind'], detail: string) => {
    if (wrong) findings.push({ kind, id, detail });
  };
  check(told.unanswered > 0, 'lost', `${told.unanswered} accepted requests never got an outcome`);
  check(told.usersTwice > 0, 'doubled', `${told.usersTwice} people were told SUCCESS twice`);
  check(store.usersTwice > 0, 'doubled', `${store.usersTwice} people hold two`);
  check(store.issued > store.stock, 'over-issued', `${store.issued} issued of ${store.stock}`);
  check(
    store.issued !== store.historyRows || store.issued !== store.succeeded,
    'ledger',
    `issued ${store.issued}, held ${store.historyRows}, requests that succeeded ${store.succeeded}`,
  );
  check(store.succeededWithoutCoupon > 0, 'ledger', `${store.succeededWithoutCoupon} won and hold nothing`);
  check(
    told.unanswered === 0 && told.failed === 0 && (told.outcomes.SUCCESS ?? 0) !== store.succeeded,
    'untold',
    `${told.outcomes.SUCCESS ?? 0} were told SUCCESS, ${store.succeeded} succeeded`,
  );
  check(
    told.issued < Math.min(told.stock, told.accepted) && (told.outcomes.OUT_OF_STOCK ?? 0) > 0,
    'wrong',
    `sold out was said with ${told.issued} of ${told.stock} issued`,
  );
  return { subject: 'coupons', acked: told.accepted, inDoubt: told.failed, repeats: 0, findings };
}
