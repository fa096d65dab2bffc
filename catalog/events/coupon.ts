/** Events of the coupon capability: requests for a coupon, and what became of them. */
import { type Static, Type } from 'typebox';
import { uuid } from './uuid.ts';

/** Why a request got no coupon. EXPIRED: outside of the coupon's validity when it was made. */
export const couponReasons = ['OUT_OF_STOCK', 'DUPLICATE', 'EXPIRED', 'NOT_FOUND'] as const;
export type CouponReason = (typeof couponReasons)[number];

/** What is handled in order for a coupon: the requests of each user, or all of that coupon. Chosen when it is created. */
export const orderBys = ['user', 'coupon'] as const;
export type OrderBy = (typeof orderBys)[number];

const utcTime = (description: string) =>
  Type.String({
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
    description: `${description}, ISO-8601 UTC with ms, by the database's clock`,
  });

export const couponId = Type.String({
  pattern: '^[A-Za-z0-9_-]{1,64}$',
  description: 'the coupon asked for',
});
export const couponUserId = Type.String({
  minLength: 1,
  maxLength: 128,
  description: 'who asks, in clear: request topics only',
});

/** Somebody asks for a coupon: topics `coupon-requests` and `coupon-issue`. */
export const couponRequest = Type.Object(
  { requestId: uuid('id of the request; effects are keyed by it'), userId: couponUserId, couponId },
  { $id: 'CouponRequest', title: 'CouponRequest', additionalProperties: false },
);
export type CouponRequest = Static<typeof couponRequest>;

/** What became of a request: topics `coupon-results`, `coupon-issue-succeeded` and `coupon-issue-failed`. */
export const couponResult = Type.Object(
  {
    requestId: uuid('the request that this answers'),
    couponId,
    user: Type.String({
      pattern: '^u_[A-Za-z0-9_-]{22}$',
      description: 'keyed pseudonym of the user (HMAC-SHA-256, first 128 bits, base64url)',
    }),
    outcome: Type.Union([Type.Literal('SUCCESS'), Type.Literal('FAILED')]),
    reason: Type.Optional(Type.Enum([...couponReasons], { description: 'with FAILED' })),
    couponHistoryId: Type.Optional(uuid('with SUCCESS: the coupon that the user now holds')),
    requestedAt: utcTime('when the request was made durable'),
    decidedAt: utcTime('when it was decided'),
  },
  { $id: 'CouponResult', title: 'CouponResult', additionalProperties: false },
);
export type CouponResult = Static<typeof couponResult>;
