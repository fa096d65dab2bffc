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
  /** Of topics with a queue log: what it did with each message is written down there, too. */
  readonly logsHandled?: true;
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
    // 31 s in all: a receiver that is down for 20 s costs no dead letter.
    retryDelaysMs: [1_000, 2_000, 4_000, 8_000, 8_000, 8_000],
  },
  orderRanking: {
    id: 'order-ranking',
    topics: [topics.orderCompleted],
    owner: 'order',
    description: 'Adds what was sold to the ranking of products in Redis.',
    lagSecondsHigh: 10,
    retryDelaysMs: [],
  },
  orderAnalytics: {
    id: 'order-analytics',
    topics: [topics.orderCompleted],
    owner: 'order',
    description: 'Stores paid orders in the data platform’s own database.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  productEvents: {
    id: 'product-events',
    topics: [topics.productEvents],
    owner: 'order',
    description: 'Keeps names, prices and stock of products in the data platform’s own database.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  orderExpiry: {
    id: 'order-expiry',
    topics: [topics.orderExpiry],
    owner: 'order',
    description: 'Ends orders that nobody paid in time.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  couponIssue: {
    id: 'coupon-issue',
    topics: [topics.couponIssue],
    owner: 'coupon',
    description: 'Decides requests for coupons, in order per coupon (coupons with orderBy coupon).',
    lagSecondsHigh: 2,
    // A request that waits is overtaken: trouble is waited out in place, and what never works is a dead letter.
    retryDelaysMs: [],
  },
  couponRequest: {
    id: 'coupon-request',
    topics: [topics.couponRequests],
    owner: 'coupon',
    description: 'Decides requests for coupons, in order per user (coupons with orderBy user).',
    lagSecondsHigh: 2,
    retryDelaysMs: [],
  },
  couponResult: {
    // Each replica pushes to the clients that it holds, so it reads everything as a group of its own, named by the process.
    id: 'coupon-result-api',
    topics: [topics.couponResults, topics.couponIssueSucceeded, topics.couponIssueFailed],
    owner: 'coupon',
    description: 'Pushes outcomes of coupon requests to the clients that process api holds.',
    lagSecondsHigh: 2,
    retryDelaysMs: [],
  },
  logStore: {
    id: 'log-store',
    topics: [topics.logs],
    owner: 'logging',
    description: 'Writes log lines into the log store, and to its own stdout.',
    // It commits what is on the store's disk, some ten seconds after it was written; and nobody waits for it.
    lagSecondsHigh: 300,
    retryDelaysMs: [],
  },
  moneyMembers: {
    id: 'money-members',
    topics: [topics.memberEvents],
    owner: 'money',
    description: 'Opens, suspends and closes accounts as their members do, and knows where these live.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
    logsHandled: true,
  },
  moneyRecharges: {
    id: 'money-recharges',
    topics: [topics.firmbankingEvents],
    owner: 'money',
    description: 'Books recharges when the bank has executed them, or ends them when it has not.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
    logsHandled: true,
  },
  rechargePush: {
    // As coupon-result: a group of its own for each process that holds clients, named by it.
    id: 'recharge-push-pay',
    topics: [topics.rechargeEvents],
    owner: 'money',
    description: 'Pushes how recharges ended to the clients that process pay holds.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  remittancePush: {
    id: 'remittance-push-pay',
    topics: [topics.remittanceEvents],
    owner: 'remittance',
    description: 'Pushes how remittances ended to the clients that process pay holds.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  remittanceEnds: {
    id: 'remittance-ends',
    topics: [topics.rechargeEvents, topics.firmbankingEvents],
    owner: 'remittance',
    description: 'Hears how recharges and payouts of remittances ended, and goes on with these.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
    logsHandled: true,
  },
  paymentEnds: {
    id: 'payment-ends',
    logsHandled: true,
    topics: [topics.rechargeEvents],
    owner: 'payment',
    description: 'Hears how recharges of payments ended, and goes on with these.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  paymentPush: {
    id: 'payment-push-pay',
    topics: [topics.paymentOutcomes],
    owner: 'payment',
    description: 'Pushes how payments and refunds ended to the clients that process pay holds.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  bankingMembers: {
    id: 'banking-members',
    topics: [topics.memberEvents],
    owner: 'banking',
    description: 'Hears who has left: their bank accounts are closed 90 days later.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  paymentMerchants: {
    id: 'payment-merchants',
    topics: [topics.memberEvents],
    owner: 'payment',
    description: 'Knows which merchants may be paid.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  settlementSlips: {
    id: 'settlement-slips',
    topics: [topics.paymentEvents],
    owner: 'settlement',
    description: 'Keeps what merchants were paid, and what was refunded, until it is settled.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  settlementMembers: {
    id: 'settlement-members',
    topics: [topics.memberEvents],
    owner: 'settlement',
    description: 'Knows which merchants may be paid out.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
  settlementEnds: {
    id: 'settlement-ends',
    topics: [topics.firmbankingEvents],
    owner: 'settlement',
    description: 'Hears how payouts to merchants ended, and goes on with their settlements.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
    logsHandled: true,
  },
  deliveryRiders: {
    id: 'delivery-riders',
    topics: [topics.deliveryOrderEvents],
    owner: 'delivery',
    description: 'Hears that an order is called for, and finds it a rider.',
    lagSecondsHigh: 2,
    retryDelaysMs: [],
  },
  deliveryMessages: {
    id: 'delivery-messages',
    topics: [topics.deliveryOrderEvents],
    owner: 'delivery',
    description: 'Notifies people of the changes of their orders, of each once.',
    lagSecondsHigh: 10,
    retryDelaysMs: [],
  },
  deliveryPush: {
    id: 'delivery-push-delivery',
    topics: [topics.deliveryLogEvents],
    owner: 'delivery',
    description: 'Pushes what people are told of their orders to the apps that process delivery holds.',
    lagSecondsHigh: 10,
    retryDelaysMs: [],
  },
  deliveryOrders: {
    id: 'delivery-orders',
    topics: [topics.deliveryEvents],
    owner: 'delivery',
    description: 'Hears how deliveries ended, and takes the step of their orders.',
    lagSecondsHigh: 2,
    retryDelaysMs: [],
  },
  deliveryLog: {
    id: 'delivery-log',
    topics: [topics.deliveryLogEvents],
    owner: 'delivery',
    description: 'Writes into the log that somebody was notified.',
    lagSecondsHigh: 30,
    retryDelaysMs: [],
  },
} satisfies Record<string, ConsumerGroup>;

export const allGroups: readonly ConsumerGroup[] = Object.values(groups);
