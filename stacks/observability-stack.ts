/** `<env>-observability`: Prometheus, Alertmanager, Jaeger, VictoriaLogs, Grafana, and the gateway before their pages. */
import type { Construct } from 'constructs';
import { logStore } from '../catalog/logs.ts';
import { gatewayOfPages, renderGateway } from './config/gateway.ts';
import {
  observabilityPaths,
  renderAlertmanager,
  renderGrafanaDashboards,
  renderGrafanaDatasources,
  renderJaeger,
  renderJaegerUi,
  renderPrometheus,
} from './config/observability.ts';
import { paths } from './config/paths.ts';
import { containerPorts, pageServerNames, placementOf, urlFromHost } from './config/topology.ts';
import { answersHttp, Container, Volume } from './constructs/container.ts';
import { EnvironmentStack, type EnvironmentStackProps } from './constructs/environment-stack.ts';

export class ObservabilityStack extends EnvironmentStack {
  constructor(scope: Construct, id: string, props: EnvironmentStackProps) {
    super(scope, id, props);
    this.addPages([
      this.addAlertmanager(),
      this.addPrometheus(),
      this.addJaeger(),
      this.addVictoriaLogs(),
      ...(this.settings.image('grafana') === undefined ? [] : [this.addGrafana()]),
    ]);
  }

  private volume(name: string, host: string, component: string): Volume {
    return new Volume(this, name, { host, name, component });
  }

  private addPrometheus(): Container {
    const { environment, settings } = this;
    const { prometheus } = environment;
    const rules = settings.rules.map(({ name, text }) => [`${observabilityPaths.rulesFolder}/${name}`, text]);
    return new Container(this, 'prometheus', {
      alias: 'prometheus',
      component: 'prometheus',
      host: prometheus.host,
      image: 'prometheus',
      entrypoint: ['/bin/prometheus'],
      command: [
        `--config.file=${observabilityPaths.prometheusConfig}`,
        `--storage.tsdb.path=${paths.prometheusData}`,
        `--storage.tsdb.retention.time=${prometheus.retentionDays}d`,
        `--web.listen-address=0.0.0.0:${containerPorts.prometheus}`,
        `--web.external-url=${urlFromHost(environment, 'prometheus')}`,
        '--enable-feature=exemplar-storage',
        // Pages of others must not read it by way of a person's browser; by itself it answers every origin.
        '--web.cors.origin=nobody',
      ],
      // Collects its garbage harder before it meets its limit.
      environment: { GOMEMLIMIT: `${Math.floor(prometheus.size.memoryMiB * 0.9)}MiB` },
      size: prometheus.size,
      files: {
        [observabilityPaths.prometheusConfig]: renderPrometheus(environment),
        ...Object.fromEntries(rules),
      },
      volumes: [
        {
          volume: this.volume('prometheus-data', prometheus.host, 'prometheus'),
          path: paths.prometheusData,
        },
      ],
      ports: placementOf(environment, 'prometheus').ports,
      stopGraceSeconds: 30,
      health: answersHttp(containerPorts.prometheus, '/-/ready'),
      waitMs: 120_000,
    });
  }

  private addAlertmanager(): Container {
    const { environment } = this;
    const { alertmanager } = environment;
    return new Container(this, 'alertmanager', {
      alias: 'alertmanager',
      component: 'alertmanager',
      host: alertmanager.host,
      image: 'alertmanager',
      entrypoint: ['/bin/alertmanager'],
      command: [
        `--config.file=${observabilityPaths.alertmanagerConfig}`,
        `--storage.path=${paths.alertmanagerData}`,
        `--web.listen-address=0.0.0.0:${containerPorts.alertmanager}`,
        `--web.external-url=${urlFromHost(environment, 'alertmanager')}`,
        // One of them: no gossip.
        '--cluster.listen-address=',
      ],
      size: alertmanager.size,
      files: { [observabilityPaths.alertmanagerConfig]: renderAlertmanager(environment) },
      volumes: [
        {
          volume: this.volume('alertmanager-data', alertmanager.host, 'alertmanager'),
          path: paths.alertmanagerData,
        },
      ],
      ports: placementOf(environment, 'alertmanager').ports,
      stopGraceSeconds: 15,
      health: answersHttp(containerPorts.alertmanager, '/-/ready'),
      waitMs: 60_000,
    });
  }

  private addJaeger(): Container {
    const { environment } = this;
    const { jaeger } = environment;
    return new Container(this, 'jaeger', {
      alias: 'jaeger',
      component: 'jaeger',
      host: jaeger.host,
      image: 'jaeger',
      entrypoint: ['/cmd/jaeger/jaeger-linux'],
      command: ['--config', observabilityPaths.jaegerConfig],
      environment: { GOMEMLIMIT: `${Math.floor(jaeger.size.memoryMiB * 0.8)}MiB` },
      size: jaeger.size,
      files: {
        [observabilityPaths.jaegerConfig]: renderJaeger(environment),
        [observabilityPaths.jaegerUi]: renderJaegerUi(environment),
      },
      ports: placementOf(environment, 'jaeger').ports,
      stopGraceSeconds: 10,
      health: { none: 'no shell in the image; Prometheus scrapes its own metrics' },
    });
  }

