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

/** How long an order waits for its payment before it expires, unless an environment says otherwise (ORDER_PAY_WITHIN_S). */
export const orderPayWithinSeconds = 1_800;
