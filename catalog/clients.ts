/**
 * How every Kafka client of ours behaves. Where that differs from what the service contract names, docs/kafka-clients.md says
 * why, and a test that it does.
 */

/** What the service contract names, by the same names as below. */
export const contractClients = {
  producer: {
    acks: 'all',
    idempotent: true,
    compression: 'snappy',
    lingerMs: 10,
    batchBytes: 16 * 1024,
    deliveryTimeoutMs: 120_000,
    requestTimeoutMs: 30_000,
  },
  consumer: {
    commits: 'manual',
    startsAt: 'earliest',
    recordsAtOnce: 500,
    sessionTimeoutMs: 10_000,
    heartbeatIntervalMs: 3_000,
  },
} as const;

export const producerProfile = {
  acks: 'all',
  idempotent: true,
  /** Of batches that become smaller by it. */
  compression: 'snappy',
  /** Least time between two requests to a leader; a send after a pause of that length leaves at once. */
  lingerMs: 5,
  /** Uncompressed bytes after which a batch is closed. */
  batchBytes: 256 * 1024,
  /** Bytes held for records that are not acked yet; beyond it a send waits. */
  bufferBytes: 32 * 1024 * 1024,
  /** How long a send may take when it names no deadline. */
  deliveryTimeoutMs: 120_000,
  /** A request that hangs longer is sent again, possibly to another leader; its sequence keeps it from doubling. */
  requestTimeoutMs: 3_000,
  /** The broker answers after this at the latest: with its replicas gone it says so. */
  brokerTimeoutMs: 2_000,
} as const;

export const consumerProfile = {
  commits: 'manual',
  startsAt: 'earliest',
  /** Records are handed over as they are fetched: by bytes, not by number. */
  recordsAtOnce: 'as fetched',
  fetchBytes: { partition: 512 * 1024, request: 4 * 1024 * 1024 },
  /** A broker holds a fetch that finds nothing for so long. */
  maxWaitMs: 500,
  /** The same, of a group that has found nothing for five seconds. */
  silentWaitMs: 2_000,
  sessionTimeoutMs: 10_000,
  heartbeatIntervalMs: 3_000,
  rebalanceTimeoutMs: 10_000,
} as const;

/** Of all clients. Connecting to a living broker takes milliseconds; a dead address must not hold a retry up. */
export const connectionTimeoutMs = 1_000;

/** Least and longest wait before the same is tried again. */
export const retryMs = { first: 50, longest: 300 } as const;

/** A broker that is silent for longer is left, by what is asked of it. */
export const silentAfterMs = {
  /** Offsets, coordinators, fetches of consumers, reading back. */
  request: 5_000,
  /** A follower waits for its fetches 200 ms at most. */
  following: 1_500,
  /** A monitor asks again soon; one broker that hangs must not hold its view of the others up. */
  monitoring: 3_000,
} as const;
