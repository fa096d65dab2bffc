/** A request that was understood and is refused for what is there: an answer, not a failure. */
import type { MusterError } from './errors.ts';

export interface Refusal {
  /** HTTP status that says the same. */
  readonly status: 404 | 409 | 422;
  readonly code: `MUSTER_${string}`;
  /** For people; holds no personal data. */
  readonly message: string;
  readonly details?: readonly { readonly field: string; readonly reason: string }[];
}

export interface Refused {
  readonly ok: false;
  readonly refusal: Refusal;
}

export function refuse(
  status: Refusal['status'],
  code: Refusal['code'],
  message: string,
  details?: Refusal['details'],
): Refused {
  return { ok: false, refusal: { status, code, message, ...(details === undefined ? {} : { details }) } };
}

/** What was asked stands against what was asked before under the same key (workers/store/once.ts). */
export const refusedKey = ({ code, message }: MusterError): Refused => refuse(409, code, message);
