/** Configuration of Prometheus, Alertmanager, Grafana's provisioning and Jaeger. */
import { stringify } from 'yaml';
import { causes, inhibitedByLabel } from '../../catalog/alerting.ts';
import type { Environment } from '../../catalog/environments.ts';
import { paths } from './paths.ts';
import { containerPorts, placements, processReplicas, reach, urlFromHost } from './topology.ts';

const rulesFolder = `${paths.config}/prometheus/rules`;
const dashboardsFolder = `${paths.config}/grafana/dashboards`;

/** Where the rendered rules and dashboards go inside the containers. */
export const observabilityPaths = {
  rulesFolder,
  dashboardsFolder,
  prometheusConfig: `${paths.config}/prometheus/prometheus.yml`,
  alertmanagerConfig: `${paths.config}/alertmanager.yml`,
  jaegerConfig: `${paths.config}/jaeger.yaml`,
  jaegerUi: `${paths.config}/jaeger-ui.json`,
  grafanaProvisioning: `${paths.config}/grafana/provisioning`,
} as const;

/** prometheus.yml: every part of the environment is a target, named by its alias. */
export function renderPrometheus(environment: Environment): string {
  const seconds = environment.prometheus.scrapeIntervalMs / 1000;
  const targets = (
    component: string,
    portName: string,
    labels: (alias: string, node: number) => Record<string, string> = () => ({}),
  ) =>
    placements(environment)
      .filter((placement) => placement.component === component)
      .map((placement) => ({
        targets: [reach(environment, placement.alias, portName)],
        labels: { instance: placement.alias, ...labels(placement.alias, placement.node) },
      }));
  const workersOf = new Map(processReplicas(environment).map(({ alias, spec }) => [alias, spec]));
  return stringify(
    {
      global: {
        scrape_interval: `${seconds}s`,
        scrape_timeout: `${Math.min(seconds, 10)}s`,
        evaluation_interval: `${seconds}s`,
        external_labels: { environment: environment.name },
      },
      storage: { exemplars: { max_exemplars: 20_000 } },
      rule_files: [`${rulesFolder}/*.yml`],
      alerting: {
        alertmanagers: [{ static_configs: [{ targets: [reach(environment, 'alertmanager', 'http')] }] }],
      },
      scrape_configs: [
        {
          job_name: 'kafka',
          static_configs: targets('kafka', 'metrics', (_alias, node) => ({
            rack: environment.kafka.nodes.find(({ id }) => id === node)!.rack,
          })),
        },
        { job_name: 'zookeeper', static_configs: targets('zookeeper', 'metrics') },
        {
          job_name: 'worker',
          static_configs: targets('worker', 'http', (alias) => ({ process: workersOf.get(alias)!.name })),
        },
        ...['gateway', 'pages'].map((job) => ({
          job_name: job,
          params: { scope: ['frontend', 'backend', 'server'] },
          static_configs: targets(job, 'metrics'),
        })),
        { job_name: 'mysql', static_configs: targets('mysqld-exporter', 'metrics') },
        { job_name: 'redis', static_configs: targets('redis-exporter', 'metrics') },
        { job_name: 'victorialogs', static_configs: targets('victorialogs', 'http') },
        { job_name: 'jaeger', static_configs: targets('jaeger', 'metrics') },
        { job_name: 'alertmanager', static_configs: targets('alertmanager', 'http') },
        {
          job_name: 'prometheus',
          // Itself, from inside its own container: the way round by the host would add nothing.
          static_configs: [
            {
              targets: [`127.0.0.1:${containerPorts.prometheus}`],
              labels: { instance: 'prometheus' },
            },
          ],
        },
      ],
    },
    { lineWidth: 0 },
  );
}

/** alertmanager.yml: page, ticket and the dead man's switch by webhook; alerts that another explains are kept back. */
export function renderAlertmanager(environment: Environment): string {
  const { receiver } = environment.alertmanager;
  const url =
    'url' in receiver ? receiver.url : `http://${reach(environment, receiver.process, 'http')}/alerts`;
  const webhook = (name: string, sendResolved: boolean) => ({
    name,
    webhook_configs: [{ url: `${url}/${name}`, send_resolved: sendResolved }],
  });
  return stringify(
    {
      route: {
        // What nobody gave a severity must not be lost.
        receiver: 'ticket',
        group_by: ['alertname', 'environment'],
        // Long enough for the alert that explains this one to arrive too.
        group_wait: '10s',
        group_interval: '30s',
        repeat_interval: '12h',
        routes: [
          {
            // Fires always: what listens to it notices when it stops.
            receiver: 'deadman',
            matchers: ['alertname = "Watchdog"'],
            group_wait: '0s',
            group_interval: '15s',
            repeat_interval: '1m',
          },
          { receiver: 'nobody', matchers: ['severity = "none"'] },
          {
            receiver: 'page',
            matchers: ['severity = "page"'],
            group_wait: '2s',
            group_interval: '15s',
            repeat_interval: '1h',
          },
        ],
      },
      inhibit_rules: Object.entries(causes).map(([cause, keepsBack]) => ({
        source_matchers: [`alertname = "${cause}"`],
        target_matchers: [
          keepsBack === 'everything'
            ? `alertname !~ "${cause}|Watchdog"`
            : `${inhibitedByLabel} =~ ".*,${cause},.*"`,
        ],
        equal: ['environment'],
      })),
      receivers: [
        webhook('page', true),
        webhook('ticket', true),
        webhook('deadman', false),
        { name: 'nobody' },
      ],
    },
    { lineWidth: 0 },
  );
}

