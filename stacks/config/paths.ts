/** Paths inside the containers: the same in the official images and in the ones built here. */
export const paths = {
  /** All files that we upload live here, never in a data volume. */
  config: '/etc/muster',
  kafkaHome: '/opt/kafka',
  kafkaData: '/var/lib/kafka/data',
  jmxAgent: '/opt/jmx/jmx_prometheus_javaagent.jar',
  zookeeperBin: '/apache-zookeeper-3.9.4-bin/bin',
  zookeeperData: '/data',
  mysqlVolume: '/var/lib/mysql',
  /** A folder inside the volume: it is made under another name and renamed when complete. */
  mysqlData: '/var/lib/mysql/data',
  /** A folder that MySQL's own image has, too, and that is its user's: there the log is on a disk of its own. */
  mysqlLog: '/var/lib/mysql-files',
  /** Of the entrance of MySQL: its socket, by which the guard tells it where to send clients. */
  mysqlEntrance: '/var/lib/muster/mysql-entrance',
  guardState: '/var/lib/muster/mysql-guard',
  redisData: '/data',
  prometheusData: '/prometheus',
  alertmanagerData: '/alertmanager',
  grafanaData: '/var/lib/grafana',
  victorialogsData: '/vlogs',
  logInbox: '/var/log/muster/inbox',
  logState: '/var/lib/muster/log-follower',
  bankState: '/var/lib/muster/banks',
  uploads: '/var/lib/muster/uploads',
  backups: '/var/lib/muster/backups',
  gateway: '/var/lib/muster/gateway',
} as const;
