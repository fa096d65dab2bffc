/** Worker `console`: a small page to try coupons and orders on, served beside the API in environments for trying things. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { errorBody, HttpError } from '../http/errors.ts';
import { type Role, roles, signToken, tokenSigningKey } from '../http/tokens.ts';
import type { Worker } from '../platform/worker.ts';

const config = Type.Object({
  CONSOLE_JAEGER_URL: Type.String({
    default: '',
    description: 'where a browser finds Jaeger, for links to traces; empty: none are shown',
  }),
  TOKEN_SIGNING_KEY: tokenSigningKey,
  MUSTER_ENV: Type.String({ description: 'name of the environment, shown on the page' }),
});

const files = {
  '/console': { name: 'index.html', type: 'text/html; charset=utf-8' },
  '/console/app.js': { name: 'app.js', type: 'text/javascript; charset=utf-8' },
  '/console/style.css': { name: 'style.css', type: 'text/css; charset=utf-8' },
} as const;

/** The page talks to its own server only, and runs nothing but its own script. */
const policy =
  "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self' ws:; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

export const worker: Worker<typeof config> = {
  name: 'console',
  consumes: [],
  produces: [],
  config,
  async start({ config, http }) {
    await registerConsole(http, { environment: config.MUSTER_ENV, jaegerUrl: config.CONSOLE_JAEGER_URL });
    registerTokens(http, config.TOKEN_SIGNING_KEY);
    return { ready: () => true, stop: async () => {} };
  },
};

const hidden = { config: { callers: 'anyone' }, schema: { hide: true } as never } as const;

/** A page that stays open for longer is loaded again. */
const tokenMs = 12 * 3_600_000;

/** Registers the page and what it needs to know. */
async function registerConsole(
  http: FastifyInstance,
  settings: { readonly environment: string; readonly jaegerUrl: string },
): Promise<void> {
  for (const [path, { name, type }] of Object.entries(files)) {
    const content = await readFile(join(import.meta.dirname, 'page', name));
    http.get(path, hidden, (_request, reply) =>
      reply
        .header('content-type', type)
        .header('cache-control', 'no-cache')
        .header('content-security-policy', policy)
        .header('x-content-type-options', 'nosniff')
        .send(content),
    );
  }
  http.get('/console/settings', hidden, () => settings);
}

const wanted = Type.Object(
  {
    role: Type.Enum([...roles]),
    users: Type.Array(Type.String({ minLength: 1, maxLength: 200 }), { minItems: 1, maxItems: 1_000 }),
  },
  { additionalProperties: false },
);

/** Tokens for the people whom the page plays, in the order of `users`. */
function registerTokens(http: FastifyInstance, signingKey: string): void {
  http.post(
    '/console/tokens',
    {
      config: { callers: 'anyone' },
      schema: {
        hide: true,
        body: wanted,
        response: { 200: Type.Object({ tokens: Type.Array(Type.String()) }), 403: errorBody },
      } as never,
    },
    async (request, reply) => {
      // A page says where it is from with every POST, and the server has looked that it is from here.
      if (request.headers.origin === undefined)
        throw new HttpError(403, 'MUSTER_FORBIDDEN', 'this is for the page of the console: ./muster token');
      const { role, users } = request.body as { role: Role; users: readonly string[] };
      const tokens = users.map((subject) => signToken(signingKey, { role, subject, ttlMs: tokenMs }));
      return reply.header('cache-control', 'no-store').send({ tokens: await Promise.all(tokens) });
    },
  );
}