/** Grafana's datasources; the uids are what dashboards refer to. */
export function renderGrafanaDatasources(environment: Environment): string {
  return stringify({
    apiVersion: 1,
    datasources: [
      {
        name: 'Prometheus',
        uid: 'prometheus',
        type: 'prometheus',
        access: 'proxy',
        url: `http://${reach(environment, 'prometheus', 'http')}`,
        isDefault: true,
        editable: false,
        jsonData: {
          timeInterval: `${environment.prometheus.scrapeIntervalMs / 1000}s`,
          httpMethod: 'POST',
          exemplarTraceIdDestinations: [{ name: 'trace_id', datasourceUid: 'jaeger' }],
        },
      },
      {
        name: 'Jaeger',
        uid: 'jaeger',
        type: 'jaeger',
        access: 'proxy',
        url: `http://${reach(environment, 'jaeger', 'query')}`,
        editable: false,
        jsonData: { nodeGraph: { enabled: true } },
      },
      {
        name: 'Alertmanager',
        uid: 'alertmanager',
        type: 'alertmanager',
        access: 'proxy',
        url: `http://${reach(environment, 'alertmanager', 'http')}`,
        editable: false,
        jsonData: { implementation: 'prometheus' },
      },
    ],
  });
}

/** Tells Grafana to load every dashboard file; they are code, so nobody edits them there. */
export function renderGrafanaDashboards(): string {
  return stringify({
    apiVersion: 1,
    providers: [
      {
        name: 'muster',
        folder: 'muster',
        type: 'file',
        allowUiUpdates: false,
        options: { path: dashboardsFolder },
      },
    ],
  });
}

/** Jaeger 2 configuration: OTLP in, traces in memory, query API and its own metrics out. */
export function renderJaeger(environment: Environment): string {
  return stringify({
    service: {
      extensions: ['jaeger_storage', 'jaeger_query'],
      pipelines: {
        traces: {
          receivers: ['otlp'],
          processors: ['memory_limiter', 'batch'],
          exporters: ['jaeger_storage_exporter'],
        },
      },
      telemetry: {
        resource: { 'service.name': 'jaeger' },
        metrics: {
          level: 'normal',
          readers: [
            { pull: { exporter: { prometheus: { host: '0.0.0.0', port: containerPorts.jaegerMetrics } } } },
          ],
        },
        logs: { level: 'info' },
      },
    },
    extensions: {
      jaeger_query: {
        storage: { traces: 'memory' },
        ui: { config_file: observabilityPaths.jaegerUi },
        http: { endpoint: `0.0.0.0:${containerPorts.jaegerQuery}` },
        grpc: { endpoint: '0.0.0.0:16685' },
      },
      jaeger_storage: {
        backends: { memory: { memory: { max_traces: environment.jaeger.maxTraces } } },
      },
    },
    receivers: {
      otlp: {
        protocols: {
          grpc: { endpoint: `0.0.0.0:${containerPorts.otlpGrpc}` },
          http: { endpoint: `0.0.0.0:${containerPorts.otlpHttp}` },
        },
      },
    },
    processors: {
      // Refuses spans (and counts them) rather than being killed by its limit.
      memory_limiter: {
        check_interval: '1s',
        limit_mib: Math.floor(environment.jaeger.size.memoryMiB * 0.85),
      },
      batch: { timeout: '200ms' },
    },
    exporters: { jaeger_storage_exporter: { trace_storage: 'memory' } },
  });
}

/** From a trace to its log lines. */
export function renderJaegerUi(environment: Environment): string {
  const lines = `${urlFromHost(environment, 'victorialogs')}/select/vmui/#/?query=line:#{traceID}&g0.range_input=24h`;
  return JSON.stringify({ linkPatterns: [{ type: 'traces', url: lines, text: 'Log lines' }] }, null, 2);
}
