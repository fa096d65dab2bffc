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

let calls = 0;

/** Calls routes below `path` of a server by a token; what changes something has a key of its own, or the one given ('': none). */
export const callerOf =
  (http: Http, path: string) =>
  (token: string) =>
  async (method: string, below: string, body?: object | FormData, key = `key-${++calls}`) => {
    const isJson = body !== undefined && !(body instanceof FormData);
    const answer = await fetch(`http://127.0.0.1:${http.address().port}${path}${below}`, {
      method,
      headers: {
        authorization: `Bearer ${token}`,
        ...(method === 'GET' || key === '' ? {} : { 'idempotency-key': key }),
        ...(isJson ? { 'content-type': 'application/json' } : {}),
      },
      ...(body === undefined ? {} : { body: isJson ? JSON.stringify(body) : (body as FormData) }),
    });
    const text = await answer.text();
    // biome-ignore lint/suspicious/noExplicitAny: an answer of any route; of one without a body undefined
    const json = (text === '' ? undefined : JSON.parse(text)) as any;
    return { status: answer.status, json, code: json?.error?.code as string | undefined };
  };
