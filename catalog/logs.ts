/** The way of a log line: process, topic, worker `log-store`, log store. */

/** Of the log store (VictoriaLogs). */
export const logStore = {
  /** A line is on its disk after at most a second and twice this, and a crash takes none that is. */
  flushMs: 2_000,
} as const;
