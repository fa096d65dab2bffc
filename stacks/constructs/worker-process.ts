/** One operating-system process of ours: one or several workers in a container. */
import { join } from 'node:path';
import type { ITerraformDependable } from 'cdktf';
import { Construct } from 'constructs';
import type { Environment, ProcessSpec } from '../../catalog/environments.ts';
import { topics } from '../../catalog/topics.ts';
import { authorityPem } from '../config/certificate.ts';
import {
  backupPassword,
  backupUser,
  guardPassword,
  guardUser,
  mysqlDatabase,
  mysqlUser,
  replicaPassword,
  replicaUser,
} from '../config/data.ts';
import { gatewayNames } from '../config/gateway.ts';
import { paths } from '../config/paths.ts';
import { type Secrets, serviceTokenOf, signingVariables, tokenVariables } from '../config/secrets.ts';
import {
  brokersInside,
  containerPorts,
  entranceOfWorker,
  hostOf,
  mysqlMember,
  placementOf,
  reach,
  reachParts,
  serviceUrls,
  urlFromHost,
  urlOfWorker,
  zookeeperConnect,
} from '../config/topology.ts';
import { Container, checkedBy, Volume } from './container.ts';
import { EnvironmentStack } from './environment-stack.ts';

/** MYSQL_* of a container that uses the database. */
export function mysqlVariables(stack: EnvironmentStack): Record<string, string> {
  const { address, port } = reachParts(stack.environment, 'mysql-entrance', 'sql');
  return {
    MYSQL_HOST: address,
    MYSQL_PORT: String(port),
    MYSQL_USER: mysqlUser,
    MYSQL_PASSWORD: stack.settings.secrets.mysqlPassword,
    MYSQL_DATABASE: mysqlDatabase,
  };
}

/** Where the traffic finds my-pay and its banks, in an environment that has both. */
function payTraffic(environment: Environment, token: string): Record<string, string> {
  const [pay, banks] = ['membership', 'bank-stub'].map((worker) => entranceOfWorker(environment, worker));
  return pay === undefined || banks === undefined
    ? {}
    : { TRAFFIC_PAY_URL: pay, TRAFFIC_BANKS_URL: banks, TRAFFIC_STAFF_TOKEN: token };
}

/** Where the traffic finds food delivery, and the people whom it plays there, in an environment that has it. */
function deliveryTraffic(environment: Environment, secrets: Secrets): Record<string, string> {
  const url = entranceOfWorker(environment, 'delivery-orders');
  return url === undefined
    ? {}
    : {
        TRAFFIC_DELIVERY_URL: url,
        TRAFFIC_CUSTOMER_TOKEN: secrets.trafficCustomerToken,
        TRAFFIC_OWNER_TOKEN: secrets.trafficOwnerToken,
        TRAFFIC_RIDER_TOKEN: secrets.trafficRiderToken,
      };
}

/** Where the services are that a process asks, and the token by which it does; nothing for one that asks nobody. */
function serviceVariables(
  { environment, settings }: EnvironmentStack,
  { name, workers }: ProcessSpec,
): Readonly<Record<string, string>> {
  const urls = serviceUrls(environment, workers);
  return Object.keys(urls).length === 0
    ? {}
    : { ...urls, SERVICE_TOKEN: settings.secrets[serviceTokenOf(name)]! };
}

/** Where the tabs of the console find what they show: nothing of what the environment has not. */
function consoleVariables(environment: Environment): Readonly<Record<string, string>> {
  const [pay, banks] = [urlOfWorker(environment, 'membership'), urlOfWorker(environment, 'bank-stub')];
  const delivery = urlOfWorker(environment, 'delivery-orders');
  const [lag, promises] = [urlOfWorker(environment, 'lag'), urlOfWorker(environment, 'promises')];
  return {
    ...(pay === undefined || banks === undefined
      ? {}
      : { CONSOLE_PAY_URL: pay, CONSOLE_BANKS_URL: `${banks}/banks` }),
    ...(delivery === undefined ? {} : { CONSOLE_DELIVERY_URL: delivery }),
    ...(lag === undefined ? {} : { CONSOLE_LAG_URL: lag }),
    ...(promises === undefined ? {} : { CONSOLE_PROMISES_URL: promises }),
  };
}

