/** The way of a log line: process, topic, worker `log-store`, log store. */

/** Of a process's log lines on their way to Kafka. */
export const logPublishing = {
  /** Lines wait so long for others to come with them; what reads them waits on nobody. */
  lingerMs: 100,
  /** Lines that wait beyond this are dropped and counted: some 20,000 of an ordinary length. */
  bufferBytes: 8 * 1024 * 1024,
  /** A line that is longer goes to the topic cut; stdout has it whole. */
  maxLineBytes: 64 * 1024,
  /** Before what was not acked is sent again. */
  retryMs: 1_000,
} as const;

/** Why a line is not on the topic: no room for it, refused by the brokers, or the process ended before Kafka answered. */
export const logDropReasons = ['no-room', 'refused', 'ended'] as const;
export type LogDropReason = (typeof logDropReasons)[number];

/** Headers of a line's record: which line of which life of a process it is, and how many before it are on stdout only. */
export const logHeaders = {
  instance: 'muster-log-instance',
  sequence: 'muster-log-sequence',
  dropped: 'muster-log-dropped',
} as const;

/** Of the log store (VictoriaLogs). */
export const logStore = {
  /** A line is on its disk after at most a second and twice this, and a crash takes none that is. */
  flushMs: 2_000,
  /** Only then is its offset committed. */
  durableAfterMs: 10_000,
} as const;