  private addVictoriaLogs(): Container {
    const { environment } = this;
    const { victorialogs } = environment;
    return new Container(this, 'victorialogs', {
      alias: 'victorialogs',
      component: 'victorialogs',
      host: victorialogs.host,
      image: 'victorialogs',
      entrypoint: ['/victoria-logs-prod'],
      command: [
        `-storageDataPath=${paths.victorialogsData}`,
        `-httpListenAddr=0.0.0.0:${containerPorts.victorialogs}`,
        `-retentionPeriod=${victorialogs.retentionDays}d`,
        // The oldest days go before the disk is full.
        `-retention.maxDiskSpaceUsageBytes=${Math.floor(victorialogs.dataDiskBytes * 0.9)}`,
        `-inmemoryDataFlushInterval=${logStore.flushMs}ms`,
        `-memory.allowedBytes=${Math.floor(victorialogs.size.memoryMiB * 0.4)}MiB`,
        // Pages of others must not read it by way of a person's browser.
        '-http.disableCORS',
      ],
      // Collects its garbage harder before it meets its limit.
      environment: { GOMEMLIMIT: `${Math.floor(victorialogs.size.memoryMiB * 0.85)}MiB` },
      size: victorialogs.size,
      volumes: [
        {
          volume: this.volume('victorialogs-data', victorialogs.host, 'victorialogs'),
          path: paths.victorialogsData,
        },
      ],
      ports: placementOf(environment, 'victorialogs').ports,
      stopGraceSeconds: 30,
      health: answersHttp(containerPorts.victorialogs, '/health'),
      waitMs: 60_000,
    });
  }

  private addGrafana(): Container {
    const { environment, settings } = this;
    const { grafana } = environment;
    const provisioning = observabilityPaths.grafanaProvisioning;
    const dashboards = settings.dashboards.map(({ name, text }) => [
      `${observabilityPaths.dashboardsFolder}/${name}`,
      text,
    ]);
    const setting = (section: string, key: string, value: string) =>
      [`GF_${section}_${key}`.toUpperCase(), value] as const;
    return new Container(this, 'grafana', {
      alias: 'grafana',
      component: 'grafana',
      host: grafana.host,
      image: 'grafana',
      // Its own entrypoint: GF_* variables are Grafana's documented interface.
      environment: Object.fromEntries([
        setting('paths', 'provisioning', provisioning),
        setting('security', 'admin_password', settings.secrets.grafanaPassword),
        setting('server', 'root_url', urlFromHost(environment, 'grafana')),
        setting('analytics', 'reporting_enabled', 'false'),
        setting('analytics', 'check_for_updates', 'false'),
        setting('analytics', 'check_for_plugin_updates', 'false'),
        // At its start it would fetch plugins of its maker's, also on a site that lets nothing out.
        setting('plugins', 'preinstall_disabled', 'true'),
        setting('users', 'allow_sign_up', 'false'),
        setting(
          'dashboards',
          'default_home_dashboard_path',
          `${observabilityPaths.dashboardsFolder}/overview.json`,
        ),
      ]),
      size: grafana.size,
      files: {
        [`${provisioning}/datasources/muster.yml`]: renderGrafanaDatasources(environment),
        [`${provisioning}/dashboards/muster.yml`]: renderGrafanaDashboards(),
        ...Object.fromEntries(dashboards),
      },
      volumes: [{ volume: this.volume('grafana-data', grafana.host, 'grafana'), path: paths.grafanaData }],
      ports: placementOf(environment, 'grafana').ports,
      stopGraceSeconds: 15,
      health: answersHttp(containerPorts.grafana, '/api/health'),
      waitMs: 120_000,
    });
  }

  private addPages(behind: readonly Container[]): void {
    const { environment, settings } = this;
    const { pages } = environment;
    const servers = pageServerNames.filter((server) => settings.image(server) !== undefined);
    const { ports } = placementOf(environment, 'pages');
    const config = `${paths.config}/haproxy.cfg`;
    const gateway = gatewayOfPages(environment, servers, settings.certificate);
    new Container(this, 'pages', {
      alias: 'pages',
      component: 'pages',
      host: pages.host,
      image: 'haproxy',
      entrypoint: ['haproxy'],
      command: ['-db', '-f', config],
      size: pages.size,
      files: {
        [config]: renderGateway(gateway),
        ...(gateway.certificate === undefined ? {} : { [gateway.certificate]: settings.certificate! }),
      },
      ports: Object.fromEntries([...servers, 'metrics'].map((name) => [name, ports[name]!])),
      stopGraceSeconds: 5,
      health: answersHttp(containerPorts.gatewayMetrics, '/healthz'),
      waitMs: 60_000,
      // They had its ports themselves once: those must be free.
      dependsOn: behind.map(({ resource }) => resource),
    });
  }
}
