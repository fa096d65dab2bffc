/** Overview: is it well? One question a row. */
import * as common from '@grafana/grafana-foundation-sdk/common';
import * as dashboard from '@grafana/grafana-foundation-sdk/dashboard';
import { DataqueryBuilder } from '@grafana/grafana-foundation-sdk/prometheus';
import { PanelBuilder as StatBuilder } from '@grafana/grafana-foundation-sdk/stat';
import { PanelBuilder as TimeSeriesBuilder } from '@grafana/grafana-foundation-sdk/timeseries';
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';

/** The uid that provisioning gives the datasource. */
const prometheus: common.DataSourceRef = { type: 'prometheus', uid: 'prometheus' };

interface Step {
  readonly from: number | null;
  readonly color: 'green' | 'yellow' | 'red';
}

interface Query {
  readonly expr: string;
  readonly legend?: string;
  /** Points that lead to a trace. */
  readonly exemplars?: boolean;
}

function query({ expr, legend, exemplars }: Query): DataqueryBuilder {
  const built = new DataqueryBuilder().datasource(prometheus).expr(expr);
  if (legend !== undefined) built.legendFormat(legend);
  if (exemplars === true) built.exemplar(true);
  return built;
}

function stat(options: {
  readonly title: string;
  readonly description: string;
  readonly expr: string;
  readonly unit: string;
  readonly steps: readonly Step[];
  readonly decimals?: number;
}): StatBuilder {
  const panel = new StatBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit(options.unit)
    .height(4)
    .span(4)
    .colorMode(common.BigValueColorMode.Background)
    .graphMode(common.BigValueGraphMode.Area)
    .reduceOptions(new common.ReduceDataOptionsBuilder().calcs(['lastNotNull']))
    .noValue('no data')
    .thresholds(
      new dashboard.ThresholdsConfigBuilder()
        .mode(dashboard.ThresholdsMode.Absolute)
        .steps(options.steps.map(({ from, color }) => ({ value: from, color }))),
    )
    .withTarget(query({ expr: options.expr }));
  if (options.decimals !== undefined) panel.decimals(options.decimals);
  return panel;
}

function series(options: {
  readonly title: string;
  readonly description: string;
  readonly unit: string;
  readonly queries: readonly Query[];
  readonly stacked?: boolean;
}): TimeSeriesBuilder {
  const panel = new TimeSeriesBuilder()
    .title(options.title)
    .description(options.description)
    .datasource(prometheus)
    .unit(options.unit)
    .min(0)
    .height(8)
    .span(8)
    .lineWidth(1)
    .fillOpacity(options.stacked === true ? 30 : 8)
    .showPoints(common.VisibilityMode.Never)
    .legend(
      new common.VizLegendOptionsBuilder()
        .displayMode(common.LegendDisplayMode.List)
        .placement(common.LegendPlacement.Bottom)
        .showLegend(true),
    )
    .tooltip(new common.VizTooltipOptionsBuilder().mode(common.TooltipDisplayMode.Multi));
  if (options.stacked === true)
    panel.stacking(new common.StackingConfigBuilder().mode(common.StackingMode.Normal));
  for (const each of options.queries) panel.withTarget(query(each));
  return panel;
}

const quantile = (q: number, bucketsOf: string) =>
  `histogram_quantile(${q}, sum by (le) (rate(${bucketsOf}_bucket[$__rate_interval])))`;

