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
  const operationDuration = durationHistogram(registry, {
    name: names.messaging.clientOperationDuration,
    help: 'Duration of a send (from the first record queued to the ack) or a commit.',
    labelNames: ['messaging_operation_name', destination, 'error_type'],
  });
  const processDuration = durationHistogram(registry, {
    name: names.messaging.processDuration,
    help: 'Duration of handling one record or one batch.',
    labelNames: [destination, group, 'error_type'],
  });
  const sent = counter(registry, {
    name: names.messaging.sentMessages,
    help: 'Records acked by the brokers.',
    labelNames: [destination],
  });
  const consumed = counter(registry, {
    name: names.messaging.consumedMessages,
    help: 'Records handed to a handler.',
    labelNames: [destination, group],
  });
  const deadLetters = counter(registry, {
    name: names.messaging.deadLetters,
    help: 'Records moved to a dead letter topic.',
    labelNames: [destination, 'code'],
  });
  const retries = counter(registry, {
    name: names.messaging.retries,
    help: 'Records moved to a retry topic.',
    labelNames: [destination, 'attempt'],
  });

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
