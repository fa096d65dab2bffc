/** How work that a person may stop stops. */
import { setTimeout as sleep } from 'node:timers/promises';
import { MusterError } from '../workers/base/errors.ts';

/** Throws MUSTER_INTERRUPTED when the user asked to stop. */
export function throwIfInterrupted(signal: AbortSignal): void {
  if (signal.aborted) throw interrupted();
}

export function interrupted(): MusterError {
  return new MusterError('MUSTER_INTERRUPTED', 'Stopped before it was finished.');
}

/** Waits, or throws MUSTER_INTERRUPTED at once when the user asks to stop. */
export async function pause(durationMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(durationMs, undefined, { signal });
  } catch {
    throw interrupted();
  }
}
