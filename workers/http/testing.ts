/** Tokens for tests, by a key of their own. */
import { makeTokenKeys, type Role, signToken, type TrustedKeys } from './tokens.ts';

const { signingKey, verifyKey } = makeTokenKeys();

/** For `startHttp`. */
export const testKeys: TrustedKeys = { verifyKey };

export const tokenOf = (role: Role, subject: string): Promise<string> =>
  signToken(signingKey, { role, subject, ttlMs: 3_600_000 });

export const operatorToken: string = await tokenOf('operator', 'test');
export const asOperator = { authorization: `Bearer ${operatorToken}` } as const;
