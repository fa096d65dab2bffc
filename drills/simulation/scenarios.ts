/** The scenarios that seeds can be run of, each with the bugs that can be seeded into it. */
import { type CouponBug, couponBugs, couponScenario } from './coupons.ts';
import { type EffectsBug, effectsBugs, effectsScenario } from './effects.ts';
import { type OrderBug, orderBugs, orderScenario } from './orders.ts';
import { type PayBug, payBugs, payScenario } from './pay.ts';
import { type PromotionBug, promotionBugs, promotionScenario } from './promotion.ts';
import type { World } from './world.ts';

export interface Scenario {
  readonly about: string;
  readonly bugs: readonly string[];
  /** Resolves to what is wrong with the outcome. */
  run(world: World, bug?: string): Promise<readonly string[]>;
}

export const scenarios: Readonly<Record<string, Scenario>> = {
  promotion: {
    about:
      'the promotion join worker: purchases and acts in, the last word on each purchase against the oracle',
    bugs: promotionBugs,
    run: (world, bug) => promotionScenario(world, bug as PromotionBug | undefined),
  },
  coupons: {
    about:
      'intake, outbox, locks and the deciding worker: stock, one decision each, told as decided, in order',
    bugs: couponBugs,
    run: (world, bug) => couponScenario(world, bug as CouponBug | undefined),
  },
  orders: {
    about: 'payments, outbox, relay and the ranking: paid once, stock and ranking as sold, every event told',
    bugs: orderBugs,
    run: (world, bug) => orderScenario(world, bug as OrderBug | undefined),
  },
  pay: {
    about:
      'remittances, recharges, payments, refunds and the books: everything ends, once, and money is where it says',
    bugs: payBugs,
    run: (world, bug) => payScenario(world, bug as PayBug | undefined),
  },
  effects: {
    about: 'events with retries, dead letters, inbox and outbox: one effect each, and told of',
    bugs: effectsBugs,
    run: (world, bug) => effectsScenario(world, bug as EffectsBug | undefined),
  },
};
