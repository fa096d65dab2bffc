/** Topics: the one place where a topic's name, shape and promise is written down. */
import type { TSchema } from 'typebox';
import type { Environment } from './environments.ts';
import { firmbankingDecided } from './events/banking.ts';
import { canaryProbe } from './events/canary.ts';
import { couponRequest, couponResult } from './events/coupon.ts';
import { deliveryEvent, deliveryLogEvent, deliveryOrderEvent } from './events/delivery.ts';
import { logLine } from './events/logging.ts';
import { memberEvent } from './events/membership.ts';
import { rechargeDecided } from './events/money.ts';
import { orderCompleted, orderConfirmed, orderExpiryDue, productEvent } from './events/order.ts';
import { couponIssued, paymentCompleted } from './events/outside.ts';
import { paymentDecided, paymentEvent } from './events/payment.ts';
import { enrichedPurchase, promoBehavior, promotionLogic, purchase } from './events/promotion.ts';
import { remittanceDecided } from './events/remittance.ts';

/** A type of event as in the ce_type header, with its schema. */
export interface EventType {
  readonly type: string;
  readonly schema: TSchema;
}

export interface Topic {
  readonly name: string;
  readonly partitions: number;
  /** Copies of each partition. */
  readonly replicationFactor: 1 | 2 | 3;
  readonly minInsyncReplicas: 1 | 2;
  /**
   * Unset: the controller spreads leaders as it likes. `one per broker`: partition i prefers the i-th broker of the
   * environment as its leader, and there are as many partitions as brokers.
   */
  readonly leaders?: 'one per broker';
  /** `environment`: the environment's retention; a number: this many ms everywhere. */
  readonly retentionMs: number | 'environment';
  /** What a record's key is; partitioning follows from it. */
  readonly key: string;
  /** Event type as in the ce_type header, with its schema. Raw topics (dead letters) have none. */
  readonly event?: EventType;
  /** Other types that are on it, too. */
  readonly otherEvents?: readonly EventType[];
  /** A row of the event log is written with the publishing of each of its events (workers/store/event-log.ts). */
  readonly hasEventLog?: true;
  /** The producing of each of its messages is written down in queue_log (workers/store/queue-log.ts). */
  readonly hasQueueLog?: true;
  /** Capability that answers for it. */
  readonly owner: string;
  readonly description: string;
  /** `log-append`: the broker stamps records, so that a producer's clock cannot reorder or expire them. */
  readonly timestamps: 'log-append' | 'create';
  /** Bytes of a partition beyond which the oldest go, whatever their age: what writes without bound must not fill the disk. */
  readonly retentionBytes?: number;
  /** Largest batch in bytes; unset: as Kafka has it, 1,048,588. */
  readonly maxMessageBytes?: number;
  /** The design load, for the capacity planner. */
  readonly designLoad: { readonly messagesPerSecond: number; readonly bytesPerMessage: number };
}

const standard = {
  partitions: 6,
  replicationFactor: 3,
  minInsyncReplicas: 2,
  retentionMs: 'environment',
  timestamps: 'log-append',
} as const;

/** For topics that take records of others with headers added: the largest that the others take fits. */
const passedOn = { maxMessageBytes: 1_250_000 } as const;

