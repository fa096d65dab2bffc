/** Names of metrics: instrumentation, dashboards and alerts use these constants, so that none can disagree. */

/** Bounds of duration histograms in seconds (messaging semantic conventions). */
export const durationBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const;

export const metrics = {
  messaging: {
    processDuration: 'messaging_process_duration_seconds',
    clientOperationDuration: 'messaging_client_operation_duration_seconds',
    sentMessages: 'messaging_client_sent_messages_total',
    consumedMessages: 'messaging_client_consumed_messages_total',
    deadLetters: 'muster_dead_letters_total',
    retries: 'muster_retries_total',
  },
  http: { requestDuration: 'http_server_request_duration_seconds' },
  outbox: { pending: 'muster_outbox_pending', oldestAgeSeconds: 'muster_outbox_oldest_age_seconds' },
  promotion: {
    purchases: 'promotion_purchases_total',
    acts: 'promotion_acts_total',
    corrections: 'promotion_corrections_total',
    duplicates: 'promotion_duplicates_total',
    rejected: 'promotion_rejected_total',
    pendingMisses: 'promotion_pending_misses',
    joinLatency: 'promotion_join_latency_seconds',
    reactionPurchases: 'promotion_reaction_purchases',
    reactionAffected: 'promotion_reaction_affected',
    reactionActs: 'promotion_reaction_acts',
    logFileLagBytes: 'promotion_log_lag_bytes',
    logLines: 'promotion_log_lines_total',
  },
  kafka: {
    underReplicatedPartitions: 'kafka_server_replicamanager_underreplicatedpartitions',
    underMinIsrPartitions: 'kafka_server_replicamanager_underminisrpartitioncount',
    leaderCount: 'kafka_server_replicamanager_leadercount',
    partitionCount: 'kafka_server_replicamanager_partitioncount',
    activeControllers: 'kafka_controller_kafkacontroller_activecontrollercount',
    offlinePartitions: 'kafka_controller_kafkacontroller_offlinepartitionscount',
    messagesIn: 'kafka_server_brokertopicmetrics_messagesin_total',
    bytesIn: 'kafka_server_brokertopicmetrics_bytesin_total',
    bytesOut: 'kafka_server_brokertopicmetrics_bytesout_total',
    requestTime: 'kafka_network_requestmetrics_totaltimems',
  },
  zookeeper: {
    quorumSize: 'quorum_size',
    averageLatency: 'avg_latency',
    outstandingRequests: 'outstanding_requests',
  },
} as const;
