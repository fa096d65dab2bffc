/** Every configuration file of an environment, as `./muster render` writes them under build/<environment>/. */
import type { Environment } from '../../catalog/environments.ts';
import {
  renderExporterClient,
  renderMyCnf,
  renderMysqlClient,
  renderMysqlEntrance,
  renderMysqlInit,
  renderMysqlStart,
  renderRedisConf,
} from './data.ts';
import { gatewayOf, gatewayOfPages, renderGateway } from './gateway.ts';
import { renderJavaSecurity } from './java.ts';
import { renderJmxExporter } from './jmx.ts';
import { renderKafkaLog4j, renderLiveSettings, renderServerProperties } from './kafka.ts';
import {
  renderAlertmanager,
  renderGrafanaDashboards,
  renderGrafanaDatasources,
  renderJaeger,
  renderJaegerUi,
  renderPrometheus,
} from './observability.ts';
import { secretsToShow } from './secrets.ts';
import { pageServerNames, reachParts } from './topology.ts';
import { renderCmakCluster, renderZooCfg } from './zookeeper.ts';

export { tokenVariables } from './secrets.ts';
export {
  aliasesOf,
  brokersOutside,
  isPageServer,
  type Placement,
  pageServers,
  placements,
  reachFromHost,
  urlFromHost,
} from './topology.ts';

/** Path below build/<environment>/ -> text. Secrets show as names of where they come from. */
export function renderAll(environment: Environment): Map<string, string> {
  const mysql = reachParts(environment, 'mysql-entrance', 'sql');
  return new Map([
    ...environment.kafka.nodes.map(
      (node) => [`kafka/server-${node.id}.properties`, renderServerProperties(environment, node)] as const,
    ),
    ['kafka/live.properties', renderLiveSettings(environment)],
    ['java.security', renderJavaSecurity()],
    ['kafka/log4j.properties', renderKafkaLog4j()],
    ['kafka/jmx-exporter.yml', renderJmxExporter()],
    ...environment.zookeeper.nodes.map(
      (node) => [`zookeeper/zoo-${node.id}.cfg`, renderZooCfg(environment, node)] as const,
    ),
    ['cmak/cluster.json', `${renderCmakCluster(environment)}\n`],
    ...environment.mysql.members.map(
      (node) => [`mysql/my-${node.id}.cnf`, renderMyCnf(environment, node)] as const,
    ),
    ['mysql/haproxy.cfg', renderMysqlEntrance(environment)],
    ['mysql/init.sql', renderMysqlInit(secretsToShow)],
    ['mysql/start.sh', renderMysqlStart()],
    ['mysql/health.cnf', renderMysqlClient(environment, secretsToShow, environment.mysql.members[0])],
    ['mysql/exporter.cnf', renderExporterClient(secretsToShow, mysql.address, mysql.port)],
    ['redis/redis.conf', renderRedisConf(environment, secretsToShow)],
    ['prometheus/prometheus.yml', renderPrometheus(environment)],
    ['alertmanager/alertmanager.yml', renderAlertmanager(environment)],
    ['grafana/provisioning/datasources/muster.yml', renderGrafanaDatasources(environment)],
    ['grafana/provisioning/dashboards/muster.yml', renderGrafanaDashboards()],
    ['jaeger/jaeger.yaml', renderJaeger(environment)],
    ['jaeger/jaeger-ui.json', renderJaegerUi(environment)],
    ['gateway/haproxy.cfg', renderGateway(gatewayOf(environment))],
    ['pages/haproxy.cfg', renderGateway(gatewayOfPages(environment, pageServerNames))],
  ]);
}
