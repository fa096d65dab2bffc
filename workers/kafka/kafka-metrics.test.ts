import test from 'ava';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { createRegistry } from '../base/metrics.ts';
import { kafkaMetrics } from './kafka-metrics.ts';

test('what a process sends and reads counts from 0 on, retries too, and nothing that others do', async (t) => {
  const registry = createRegistry();
  const before = kafkaMetrics(registry, [{ produces: [topics.purchase], consumes: [groups.outsideEvents] }]);
  before.sent(topics.purchase.name, 2);
  // Another client of the process finds them.
  kafkaMetrics(registry);
  const text = await registry.metrics();
  const series = text.split('\n').filter((line) => /^messaging_client_(sent|consumed)_messages/.test(line));
  t.deepEqual(series.sort(), [
    'messaging_client_consumed_messages_total{messaging_destination_name="external-events",messaging_consumer_group_name="outside-events"} 0',
    ...[1, 2, 4, 8].map(
      (delay) =>
        `messaging_client_consumed_messages_total{messaging_destination_name="external-events.outside-events.retry-${delay}s",messaging_consumer_group_name="outside-events"} 0`,
    ),
    'messaging_client_sent_messages_total{messaging_destination_name="purchase"} 2',
  ]);
});
