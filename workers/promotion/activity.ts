/** What a user did, as consumers see it: masked, one kind of event for both inputs. */
import type { AgeBand, PromoBehavior, Purchase } from '../../catalog/events/promotion.ts';
import { pseudonym } from '../base/pseudonym.ts';

export interface PurchaseActivity {
  readonly kind: 'purchase';
  /** Pseudonym. */
  readonly user: string;
  readonly purchaseId: string;
  readonly productId: string;
  readonly productName?: string;
  readonly quantity: number;
  readonly price: Purchase['price'];
  readonly at: string;
  readonly ageBand: AgeBand;
  readonly late: boolean;
}

export interface BehaviorActivity {
  readonly kind: 'promo_behavior';
  /** Pseudonym. */
  readonly user: string;
  readonly promotionId: string;
  readonly action: PromoBehavior['action'];
  readonly productId?: string;
  readonly at: string;
  readonly ageBand: AgeBand;
  readonly late: boolean;
}

export type Activity = PurchaseActivity | BehaviorActivity;

/** Masks a standardised input: the user becomes a pseudonym, the card is left out. */
export function activityOf(key: Buffer, input: Purchase | PromoBehavior): Activity {
  const user = pseudonym(key, input.userId);
  const ageBand = input.ageBand ?? 'unknown';
  if ('purchaseId' in input) {
    return {
      kind: 'purchase',
      user,
      purchaseId: input.purchaseId,
      productId: input.productId,
      ...(input.productName === undefined ? {} : { productName: input.productName }),
      quantity: input.quantity,
      price: input.price,
      at: input.purchasedAt,
      ageBand,
      late: false,
    };
  }
  return {
    kind: 'promo_behavior',
    user,
    promotionId: input.promotionId,
    action: input.action,
    ...(input.productId === undefined ? {} : { productId: input.productId }),
    at: input.actedAt,
    ageBand,
    late: false,
  };
}
