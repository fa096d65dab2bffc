/** Errors that muster raises carry a stable code `MUSTER_*` and say what to do. */
export class MusterError extends Error {
  readonly code: `MUSTER_${string}`;
  constructor(code: `MUSTER_${string}`, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'MusterError';
    this.code = code;
  }
}