const dashboardsFile = `${paths.config}/dashboards.json`;
const authorityFile = `${paths.config}/ca.pem`;

/** Where rooms Dashboards and Traces of the console ask, and the pages of those who have one. */
function watchingVariables({ environment, settings }: EnvironmentStack): Readonly<Record<string, string>> {
  const inside = (alias: string, port: string) => `http://${reach(environment, alias, port)}`;
  return {
    CONSOLE_DASHBOARDS_FILE: dashboardsFile,
    CONSOLE_PROMETHEUS_URL: inside('prometheus', 'http'),
    CONSOLE_TRACES_URL: inside('jaeger', 'query'),
    CONSOLE_LOGS_URL: inside('victorialogs', 'http'),
    // The page of a Jaeger that we build is a placeholder.
    ...(settings.image('jaeger')?.local === true
      ? {}
      : { CONSOLE_JAEGER_URL: urlFromHost(environment, 'jaeger') }),
    ...(settings.image('grafana') === undefined
      ? {}
      : { CONSOLE_GRAFANA_URL: urlFromHost(environment, 'grafana') }),
  };
}

/** All dashboards as one file, by slug. */
function dashboardsText({ settings }: EnvironmentStack): string {
  const all = settings.dashboards.map(({ name, text }) => [name.replace(/\.json$/, ''), JSON.parse(text)]);
  return JSON.stringify(Object.fromEntries(all));
}

/** How the backup asks MySQL, and where, by which key and for how long it keeps what it gets. */
function backupVariables({ backup }: Environment, secrets: Secrets): Record<string, string> {
  return {
    BACKUP_DIRECTORY: paths.backups,
    BACKUP_KEY: secrets.backupKey,
    BACKUP_MYSQL_USER: backupUser,
    BACKUP_MYSQL_PASSWORD: backupPassword(secrets),
    BACKUP_EVERY_HOURS: String(backup.everyHours),
    BACKUP_KEEP_DAYS: String(backup.keepDays),
  };
}

/** Whom the guard guards, as whom, and where it keeps who writes. */
function guardVariables(environment: Environment, secrets: Secrets): Record<string, string> {
  return {
    GUARD_MEMBERS: environment.mysql.members
      .map(mysqlMember)
      .map((name) => `${name}=${reach(environment, name, 'sql')}`)
      .join(','),
    GUARD_MYSQL_USER: guardUser,
    GUARD_MYSQL_PASSWORD: guardPassword(secrets),
    GUARD_REPLICA_USER: replicaUser,
    GUARD_REPLICA_PASSWORD: replicaPassword(secrets),
    GUARD_DIRECTORY: paths.guardState,
    GUARD_ENTRANCE: `${paths.mysqlEntrance}/haproxy.sock`,
  };
}

/** Folders of the host that a process has in it. */
function bindsOf({ environment, settings }: EnvironmentStack, host: string, { workers }: ProcessSpec) {
  const inbox = {
    // On this machine beside the state; on a host of its own at the path the guide names.
    hostPath:
      hostOf(environment, host).dockerUri === undefined
        ? join(settings.stateDirectory, 'log-inbox')
        : paths.logInbox,
    path: paths.logInbox,
    readOnly: true,
  };
  const { folder } = environment.backup;
  return [
    ...(workers.includes('promotion-log') ? [inbox] : []),
    ...(workers.includes('mysql-backup') && folder !== undefined
      ? [{ hostPath: folder, path: paths.backups, readOnly: false }]
      : []),
  ];
}