const promotionTopics = {
  purchase: {
    ...standard,
    name: 'purchase',
    key: 'user id',
    event: { type: 'Purchase', schema: purchase },
    owner: 'promotion',
    description: 'Every purchase, from the API, log files or any Kafka producer.',
    designLoad: { messagesPerSecond: 100, bytesPerMessage: 200 },
  },
  promoBehavior: {
    ...standard,
    name: 'promo_behavior',
    key: 'user id',
    event: { type: 'PromoBehavior', schema: promoBehavior },
    owner: 'promotion',
    description: 'What users do with promotions: clicks and views.',
    designLoad: { messagesPerSecond: 100, bytesPerMessage: 200 },
  },
  purchaseByUser: {
    ...standard,
    ...passedOn,
    name: 'purchase_by_user',
    key: 'user id',
    event: { type: 'Purchase', schema: purchase },
    owner: 'promotion',
    description:
      'Repartition topic: purchases that a foreign producer put on another partition than their user’s, moved there so that the join finds both sides. Empty when all producers key by user id.',
    designLoad: { messagesPerSecond: 0, bytesPerMessage: 200 },
  },
  promoBehaviorByUser: {
    ...standard,
    ...passedOn,
    name: 'promo_behavior_by_user',
    key: 'user id',
    event: { type: 'PromoBehavior', schema: promoBehavior },
    owner: 'promotion',
    description: 'Repartition topic of promo_behavior, like purchase_by_user.',
    designLoad: { messagesPerSecond: 0, bytesPerMessage: 200 },
  },
  purchaseEnriched: {
    ...standard,
    name: 'purchase_enriched',
    key: '<pseudonym of the user>:<purchase id>',
    event: { type: 'EnrichedPurchase', schema: enrichedPurchase },
    owner: 'promotion',
    description: 'Every purchase with promotion_affect 1 or 0; corrections follow with a higher version.',
    designLoad: { messagesPerSecond: 100, bytesPerMessage: 320 },
  },
  promotion: {
    ...standard,
    name: 'promotion',
    key: '<pseudonym of the user>:<purchase id>',
    event: { type: 'PromotionLogic', schema: promotionLogic },
    owner: 'promotion',
    description: 'The purchases that a promotion affected, re-published for those who act on them.',
    designLoad: { messagesPerSecond: 50, bytesPerMessage: 320 },
  },
} satisfies Record<string, Topic>;

/** One slice with two ordering keys, chosen for each coupon (`orderBy`): `coupon` over the first three, `user` over the others. */
const couponTopics = {
  couponIssue: {
    ...standard,
    name: 'coupon-issue',
    partitions: 5,
    key: 'coupon id',
    event: { type: 'CouponRequest', schema: couponRequest },
    owner: 'coupon',
    description: 'Requests for coupons, those of one coupon in order.',
    designLoad: { messagesPerSecond: 200, bytesPerMessage: 300 },
  },
  couponIssueSucceeded: {
    ...standard,
    name: 'coupon-issue-succeeded',
    partitions: 5,
    key: 'coupon id',
    event: { type: 'CouponResult', schema: couponResult },
    owner: 'coupon',
    description: 'Coupons that were issued; written after the transaction has committed.',
    designLoad: { messagesPerSecond: 10, bytesPerMessage: 450 },
  },
  couponIssueFailed: {
    ...standard,
    name: 'coupon-issue-failed',
    partitions: 5,
    key: 'coupon id',
    event: { type: 'CouponResult', schema: couponResult },
    owner: 'coupon',
    description: 'Requests that got no coupon, with the reason; written after the decision has committed.',
    designLoad: { messagesPerSecond: 190, bytesPerMessage: 450 },
  },
  couponRequests: {
    ...standard,
    name: 'coupon-requests',
    partitions: 3,
    key: 'user:<user id>',
    event: { type: 'CouponRequest', schema: couponRequest },
    owner: 'coupon',
    description: 'Requests for coupons, those of one user in order.',
    designLoad: { messagesPerSecond: 200, bytesPerMessage: 300 },
  },
  couponResults: {
    ...standard,
    name: 'coupon-results',
    partitions: 3,
    key: 'user:<pseudonym>',
    event: { type: 'CouponResult', schema: couponResult },
    owner: 'coupon',
    description:
      'What became of requests for coupons, those of one user in order; written after the decision has committed.',
    designLoad: { messagesPerSecond: 200, bytesPerMessage: 450 },
  },
} satisfies Record<string, Topic>;

const outsideTopics = {
  externalEvents: {
    ...standard,
    name: 'external-events',
    partitions: 3,
    key: 'user:<id> or order id',
    event: { type: 'PaymentCompleted', schema: paymentCompleted },
    otherEvents: [{ type: 'CouponIssued', schema: couponIssued }],
    hasEventLog: true,
    owner: 'outside',
    description: 'What systems outside are to be told by webhook: payments completed, coupons issued.',
    designLoad: { messagesPerSecond: 10, bytesPerMessage: 250 },
  },
} satisfies Record<string, Topic>;

