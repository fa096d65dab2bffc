/** HTTP for tests: servers, and tokens by a key of their own. */
import { createLog } from '../base/log.ts';
import { createRegistry } from '../base/metrics.ts';
import { type Http, type HttpOptions, startHttp } from './server.ts';
import { makeTokenKeys, type Role, signToken, type TrustedKeys } from './tokens.ts';

const { signingKey, verifyKey } = makeTokenKeys();

/** What tokens are made by that `testKeys` trusts. */
export const testSigningKey = signingKey;

/** For `startHttp`. */
export const testKeys: TrustedKeys = { verifyKey };

export const tokenOf = (role: Role, subject: string): Promise<string> =>
  signToken(signingKey, { role, subject, ttlMs: 3_600_000 });

export const operatorToken: string = await tokenOf('operator', 'test');
export const asOperator = { authorization: `Bearer ${operatorToken}` } as const;

/** A server on a free port of this machine, ready, that trusts `testKeys`; `options` say otherwise. */
export function startTestHttp(options: Partial<HttpOptions> = {}): Promise<Http> {
  return startHttp({
    host: '127.0.0.1',
    port: 0,
    processName: 'api',
    version: '1',
    log: createLog({ process: 'api', level: 'error', stream: process.stderr }),
    registry: createRegistry(),
    readiness: () => ({ ready: true, reasons: [] }),
    tokens: testKeys,
    ...options,
  });
}
