/** Alerts that explain others, and where alerts are sent. */

/**
 * While one of these fires, the alerts that name it in `inhibitedBy` are kept back: one cause, one page.
 * `everything`: it keeps back all others of its environment, whether they name it or not.
 */
export const causes = {
  AllBrokersGone: 'everything',
  BrokersMissing: 'those that name it',
  /** Never sent itself: burn rates remember a broker's outage long after it is over and paged. */
  BrokersRecentlyMissing: 'those that name it',
  ZooKeeperNoLeader: 'those that name it',
  ZooKeeperDown: 'those that name it',
  MysqlDown: 'those that name it',
  MysqlOneCopy: 'those that name it',
  RedisDown: 'those that name it',
  GatewayDown: 'those that name it',
  OfflineLogDir: 'those that name it',
} as const;

export type Cause = keyof typeof causes;

/** Label in which an alert carries the names of its causes: `,BrokersMissing,MysqlDown,`. */
export const inhibitedByLabel = 'inhibited_by';

/** Limits of alerts that hold in every environment; limits of a group, a topic or a size are where those are. */
export const limits = {
  /** Service contract: purchase to promotion event. */
  promotionSeconds: 2,
  /** Lag of a group that is not in the catalog. */
  foreignGroupLagSeconds: 300,
  /** The same in records, for partitions whose lag in seconds cannot be known. */
  foreignGroupLagRecords: 10_000,
  /** Lag in seconds gained per second: 1 is a consumer that stands still. */
  lagGrowthPerSecond: 0.05,
  /** Share of the way from "just committed" to "deleted before it was read". */
  retentionUsedRatio: 0.7,
  lagAgeSeconds: 60,
  outboxAgeSeconds: 60,
  /** Since a promise was last checked; longer than any period and its margin. */
  promiseUncheckedSeconds: 120,
  retriesPerSecond: 0.5,
  eventLoopLagSeconds: 0.5,
  memoryRatio: 0.9,
  httpErrorRatio: 0.05,
  webhookFailureRatio: 0.5,
  requestHandlerIdleRatio: 0.3,
  /** Since a table was last free of rows that are too old; it is looked at every hour. */
  retentionLateHours: 6,
  /** Share of the data disk of a broker, or of the database. */
  diskRatio: 0.8,
  /** How far ahead a full disk is foreseen. */
  diskForeseenHours: 48,
  zookeeperUpdateMs: 100,
  zookeeperFsyncMs: 100,
  zookeeperOutstanding: 50,
  databaseConnectionRatio: 0.8,
  /** For how long what is acked may be on one member of the database alone. */
  databaseAtRiskSeconds: 15,
  /** For how long what was committed may be on one disk alone: the service contract. */
  backupAtRiskSeconds: 60,
  /** Since the last base copy, and since one was restored and compared: a day, and room for one that failed. */
  backupLateHours: 30,
  /** A delivery order in a state that people do not leave; twice the wait for a rider, a delivery and a worker that starts again. */
  deliveryStuckSeconds: 60,
  /** Of the orders that call for a rider. */
  noRiderRatio: 0.5,
  /** One of the histogram's bounds. */
  notifyWithinSeconds: 5,
  notifyLateRatio: 0.1,
} as const;