const canaryTopics = {
  canary: {
    name: 'muster-canary',
    partitions: 3,
    replicationFactor: 3,
    minInsyncReplicas: 2,
    leaders: 'one per broker',
    retentionMs: 3_600_000,
    key: 'none: a probe names its partition',
    event: { type: 'CanaryProbe', schema: canaryProbe },
    owner: 'canary',
    description:
      'Probes that the canary sends to itself, one a second through each broker: what a small client sees of the platform.',
    timestamps: 'log-append',
    designLoad: { messagesPerSecond: 3, bytesPerMessage: 60 },
  },
} satisfies Record<string, Topic>;

const loggingTopics = {
  logs: {
    ...standard,
    name: 'my.logging.out.stdout',
    partitions: 1,
    replicationFactor: 2,
    minInsyncReplicas: 1,
    retentionMs: 86_400_000,
    retentionBytes: 2_000_000_000,
    key: 'none',
    event: { type: 'LogLine', schema: logLine },
    owner: 'logging',
    description: 'What every process logs, a line a record, on its way to the log store.',
    designLoad: { messagesPerSecond: 5, bytesPerMessage: 600 },
  },
} satisfies Record<string, Topic>;

const orderTopics = {
  orderCompleted: {
    ...standard,
    partitions: 3,
    name: 'order-completed',
    key: 'user:<pseudonym of the customer>',
    event: { type: 'OrderCompleted', schema: orderCompleted },
    owner: 'order',
    description:
      'Every paid order, after its payment was committed, in the order of the customer’s payments: for ranking and analytics.',
    designLoad: { messagesPerSecond: 50, bytesPerMessage: 420 },
  },
  orderConfirmed: {
    ...standard,
    partitions: 3,
    name: 'order-confirmed',
    key: 'order id',
    event: { type: 'OrderConfirmed', schema: orderConfirmed },
    owner: 'order',
    description:
      'The same fact for systems outside of the shop (delivery, data platforms), keyed by order id and with the payment id: what else happens to an order can join it here.',
    designLoad: { messagesPerSecond: 50, bytesPerMessage: 480 },
  },
  productEvents: {
    ...standard,
    partitions: 3,
    name: 'product-events',
    key: 'product:<product id>',
    event: { type: 'ProductEvent', schema: productEvent },
    owner: 'order',
    description: 'Products created, their price and stock changed by hand, sold out.',
    designLoad: { messagesPerSecond: 1, bytesPerMessage: 300 },
  },
  orderExpiry: {
    ...standard,
    partitions: 3,
    name: 'order-expiry',
    key: 'none',
    event: { type: 'OrderExpiryDue', schema: orderExpiryDue },
    owner: 'order',
    description:
      'Timers of orders: their time to be paid is over. A record for those that were placed together.',
    designLoad: { messagesPerSecond: 10, bytesPerMessage: 500 },
  },
} satisfies Record<string, Topic>;

const membershipTopics = {
  memberEvents: {
    ...standard,
    partitions: 3,
    name: 'member-events',
    hasQueueLog: true,
    key: 'member:<pseudonym>',
    event: { type: 'MemberEvent', schema: memberEvent },
    owner: 'membership',
    description:
      'Members as others may know them: pseudonym, type, district, state; the highest version counts.',
    designLoad: { messagesPerSecond: 1, bytesPerMessage: 300 },
  },
} satisfies Record<string, Topic>;

const bankingTopics = {
  firmbankingEvents: {
    ...standard,
    partitions: 3,
    name: 'firmbanking-events',
    hasQueueLog: true,
    key: 'firm banking id',
    event: { type: 'FirmbankingDecided', schema: firmbankingDecided },
    owner: 'banking',
    description: 'What became of firm bankings; written after the decision has committed.',
    designLoad: { messagesPerSecond: 10, bytesPerMessage: 650 },
  },
} satisfies Record<string, Topic>;

const moneyTopics = {
  rechargeEvents: {
    ...standard,
    partitions: 3,
    name: 'recharge-events',
    hasQueueLog: true,
    key: 'member:<pseudonym>',
    event: { type: 'RechargeDecided', schema: rechargeDecided },
    owner: 'money',
    description:
      'How recharges ended, those of one member in order; written after the decision has committed.',
    designLoad: { messagesPerSecond: 10, bytesPerMessage: 450 },
  },
} satisfies Record<string, Topic>;

