/** Errors that muster raises carry a stable code `MUSTER_*` and say what to do. */
export class MusterError extends Error {
  readonly code: `MUSTER_${string}`;
  /** Whether the same again may succeed; see NotNowError. */
  readonly isNotNow: boolean = false;
  constructor(code: `MUSTER_${string}`, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MusterError';
    this.code = code;
  }
}

/**
 * "Not now": what was asked is in order, and the same again may succeed, because something that it needs is away, busy or
 * full. Whoever raises an error decides it by this class; everybody else only asks `isNotNow`. HTTP answers 503, a consumer
 * holds its partition. Any other error means "never": the same again fails again.
 */
export class NotNowError extends MusterError {
  override readonly isNotNow = true;
}

export function isNotNow(error: unknown): error is NotNowError {
  return error instanceof NotNowError;
}
