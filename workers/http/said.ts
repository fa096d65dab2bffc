/** What a service of ours said to a saga: an answer, a refusal that is one for good, or nothing that could be acted on. */
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { Answer } from './outgoing.ts';

export type Said<T> =
  | { readonly kind: 'OK'; readonly body: T }
  /** `reason`: its code without MUSTER_. */
  | { readonly kind: 'REFUSED'; readonly reason: string }
  /** No answer, "not now", or a word that nobody here knows: to be asked again. */
  | { readonly kind: 'UNCLEAR' }
  /** The service is known to be away, or could not be reached: the call certainly did not leave. */
  | { readonly kind: 'AWAY' };

const errorAnswer = Compile(
  Type.Object({ error: Type.Object({ code: Type.String({ pattern: '^MUSTER_[A-Z_]{1,50}$' }) }) }),
);

/**
 * @param isBody whether the body of a success is what was agreed
 * @param refusals codes that end it. All others may mean that the question was wrong (another version, another token), so
 *   they end nothing: what stays undecided is seen.
 */
export function saidOf<T>(
  { outcome, inDoubt, body }: Answer,
  isBody: (body: unknown) => body is T,
  refusals: ReadonlySet<string>,
): Said<T> {
  if (outcome === '2xx' && isBody(body)) return { kind: 'OK', body };
  if (outcome === '4xx' && errorAnswer.Check(body) && refusals.has(body.error.code))
    return { kind: 'REFUSED', reason: body.error.code.replace('MUSTER_', '') };
  if (outcome === 'breaker' || (outcome === 'network' && !inDoubt)) return { kind: 'AWAY' };
  return { kind: 'UNCLEAR' };
}
