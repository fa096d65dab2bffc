/** MySQL and Redis, and the connections to them. */
import { limits } from '../catalog/alerting.ts';
import { metrics } from '../catalog/metrics.ts';
import { at, gone, growing, type RuleGroup, rule } from './rule.ts';

const { mysql, redis, tables, backup, guard } = metrics;
const mysqlTarget = '{job="mysql",instance="mysqld-exporter"}';
const backupTarget = '{job="worker",instance="mysql-backup"}';
const guardTarget = 'job="worker",instance="mysql-guard"';
const redisTarget = '{job="redis",instance="redis-exporter"}';

export function dataAlerts(): RuleGroup {
  const lateSeconds = limits.retentionLateHours * 3_600;
  const backupLateSeconds = limits.backupLateHours * 3_600;
  const room = (schema: string) => `${tables.bytes}{schema="${schema}",table="t",instance="outside"}`;
  const cleaned = (table: string) =>
    `${tables.cleanedTime}{database="shop",table="${table}",instance="outside"}`;
  return {
    name: 'data',
    rules: [
      rule({
        name: 'TableRetentionLate',
        severity: 'ticket',
        expr: `time() - max by (database, table) (${tables.cleanedTime}) > ${lateSeconds}`,
        for: '10m',
        summary:
          'Nothing has cleaned table {{ $labels.table }} ({{ $labels.database }}) for {{ $value | humanizeDuration }}.',
        meaning:
          'Rows are kept longer than was promised, personal data among them, and the table only grows.',
        firstStep: './muster logs outside: what does the worker retention say of this table?',
        runbook: 'alerts/runbooks/TableRetentionLate.md',
        inhibitedBy: ['MysqlDown'],
        proof: {
          fires: [
            {
              when: 'one table is not finished any more, the other is',
              step: '5m',
              series: { [cleaned('sale')]: [at(0)], [cleaned('muster_once')]: [growing(1)] },
              trueFrom: `${limits.retentionLateHours * 60 + 5}m`,
              alerts: [{ database: 'shop', table: 'sale' }],
            },
          ],
          staysQuiet: [
            {
              when: 'every hour, and once five hours late',
              step: '5m',
              series: { [cleaned('sale')]: [at(0, '5h'), growing(1)] },
              watchedFor: '6h',
            },
          ],
          live: { notLive: `takes ${limits.retentionLateHours} hours` },
        },
      }),
      rule({
        name: 'TableRetentionUnknown',
        severity: 'ticket',
        expr: `absent(${tables.cleanedTime}) or absent(${tables.bytes})`,
        for: '15m',
        summary: 'Nobody cleans the tables, or nobody measures them.',
        meaning: 'Tables only grow, and nothing tells before their disk is full.',
        firstStep: './muster status: the worker retention runs in the process outside.',
        runbook: 'alerts/runbooks/TableRetentionUnknown.md',
        inhibitedBy: ['MysqlDown'],
        proof: {
          fires: [
            {
              when: 'the worker is gone',
              series: { [cleaned('sale')]: [at(0, '3m'), gone()], [room('muster')]: [at(0, '3m'), gone()] },
              trueFrom: '3m',
              alerts: [{}],
            },
            {
              when: 'the sizes cannot be read',
              series: { [cleaned('sale')]: [at(0)] },
              trueFrom: '0s',
              alerts: [{}],
            },
          ],
          staysQuiet: [
            {
              when: 'a restart of ten minutes',
              series: {
                [cleaned('sale')]: [at(0, '3m'), gone('10m'), at(0)],
                [room('muster')]: [at(0, '3m'), gone('10m'), at(0)],
              },
            },
          ],
          live: { notLive: 'takes 15 minutes; WorkerDown is caused by the same fault in 1' },
        },
      }),
      rule({
        name: 'MysqlDown',
        severity: 'page',
        expr: `max(${mysql.up}) == 0 or absent(${mysql.up})`,
        for: '30s',
        summary: 'MySQL does not answer: no member of it takes writes.',
        meaning:
          'Workers pause and lose nothing, but no coupon is issued, no order paid, no event published.',
        firstStep: './muster status, ./muster logs mysql-guard.',
        runbook: 'alerts/runbooks/MysqlDown.md',
        proof: {
          fires: [
            {
              when: 'its exporter cannot connect',
              series: { [`${mysql.up}${mysqlTarget}`]: [at(1, '2m'), at(0)] },
              trueFrom: '2m',
            },
            {
              when: 'its exporter is gone too',
              series: { [`${mysql.up}${mysqlTarget}`]: [at(1, '2m'), gone()] },
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'a restart of 15 s',
              series: { [`${mysql.up}${mysqlTarget}`]: [at(1, '2m'), at(0, '15s'), at(1)] },
            },
          ],
          live: { cause: 'mysql stopped' },
        },
      }),
      rule({
        name: 'MysqlOneCopy',
        severity: 'page',
        expr: `max(${guard.atRisk}) > ${limits.databaseAtRiskSeconds} or absent(${guard.atRisk})`,
        for: '15s',
        summary: 'What MySQL acks is on one member only.',
        meaning:
          'If that member is lost now, so are orders, coupons and money since; nobody takes over from it by itself.',
        firstStep: './muster status: which member is away? ./muster logs mysql-guard says what it waits for.',
        runbook: 'alerts/runbooks/MysqlOneCopy.md',
        inhibitedBy: ['MysqlDown'],
        proof: {
          fires: [
            {
              when: 'a member is away',
              series: { [`${guard.atRisk}{${guardTarget}}`]: [at(0, '2m'), growing(1)] },
              trueFrom: '150s',
            },
            {
              when: 'the guard is gone',
              series: { [`${guard.atRisk}{${guardTarget}}`]: [at(0, '2m'), gone()] },
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'a member is started anew, and the guard is',
              series: {
                [`${guard.atRisk}{${guardTarget}}`]: [
                  at(0, '2m'),
                  growing(1, '45s'),
                  at(0, '1m'),
                  gone('15s'),
                  at(0),
                ],
              },
            },
          ],
          live: { cause: 'mysql writer stopped' },
        },
      }),
      rule({
        name: 'MysqlWriterChanged',
        severity: 'ticket',
        expr: `sum(increase(${guard.changes}[10m])) > 0`,
        for: '0s',
        summary: 'Another member of MySQL takes the writes.',
        meaning: 'Nothing acked is lost; requests of some seconds were told to try again.',
        firstStep: './muster logs mysql-guard: why? By hand, or what became of the other member?',
        runbook: 'alerts/runbooks/MysqlWriterChanged.md',
        proof: {
          fires: [
            {
              when: 'the other one took over',
              series: { [`${guard.changes}{${guardTarget}}`]: [at(0, '5m'), at(1)] },
              trueFrom: '5m',
              alerts: [{}],
            },
          ],
          staysQuiet: [
            {
              when: 'it did long ago, and the guard is started anew',
              series: { [`${guard.changes}{${guardTarget}}`]: [at(2, '6m'), gone('30s'), at(0)] },
            },
          ],
          live: { cause: 'mysql writer stopped' },
        },
      }),
      rule({
        name: 'BackupBehind',
        severity: 'page',
        expr: `max(${backup.atRisk}) > ${limits.backupAtRiskSeconds} or absent(${backup.atRisk})`,
        for: '2m',
        summary: 'What was committed for minutes is on the disk of MySQL alone.',
        meaning: 'If that disk is lost now, so are orders, coupons and money of that time.',
        firstStep:
          './muster status, ./muster logs mysql-backup: what keeps the log of MySQL from being followed?',
        runbook: 'alerts/runbooks/BackupBehind.md',
        inhibitedBy: ['MysqlDown'],
        proof: {
          fires: [
            {
              when: 'the log is not followed any more',
              series: { [`${backup.atRisk}${backupTarget}`]: [at(1, '2m'), growing(1)] },
              trueFrom: '180s',
            },
            {
              when: 'the process is gone',
              series: { [`${backup.atRisk}${backupTarget}`]: [at(1, '2m'), gone()] },
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'two minutes behind, and a restart of a minute',
              series: {
                [`${backup.atRisk}${backupTarget}`]: [
                  at(1, '2m'),
                  growing(1, '2m'),
                  at(1, '1m'),
                  gone('1m'),
                  at(1),
                ],
              },
            },
          ],
          live: { notLive: 'takes three minutes; WorkerDown is caused by the same fault in 1' },
        },
      }),
      rule({
        name: 'BackupLate',
        severity: 'ticket',
        expr: `time() - max(${backup.baseTime}) > ${backupLateSeconds} or time() - max(${backup.verifiedTime}) > ${backupLateSeconds} or absent(${backup.verifiedTime})`,
        for: '30m',
        summary: 'The last backup that was taken, or tried, is too old.',
        meaning:
          'A restore takes longer the older its base copy is, and one that nobody has tried may not work.',
        firstStep: './muster backup verify: does it work, and if not, what does it say?',
        runbook: 'alerts/runbooks/BackupLate.md',
        inhibitedBy: ['MysqlDown'],
        proof: {
          fires: [
            {
              when: 'none is taken any more',
              step: '5m',
              series: {
                [`${backup.baseTime}${backupTarget}`]: [at(0)],
                [`${backup.verifiedTime}${backupTarget}`]: [growing(1)],
              },
              trueFrom: `${limits.backupLateHours * 60 + 5}m`,
            },
            {
              when: 'none could be restored',
              step: '5m',
              series: {
                [`${backup.baseTime}${backupTarget}`]: [growing(1)],
                [`${backup.verifiedTime}${backupTarget}`]: [at(0)],
              },
              trueFrom: `${limits.backupLateHours * 60 + 5}m`,
            },
            {
              when: 'none was ever restored',
              series: { [`${backup.baseTime}${backupTarget}`]: [growing(1)] },
              trueFrom: '0s',
            },
          ],
          staysQuiet: [
            {
              when: 'one a day, the first tried ten minutes after the start',
              step: '5m',
              series: {
                [`${backup.baseTime}${backupTarget}`]: [at(0, '24h'), at(86_400)],
                [`${backup.verifiedTime}${backupTarget}`]: [gone('10m'), at(600, '24h'), at(87_000)],
              },
              watchedFor: '48h',
            },
          ],
          live: { notLive: `takes ${limits.backupLateHours} hours` },
        },
      }),
      rule({
        name: 'RedisDown',
        severity: 'page',
        expr: `max(${redis.up}) == 0 or absent(${redis.up})`,
        for: '30s',
        summary: 'Redis does not answer.',
        meaning:
          'Coupons are issued without the lock that saves work (the database still decides); the ranking stands still.',
        firstStep: './muster status, ./muster logs redis.',
        runbook: 'alerts/runbooks/RedisDown.md',
        proof: {
          fires: [
            {
              when: 'its exporter cannot connect',
              series: { [`${redis.up}${redisTarget}`]: [at(1, '2m'), at(0)] },
              trueFrom: '2m',
            },
            {
              when: 'its exporter is gone too',
              series: { [`${redis.up}${redisTarget}`]: [at(1, '2m'), gone()] },
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: 'a restart of 15 s',
              series: { [`${redis.up}${redisTarget}`]: [at(1, '2m'), at(0, '15s'), at(1)] },
            },
          ],
          live: { cause: 'redis stopped' },
        },
      }),
      rule({
        name: 'DatabaseConnectionsExhausted',
        severity: 'page',
        expr: `max(${mysql.threadsConnected}) / max(${mysql.maxConnections}) > ${limits.databaseConnectionRatio}`,
        for: '1m',
        summary: '{{ $value | humanizePercentage }} of the connections that MySQL allows are taken.',
        meaning: 'At 100 % new ones are refused: every request that needs the database fails.',
        firstStep: 'Who holds them: SHOW PROCESSLIST. Long transactions first, then too many processes.',
        runbook: 'alerts/runbooks/DatabaseConnectionsExhausted.md',
        proof: {
          fires: [
            {
              when: '130 of 150',
              series: {
                [`${mysql.threadsConnected}${mysqlTarget}`]: [at(20, '2m'), at(130)],
                [`${mysql.maxConnections}${mysqlTarget}`]: [at(150)],
              },
              trueFrom: '2m',
            },
          ],
          staysQuiet: [
            {
              when: '120 of 150, and a peak of 45 s',
              series: {
                [`${mysql.threadsConnected}${mysqlTarget}`]: [at(120, '2m'), at(150, '45s'), at(120)],
                [`${mysql.maxConnections}${mysqlTarget}`]: [at(150)],
              },
            },
          ],
          live: { notLive: 'would take the connections that other tests need' },
        },
      }),
      rule({
        name: 'RedisMemoryHigh',
        severity: 'ticket',
        // Without a limit (0) there is nothing to run into.
        expr: `${redis.memoryUsed} / (${redis.memoryMax} > 0) > ${limits.memoryRatio}`,
        for: '5m',
        summary: 'Redis uses {{ $value | humanizePercentage }} of its memory.',
        meaning: 'At 100 % it refuses writes: no lock, no ranking.',
        firstStep: 'What grows: redis-cli --bigkeys. Keys without a time to live are a bug.',
        runbook: 'alerts/runbooks/RedisMemoryHigh.md',
        inhibitedBy: ['RedisDown'],
        proof: {
          fires: [
            {
              when: '95 %',
              series: {
                [`${redis.memoryUsed}${redisTarget}`]: [at(10, '2m'), at(95)],
                [`${redis.memoryMax}${redisTarget}`]: [at(100)],
              },
              trueFrom: '2m',
              alerts: [{ job: 'redis', instance: 'redis-exporter' }],
            },
          ],
          staysQuiet: [
            {
              when: 'exactly 90 %',
              series: {
                [`${redis.memoryUsed}${redisTarget}`]: [at(90)],
                [`${redis.memoryMax}${redisTarget}`]: [at(100)],
              },
            },
            {
              when: 'there is no limit',
              series: {
                [`${redis.memoryUsed}${redisTarget}`]: [at(95)],
                [`${redis.memoryMax}${redisTarget}`]: [at(0)],
              },
            },
          ],
          live: { notLive: 'would take the memory that other tests need' },
        },
      }),
      rule({
        name: 'RedisConnectionsExhausted',
        severity: 'page',
        expr: `increase(${redis.rejectedConnections}[5m]) > 0`,
        for: '0s',
        summary: 'Redis has turned away {{ $value | humanize }} connections in 5 minutes.',
        meaning: 'Somebody opens connections and does not close them; workers cannot connect.',
        firstStep: 'Who: redis-cli client list. Then restart that process.',
        runbook: 'alerts/runbooks/RedisConnectionsExhausted.md',
        proof: {
          fires: [
            {
              when: 'connections are turned away',
              series: { [`${redis.rejectedConnections}${redisTarget}`]: [at(0, '6m'), growing(1)] },
              trueFrom: '375s',
              alerts: [{ job: 'redis', instance: 'redis-exporter' }],
            },
          ],
          staysQuiet: [
            {
              when: 'some were turned away long ago, and Redis restarts',
              series: { [`${redis.rejectedConnections}${redisTarget}`]: [at(7, '6m'), gone('30s'), at(0)] },
            },
          ],
          live: { notLive: 'would take the connections that other tests need' },
        },
      }),
    ],
  };
}
