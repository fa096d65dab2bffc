/** Who gets a coupon: first come, first served. Pure: everything is passed in. */
import type { CouponReason } from '../../catalog/events/coupon.ts';

export interface CouponState {
  readonly stock: number;
  /** Handed out so far. */
  readonly issued: number;
  /** Valid from this moment on, UTC ms by the database's clock; undefined: since ever. */
  readonly validFromMs: number | undefined;
  /** Valid until just before this moment; undefined: for ever. */
  readonly validUntilMs: number | undefined;
}

export interface Asked {
  readonly couponId: string;
  readonly userId: string;
  /** When the request was made durable, UTC ms by the database's clock. */
  readonly requestedAtMs: number;
}

export type Decision =
  | { readonly outcome: 'SUCCESS' }
  | { readonly outcome: 'FAILED'; readonly reason: CouponReason };

/** Names a user's coupon in the set of holders. */
export const holderKey = (couponId: string, userId: string): string => `${couponId} ${userId}`;

/**
 * Decides requests in the order given; the answer to each stands at its place. A coupon that is not in `coupons` does
 * not exist. Validity is judged by the time of the request, not of its handling: who asked in time must not pay for our
 * queue. Of several reasons the first of NOT_FOUND, EXPIRED, DUPLICATE, OUT_OF_STOCK is told.
 *
 * @param holders holderKey() of every coupon that the users of `asked` hold already
 */
export function decide(
  asked: readonly Asked[],
  coupons: ReadonlyMap<string, CouponState>,
  holders: ReadonlySet<string>,
): readonly Decision[] {
  const issuedNow = new Map<string, number>();
  const heldNow = new Set<string>();
  return asked.map(({ couponId, userId, requestedAtMs }) => {
    const coupon = coupons.get(couponId);
    if (coupon === undefined) return failed('NOT_FOUND');
    if (!isValidAt(coupon, requestedAtMs)) return failed('EXPIRED');
    const holder = holderKey(couponId, userId);
    if (holders.has(holder) || heldNow.has(holder)) return failed('DUPLICATE');
    const issued = coupon.issued + (issuedNow.get(couponId) ?? 0);
    if (issued >= coupon.stock) return failed('OUT_OF_STOCK');
    issuedNow.set(couponId, (issuedNow.get(couponId) ?? 0) + 1);
    heldNow.add(holder);
    return { outcome: 'SUCCESS' };
  });
}

function isValidAt({ validFromMs, validUntilMs }: CouponState, atMs: number): boolean {
  return (
    (validFromMs === undefined || atMs >= validFromMs) && (validUntilMs === undefined || atMs < validUntilMs)
  );
}

const failed = (reason: CouponReason): Decision => ({ outcome: 'FAILED', reason });
