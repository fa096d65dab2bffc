/** Client metrics of the messaging conventions, on the process's registry. */
import type { Registry } from 'prom-client';
import { metrics as names } from '../../catalog/metrics.ts';
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

export const noMetrics: KafkaMetrics = {
  operation: () => undefined,
  sent: () => undefined,
  consumed: () => undefined,
  processed: () => undefined,
  deadLetter: () => undefined,
  retry: () => undefined,
};

/** Registers the client metrics, or finds them when another client of the process has done so. */
export function kafkaMetrics(registry: Registry): KafkaMetrics {
  const destination = 'messaging_destination_name';
  const group = 'messaging_consumer_group_name';
  const operationDuration = durationHistogram(registry, names.messaging.clientOperationDuration);
  const processDuration = durationHistogram(registry, names.messaging.processDuration);
  const sent = counter(registry, names.messaging.sentMessages);
  const consumed = counter(registry, names.messaging.consumedMessages);
  const deadLetters = counter(registry, names.messaging.deadLetters);
  const retries = counter(registry, names.messaging.retries);

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