/** The dashboard as Grafana's JSON model. */
export function overview(environment: Environment): dashboard.Dashboard {
  const brokers = environment.kafka.nodes.length;
  const members = environment.zookeeper.nodes.length;
  const workers = environment.processes.list.reduce((sum, { replicas }) => sum + replicas, 0);
  const { kafka, zookeeper, messaging, promotion, http } = metrics;

  return new dashboard.DashboardBuilder(`muster ${environment.name}: overview`)
    .uid(`muster-${environment.name}-overview`)
    .description('Is it well? Platform, promotion pipeline, workers.')
    .tags(['muster', environment.name])
    .refresh('5s')
    .time({ from: 'now-15m', to: 'now' })
    .timezone('browser')
    .readonly()
    .tooltip(dashboard.DashboardCursorSync.Crosshair)
    .withRow(new dashboard.RowBuilder('Is the platform well?'))
    .withPanel(
      stat({
        title: 'Brokers',
        description: `Brokers that Prometheus reaches; ${brokers} are expected. A dead one counts as missing, not as fewer.`,
        expr: `count(${kafka.leaderCount}) or vector(0)`,
        unit: 'none',
        steps: [
          { from: null, color: 'red' },
          { from: brokers - 1, color: 'yellow' },
          { from: brokers, color: 'green' },
        ],
      }),
    )
    .withPanel(
      stat({
        title: 'ZooKeeper members',
        description: `Members that Prometheus reaches; ${members} are expected, 2 are needed.`,
        expr: 'sum(up{job="zookeeper"}) or vector(0)',
        unit: 'none',
        steps: [
          { from: null, color: 'red' },
          { from: members - 1, color: 'yellow' },
          { from: members, color: 'green' },
        ],
      }),
    )
    .withPanel(
      stat({
        title: 'Under-replicated partitions',
        description:
          'Partitions with fewer copies in sync than wanted. Above 0 for long: a broker is down or slow.',
        expr: `sum(${kafka.underReplicatedPartitions})`,
        unit: 'none',
        steps: [
          { from: null, color: 'green' },
          { from: 1, color: 'yellow' },
        ],
      }),
    )
    .withPanel(
      stat({
        title: 'Partitions that refuse writes',
        description: 'Partitions below their minimum of copies in sync, or without a leader.',
        expr: `sum(${kafka.underMinIsrPartitions}) + max(${kafka.offlinePartitions})`,
        unit: 'none',
        steps: [
          { from: null, color: 'green' },
          { from: 1, color: 'red' },
        ],
      }),
    )
    .withPanel(
      stat({
        title: 'Controllers',
        description: 'Exactly one broker is the controller; for a few seconds after it died, none.',
        expr: `sum(${kafka.activeControllers})`,
        unit: 'none',
        steps: [
          { from: null, color: 'red' },
          { from: 1, color: 'green' },
          { from: 2, color: 'red' },
        ],
      }),
    )
    .withPanel(
      stat({
        title: 'Firing alerts',
        description: 'Alerts firing now, the Watchdog (which always fires) not counted.',
        expr: 'count(ALERTS{alertstate="firing", alertname!="Watchdog"}) or vector(0)',
        unit: 'none',
        steps: [
          { from: null, color: 'green' },
          { from: 1, color: 'red' },
        ],
      }),
    )
    .withRow(new dashboard.RowBuilder('Do messages flow?'))
    .withPanel(
      series({
        title: 'Messages in by topic',
        description: 'Messages appended per second, per topic, over all brokers.',
        unit: 'wps',
        stacked: true,
        queries: [
          {
            expr: `sum by (topic) (rate(${kafka.messagesIn}{topic!="", topic!~"__.*"}[$__rate_interval]))`,
            legend: '{{topic}}',
          },
        ],
      }),
    )
    .withPanel(
      series({
        title: 'Promotion throughput',
        description:
          'Purchases and acts that the join took in, and corrections that it sent after late acts.',
        unit: 'wps',
        queries: [
          { expr: `sum(rate(${promotion.purchases}[$__rate_interval]))`, legend: 'purchases' },
          { expr: `sum(rate(${promotion.acts}[$__rate_interval]))`, legend: 'acts' },
          { expr: `sum(rate(${promotion.corrections}[$__rate_interval]))`, legend: 'corrections' },
        ],
      }),
    )
    .withPanel(
      series({
        title: 'Join latency',
        description: 'From a purchase’s arrival to its enriched event. A point leads to its trace.',
        unit: 's',
        queries: [
          { expr: quantile(0.5, promotion.joinLatency), legend: 'p50' },
          { expr: quantile(0.99, promotion.joinLatency), legend: 'p99', exemplars: true },
        ],
      }),
    )
    .withRow(new dashboard.RowBuilder('Is anything lost or stuck?'))
    .withPanel(
      series({
        title: 'Dead letters and rejections',
        description:
          'Per minute: records that could not be understood or handled, by topic; rejected by the API.',
        unit: 'none',
        queries: [
          {
            // A counter with labels is not there before its first count: no dead letters is 0, not "no data".
            expr: `sum by (messaging_destination_name) (increase(${messaging.deadLetters}[1m])) or vector(0)`,
            legend: 'dead letters {{messaging_destination_name}}',
          },
          { expr: `sum(increase(${promotion.rejected}[1m])) or vector(0)`, legend: 'rejected' },
          { expr: `sum(increase(${messaging.retries}[1m])) or vector(0)`, legend: 'retries' },
        ],
      }),
    )
    .withPanel(
      series({
        title: 'Held back and lagging',
        description: 'Purchases that wait for a possible act, and bytes of log files not read yet.',
        unit: 'short',
        queries: [
          { expr: `sum(${promotion.pendingMisses})`, legend: 'pending purchases' },
          { expr: `sum(${promotion.logFileLagBytes})`, legend: 'log bytes behind' },
        ],
      }),
    )
    .withPanel(
      series({
        title: 'Broker requests, p99',
        description: 'Time a broker takes for a request, 99th percentile, worst broker.',
        unit: 'ms',
        queries: [
          {
            expr: `max by (request) (${kafka.requestTime}{quantile="0.99", request=~"Produce|FetchFollower|Metadata"})`,
            legend: '{{request}}',
          },
        ],
      }),
    )
    .withRow(new dashboard.RowBuilder('Are the workers well?'))
    .withPanel(
      stat({
        title: 'Worker processes',
        description: `Processes that Prometheus reaches; ${workers} are expected.`,
        expr: 'sum(up{job="worker"}) or vector(0)',
        unit: 'none',
        steps: [
          { from: null, color: 'red' },
          { from: workers, color: 'green' },
        ],
      })
        .span(8)
        .height(8),
    )
    .withPanel(
      series({
        title: 'API latency, p99',
        description: 'HTTP requests of the API processes, 99th percentile.',
        unit: 's',
        queries: [{ expr: quantile(0.99, http.requestDuration), legend: 'p99', exemplars: true }],
      }),
    )
    .withPanel(
      series({
        title: 'ZooKeeper latency',
        description: 'Average time of a request, per member; the session timeout must stay far above.',
        unit: 'ms',
        queries: [{ expr: zookeeper.averageLatency, legend: '{{instance}}' }],
      }),
    )
    .build();
}
