/** Consumer groups: who reads what, how wide, and how much lag is tolerable. */
import { type Topic, topics } from './topics.ts';

export interface ConsumerGroup {
  readonly id: string;
  readonly topics: readonly Topic[];
  readonly owner: string;
  readonly description: string;
  /** Lag above which people are told. */
  readonly lagSecondsHigh: number;
  /**
   * Delays of the non-blocking retries of a record whose handler failed; empty: straight to the dead letters.
   */
  readonly retryDelaysMs: readonly number[];
}

export const groups = {
  promotionJoin: {
    id: 'promotion-join',
    topics: [topics.purchase, topics.promoBehavior, topics.purchaseByUser, topics.promoBehaviorByUser],
    owner: 'promotion',
    description: 'Joins purchases with the acts of the same user in the 5 minutes before.',
    lagSecondsHigh: 2,
    retryDelaysMs: [],
  },
  outsideEvents: {
    id: 'outside-events',
    topics: [topics.externalEvents],
    owner: 'outside',
    description: 'Tells systems outside about business events by webhook, and keeps a log of how that went.',
    lagSecondsHigh: 30,
    retryDelaysMs: [1_000, 2_000, 4_000, 8_000],
  },
} satisfies Record<string, ConsumerGroup>;

export const allGroups: readonly ConsumerGroup[] = Object.values(groups);
