/** `<env>-data`: MySQL with its migrations, Redis, and their exporters. */
import type { Construct } from 'constructs';
import {
  renderExporterClient,
  renderMyCnf,
  renderMysqlClient,
  renderMysqlInit,
  renderMysqlStart,
  renderRedisConf,
} from './config/data.ts';
import { paths } from './config/paths.ts';
import { containerPorts, placementOf, reach, reachParts } from './config/topology.ts';
import { answersHttp, Container, checkedBy, OneShotJob, Volume } from './constructs/container.ts';
import { EnvironmentStack, type EnvironmentStackProps } from './constructs/environment-stack.ts';
import { mysqlVariables } from './constructs/worker-process.ts';

export class DataStack extends EnvironmentStack {
  constructor(scope: Construct, id: string, props: EnvironmentStackProps) {
    super(scope, id, props);
    const { environment } = this;
    const { secrets } = this.settings;

    const mysql = new Container(this, 'mysql', {
      alias: 'mysql',
      component: 'mysql',
      host: environment.mysql.host,
      image: 'mysql',
      entrypoint: ['/bin/bash', `${paths.config}/start-mysql.sh`],
      command: [],
      user: '999:999',
      size: environment.mysql.size,
      files: {
        [`${paths.config}/my.cnf`]: renderMyCnf(environment),
        [`${paths.config}/init.sql`]: renderMysqlInit(secrets),
        [`${paths.config}/health.cnf`]: renderMysqlClient(secrets),
        [`${paths.config}/start-mysql.sh`]: renderMysqlStart(),
      },
      volumes: [
        {
          volume: new Volume(this, 'mysql-data', {
            host: environment.mysql.host,
            name: 'mysql-data',
            component: 'mysql',
          }),
          path: paths.mysqlVolume,
        },
        {
          volume: new Volume(this, 'mysql-log', {
            host: environment.mysql.host,
            name: 'mysql-log',
            component: 'mysql',
          }),
          path: paths.mysqlLog,
        },
      ],
      ports: placementOf(environment, 'mysql').ports,
      stopGraceSeconds: 60,
      // Over TCP and as the application: while the data folder is being made nothing listens there.
      health: {
        ...checkedBy('mysql', `--defaults-file=${paths.config}/health.cnf`, '-e', 'SELECT 1'),
        startPeriodMs: 120_000,
      },
      waitMs: 180_000,
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
      dependsOn: [mysql.resource],
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

    const mysqlAddress = reachParts(environment, 'mysql', 'sql');
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
      dependsOn: [mysql.resource],
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
