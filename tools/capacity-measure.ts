/** What the catalog's topics take on the disks of a running environment. */
import type { Environment } from '../catalog/environments.ts';
import { metrics } from '../catalog/metrics.ts';
import { allTopics } from '../catalog/topics.ts';
import { kafkaOf } from '../environment/kafka.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { prometheusAt } from '../workers/views/prometheus.ts';
import type { MeasuredTopic } from './capacity.ts';

/** Throws MUSTER_PROMETHEUS_DOWN or MUSTER_KAFKA_UNREACHABLE when the environment does not answer. */
export async function measureTopics(
  environment: Environment,
  signal: AbortSignal,
): Promise<readonly MeasuredTopic[]> {
  const prometheus = prometheusAt(urlFromHost(environment, 'prometheus'), signal);
  const found = await prometheus.instant(`sum by (topic) (${metrics.kafka.logSize})`, Date.now());
  const bytes = new Map(found.map(({ metric, value: [, text] }) => [metric.topic, Number(text)]));
  const kafka = kafkaOf(environment);
  try {
    const there = new Set(await kafka.admin.topicNames());
    const measured: MeasuredTopic[] = [];
    for (const { name, replicationFactor } of allTopics) {
      if (!there.has(name)) continue;
      const offsets = await kafka.admin.offsets(name);
      const records = offsets.reduce((sum, { low, high }) => sum + high - low, 0);
      measured.push({ name, records, bytes: (bytes.get(name) ?? 0) / replicationFactor });
    }
    return measured;
  } finally {
    await kafka.close();
  }
}
