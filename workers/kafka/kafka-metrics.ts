/** Client metrics of the messaging conventions, on the process's registry. */
import type { Registry } from 'prom-client';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics as names } from '../../catalog/metrics.ts';
import { retryTopics, type Topic } from '../../catalog/topics.ts';
import { counter, durationHistogram, emptyRegistry } from '../base/metrics.ts';

export type KafkaMetrics = ReturnType<typeof kafkaMetrics>;

/** Topics that somebody sends to, and groups as which they read. */
export interface Traffic {
  readonly produces: readonly Topic[];
  readonly consumes: readonly ConsumerGroup[];
}

/**
 * Registers the client metrics, or finds them when another client of the process has done so; without a registry nobody
 * sees them. What is sent to topics and read from them by the given workers counts from 0 on, before the first record.
 */
export function kafkaMetrics(registry: Registry = emptyRegistry(), workers: readonly Traffic[] = []) {
  const destination = 'messaging_destination_name';
  const group = 'messaging_consumer_group_name';
  const operationDuration = durationHistogram(registry, names.messaging.clientOperationDuration);
  const processDuration = durationHistogram(registry, names.messaging.processDuration);
  const sent = counter(registry, names.messaging.sentMessages);
  const consumed = counter(registry, names.messaging.consumedMessages);
  const deadLetters = counter(registry, names.messaging.deadLetters);
  const retries = counter(registry, names.messaging.retries);

  for (const { produces, consumes } of workers) {
    for (const { name } of produces) sent.inc({ [destination]: name }, 0);
    for (const each of consumes)
      for (const topic of each.topics) {
        consumed.inc({ [destination]: topic.name, [group]: each.id }, 0);
        for (const { name } of retryTopics(topic, each))
          consumed.inc({ [destination]: name, [group]: each.id }, 0);
      }
  }

  return {
    /** A send or a commit. */
    operation(operation: 'send' | 'commit', topic: string, seconds: number, errorType = '') {
      operationDuration.observe(
        { messaging_operation_name: operation, [destination]: topic, error_type: errorType },
        seconds,
      );
    },
    sent(topic: string, records: number) {
      sent.inc({ [destination]: topic }, records);
    },
    consumed(groupId: string, topic: string, records: number) {
      consumed.inc({ [destination]: topic, [group]: groupId }, records);
    },
    processed(groupId: string, topic: string, seconds: number, errorType = '') {
      processDuration.observe({ [destination]: topic, [group]: groupId, error_type: errorType }, seconds);
    },
    deadLetter(topic: string, code: string) {
      deadLetters.inc({ [destination]: topic, code });
    },
    retry(topic: string, attempt: number) {
      retries.inc({ [destination]: topic, attempt: String(attempt) });
    },
  };
}
