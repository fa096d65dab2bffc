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
  RedisDown: 'those that name it',
  OfflineLogDir: 'those that name it',
} as const;

export type Cause = keyof typeof causes;

/** Label in which an alert carries the names of its causes, between spaces. */
export const inhibitedByLabel = 'inhibited_by';