const remittanceTopics = {
  remittanceEvents: {
    ...standard,
    partitions: 3,
    name: 'remittance-events',
    hasQueueLog: true,
    key: 'member:<pseudonym of the sender>',
    event: { type: 'RemittanceDecided', schema: remittanceDecided },
    owner: 'remittance',
    description:
      'How remittances ended, those of one sender in order; written after the decision has committed.',
    designLoad: { messagesPerSecond: 50, bytesPerMessage: 500 },
  },
} satisfies Record<string, Topic>;

const paymentTopics = {
  paymentEvents: {
    ...standard,
    partitions: 3,
    name: 'payment-events',
    key: 'merchant:<pseudonym>',
    event: { type: 'PaymentEvent', schema: paymentEvent },
    owner: 'payment',
    description:
      'Slips: what merchants were paid and what was refunded, those of one merchant in order; written after the booking is known.',
    designLoad: { messagesPerSecond: 50, bytesPerMessage: 400 },
  },
  paymentOutcomes: {
    ...standard,
    partitions: 3,
    name: 'payment-outcomes',
    key: 'member:<pseudonym of the customer>',
    event: { type: 'PaymentDecided', schema: paymentDecided },
    owner: 'payment',
    description:
      'How payments and refunds ended, those of one customer in order; written after the decision has committed.',
    designLoad: { messagesPerSecond: 50, bytesPerMessage: 400 },
  },
} satisfies Record<string, Topic>;

const deliveryTopics = {
  deliveryOrderEvents: {
    ...standard,
    partitions: 3,
    name: 'delivery-order-events',
    key: 'customer:<pseudonym>',
    event: { type: 'DeliveryOrderEvent', schema: deliveryOrderEvent },
    owner: 'delivery',
    description:
      'Each change of an order of dishes, those of one order in order; written in the transaction of the change. One message for who delivers and for who notifies.',
    designLoad: { messagesPerSecond: 60, bytesPerMessage: 500 },
  },
  deliveryEvents: {
    ...standard,
    partitions: 3,
    name: 'delivery-events',
    key: 'order:<order id>',
    event: { type: 'DeliveryEvent', schema: deliveryEvent },
    owner: 'delivery',
    description: 'How deliveries ended, told until the order has taken it.',
    designLoad: { messagesPerSecond: 10, bytesPerMessage: 200 },
  },
  deliveryLogEvents: {
    ...standard,
    partitions: 3,
    name: 'delivery-log-events',
    key: 'person:<pseudonym>',
    event: { type: 'DeliveryLogEvent', schema: deliveryLogEvent },
    owner: 'delivery',
    description: 'One for each notification, written in its transaction.',
    designLoad: { messagesPerSecond: 120, bytesPerMessage: 250 },
  },
} satisfies Record<string, Topic>;

/** Dead letter topic of a topic: raw bytes, the reason in headers; kept long enough to be looked at and replayed. */
export function deadLetterTopic(of: Topic): Topic {
  return {
    ...passedOn,
    name: `${of.name}.dlq`,
    partitions: 1,
    replicationFactor: 3,
    minInsyncReplicas: 2,
    retentionMs: 14 * 86_400_000,
    key: `as in ${of.name}`,
    owner: of.owner,
    description: `Records of ${of.name} that could not be understood or handled, as raw bytes with the reason.`,
    timestamps: 'log-append',
    designLoad: { messagesPerSecond: 0, bytesPerMessage: 400 },
  };
}

/** Suffix of a retry delay: `retry-1s`, `retry-500ms`. */
function retryName(topic: string, groupId: string, delayMs: number): string {
  const delay = delayMs % 1_000 === 0 ? `${delayMs / 1_000}s` : `${delayMs}ms`;
  return `${topic}.${groupId}.retry-${delay}`;
}

/**
 * Topics through which a group's failed records of a topic come back after a delay, one a delay, in order of attempts.
 * They belong to the group: another group's failures must not come to it. Equal delays share a topic.
 */
export function retryTopics(
  of: Topic,
  group: { readonly id: string; readonly retryDelaysMs: readonly number[] },
): readonly (Topic & { readonly delayMs: number })[] {
  return [...new Set(group.retryDelaysMs)].map((delayMs) => ({
    ...passedOn,
    name: retryName(of.name, group.id, delayMs),
    partitions: of.partitions,
    replicationFactor: 3,
    minInsyncReplicas: 2,
    retentionMs: 'environment',
    key: `as in ${of.name}`,
    owner: of.owner,
    description: `Records of ${of.name} that ${group.id} could not handle, to be tried again after ${delayMs} ms.`,
    timestamps: 'log-append',
    designLoad: { messagesPerSecond: 0, bytesPerMessage: 600 },
    delayMs,
  }));
}

