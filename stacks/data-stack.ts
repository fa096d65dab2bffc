/** `<env>-data`: both members of MySQL with their guard, their entrance and the migrations, Redis, and their exporters. */
import type { Construct } from 'constructs';
import {
  entranceHealthPort,
  renderExporterClient,
  renderMyCnf,
  renderMysqlClient,
  renderMysqlEntrance,
  renderMysqlInit,
  renderMysqlStart,
  renderRedisConf,
} from './config/data.ts';
import { paths } from './config/paths.ts';
import {
  containerPorts,
  guardHost,
  mysqlMember,
  placementOf,
  processReplicas,
  reach,
  reachParts,
} from './config/topology.ts';
import { answersHttp, Container, checkedBy, OneShotJob, Volume } from './constructs/container.ts';
import { EnvironmentStack, type EnvironmentStackProps } from './constructs/environment-stack.ts';
import { mysqlVariables, WorkerProcess } from './constructs/worker-process.ts';

export class DataStack extends EnvironmentStack {
  constructor(scope: Construct, id: string, props: EnvironmentStackProps) {
    super(scope, id, props);
    const { environment } = this;
    const { secrets } = this.settings;

    const members = environment.mysql.members.map((node) => {
      const alias = mysqlMember(node);
      const { host } = node;
      // The first one's are those of the time when there was one.
      const volume = (of: string) => (node.id === 1 ? `mysql-${of}` : `${alias}-${of}`);
      return new Container(this, alias, {
        alias,
        component: 'mysql',
        node: node.id,
        host,
        image: 'mysql',
        entrypoint: ['/bin/bash', `${paths.config}/start-mysql.sh`],
        command: [],
        user: '999:999',
        size: environment.mysql.size,
        files: {
          [`${paths.config}/my.cnf`]: renderMyCnf(environment, node),
          [`${paths.config}/init.sql`]: renderMysqlInit(secrets),
          [`${paths.config}/health.cnf`]: renderMysqlClient(environment, secrets, node),
          [`${paths.config}/start-mysql.sh`]: renderMysqlStart(),
        },
        volumes: [
          {
            volume: new Volume(this, volume('data'), { host, name: volume('data'), component: 'mysql' }),
            path: paths.mysqlVolume,
          },
          {
            volume: new Volume(this, volume('log'), { host, name: volume('log'), component: 'mysql' }),
            path: paths.mysqlLog,
          },
        ],
        ports: placementOf(environment, alias).ports,
        stopGraceSeconds: 60,
        // Over TCP and as the application: while the data folder is being made nothing listens there.
        health: {
          ...checkedBy('mysql', `--defaults-file=${paths.config}/health.cnf`, '-e', 'SELECT 1'),
          startPeriodMs: 120_000,
        },
        waitMs: 180_000,
      });
    });

    const host = guardHost(environment);
    const socket = {
      volume: new Volume(this, 'mysql-entrance-state', {
        host,
        name: 'mysql-entrance-state',
        component: 'mysql-entrance',
      }),
      path: paths.mysqlEntrance,
    };
    // Before the entrance: the socket's folder is as its image has it.
    const guards = processReplicas(environment)
      .filter(({ spec }) => spec.workers.includes('mysql-guard'))
      .map(
        ({ alias, node, spec }) =>
          new WorkerProcess(this, alias, {
            ...{ alias, node, spec, volumes: [socket] },
            dependsOn: members.map(({ resource }) => resource),
            isAwaited: false,
          }),
      );
    const entrance = new Container(this, 'mysql-entrance', {
      alias: 'mysql-entrance',
      component: 'mysql-entrance',
      host,
      image: 'haproxy',
      entrypoint: ['haproxy', '-db', '-f', `${paths.config}/haproxy.cfg`],
      command: [],
      size: environment.mysql.entrance.size,
      files: { [`${paths.config}/haproxy.cfg`]: renderMysqlEntrance(environment) },
      volumes: [socket],
      ports: placementOf(environment, 'mysql-entrance').ports,
      stopGraceSeconds: 5,
      // Not waited for: the migrations wait until it sends them to a member that takes writes.
      health: answersHttp(entranceHealthPort, '/healthz'),
      dependsOn: guards.map(({ container }) => container.resource),
    });

    new OneShotJob(this, 'migrations', {
      alias: 'migrations',
      component: 'migrations',
      host: environment.processes.host,
      image: 'worker',
      entrypoint: ['node'],
      command: ['/app/workers/store/migrate.ts'],
      environment: { MUSTER_ENV: environment.name, ...mysqlVariables(this) },
      size: { memoryMiB: 192 },
      // The migrations are in the image, whose name is the hash of what is in it.
      content: this.settings.image('worker')?.name ?? '',
      dependsOn: [entrance.resource],
    });

    const redis = new Container(this, 'redis', {
      alias: 'redis',
      component: 'redis',
      host: environment.redis.host,
      image: 'redis',
      entrypoint: ['redis-server'],
      command: [`${paths.config}/redis.conf`],
      // redis-cli of the healthcheck, and of people, finds its password here.
      environment: { REDISCLI_AUTH: secrets.redisPassword },
      user: '999',
      size: environment.redis.size,
      files: { [`${paths.config}/redis.conf`]: renderRedisConf(environment, secrets) },
      volumes: [
        {
          volume: new Volume(this, 'redis-data', {
            host: environment.redis.host,
            name: 'redis-data',
            component: 'redis',
          }),
          path: paths.redisData,
        },
      ],
      ports: placementOf(environment, 'redis').ports,
      stopGraceSeconds: 20,
      // INCR-free and cheap; fails while the append-only file is loading.
      health: checkedBy('/bin/sh', '-c', 'redis-cli ping | grep -q PONG'),
      waitMs: 60_000,
    });

    const mysqlAddress = reachParts(environment, 'mysql-entrance', 'sql');
    const exporterConfig = `${paths.config}/mysqld-exporter.cnf`;
    new Container(this, 'mysqld-exporter', {
      alias: 'mysqld-exporter',
      component: 'mysqld-exporter',
      host: environment.exporters.host,
      image: 'mysqld-exporter',
      entrypoint: ['/bin/mysqld_exporter'],
      command: [
        `--config.my-cnf=${exporterConfig}`,
        `--web.listen-address=0.0.0.0:${containerPorts.mysqldExporter}`,
        '--no-collect.slave_status',
      ],
      size: environment.exporters.size,
      files: { [exporterConfig]: renderExporterClient(secrets, mysqlAddress.address, mysqlAddress.port) },
      ports: placementOf(environment, 'mysqld-exporter').ports,
      stopGraceSeconds: 5,
      health: { ...answersHttp(containerPorts.mysqldExporter, '/'), intervalMs: 15_000 },
      dependsOn: [entrance.resource],
    });
    new Container(this, 'redis-exporter', {
      alias: 'redis-exporter',
      component: 'redis-exporter',
      host: environment.exporters.host,
      image: 'redis-exporter',
      entrypoint: ['/redis_exporter'],
      command: [],
      environment: {
        REDIS_ADDR: `redis://${reach(environment, 'redis', 'redis')}`,
        REDIS_PASSWORD: secrets.redisPassword,
        REDIS_EXPORTER_WEB_LISTEN_ADDRESS: `0.0.0.0:${containerPorts.redisExporter}`,
      },
      size: environment.exporters.size,
      ports: placementOf(environment, 'redis-exporter').ports,
      stopGraceSeconds: 5,
      health: { ...answersHttp(containerPorts.redisExporter, '/'), intervalMs: 15_000 },
      dependsOn: [redis.resource],
    });
  }
}
