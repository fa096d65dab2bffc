/**
 * Events of the promotion capability. Schemas are the wire format; what may arrive under other names and
 * notations is standardised by workers/promotion/standardise.ts.
 */
import { type Static, Type } from 'typebox';

/** Ten-year age bands; people under 10 and over 89 are rare enough to be recognised, so they share a band. */
export const ageBands = ['0s', '10s', '20s', '30s', '40s', '50s', '60s', '70s', '80+', 'unknown'] as const;
export type AgeBand = (typeof ageBands)[number];

const utcTime = (description: string) =>
  Type.String({
    pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$',
    description: `${description}, ISO-8601 UTC with ms`,
  });
const id = (description: string) => Type.String({ minLength: 1, maxLength: 200, description });
const ageBand = Type.Enum([...ageBands], { description: 'ten-year age band' });
const action = Type.Union([Type.Literal('click'), Type.Literal('view')], {
  description: 'what the user did with the promotion',
});

export const money = Type.Object(
  {
    amountMinor: Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description: 'integer minor units (KRW has none, USD cents)',
    }),
    currency: Type.String({ pattern: '^[A-Z]{3}$', description: 'ISO-4217 code' }),
  },
  { additionalProperties: false },
);

/** A purchase, standardised, before masking: input topic `purchase`. */
export const purchase = Type.Object(
  {
    purchaseId: id('business id of the purchase, its user’s own: another user may have the same'),
    userId: id('the buyer, in clear: input topics only'),
    productId: id('product bought'),
    productName: Type.Optional(Type.String({ maxLength: 500, description: 'trimmed, Unicode NFC' })),
    quantity: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
    price: money,
    purchasedAt: utcTime('event time'),
    ageBand: Type.Optional(ageBand),
    cardLast4: Type.Optional(
      Type.String({ pattern: '^\\d{4}$', description: 'never more of a card than this' }),
    ),
  },
  { $id: 'Purchase', title: 'Purchase', additionalProperties: false },
);
export type Purchase = Static<typeof purchase>;

/** A user's act on a promotion, standardised, before masking: input topic `promo_behavior`. */
export const promoBehavior = Type.Object(
  {
    userId: id('the user, in clear: input topics only'),
    promotionId: id('promotion acted on'),
    action,
    actedAt: utcTime('event time'),
    productId: Type.Optional(id('product the promotion is about')),
    ageBand: Type.Optional(ageBand),
  },
  { $id: 'PromoBehavior', title: 'PromoBehavior', additionalProperties: false },
);
export type PromoBehavior = Static<typeof promoBehavior>;

const promotionTouch = Type.Object(
  {
    promotionId: id('promotion acted on'),
    action,
    secondsBefore: Type.Number({
      minimum: 0,
      maximum: 300,
      description: 'seconds from the act to the purchase, ms resolution',
    }),
  },
  { additionalProperties: false },
);
export type PromotionTouch = Static<typeof promotionTouch>;

const enrichedFields = {
  purchaseId: id('effects are keyed by it and the user, as the record is'),
  version: Type.Integer({
    minimum: 1,
    description:
      '1 + number of acts this answer stands on: the same knowledge always gives the same version, also after a restart; keep the highest',
  }),
  user: Type.String({
    pattern: '^u_[A-Za-z0-9_-]{22}$',
    description: 'keyed pseudonym of the user (HMAC-SHA-256, first 128 bits, base64url)',
  }),
  productId: id('product bought'),
  productName: Type.Optional(Type.String({ maxLength: 500 })),
  quantity: Type.Integer({ minimum: 1 }),
  price: money,
  purchasedAt: utcTime('event time of the purchase'),
  ageBand,
  cardLast4: Type.Optional(Type.String({ pattern: '^\\d{4}$' })),
};

/** An answer lists so many acts at most, so that one busy person cannot make it grow without end. */
export const listedActs = 100;

/** A purchase with the promotion's effect: topic `purchase_enriched`. */
export const enrichedPurchase = Type.Object(
  {
    ...enrichedFields,
    promotion_affect: Type.Union([Type.Literal(0), Type.Literal(1)], {
      description:
        '1 when the user acted on a promotion in the 5 minutes before the purchase, both ends included',
    }),
    promotions: Type.Array(promotionTouch, {
      description: `the acts in the window, nearest to the purchase first, the ${listedActs} nearest at most; empty when promotion_affect is 0`,
      maxItems: listedActs,
    }),
  },
  { $id: 'EnrichedPurchase', title: 'EnrichedPurchase', additionalProperties: false },
);
export type EnrichedPurchase = Static<typeof enrichedPurchase>;

/** A purchase that a promotion affected, re-published: topic `promotion`. */
export const promotionLogic = Type.Object(
  {
    ...enrichedFields,
    promotion_affect: Type.Literal(1),
    promotions: Type.Array(promotionTouch, { minItems: 1, maxItems: listedActs }),
  },
  { $id: 'PromotionLogic', title: 'PromotionLogic', additionalProperties: false },
);
