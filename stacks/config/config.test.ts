import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { parse } from 'yaml';
import { causes } from '../../catalog/alerting.ts';
import { type Environment, environments, type KafkaNode } from '../../catalog/environments.ts';
import { metrics } from '../../catalog/metrics.ts';
import {
  renderMyCnf,
  renderMysqlEntrance,
  renderMysqlInit,
  renderMysqlStart,
  renderRedisConf,
} from './data.ts';
import { renderAll } from './index.ts';
import { brokerMetricNames, renderJmxExporter } from './jmx.ts';
import { renderLiveSettings, renderServerProperties } from './kafka.ts';
import { renderAlertmanager, renderPrometheus } from './observability.ts';
import { paths } from './paths.ts';
import { readSecrets, secretsToShow } from './secrets.ts';
import { brokersInside, brokersOutside, placements, zookeeperConnect } from './topology.ts';
import { renderCmakCluster, renderZooCfg } from './zookeeper.ts';

const { dev, ci, prod } = environments;
const everywhere = [dev, ci, prod];

function properties(text: string): Record<string, string> {
  return Object.fromEntries(
    text
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
}

/** Its file, and what all are told while they run. */
const told = (environment: Environment, node: KafkaNode) =>
  `${renderServerProperties(environment, node)}\n${renderLiveSettings(environment)}`;

test('every setting of a broker has its reason on the line above', (t) => {
  const lines = told(dev, dev.kafka.nodes[0]).trim().split('\n');
  const settings = lines.flatMap((line, index) => (/^[a-z.]+=/.test(line) ? [index] : []));
  t.true(settings.length > 20);
  for (const index of settings) t.regex(lines[index - 1]!, /^# .{10,}/, lines[index]);
});

test('no setting of a broker is given twice', (t) => {
  const keys = told(prod, prod.kafka.nodes[0])
    .split('\n')
    .filter((line) => /^[a-z]/.test(line))
    .map((line) => line.split('=')[0]);
  t.is(new Set(keys).size, keys.length);
});

test('brokers are safe: two copies before an ack, no unclean leaders, no topics by accident', (t) => {
  for (const environment of everywhere) {
    const settings = properties(told(environment, environment.kafka.nodes[1]));
    t.is(settings['min.insync.replicas'], '2');
    t.is(settings['unclean.leader.election.enable'], 'false');
    t.is(settings['auto.create.topics.enable'], 'false');
    t.is(settings['offsets.topic.replication.factor'], '3');
    t.is(settings['transaction.state.log.min.isr'], '2');
    t.is(settings['zookeeper.session.timeout.ms'], String(environment.kafka.zookeeperSessionTimeoutMs));
    t.is(settings['broker.rack'], environment.kafka.nodes[1].rack);
  }
});

test('what Kafka can change while it runs is in no broker’s file, so that its change replaces none', (t) => {
  for (const environment of everywhere) {
    const live = properties(renderLiveSettings(environment));
    t.is(live['num.replica.fetchers'], '4');
    for (const node of environment.kafka.nodes) {
      const file = properties(renderServerProperties(environment, node));
      t.deepEqual(
        Object.keys(live).filter((key) => key in file),
        [],
      );
    }
  }
});

test('on one host brokers meet by alias and clients outside come by loopback', (t) => {
  const settings = properties(renderServerProperties(dev, dev.kafka.nodes[1]));
  t.is(settings['advertised.listeners'], 'INTERNAL://kafka-2:9192,EXTERNAL://127.0.0.1:19092');
  t.is(brokersInside(dev), 'kafka-1:9092,kafka-2:9192,kafka-3:9292');
  t.is(brokersOutside(dev), '127.0.0.1:19091,127.0.0.1:19092,127.0.0.1:19093');
});

test('across hosts every advertised address is a host’s, and the two listeners differ', (t) => {
  for (const node of prod.kafka.nodes) {
    const settings = properties(renderServerProperties(prod, node));
    const address = `kafka-${node.id}.muster.internal`;
    t.is(settings['advertised.listeners'], `INTERNAL://${address}:9091,EXTERNAL://${address}:9092`);
    t.is(settings['inter.broker.listener.name'], 'INTERNAL');
  }
  t.regex(zookeeperConnect(prod), /^zookeeper-1\.muster\.internal:2181,zookeeper-2/);
});

test('a session timeout that ZooKeeper would not grant is refused', (t) => {
  const hasty: Environment = { ...dev, kafka: { ...dev.kafka, zookeeperSessionTimeoutMs: 900 } };
  t.throws(() => renderServerProperties(hasty, hasty.kafka.nodes[0]), {
    code: 'MUSTER_SESSION_TIMEOUT_OUT_OF_RANGE',
  });
});

test('ZooKeeper members know each other, answer health commands only, and clean up after themselves', (t) => {
  const settings = properties(renderZooCfg(dev, dev.zookeeper.nodes[0]));
  t.is(settings['server.3'], 'zookeeper-3:3088:4088');
  t.is(settings['4lw.commands.whitelist'], 'srvr,mntr,ruok,dirs');
  t.is(settings['admin.enableServer'], 'false');
  t.is(settings['metricsProvider.httpPort'], '7000');
  t.not(settings['autopurge.purgeInterval'], '0');
  const far = properties(renderZooCfg(prod, prod.zookeeper.nodes[0]));
  t.is(far['server.1'], 'zookeeper-1.muster.internal:2888:3888');
  t.is(far.quorumListenOnAllIPs, 'true');
});

test('a leader of ZooKeeper that freezes is given up before it can end a session of a broker', (t) => {
  for (const environment of everywhere) {
    const { tickTime, syncLimit } = properties(renderZooCfg(environment, environment.zookeeper.nodes[0]));
    const silentMs = Number(tickTime) * Number(syncLimit);
    t.true(silentMs < environment.kafka.zookeeperSessionTimeoutMs, environment.name);
    // The leader says something each half tick: several of them may come late.
    t.true(silentMs >= 3 * Number(tickTime), environment.name);
  }
});

test('CMAK gets the cluster with every key it reads', (t) => {
  const cluster = JSON.parse(renderCmakCluster(dev));
  t.is(cluster.curatorConfig.zkConnect, zookeeperConnect(dev));
  t.is(cluster.kafkaVersion, '2.4.1');
  t.true(cluster.enabled);
});

test('brokers export every Kafka metric name of the catalog', (t) => {
  for (const name of Object.values(metrics.kafka)) t.true(brokerMetricNames.includes(name), name);
});

test('the agent reads whitelisted MBeans only, and each rule’s pattern is a regular expression', (t) => {
  const config = parse(renderJmxExporter());
  t.true(config.includeObjectNames.length > 30);
  t.true(config.includeObjectNames.every((name: string) => name.startsWith('kafka.')));
  const matching = (line: string) =>
    config.rules.filter(({ pattern }: { pattern: string }) => new RegExp(`^${pattern}$`).test(line));
  t.is(matching('kafka.server<type=ReplicaManager, name=LeaderCount><>Value').length, 1);
  const perTopic = matching(
    'kafka.server<type=BrokerTopicMetrics, name=MessagesInPerSec, topic=purchase><>Count',
  );
  t.is(perTopic.length, 1);
  t.is(perTopic[0].name, metrics.kafka.messagesIn);
  const [time] = matching(
    'kafka.network<type=RequestMetrics, name=TotalTimeMs, request=Produce><>999thPercentile',
  );
  t.is(time.labels.quantile, '0.$2');
});

test('the agent leaves out no attribute that a rule wants', (t) => {
  const config = parse(renderJmxExporter());
  const unread = Object.entries(config.excludeObjectNameAttributes as Record<string, readonly string[]>);
  t.true(unread.length > 0);
  for (const [canonical, attributes] of unread) {
    const [domain, keys = ''] = canonical.split(':');
    t.is(keys, keys.split(',').sort().join(','), 'the agent finds canonical names only');
    const bean = Object.fromEntries(keys.split(',').map((pair) => pair.split('=')));
    // As the agent gives them to rules: in the order in which Kafka names them.
    const { type, name, ...others } = bean;
    const rest = Object.entries(others).map(([key, value]) => `, ${key}=${value}`);
    for (const attribute of attributes) {
      const line = `${domain}<type=${type}, name=${name}${rest.join('')}><>${attribute}`;
      t.false(
        config.rules.some(({ pattern }: { pattern: string }) => new RegExp(`^${pattern}$`).test(line)),
        line,
      );
    }
  }
});

test('Prometheus scrapes every broker, ZooKeeper, worker process, both gateways, exporter, Jaeger, VictoriaLogs, Alertmanager and itself', (t) => {
  for (const environment of everywhere) {
    const config = parse(renderPrometheus(environment));
    const targets = new Map<string, string[]>();
    for (const job of config.scrape_configs)
      targets.set(
        job.job_name,
        job.static_configs.flatMap((each: { targets: string[] }) => each.targets),
      );
    t.is(targets.get('kafka')?.length, 3);
    t.is(targets.get('zookeeper')?.length, 3);
    t.is(
      targets.get('worker')?.length,
      environment.processes.list.reduce((sum, { replicas }) => sum + replicas, 0),
    );
    for (const job of [
      'gateway',
      'pages',
      'mysql',
      'redis',
      'jaeger',
      'victorialogs',
      'alertmanager',
      'prometheus',
    ])
      t.is(targets.get(job)?.length, 1, job);
    t.is(config.alerting.alertmanagers[0].static_configs[0].targets.length, 1);
    t.is(new Set([...targets.values()].flat()).size, [...targets.values()].flat().length);
  }
});

test('across hosts every scrape target is a published address', (t) => {
  const published = new Set(
    placements(prod).flatMap(({ host, ports }) =>
      Object.values(ports).map((port) => `${prod.hosts[host]!.address}:${port.published}`),
    ),
  );
  const config = parse(renderPrometheus(prod));
  for (const job of config.scrape_configs) {
    if (job.job_name === 'prometheus') continue;
    for (const { targets } of job.static_configs)
      for (const target of targets) t.true(published.has(target), target);
  }
});

test('two containers that publish the same port on a host are refused by name', (t) => {
  const clash: Environment = {
    ...dev,
    redis: { ...dev.redis, publishedPort: dev.mysql.entrance.publishedPort },
  };
  const error = t.throws(() => placements(clash), { code: 'MUSTER_PORT_TAKEN' });
  t.regex(error!.message, /redis and mysql/);
});

test('two guards of one database are refused: each would decide by notes of its own', (t) => {
  const list = dev.processes.list.map((spec) =>
    spec.name === 'mysql-guard' ? { ...spec, replicas: 2 } : spec,
  );
  const two: Environment = { ...dev, processes: { ...dev.processes, list } };
  t.throws(() => placements(two), { code: 'MUSTER_GUARD_ALONE' });
});

test('a node on a host that the environment does not have is refused', (t) => {
  const lost: Environment = { ...dev, jaeger: { ...dev.jaeger, host: 'moon' } };
  t.throws(() => placements(lost), { code: 'MUSTER_HOST_UNKNOWN' });
});

test('dev and ci share no published port', (t) => {
  const ports = (environment: Environment) =>
    placements(environment).flatMap(({ ports: all }) => Object.values(all).map(({ published }) => published));
  const taken = new Set(ports(dev).filter((port) => port !== undefined));
  for (const port of ports(ci)) if (port !== undefined) t.false(taken.has(port), String(port));
});

test('MySQL’s accounts are the secrets’, with quotes that cannot break out', (t) => {
  const sql = renderMysqlInit({ ...secretsToShow, mysqlPassword: "o'neil\\" });
  t.true(sql.includes("IDENTIFIED BY 'o''neil\\\\'"));
  t.true(sql.includes("ALTER USER 'root'@'localhost'"));
  for (const line of sql.trim().split('\n')) t.regex(line, /;$/);
  t.regex(sql, /DROP USER IF EXISTS 'root'@'127\.0\.0\.1'/, 'made without a password by the installation');
});

test('MySQL’s data folder is made whole or not at all', (t) => {
  const script = renderMysqlStart();
  t.true(script.indexOf('rm -rf "$data.new"') < script.indexOf('mv "$data.new" "$data"'));
  t.true(script.includes('exec mysqld'));
});

test('MySQL has each commit in its log and on the disk before it acks, and no setting of its own is in that log', (t) => {
  for (const environment of everywhere) {
    const settings = properties(renderMyCnf(environment));
    t.is(settings['log-bin'], '/var/lib/mysql-files/binlog');
    t.is(settings['sync-binlog'], '1');
    t.is(settings['binlog-row-image'], 'NOBLOB');
    t.is(settings.innodb_flush_log_at_trx_commit, '1');
  }
  t.true(renderMysqlInit(secretsToShow).startsWith('SET sql_log_bin = 0;\n'));
  t.regex(renderMysqlStart(), /--server-id="\$\(cat "\$data\/server-id"\)"/);
});

test('a member of MySQL starts closed, waits for the other one, and follows nobody before it is told to', (t) => {
  for (const environment of everywhere)
    for (const member of environment.mysql.members) {
      const settings = properties(renderMyCnf(environment, member));
      t.is(settings['read-only'], 'ON');
      t.is(settings['skip-slave-start'], 'ON');
      t.is(settings['rpl-semi-sync-master-enabled'], 'ON');
      t.is(settings['rpl-semi-sync-master-wait-point'], 'AFTER_SYNC');
      t.true(Number(settings['rpl-semi-sync-master-timeout']) > 1e10, 'for as long as it takes');
      t.is(settings['rpl-semi-sync-master-wait-no-slave'], 'ON');
      t.is(settings['log-slave-updates'], 'ON');
    }
  const [one, two] = dev.mysql.members.map((member) => properties(renderMyCnf(dev, member)));
  t.not(one!.port, two!.port, 'who has an old address is refused');
  t.is(properties(renderMyCnf(dev))['read-only'], undefined, 'a server by itself takes writes');
});

test('the entrance of MySQL sends nobody anywhere before it is told to', (t) => {
  const servers = renderMysqlEntrance(dev).match(/^ {4}server .*$/gm)!;
  t.deepEqual(
    servers.map((line) => line.trim().split(' ').slice(1, 4)),
    [
      ['mysql-1', 'mysql-1:3306', 'disabled'],
      ['mysql-2', 'mysql-2:3406', 'disabled'],
    ],
  );
});

test('a log that belongs to other data is put aside, and the server is another one; its own stays', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'muster-mysql-log-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const [data, log] = [join(folder, 'data'), join(folder, 'log')];
  const script = renderMysqlStart()
    .replace(`data=${paths.mysqlData}\n`, `data=${data}\n`)
    .replace(`log=${paths.mysqlLog}\n`, `log=${log}\n`)
    .replace(/^exec mysqld.*$/m, 'cat "$data/server-id"');
  const start = () => spawnSync('bash', ['-c', script], { encoding: 'utf8' }).stdout.trim();
  mkdirSync(data);
  mkdirSync(log);
  const first = start();
  t.regex(first, /^\d+$/);
  writeFileSync(join(log, 'binlog.index'), '');
  t.is(start(), first, 'the same at each start');
  // From the time before the log knew whose it is.
  rmSync(join(log, 'server-id'));
  t.is(start(), first);
  t.true(readdirSync(log).includes('binlog.index'));
  rmSync(data, { recursive: true });
  mkdirSync(data);
  const second = start();
  t.not(second, first, 'its data were made anew');
  t.deepEqual(readdirSync(log).sort(), ['before', 'server-id']);
  t.true(readdirSync(join(log, 'before')).includes('binlog.index'));
});

test('MariaDB does not touch data of MySQL 8.4, and says what to do', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'muster-mysql-start-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'mysql.ibd'), '');
  // Nothing but the place of the data is another here: the script ends before it needs a server.
  const script = renderMysqlStart().replace(`data=${paths.mysqlData}\n`, `data=${folder}\n`);
  const { status, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  t.is(status, 1);
  t.regex(stderr, /^MUSTER_DATA_OF_MYSQL: .*mysql:8\.4\.10/);
  t.deepEqual(readdirSync(folder), ['mysql.ibd']);
});

test('Redis asks for its password, keeps a log and never evicts', (t) => {
  const config = renderRedisConf(dev, secretsToShow);
  t.regex(config, new RegExp(`^requirepass ${secretsToShow.redisPassword}$`, 'm'));
  t.regex(config, /^appendonly yes$/m);
  t.regex(config, /^maxmemory-policy noeviction$/m);
});

test('secrets that are missing are named, and no value is shown', (t) => {
  t.throws(() => readSecrets(undefined), { code: 'MUSTER_SECRETS_MISSING' });
  t.throws(() => readSecrets('/nonexistent/secrets.json'), { code: 'MUSTER_SECRETS_MISSING' });
});

test('every environment renders the same set of files, the YAML ones parse', (t) => {
  const names = everywhere.map((environment) => [...renderAll(environment).keys()].sort());
  t.deepEqual(names[0], names[1]);
  t.deepEqual(names[0], names[2]);
  for (const [name, text] of renderAll(prod)) {
    if (/\.ya?ml$/.test(name)) t.truthy(parse(text), name);
    t.false(text.includes('undefined'), name);
    t.false(text.includes('[object Object]'), name);
  }
});

test('Alertmanager tells a process of the environment or the address of the site, three ways', (t) => {
  const urls = (environment: Environment) =>
    parse(renderAlertmanager(environment)).receivers.flatMap(
      ({ webhook_configs = [] }: { webhook_configs?: { url: string }[] }) =>
        webhook_configs.map(({ url }) => url),
    );
  t.deepEqual(
    urls(ci),
    ['page', 'ticket', 'deadman'].map((way) => `http://outside-world:8080/alerts/${way}`),
  );
  const { receiver } = prod.alertmanager;
  t.true('url' in receiver && urls(prod)[0] === `${receiver.url}/page`);
  const nobody: Environment = {
    ...dev,
    alertmanager: { ...dev.alertmanager, receiver: { process: 'nobody' } },
  };
  t.throws(() => renderAlertmanager(nobody), { code: 'MUSTER_PLACEMENT_UNKNOWN' });
});

test('every cause keeps back those that name it, in its own environment, and Watchdog is never kept back', (t) => {
  const { inhibit_rules: rules } = parse(renderAlertmanager(dev));
  t.is(rules.length, Object.keys(causes).length);
  for (const rule of rules) {
    t.deepEqual(rule.equal, ['environment']);
    t.regex(
      rule.target_matchers[0],
      /^(alertname !~ "AllBrokersGone\|Watchdog"|inhibited_by =~ "\.\*,\w+,\.\*")$/,
    );
  }
});
