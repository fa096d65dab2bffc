/** Client metrics of the messaging conventions, on the process's registry. */
import { Counter, Histogram, type Registry } from 'prom-client';
import { durationBuckets, metrics as names } from '../../catalog/metrics.ts';

export interface KafkaMetrics {
  /** One send, poll or commit request. */
  operation(operation: 'send' | 'commit', topic: string, seconds: number, errorType?: string): void;
  sent(topic: string, records: number): void;
  consumed(group: string, topic: string, records: number): void;
  processed(group: string, topic: string, seconds: number, errorType?: string, traceId?: string): void;
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
  const counter = (name: string, help: string, labelNames: string[]) =>
    (registry.getSingleMetric(name) as Counter<string> | undefined) ??
    new Counter({ name, help, labelNames, registers: [registry] });
  const histogram = (name: string, help: string, labelNames: string[]) =>
    (registry.getSingleMetric(name) as Histogram<string> | undefined) ??
    new Histogram({
      name,
      help,
      labelNames,
      buckets: [...durationBuckets],
      registers: [registry],
      enableExemplars: registry.contentType.includes('openmetrics'),
    } as ConstructorParameters<typeof Histogram<string>>[0]);

  const destination = 'messaging_destination_name';
  const group = 'messaging_consumer_group_name';
  const operationDuration = histogram(
    names.messaging.clientOperationDuration,
    'Duration of a send (from the first record queued to the ack) or a commit.',
    ['messaging_operation_name', destination, 'error_type'],
  );
  const processDuration = histogram(
    names.messaging.processDuration,
    'Duration of handling one record or one batch.',
    [destination, group, 'error_type'],
  );
  const sent = counter(names.messaging.sentMessages, 'Records acked by the brokers.', [destination]);
  const consumed = counter(names.messaging.consumedMessages, 'Records handed to a handler.', [
    destination,
    group,
  ]);
  const deadLetters = counter(names.messaging.deadLetters, 'Records moved to a dead letter topic.', [
    destination,
    'code',
  ]);
  const retries = counter(names.messaging.retries, 'Records moved to a retry topic.', [
    destination,
    'attempt',
  ]);

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
    processed(groupId, topic, seconds, errorType = '', traceId) {
      const labels = { [destination]: topic, [group]: groupId, error_type: errorType };
      if (traceId !== undefined && registry.contentType.includes('openmetrics')) {
        (
          processDuration as unknown as {
            observe(entry: { labels: unknown; value: number; exemplarLabels: unknown }): void;
          }
        ).observe({ labels, value: seconds, exemplarLabels: { trace_id: traceId } });
      } else {
        processDuration.observe(labels, seconds);
      }
    },
    deadLetter(topic, code) {
      deadLetters.inc({ [destination]: topic, code });
    },
    retry(topic, attempt) {
      retries.inc({ [destination]: topic, attempt: String(attempt) });
    },
  };
}
