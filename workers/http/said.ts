/** What a service of ours said to a saga: an answer, a refusal that is one for good, or nothing that could be acted on. */
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import type { Answer, Outgoing } from './outgoing.ts';

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

/** Codes of refusals, of words without MUSTER_. */
export const codesOf = (...words: readonly string[]): ReadonlySet<string> =>
  new Set(words.map((word) => `MUSTER_${word}`));

const found = Type.Object({
  state: Type.String(),
  reason: Type.Optional(Type.String({ pattern: '^[A-Z0-9_]{1,60}$' })),
  amount: Type.Object({ amountMinor: Type.Integer(), currency: Type.String() }),
});
const isFound = Compile(found);
/** How something that a service was asked for stands. */
export type FoundThere = Static<typeof found>;

/** Asks a service how what it has accepted stands; a refusal ends nothing. */
export async function findThere(service: Outgoing, path: string, id: string): Promise<Said<FoundThere>> {
  const template = `${path}/{id}`;
  const answer = await service.call({ method: 'GET', path: `${path}/${id}`, template, wantsBody: true });
  return saidOf(answer, (body): body is FoundThere => isFound.Check(body), codesOf());
}