/**
 * Replicas of each partition of a `one per broker` topic, preferred leader first; undefined for the others, whose
 * replicas the controller chooses.
 */
export function replicaAssignment(
  topic: Topic,
  environment: Environment,
): readonly (readonly number[])[] | undefined {
  if (topic.leaders === undefined) return undefined;
  const ids = environment.kafka.nodes.map(({ id }) => id);
  return Array.from({ length: topic.partitions }, (_, partition) =>
    Array.from({ length: topic.replicationFactor }, (_, copy) => ids[(partition + copy) % ids.length]!),
  );
}

export const topics = {
  ...promotionTopics,
  ...canaryTopics,
  ...outsideTopics,
  purchaseDlq: deadLetterTopic(promotionTopics.purchase),
  promoBehaviorDlq: deadLetterTopic(promotionTopics.promoBehavior),
  ...orderTopics,
  orderCompletedDlq: deadLetterTopic(orderTopics.orderCompleted),
  productEventsDlq: deadLetterTopic(orderTopics.productEvents),
  orderExpiryDlq: deadLetterTopic(orderTopics.orderExpiry),
  externalEventsDlq: deadLetterTopic(outsideTopics.externalEvents),
  ...loggingTopics,
  logsDlq: deadLetterTopic(loggingTopics.logs),
  ...membershipTopics,
  memberEventsDlq: deadLetterTopic(membershipTopics.memberEvents),
  ...bankingTopics,
  firmbankingEventsDlq: deadLetterTopic(bankingTopics.firmbankingEvents),
  ...moneyTopics,
  rechargeEventsDlq: deadLetterTopic(moneyTopics.rechargeEvents),
  ...remittanceTopics,
  remittanceEventsDlq: deadLetterTopic(remittanceTopics.remittanceEvents),
  ...paymentTopics,
  paymentEventsDlq: deadLetterTopic(paymentTopics.paymentEvents),
  paymentOutcomesDlq: deadLetterTopic(paymentTopics.paymentOutcomes),
  ...deliveryTopics,
  deliveryOrderEventsDlq: deadLetterTopic(deliveryTopics.deliveryOrderEvents),
  deliveryEventsDlq: deadLetterTopic(deliveryTopics.deliveryEvents),
  deliveryLogEventsDlq: deadLetterTopic(deliveryTopics.deliveryLogEvents),
  ...couponTopics,
  couponIssueDlq: deadLetterTopic(couponTopics.couponIssue),
  couponIssueSucceededDlq: deadLetterTopic(couponTopics.couponIssueSucceeded),
  couponIssueFailedDlq: deadLetterTopic(couponTopics.couponIssueFailed),
  couponRequestsDlq: deadLetterTopic(couponTopics.couponRequests),
  couponResultsDlq: deadLetterTopic(couponTopics.couponResults),
} satisfies Record<string, Topic>;

export const allTopics: readonly Topic[] = Object.values(topics);

/** Topic-level settings as Kafka names them, for one environment. */
export function topicConfig(topic: Topic, environment: Environment): Record<string, string> {
  const retentionMs = topic.retentionMs === 'environment' ? environment.retentionMs : topic.retentionMs;
  return {
    'min.insync.replicas': String(topic.minInsyncReplicas),
    'retention.ms': String(retentionMs),
    // Deletion works on whole segments: a twelfth of the retention keeps the overshoot under 10 %.
    'segment.ms': String(Math.max(600_000, Math.floor(retentionMs / 12))),
    'cleanup.policy': 'delete',
    'message.timestamp.type': topic.timestamps === 'log-append' ? 'LogAppendTime' : 'CreateTime',
    'unclean.leader.election.enable': 'false',
    // Whole segments go, here too.
    ...(topic.retentionBytes === undefined
      ? {}
      : {
          'retention.bytes': String(topic.retentionBytes),
          'segment.bytes': String(Math.floor(topic.retentionBytes / 10)),
        }),
    ...(topic.maxMessageBytes === undefined ? {} : { 'max.message.bytes': String(topic.maxMessageBytes) }),
  };
}
