/** What tabs Promises and Cluster show: the workers `promises` and `lag` know it, and are asked by way of the page's own server. */
import type { FastifyInstance } from 'fastify';
import { request as send } from 'undici';
import { promises } from '../../catalog/promises.ts';
import { HttpError } from '../http/errors.ts';
import { passOn } from './proxy.ts';

// Who may call is for the other side to say: it gets the token.
const passed = { config: { callers: 'anyone' }, schema: { hide: true } as never } as const;
const timeoutMs = 5_000;

/** `GET /console/cluster`, from the worker `lag` at that base address. */
export function registerCluster(http: FastifyInstance, lagUrl: string): void {
  http.get('/console/cluster', passed, (request, reply) =>
    passOn(request, reply, new URL(`${lagUrl}/cluster`)),
  );
}

/**
 * `GET /console/promises`: each promise of the catalog, as the worker `promises` tells it. Whatever it does not tell, because it is
 * away or older than the catalog, is not checked: a promise of which nothing is said must not look kept.
 */
export function registerPromises(http: FastifyInstance, promisesUrl: string): void {
  http.get('/console/promises', passed, async ({ headers: { authorization } }, reply) => {
    const { told, why } = await toldBy(`${promisesUrl}/promises`, authorization);
    const byName = new Map(told.map((one) => [one.name, one]));
    return reply.header('cache-control', 'no-store').send({
      promises: promises.map(({ name, capability, promised, limitMs, periodMs, ids: idsOf }) => ({
        ...(byName.get(name) ?? {
          ...{ status: 'not checked', checkedAt: null, broken: 0, ids: [], brokenSince: null, why },
        }),
        ...{ name, capability, promised, idsOf, brokenAfterMs: limitMs, checkedEveryMs: periodMs },
      })),
    });
  });
}

interface Told {
  readonly told: readonly { readonly name: string }[];
  /** Why a promise may be missing. */
  readonly why: string;
}

/** Throws what the worker answers to the token. */
async function toldBy(url: string, authorization: string | undefined): Promise<Told> {
  const nothing = (why: string): Told => ({ told: [], why });
  try {
    const { statusCode, body } = await send(url, {
      headers: authorization === undefined ? {} : { authorization },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
    if (statusCode === 200) {
      const { promises: told } = (await body.json()) as { promises: Told['told'] };
      return { told, why: 'the worker does not know it' };
    }
    await body.dump();
    if (statusCode === 401) throw new HttpError(401, 'MUSTER_UNAUTHENTICATED', 'a token is needed');
    if (statusCode === 403) throw new HttpError(403, 'MUSTER_FORBIDDEN', 'this is for operator');
    return nothing(`the worker that checks it answers ${statusCode}`);
  } catch (error) {
    if (error instanceof HttpError) throw error;
    return nothing('the worker that checks it does not answer');
  }
}
