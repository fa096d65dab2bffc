/** Worker `console`: a small page to try coupons and orders on, served beside the API in environments for trying things. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { Worker } from '../platform/worker.ts';

const config = Type.Object({
  CONSOLE_JAEGER_URL: Type.String({
    default: '',
    description: 'where a browser finds Jaeger, for links to traces; empty: none are shown',
  }),
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
    return { ready: () => true, stop: async () => {} };
  },
};

const hidden = { config: { callers: 'anyone' }, schema: { hide: true } as never } as const;

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
