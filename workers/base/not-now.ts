/** Waiting for what is away. */
import { setTimeout as sleep } from 'node:timers/promises';
import { isNotNow, type NotNowError } from './errors.ts';

const firstWaitMs = 100;
const longestWaitMs = 5_000;

/**
 * Runs `work` again and again, less and less often, while it fails with "not now". Resolves to undefined when `signal` was
 * aborted before it succeeded; rejects with any other failure. `onWait` is told of the first failure only.
 */
export async function untilUp<T>(
  work: () => Promise<T>,
  { signal, onWait }: { readonly signal: AbortSignal; onWait?(error: NotNowError): void },
): Promise<T | undefined> {
  for (let waitMs = firstWaitMs; ; waitMs = Math.min(waitMs * 2, longestWaitMs)) {
    try {
      return await work();
    } catch (error) {
      if (!isNotNow(error)) throw error;
      if (waitMs === firstWaitMs) onWait?.(error);
    }
    await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    if (signal.aborted) return undefined;
  }
}
