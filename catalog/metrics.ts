/** Names of metrics: instrumentation, dashboards and alerts use these constants, so that none can disagree. */

/** Bounds of duration histograms in seconds (messaging semantic conventions). */
export const durationBuckets = [
  0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
] as const;

/** Those of the promotion latency: with the 2 s of its objective among them. */
export const promotionLatencyBuckets = [...durationBuckets, 2].sort((a, b) => a - b);

export const metrics = {
  messaging: {
    processDuration: 'messaging_process_duration_seconds',
    clientOperationDuration: 'messaging_client_operation_duration_seconds',
    sentMessages: 'messaging_client_sent_messages_total',
    consumedMessages: 'messaging_client_consumed_messages_total',
    deadLetters: 'muster_dead_letters_total',
    retries: 'muster_retries_total',
  },
  http: {
    requestDuration: 'http_server_request_duration_seconds',
    /** Calls to systems outside. Labels client, outcome. */
    clientCalls: 'http_client_calls_total',
    /** Label client: 1 while it is left alone because its calls have failed. */
    clientBreakerOpen: 'http_client_breaker_open',
  },
  /** Label database (catalog/tables.ts). */
  outbox: {
    pending: 'muster_outbox_pending',
    oldestAgeSeconds: 'muster_outbox_oldest_age_seconds',
    timerLateness: 'muster_timer_lateness_seconds',
  },
  tables: {
    /** Label table. */
    deletedRows: 'muster_retention_deleted_rows_total',
    /** Label table: Unix time at which nothing too old was left in it. */
    cleanedTime: 'muster_retention_last_success_timestamp_seconds',
    /** Labels schema, table: as the server estimates it. */
    bytes: 'muster_table_bytes',
  },
  log: {
    /** Label level. */
    lines: 'muster_log_lines_total',
    published: 'muster_log_lines_published_total',
    /** Label reason. */
    dropped: 'muster_log_lines_dropped_total',
    waitingBytes: 'muster_log_waiting_bytes',
    /** Of the worker log-store. Label outcome. */
    stored: 'muster_log_store_lines_total',
    /** Of the same: when a line was stored that had just been written. */
    storeLatency: 'muster_log_store_latency_seconds',
  },
  /** Label promise (catalog/promises.ts). */
  promises: {
    /** Of how many it was not true when it was checked last. */
    broken: 'muster_promise_broken',
    /** Unix time of the last check that could say anything; 0: none yet. */
    checkedTime: 'muster_promise_last_check_timestamp_seconds',
    checkSeconds: 'muster_promise_check_seconds_total',
  },
  promotion: {
    purchases: 'promotion_purchases_total',
    acts: 'promotion_acts_total',
    corrections: 'promotion_corrections_total',
    duplicates: 'promotion_duplicates_total',
    late: 'promotion_late_records_total',
    rejected: 'promotion_rejected_total',
    pendingMisses: 'promotion_pending_misses',
    joinLatency: 'promotion_join_latency_seconds',
    reactionPurchases: 'promotion_reaction_purchases',
    reactionAffected: 'promotion_reaction_affected',
    reactionActs: 'promotion_reaction_acts',
    logFileLagBytes: 'promotion_log_lag_bytes',
    logLines: 'promotion_log_lines_total',
  },
  coupon: {
    /** Requests made durable, by ordering key. */
    requests: 'coupon_requests_total',
    /** By outcome SUCCESS or FAILED, and reason. */
    outcomes: 'coupon_outcomes_total',
    /** From the durable request to its decision. */
    decisionLatency: 'coupon_decision_latency_seconds',
    /** From the durable request to the push to its client. */
    pushLatency: 'coupon_push_latency_seconds',
    pushClients: 'coupon_push_clients',
    /** Requests durable and not known to be on their topic: their number is that of group commits, and their oldest age. */
    /** Per coupon, read from the store of truth: issued may never exceed stock. */
    issued: 'coupon_issued',
    stock: 'coupon_stock',
  },
  order: {
    orders: 'order_orders_total',
    /** By outcome COMPLETED or the reason of refusal. */
    payments: 'order_payments_total',
    rankingEvents: 'order_ranking_events_total',
    /** 1 while the ranking lacks orders that nobody has any more. */
    rankingPartial: 'order_ranking_partial',
    analyticsEvents: 'order_analytics_events_total',
    productEvents: 'order_product_events_total',
    expired: 'order_expired_total',
  },
  outside: {
    /** Changes of state of the event log, by the state entered. */
    events: 'outside_events_total',
    /** By outcome 2xx, 3xx, 4xx, 5xx, timeout, network. */
    webhookAttempts: 'outside_webhook_attempts_total',
    webhookDuration: 'outside_webhook_duration_seconds',
    /** Rows of the event log now in state DEAD_LETTER, from the store of truth. */
    deadLettered: 'outside_dead_lettered',
    /** Rows not COMPLETED of which a webhook got no answer: the receiver may have done the work, from the store of truth. */
    inDoubt: 'outside_in_doubt',
  },
  money: {
    /** By kind of operation and outcome: DONE, REPEATED, UNAVAILABLE or the reason of refusal. */
    operations: 'money_operations_total',
    /** Of the transaction that many operations share. */
    commitDuration: 'money_commit_duration_seconds',
    /** By outcome FOLLOWED or KNOWN (a newer one came before). */
    memberEvents: 'money_member_events_total',
    /** Accounts of members who have left with money in them, from the store of truth. */
    leftAccounts: 'money_left_accounts',
    /** Recharges that have ended, by state DONE or FAILED. */
    recharges: 'money_recharges_total',
    /** Recharges that have not, by state, from the store of truth. */
    openRecharges: 'money_open_recharges',
  },
  membership: {
    /** By kind: CREATED, CHANGED, SUSPENDED, REOPENED, CLOSED; repeats included. */
    changes: 'membership_changes_total',
    /** By outcome: DONE, WRONG, LIMITED, SUSPENDED, UNAVAILABLE. */
    logins: 'membership_logins_total',
  },
  banking: {
    /** Steps of firm bankings after a call of their bank, by bank and the state entered. */
    firmbankings: 'banking_firmbankings_total',
    /** Firm bankings that are not decided, by bank and state, from the store of truth. */
    undecided: 'banking_undecided',
  },
  remittance: {
    /** Remittances that have ended, by state DONE or FAILED. */
    remittances: 'remittance_remittances_total',
    /** Remittances that have not, by state, from the store of truth. */
    open: 'remittance_open',
  },
  payment: {
    /** Payments and refunds that have ended, by state DONE or FAILED. */
    slips: 'payment_slips_total',
    /** Payments and refunds that have not, by state, from the store of truth. */
    open: 'payment_open',
  },
  settlement: {
    /** Slips that came, by kind PAID or REFUNDED; repeats included. */
    slips: 'settlement_slips_total',
    /** Settlements of a merchant and period that have ended (DONE) or need people (STOPPED). */
    lines: 'settlement_lines_total',
    /** Settlements that have not ended, by state, from the store of truth; STOPPED ones wait for people. */
    open: 'settlement_open',
  },
  delivery: {
    /** Steps of orders that people have taken and deliveries that have ended, by the state entered; repeats included. */
    changes: 'delivery_changes_total',
    /** What was due, by outcome ASSIGNED, TOLD_SUCCEEDED, TOLD_FAILED or PUT_OFF (it threw). */
    due: 'delivery_due_total',
    /** From when something was due to when it was done. */
    dueLateness: 'delivery_due_lateness_seconds',
    /** Words on deliveries that orders heard, by what they made of them. */
    heard: 'delivery_heard_total',
    /** Orders under way, by state, from the store of truth. */
    open: 'delivery_open',
    /** Since the order that is longest in a state has entered it, by state; 0: none is in it. */
    oldestAge: 'delivery_oldest_age_seconds',
    /** Riders by state FREE, BUSY or OFF, from the store of truth. */
    riders: 'delivery_riders',
    /** People told of changes, of each once. */
    notifications: 'delivery_notifications_total',
    /** From a change to its notification. */
    notifyLatency: 'delivery_notify_latency_seconds',
    /** Notifications that were written into the log; repeats included. */
    logged: 'delivery_logged_total',
  },
  /** Lag, under kafka_exporter's names; below them our own. */
  lag: {
    brokers: 'kafka_brokers',
    topicPartitions: 'kafka_topic_partitions',
    currentOffset: 'kafka_topic_partition_current_offset',
    oldestOffset: 'kafka_topic_partition_oldest_offset',
    leader: 'kafka_topic_partition_leader',
    replicas: 'kafka_topic_partition_replicas',
    inSyncReplicas: 'kafka_topic_partition_in_sync_replica',
    underReplicated: 'kafka_topic_partition_under_replicated_partition',
    groupOffset: 'kafka_consumergroup_current_offset',
    groupLag: 'kafka_consumergroup_lag',
    groupMembers: 'kafka_consumergroup_members',
    /** Labels consumergroup, topic, partition, quality. */
    groupLagSeconds: 'kafka_consumergroup_lag_seconds',
    /** 0 just committed at the end, 1 the committed offset is about to be deleted. */
    groupRetentionUsed: 'kafka_consumergroup_retention_used_ratio',
    /** State set: label status is ok, warn, stall, stop or rewind; 1 for the one that holds, 0 for the others. */
    groupStatus: 'kafka_consumergroup_status',
    offsetDecreases: 'kafka_topic_partition_offset_decreases_total',
    /** Labels topic, partition: seconds between the oldest record that is still there and now. */
    oldestRecordAge: 'kafka_topic_partition_oldest_record_age_seconds',
    /** Seconds since the values shown were read from the cluster. */
    age: 'muster_lag_age_seconds',
    cycleDuration: 'muster_lag_cycle_duration_seconds',
    cycleFailures: 'muster_lag_cycle_failures_total',
    /** Label broker: requests sent to it in the last pass. */
    cycleRequests: 'muster_lag_cycle_requests',
  },
  canary: {
    sent: 'canary_sent_total',
    /** Messages that got no ack within their deadline; label partition. */
    failed: 'canary_failed_total',
    received: 'canary_received_total',
    lost: 'canary_lost_total',
    duplicated: 'canary_duplicated_total',
    outOfOrder: 'canary_out_of_order_total',
    produceLatency: 'canary_produce_latency_seconds',
    endToEndLatency: 'canary_end_to_end_latency_seconds',
    expectedBrokers: 'canary_expected_brokers',
    seenBrokers: 'canary_seen_brokers',
    /** What the SLO counts: one probe a second per expected broker; good = acked and received in time. */
    probes: 'canary_probes_total',
    goodProbes: 'canary_good_probes_total',
    /** Seconds since the first failing probe of the outage that is going on; 0 when there is none. */
    currentOutage: 'canary_current_outage_seconds',
    lastOutage: 'canary_last_outage_seconds',
  },
  recovery: {
    /** Labels topic, partition: seconds since the last time everything in it was on all its in-sync copies (>= RF). */
    replicationAge: 'muster_replication_age_seconds',
    /** Labels topic, partition: seconds of data that only one copy holds. */
    secondsAtRisk: 'muster_rpo_seconds_at_risk',
  },
  kafka: {
    underReplicatedPartitions: 'kafka_server_replicamanager_underreplicatedpartitions',
    underMinIsrPartitions: 'kafka_server_replicamanager_underminisrpartitioncount',
    leaderCount: 'kafka_server_replicamanager_leadercount',
    partitionCount: 'kafka_server_replicamanager_partitioncount',
    activeControllers: 'kafka_controller_kafkacontroller_activecontrollercount',
    offlinePartitions: 'kafka_controller_kafkacontroller_offlinepartitionscount',
    preferredReplicaImbalance: 'kafka_controller_kafkacontroller_preferredreplicaimbalancecount',
    uncleanElections: 'kafka_controller_controllerstats_uncleanleaderelections_total',
    isrShrinks: 'kafka_server_replicamanager_isrshrinks_total',
    isrExpands: 'kafka_server_replicamanager_isrexpands_total',
    offlineLogDirectories: 'kafka_log_logmanager_offlinelogdirectorycount',
    /** Bytes of one replica on one broker. */
    logSize: 'kafka_log_log_size',
    failedProduceRequests: 'kafka_server_brokertopicmetrics_failedproducerequests_total',
    failedFetchRequests: 'kafka_server_brokertopicmetrics_failedfetchrequests_total',
    /** Share of time, 0 to 1, in which the request handlers had nothing to do. */
    requestHandlerIdle: 'kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent',
    zookeeperExpires: 'kafka_server_sessionexpirelistener_zookeeperexpires_total',
    /** Messages by which the worst follower on this broker is behind. */
    followerMaxLag: 'kafka_server_replicafetchermanager_maxlag',
    messagesIn: 'kafka_server_brokertopicmetrics_messagesin_total',
    bytesIn: 'kafka_server_brokertopicmetrics_bytesin_total',
    bytesOut: 'kafka_server_brokertopicmetrics_bytesout_total',
    requestTime: 'kafka_network_requestmetrics_totaltimems',
    requests: 'kafka_network_requestmetrics_totaltimems_count',
    requestQueue: 'kafka_network_requestchannel_requestqueuesize',
    responseQueue: 'kafka_network_requestchannel_responsequeuesize',
    /** Share of time, 0 to 1. */
    networkIdle: 'kafka_network_socketserver_networkprocessoravgidle_percent',
    zookeeperDisconnects: 'kafka_server_sessionexpirelistener_zookeeperdisconnects_total',
  },
  /** Prometheus's own, and what it makes of every scrape and alert. */
  prometheus: {
    up: 'up',
    alerts: 'ALERTS',
    scrapeDuration: 'scrape_duration_seconds',
    reloadSuccessful: 'prometheus_config_last_reload_successful',
    ruleFailures: 'prometheus_rule_evaluation_failures_total',
    alertmanagersDiscovered: 'prometheus_notifications_alertmanagers_discovered',
    notificationErrors: 'prometheus_notifications_errors_total',
  },
  zookeeper: {
    /** As configured, not as alive: it never changes when a member dies. */
    quorumSize: 'quorum_size',
    /** On the leader only. */
    leaderUptime: 'leader_uptime',
    /** On the leader only: voting followers that keep up. */
    syncedFollowers: 'synced_followers',
    /** Over the whole life of the process: it says nothing of the last minutes. */
    averageLatency: 'avg_latency',
    /** Milliseconds of each write since the start, as a summary. */
    updateLatency: 'updatelatency',
    readLatency: 'readlatency',
    outstandingRequests: 'outstanding_requests',
    /** Milliseconds of each sync of the transaction log, as a summary. */
    fsyncTime: 'fsynctime',
    /** Milliseconds of each election that the member took part in, as a summary. */
    electionTime: 'election_time',
    connections: 'num_alive_connections',
    znodes: 'znode_count',
    dataBytes: 'approximate_data_size',
    /** Label server: what its snapshots and transaction log take on its disk; asked of it by the worker zookeeper-disk. */
    diskBytes: 'muster_zookeeper_disk_bytes',
    packetsReceived: 'packets_received',
    sessionsExpired: 'stale_sessions_expired',
    connectionsDropped: 'connection_drop_count',
    openFiles: 'open_file_descriptor_count',
    maxFiles: 'max_file_descriptor_count',
    /** What `jvm` has under other names: its exporter is older. */
    jvmUsed: 'jvm_memory_bytes_used',
    jvmMax: 'jvm_memory_bytes_max',
  },
  jvm: {
    memoryUsed: 'jvm_memory_used_bytes',
    memoryMax: 'jvm_memory_max_bytes',
    threadsDeadlocked: 'jvm_threads_deadlocked',
    /** Of brokers and ZooKeeper. */
    gcSeconds: 'jvm_gc_collection_seconds_sum',
  },
  process: {
    residentMemory: 'process_resident_memory_bytes',
    /** What counts against the limit of a container; resident memory has the code of all processes in it, too. */
    anonymousMemory: 'muster_process_anonymous_memory_bytes',
    eventLoopLagP99: 'nodejs_eventloop_lag_p99_seconds',
    startTime: 'process_start_time_seconds',
    cpuSeconds: 'process_cpu_seconds_total',
    openFiles: 'process_open_fds',
    /** Every process of ours has it, once. */
    nodeVersion: 'nodejs_version_info',
    heapUsed: 'nodejs_heap_size_used_bytes',
    gcSeconds: 'nodejs_gc_duration_seconds_sum',
  },
  mysql: {
    up: 'mysql_up',
    threadsConnected: 'mysql_global_status_threads_connected',
    maxConnections: 'mysql_global_variables_max_connections',
    threadsRunning: 'mysql_global_status_threads_running',
    queries: 'mysql_global_status_queries',
    rowLockWaits: 'mysql_global_status_innodb_row_lock_waits',
  },
  /** Of the database, by the worker mysql-backup. */
  backup: {
    atRisk: 'muster_backup_at_risk_seconds',
    baseTime: 'muster_backup_base_time_seconds',
    verifiedTime: 'muster_backup_verified_time_seconds',
  },
  /** Of the two members of the database, by the worker mysql-guard. */
  guard: {
    writer: 'muster_mysql_writer',
    memberUp: 'muster_mysql_member_up',
    atRisk: 'muster_mysql_at_risk_seconds',
    changes: 'muster_mysql_writer_changes_total',
  },
  redis: {
    up: 'redis_up',
    memoryUsed: 'redis_memory_used_bytes',
    memoryMax: 'redis_memory_max_bytes',
    rejectedConnections: 'redis_rejected_connections_total',
    connectedClients: 'redis_connected_clients',
    keys: 'redis_db_keys',
    keysExpiring: 'redis_db_keys_expiring',
    commands: 'redis_commands_processed_total',
  },
  victorialogs: {
    /** Label type. */
    dataBytes: 'vl_data_size_bytes',
  },
  /** Of HAProxy: label `proxy` is the process behind it, of an entrance with `-in` after it. */
  gateway: {
    /** Label `code`: 2xx, 4xx. */
    responses: 'haproxy_frontend_http_responses_total',
    sessions: 'haproxy_frontend_current_sessions',
    ready: 'haproxy_backend_active_servers',
    /** Sent to the same replica, or to another one. */
    retries: 'haproxy_backend_retry_warnings_total',
    redispatches: 'haproxy_backend_redispatch_warnings_total',
  },
  jaeger: {
    receiverRefused: 'otelcol_receiver_refused_spans_total',
    receiverFailed: 'otelcol_receiver_failed_spans_total',
    exporterFailed: 'otelcol_exporter_send_failed_spans_total',
  },
  alertmanager: { notificationsFailed: 'alertmanager_notifications_failed_total' },
  /** Recorded by rules: limits as series, so that one alert compares each group, topic or process with its own. */
  recorded: {
    lagSeconds: 'muster:consumergroup_lag_seconds:max',
    lagSecondsHigh: 'muster:consumergroup_lag_seconds:limit',
    lagRecordsHigh: 'muster:consumergroup_lag_records:limit',
    /** There for groups that somebody waits for: those of the catalog, and others for an hour after they were last alive. */
    watchedGroups: 'muster:consumergroup:watched',
    topicRetention: 'muster:topic_retention_seconds:limit',
    brokerLogBytes: 'muster:kafka_log_bytes:sum_by_broker',
    databaseBytes: 'muster:table_bytes:sum',
    zookeeperDiskBytes: 'muster:zookeeper_disk_bytes:max_by_server',
    processMemoryLimit: 'muster:process_memory_bytes:limit',
  },
} as const;