/** The gateway notices within 700 ms that a process is not ready any more (`stacks/config/gateway.ts`), on a busy host a little later. */
const drainNoticeMs = 2_000;

export interface WorkerProcessProps {
  /** `api`, or `api-2` for a second replica. */
  readonly alias: string;
  readonly node: number;
  readonly spec: ProcessSpec;
  /** Beside its own. */
  readonly volumes?: readonly { readonly volume: Volume; readonly path: string }[];
  readonly dependsOn?: readonly ITerraformDependable[];
  /** Apply does not wait until it is healthy: somebody else waits for what it does. */
  readonly isAwaited?: false;
}

/** Where a process keeps what has to outlive it, by the worker that does; in a volume. */
const statePaths: Readonly<Record<string, string>> = {
  'promotion-log': paths.logState,
  'bank-stub': paths.bankState,
  'delivery-photos': paths.uploads,
  'mysql-backup': paths.backups,
  'mysql-guard': paths.guardState,
};

function statePathOf({ workers }: ProcessSpec, { backup }: Environment): string | undefined {
  // Backups have a folder of the host instead where the environment names one.
  const keeping = workers.find(
    (name) => statePaths[name] !== undefined && !(name === 'mysql-backup' && backup.folder !== undefined),
  );
  return keeping === undefined ? undefined : statePaths[keeping];
}

export class WorkerProcess extends Construct {
  readonly container: Container;

