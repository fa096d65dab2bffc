/** The scenarios that seeds can be run of, each with the bugs that can be seeded into it. */
import { type EffectsBug, effectsBugs, effectsScenario } from './effects.ts';
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
  effects: {
    about: 'events with retries, dead letters, inbox and outbox: one effect each, and told of',
    bugs: effectsBugs,
    run: (world, bug) => effectsScenario(world, bug as EffectsBug | undefined),
  },
};
