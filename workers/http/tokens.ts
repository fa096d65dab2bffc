/**
 * Tokens that say who calls: JWTs, signed by the environment's own key or by a site's identity provider (JWKS).
 *
 * The environment's key is Ed25519: what checks tokens holds the public half and cannot make any, which a shared secret
 * would allow to every process. A check costs 90 µs of processor time (an HMAC's 32), so tokens that were checked are remembered.
 */
import { createPrivateKey, createPublicKey, generateKeyPairSync, hash } from 'node:crypto';
import { createRemoteJWKSet, errors, type JWTPayload, type JWTVerifyGetKey, jwtVerify, SignJWT } from 'jose';
import { Type } from 'typebox';
import { NotNowError } from '../base/errors.ts';
import { HttpError } from './errors.ts';

/** `service`: one of our own processes that asks another on behalf of its work. */
export const roles = ['customer', 'merchant', 'owner', 'rider', 'operator', 'service'] as const;
export type Role = (typeof roles)[number];

/** Who calls, as a verified token says. */
export interface Principal {
  readonly role: Role;
  /** The token's `sub`: a customer's user id, a merchant's, owner's or rider's id, an operator's name, a service's process. */
  readonly subject: string;
  readonly expiresAtMs: number;
}

/** Whose tokens count. */
export type TrustedKeys =
  /** The environment's own: the public key (SPKI, base64url). */
  | { readonly verifyKey: string }
  | { readonly jwksUrl: string; readonly issuer: string; readonly audience: string };

/** Issuer and audience of the environment's own tokens. */
const own = { issuer: 'muster', audience: 'muster' };
const remembered = 20_000;
const clockToleranceSeconds = 5;

/** Both halves as text (DER in base64url) that survives every file and variable. */
export function makeTokenKeys(): { readonly signingKey: string; readonly verifyKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    signingKey: privateKey.export({ format: 'der', type: 'pkcs8' }).toString('base64url'),
    verifyKey: publicKey.export({ format: 'der', type: 'spki' }).toString('base64url'),
  };
}

/** For the settings of workers that make tokens. */
export const tokenSigningKey = Type.String({
  pattern: '^[A-Za-z0-9_-]{60,100}$',
  secret: true,
  description: 'private key of the environment’s tokens, for whoever makes some',
});

/** A token by the environment's key. */
export function signToken(
  signingKey: string,
  claims: { readonly role: Role; readonly subject: string; readonly ttlMs: number },
): Promise<string> {
  const key = createPrivateKey({ key: Buffer.from(signingKey, 'base64url'), format: 'der', type: 'pkcs8' });
  return new SignJWT({ role: claims.role })
    .setProtectedHeader({ alg: 'EdDSA' })
    .setSubject(claims.subject)
    .setIssuer(own.issuer)
    .setAudience(own.audience)
    .setIssuedAt()
    .setExpirationTime(new Date(Date.now() + claims.ttlMs))
    .sign(key);
}

/** Who a token stands for; at once when it was seen before. */
export type VerifyToken = (token: string) => Principal | Promise<Principal>;

/** Rejects with 401 MUSTER_UNAUTHENTICATED, and "not now" when the site's keys cannot be read. */
export function tokenVerifier(trusted: TrustedKeys): VerifyToken {
  const known = new Map<string, Principal>();
  const { issuer, audience } = 'verifyKey' in trusted ? own : trusted;
  const options = {
    issuer,
    audience,
    clockTolerance: clockToleranceSeconds,
    requiredClaims: ['exp', 'sub', 'role'],
    algorithms: 'verifyKey' in trusted ? ['EdDSA'] : ['EdDSA', 'ES256', 'ES384', 'PS256', 'RS256'],
  };
  const verify = keyed(trusted, options);

  async function check(token: string, name: string): Promise<Principal> {
    let payload: JWTPayload;
    try {
      ({ payload } = await verify(token));
    } catch (error) {
      throw refusal(error as Error);
    }
    const principal = principalOf(payload);
    if (known.size >= remembered) known.delete(known.keys().next().value!);
    known.set(name, principal);
    return principal;
  }

  return (token) => {
    // By its hash: what can be used to call is in nobody's memory for longer than a request.
    const name = hash('sha256', token, 'base64url');
    const principal = known.get(name);
    if (principal === undefined) return check(token, name);
    if (principal.expiresAtMs > Date.now()) return principal;
    known.delete(name);
    return check(token, name);
  };
}

function keyed(trusted: TrustedKeys, options: Parameters<typeof jwtVerify>[2]) {
  if ('verifyKey' in trusted) {
    const der = Buffer.from(trusted.verifyKey, 'base64url');
    const key = createPublicKey({ key: der, format: 'der', type: 'spki' });
    return (token: string) => jwtVerify(token, key, options);
  }
  const keys: JWTVerifyGetKey = createRemoteJWKSet(new URL(trusted.jwksUrl), { timeoutDuration: 3_000 });
  return (token: string) => jwtVerify(token, keys, options);
}

function principalOf({ sub, role, exp }: JWTPayload): Principal {
  if (!(roles as readonly unknown[]).includes(role))
    throw unauthenticated(`the token's claim "role" is none of ${roles.join(', ')}`);
  if (sub === '' || sub!.length > 200 || !sub!.isWellFormed())
    throw unauthenticated('the token\'s claim "sub" must have 1 to 200 characters');
  return { role: role as Role, subject: sub!, expiresAtMs: exp! * 1_000 };
}

export const unauthenticated = (message: string) => new HttpError(401, 'MUSTER_UNAUTHENTICATED', message);

function refusal(error: Error): Error {
  if (error instanceof errors.JWTExpired) return unauthenticated('the token has expired');
  if (error instanceof errors.JWTClaimValidationFailed)
    return unauthenticated(`the token's claim "${error.claim}" is missing or not what is expected here`);
  // The site's keys could not be fetched, or what came is no key set: that says nothing about the token.
  if (
    !(error instanceof errors.JOSEError) ||
    error instanceof errors.JWKSTimeout ||
    error instanceof errors.JWKSInvalid ||
    error.code === 'ERR_JOSE_GENERIC'
  )
    return new NotNowError('MUSTER_TOKEN_KEYS_AWAY', "the site's keys (TOKEN_JWKS_URL) cannot be read", {
      cause: error,
    });
  return unauthenticated('the token is not signed by a key that counts here');
}
