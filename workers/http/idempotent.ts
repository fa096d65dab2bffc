/** The header Idempotency-Key: a route says `headers: idempotencyKey.required` and does its work by `onceOf(request, …)`. */
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { keyedHash, pseudonym } from '../base/pseudonym.ts';
import type { OnceCall } from '../store/once.ts';
import { HttpError } from './errors.ts';

const key = Type.String({
  minLength: 1,
  maxLength: 200,
  pattern: '^[\\x21-\\x7e]+$',
  description:
    'made by the client, one for each thing that it means: the same request under the same key has one effect and the same answer, so after 503 or a lost connection it can be sent again',
});

/** For `headers` of a route's schema. */
export const idempotencyKey = {
  required: Type.Object({ 'idempotency-key': key }),
  optional: Type.Object({ 'idempotency-key': Type.Optional(key) }),
};

/**
 * The request as a call of once(); undefined when it has no key. Keys belong to who calls, or to the user (a pseudonym)
 * that is named. Two requests are the same when method, address and body are, or what is `asked` instead; of that only a
 * keyed hash is kept, because it may be personal and can be guessed.
 */
export function onceOf(
  request: FastifyRequest,
  capability: string,
  secret: Buffer,
  options: { readonly user?: string; readonly asked?: unknown } = {},
): OnceCall | undefined {
  const given = request.headers['idempotency-key'];
  if (typeof given !== 'string') return undefined;
  const { principal } = request;
  // With the role: a merchant and a customer of one name are two.
  const caller = principal && `${principal.role}:${pseudonym(secret, principal.subject)}`;
  const whose = options.user ?? caller ?? 'anyone';
  const asked = JSON.stringify(options.asked ?? [request.method, request.url, request.body]);
  return {
    scope: `${capability}:${whose}`,
    key: given,
    body: keyedHash(secret, asked),
  };
}

/** The call of a request that must have a key although its schema does not say so: 422 without. */
export function needKey(call: OnceCall | undefined, why: string): OnceCall {
  if (call === undefined)
    throw new HttpError(422, 'MUSTER_VALIDATION', 'the header is not valid', [
      { field: 'idempotency-key', reason: `is missing: ${why}` },
    ]);
  return call;
}
