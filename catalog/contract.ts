/** What the service contract says in numbers about load and storage: the yardstick of the capacity planner. */

export const storageContract = {
  messagesPerSecond: 200,
  bytesPerMessage: 200,
  copies: 2,
  days: 5,
  /** Kept free on the disk. */
  bufferBytes: 5e9,
  diskBytes: 40e9,
} as const;
