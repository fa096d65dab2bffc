/** Client metrics of the messaging conventions, on the process's registry. */
import type { Registry } from 'prom-client';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { metrics as names } from '../../catalog/metrics.ts';
import { retryTopics, type Topic } from '../../catalog/topics.ts';
import { counter, durationHistogram } from '../base/metrics.ts';

export interface KafkaMetrics {
  /** One send, poll or commit request. */
  operation(operation: 'send' | 'commit', topic: string, seconds: number, errorType?: string): void;
  sent(topic: string, records: number): void;
  consumed(group: string, topic: string, records: number): void;
  processed(group: string, topic: string, seconds: number, errorType?: string): void;
  deadLetter(topic: string, code: string): void;
  retry(topic: string, attempt: number): void;
}

/** Topics that somebody sends to, and groups as which they read. */
export interface Traffic {
  readonly produces: readonly Topic[];
  readonly consumes: readonly ConsumerGroup[];
}

export const noMetrics: KafkaMetrics = {
  operation: () => undefined,
  sent: () => undefined,
  consumed: () => undefined,
  processed: () => undefined,
  deadLetter: () => undefined,
  retry: () => undefined,
};

/**
 * Registers the client metrics, or finds them when another client of the process has done so. What is sent to topics and
 * read from them by the given workers counts from 0 on, before the first record.
 */
export function kafkaMetrics(registry: Registry, workers: readonly Traffic[] = []): KafkaMetrics {
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
    operation(operation, topic, seconds, errorType = '') {
      operationDuration.observe(
        { messaging_operation_name: operation, [destination]: topic, error_type: errorType },
        seconds,
      );
    },
    sent(topic, records) {
      sent.inc({ [destination]: topic }, records);
    },
    consumed(groupId, topic, records) {
      consumed.inc({ [destination]: topic, [group]: groupId }, records);
    },
    processed(groupId, topic, seconds, errorType = '') {
      processDuration.observe({ [destination]: topic, [group]: groupId, error_type: errorType }, seconds);
    },
    deadLetter(topic, code) {
      deadLetters.inc({ [destination]: topic, code });
    },
    retry(topic, attempt) {
      retries.inc({ [destination]: topic, attempt: String(attempt) });
    },
  };
}
