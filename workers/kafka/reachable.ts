/** A job that starts beside the brokers waits for them. */
import { setTimeout as sleep } from 'node:timers/promises';
import { NotNowError } from '../base/errors.ts';

/** Tries `connect` each half second, for `waitMs` (60 s by default). Rejects with MUSTER_KAFKA_UNREACHABLE after that. */
export async function untilReachable(
  brokers: readonly string[],
  connect: () => Promise<unknown>,
  waitMs = 60_000,
): Promise<void> {
  for (const giveUpAt = Date.now() + waitMs; ; await sleep(500)) {
    try {
      await connect();
      return;
    } catch (error) {
      if (Date.now() > giveUpAt)
        throw new NotNowError(
          'MUSTER_KAFKA_UNREACHABLE',
          `no Kafka broker answers at ${brokers.join(', ')}: ${(error as Error).message}`,
          { cause: error },
        );
    }
  }
}
