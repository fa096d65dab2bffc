/** Calls of send() that are not answered yet: they end when their last record is acked, or at their deadline. */
import { NotNowError } from '../base/errors.ts';

const lookEveryMs = 50;

/** One call of send(). */
export interface PendingSend {
  remaining: number;
  readonly deadlineAt: number;
  done: boolean;
  resolve(): void;
  reject(error: Error): void;
}

export interface PendingSends {
  count(): number;
  /** A call with so many records; `deadlineAt` in UTC ms, by which it is rejected whatever its batches are doing. */
  begin(
    records: number,
    deadlineAt: number,
    resolve: () => void,
    reject: (error: Error) => void,
  ): PendingSend;
  acked(send: PendingSend, records: number): void;
  fail(send: PendingSend, error: Error): void;
  /** Fails all that are left. */
  close(error: Error): void;
}

export function trackSends(): PendingSends {
  const sends = new Set<PendingSend>();
  let timer: NodeJS.Timeout | undefined;

  function finish(send: PendingSend): void {
    send.done = true;
    sends.delete(send);
  }

  function fail(send: PendingSend, error: Error): void {
    if (send.done) return;
    finish(send);
    send.reject(error);
  }

  function endLate(): void {
    const now = Date.now();
    for (const send of sends) if (send.deadlineAt <= now) fail(send, notAcked());
    if (sends.size > 0) return;
    clearInterval(timer);
    timer = undefined;
  }

  return {
    count: () => sends.size,
    begin(records, deadlineAt, resolve, reject) {
      const send: PendingSend = { remaining: records, deadlineAt, done: false, resolve, reject };
      sends.add(send);
      timer ??= setInterval(endLate, lookEveryMs);
      return send;
    },
    acked(send, records) {
      send.remaining -= records;
      if (send.remaining > 0 || send.done) return;
      finish(send);
      send.resolve();
    },
    fail,
    close(error) {
      for (const send of sends) fail(send, error);
      clearInterval(timer);
    },
  };
}

function notAcked(): NotNowError {
  return new NotNowError(
    'MUSTER_KAFKA_SEND',
    'not acked within the deadline; the records may still have been written',
  );
}

/** Rejects with MUSTER_KAFKA_SEND when the promise has not settled by `deadlineAt` (UTC ms). */
export async function withDeadline<T>(
  promise: Promise<T>,
  deadlineAt: number,
  onLate?: () => void,
): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => {
        onLate?.();
        reject(new NotNowError('MUSTER_KAFKA_SEND', 'not sent within the deadline'));
      },
      Math.max(0, deadlineAt - Date.now()),
    );
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