  constructor(scope: Construct, id: string, props: WorkerProcessProps) {
    super(scope, id);
    const stack = EnvironmentStack.of(this);
    const { environment, settings } = stack;
    const { spec, alias } = props;
    const placement = placementOf(environment, alias);
    const redis = reachParts(environment, 'redis', 'redis');
    const followsLogs = spec.workers.includes('promotion-log');
    const webhookUrl = spec.workers.includes('outside-events')
      ? urlOfWorker(environment, 'webhook-stub')
      : undefined;
    const banksUrl = spec.workers.includes('banking') ? urlOfWorker(environment, 'bank-stub') : undefined;
    const statePath = statePathOf(spec, environment);
    const sendsTraffic = spec.workers.includes('traffic');
    const makesBackups = spec.workers.includes('mysql-backup');
    const guards = spec.workers.includes('mysql-guard');
    const isBehindGateway = spec.gatewayPort !== undefined;
    const isConsole = spec.workers.includes('console');
    const binds = bindsOf(stack, placement.host, spec);

    this.container = new Container(this, 'process', {
      alias,
      component: 'worker',
      node: props.node,
      host: placement.host,
      // With MariaDB's programs, by which a database is copied.
      image: makesBackups || guards ? 'mysql-backup' : 'worker',
      entrypoint: ['node'],
      command: ['/app/workers/main.ts', ...spec.workers],
      environment: {
        NODE_ENV: 'production',
        // The rest of the limit is for buffers, code and stacks.
        NODE_OPTIONS: [
          `--max-old-space-size=${Math.floor(spec.size.memoryMiB * 0.6)}`,
          ...(spec.semiSpaceMiB === undefined ? [] : [`--max-semi-space-size=${spec.semiSpaceMiB}`]),
        ].join(' '),
        MUSTER_ENV: environment.name,
        PROCESS_NAME: alias,
        KAFKA_BROKERS: brokersInside(environment),
        ...mysqlVariables(stack),
        REDIS_HOST: redis.address,
        REDIS_PORT: String(redis.port),
        REDIS_PASSWORD: settings.secrets.redisPassword,
        OTLP_ENDPOINT: `http://${reach(environment, 'jaeger', 'otlpHttp')}`,
        TRACE_SAMPLE_RATIO: String(environment.traceSampleRatio),
        // A container keeps its files when the engine starts it again, and is used by nobody else.
        MEMBER_DIRECTORY: '/tmp/members',
        HTTP_HOST: '0.0.0.0',
        HTTP_PORT: String(containerPorts.workerHttp),
        HTTP_ALLOWED_HOSTS: [
          ...new Set([
            alias,
            hostOf(environment, placement.host).address,
            ...(isBehindGateway ? gatewayNames(environment) : environment.hostNames),
          ]),
        ].join(','),
        ...(isBehindGateway ? { HTTP_BEHIND_GATEWAY: 'true', DRAIN_NOTICE_MS: String(drainNoticeMs) } : {}),
        TIME_ZONE: environment.timeZone,
        PSEUDONYM_KEY: settings.secrets.pseudonymKey,
        ...tokenVariables(environment, settings.secrets),
        ...signingVariables(environment, settings.secrets, spec.workers),
        LOG_LEVEL: 'info',
        LOG_TOPIC: topics.logs.name,
        ...(spec.workers.some((name) => name === 'log-store' || name === 'promises')
          ? { LOG_STORE_URL: `http://${reach(environment, 'victorialogs', 'http')}` }
          : {}),
        ...(statePath === paths.bankState ? { BANK_STATE_DIRECTORY: statePath } : {}),
        ...(statePath === paths.uploads ? { UPLOADS_DIRECTORY: statePath } : {}),
        ...(makesBackups ? backupVariables(environment, settings.secrets) : {}),
        ...(guards ? guardVariables(environment, settings.secrets) : {}),
        ...(followsLogs ? { LOG_INBOX_DIRECTORY: paths.logInbox, LOG_STATE_DIRECTORY: paths.logState } : {}),
        ...(sendsTraffic
          ? {
              TRAFFIC_API_URL: entranceOfWorker(environment, 'promotion-api')!,
              TRAFFIC_TOKEN: settings.secrets.trafficToken,
              ...payTraffic(environment, settings.secrets.trafficStaffToken),
              ...deliveryTraffic(environment, settings.secrets),
              ...(environment.tls === 'made' ? { NODE_EXTRA_CA_CERTS: authorityFile } : {}),
            }
          : {}),
        ...(spec.workers.includes('zookeeper-disk')
          ? { ZOOKEEPER_CONNECT: zookeeperConnect(environment) }
          : {}),
        ...serviceVariables(stack, spec),
        ...(webhookUrl === undefined ? {} : { OUTSIDE_WEBHOOK_URL: webhookUrl }),
        ...(banksUrl === undefined ? {} : { BANKS_URL: `${banksUrl}/banks` }),
        ...(isConsole ? { ...consoleVariables(environment), ...watchingVariables(stack) } : {}),
        ...spec.env,
      },
      size: spec.size,
      files: {
        ...(isConsole ? { [dashboardsFile]: dashboardsText(stack) } : {}),
        ...(sendsTraffic && environment.tls === 'made'
          ? { [authorityFile]: authorityPem(settings.secrets) }
          : {}),
      },
      volumes: [
        ...(statePath === undefined
          ? []
          : [
              {
                volume: new Volume(this, 'state', {
                  host: placement.host,
                  name: `${alias}-state`,
                  component: 'worker',
                }),
                path: statePath,
              },
            ]),
        ...(props.volumes ?? []),
      ],
      ...(props.dependsOn === undefined ? {} : { dependsOn: props.dependsOn }),
      ...(binds.length === 0 ? {} : { binds }),
      ports: placement.ports,
      // Finish what is in hand, commit, close.
      stopGraceSeconds: 30,
      // A shell, not a second node: starting one every few seconds would cost more than the worker.
      health: checkedBy(
        '/bin/bash',
        '-c',
        `exec 3<>/dev/tcp/127.0.0.1/${containerPorts.workerHttp} && printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3 && IFS= read -r -t 3 line <&3 && [[ $line == *' 200 '* ]]`,
      ),
      ...(props.isAwaited === false ? {} : { waitMs: 120_000 }),
      comesFirst: guards,
    });
  }
}
