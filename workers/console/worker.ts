/**
 * Worker `console`: a page to try coupons, orders, my-pay and food delivery on, and to see cluster, promises, dashboards and traces,
 * served beside the API in environments for trying things. Its files are read as they are: Preact and htm are ES modules, so that nothing
 * is built.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FastifyInstance } from 'fastify';
import { type Static, Type } from 'typebox';
import { environmentNamed } from '../../catalog/environments.ts';
import { errorBody, HttpError } from '../http/errors.ts';
import { type Role, roles, signToken, tokenSigningKey } from '../http/tokens.ts';
import type { Worker } from '../platform/worker.ts';
import { registerDashboards } from './dashboards.ts';
import { registerProxy } from './proxy.ts';
import { registerTraces } from './traces.ts';
import { registerCluster, registerPromises } from './watched.ts';

const urlOrNone = (description: string) =>
  Type.String({ default: '', pattern: '^(https?://\\S+[^\\s/])?$', description });

const config = Type.Object({
  CONSOLE_JAEGER_URL: urlOrNone('where a browser finds a Jaeger with a page of its own, for links to traces'),
  CONSOLE_GRAFANA_URL: urlOrNone('where a browser finds Grafana; empty: there is none'),
  CONSOLE_DASHBOARDS_FILE: Type.String({ default: '', description: 'dashboards, for tab Dashboards' }),
  CONSOLE_PROMETHEUS_URL: urlOrNone('base address of Prometheus, for tab Dashboards; empty: there is none'),
  CONSOLE_TRACES_URL: urlOrNone('base address of Jaeger’s API, for tab Traces; empty: there is none'),
  CONSOLE_LOGS_URL: urlOrNone('base address of VictoriaLogs, for the log lines of a trace'),
  CONSOLE_PAY_URL: urlOrNone('base address of my-pay, for tab Pay; empty: there is none'),
  CONSOLE_BANKS_URL: urlOrNone('base address of the banks for trying, for tab Pay'),
  CONSOLE_DELIVERY_URL: urlOrNone('base address of food delivery, for tab Food; empty: there is none'),
  CONSOLE_LAG_URL: urlOrNone('base address of the worker lag, for tab Cluster; empty: there is none'),
  CONSOLE_PROMISES_URL: urlOrNone(
    'base address of the worker promises, for tab Promises; empty: there is none',
  ),
  TOKEN_SIGNING_KEY: tokenSigningKey,
  MUSTER_ENV: Type.String({ description: 'name of the environment, shown on the page' }),
});

export const worker: Worker<typeof config> = {
  name: 'console',
  consumes: [],
  produces: [],
  config,
  async start({ config, http }) {
    const {
      CONSOLE_PAY_URL: payUrl,
      CONSOLE_BANKS_URL: banksUrl,
      CONSOLE_DELIVERY_URL: deliveryUrl,
      CONSOLE_LAG_URL: lagUrl,
      CONSOLE_PROMISES_URL: promisesUrl,
    } = config;
    await registerPage(http);
    // Who types the address alone wants to see something.
    http.get('/', hidden, (_request, reply) => reply.redirect('/console'));
    http.get('/console/settings', hidden, () => ({
      environment: config.MUSTER_ENV,
      jaegerUrl: config.CONSOLE_JAEGER_URL,
      hasPay: payUrl !== '',
      hasDelivery: deliveryUrl !== '',
      hasCluster: lagUrl !== '',
      hasPromises: promisesUrl !== '',
      grafanaUrl: config.CONSOLE_GRAFANA_URL,
      hasDashboards: config.CONSOLE_PROMETHEUS_URL !== '',
      hasTraces: config.CONSOLE_TRACES_URL !== '',
    }));
    await registerWatching(http, config);
    registerTokens(http, config.TOKEN_SIGNING_KEY);
    registerProxy(http, {
      ...(payUrl === '' ? {} : { '/console/pay': `${payUrl}/pay`, '/console/banks': banksUrl }),
      ...(deliveryUrl === '' ? {} : { '/console/delivery': `${deliveryUrl}/delivery` }),
    });
    if (lagUrl !== '') registerCluster(http, lagUrl);
    if (promisesUrl !== '') registerPromises(http, promisesUrl);
    return { ready: () => true, stop: async () => {} };
  },
};

/** Registers the rooms for who watches: those that have somebody to ask. */
async function registerWatching(http: FastifyInstance, settings: Static<typeof config>): Promise<void> {
  const { CONSOLE_TRACES_URL: jaegerUrl, CONSOLE_PROMETHEUS_URL: prometheusUrl } = settings;
  const { CONSOLE_JAEGER_URL: pageUrl } = settings;
  const environment = environmentNamed(settings.MUSTER_ENV);
  if (prometheusUrl !== '')
    await registerDashboards(http, {
      ...{ prometheusUrl, jaegerUrl },
      file: settings.CONSOLE_DASHBOARDS_FILE,
      scrapeIntervalMs: environment.prometheus.scrapeIntervalMs,
      sampleRatio: environment.traceSampleRatio,
      linkOf: (traceId) => (pageUrl === '' ? `#traces/${traceId}` : `${pageUrl}/trace/${traceId}`),
    });
  if (jaegerUrl !== '') registerTraces(http, { jaegerUrl, logsUrl: settings.CONSOLE_LOGS_URL });
}

const hidden = { config: { callers: 'anyone' }, schema: { hide: true } as never } as const;

/** A page that stays open for longer is loaded again. */
const tokenMs = 12 * 3_600_000;

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
};
const modules = { 'htm.js': 'htm', 'preact.js': 'preact', 'preact-hooks.js': 'preact/hooks' } as const;

/** Registers the page, the components that it is made of, and the modules that those are written with. */
async function registerPage(http: FastifyInstance): Promise<void> {
  const folder = join(import.meta.dirname, 'page');
  const files: [path: string, file: string][] = [
    ...(await readdir(folder)).map((name): [string, string] => [
      name === 'index.html' ? '' : `/${name}`,
      join(folder, name),
    ]),
    ...Object.entries(modules).map(([name, module]): [string, string] => [
      `/modules/${name}`,
      fileURLToPath(import.meta.resolve(module)),
    ]),
  ];
  const policy = policyFor(await readFile(join(folder, 'index.html'), 'utf8'));
  for (const [path, file] of files) {
    const content = await readFile(file);
    http.get(`/console${path}`, hidden, (_request, reply) =>
      reply
        .header('content-type', types[extname(file)] ?? types['.js']!)
        .header('cache-control', 'no-cache')
        .header('content-security-policy', policy)
        .header('x-content-type-options', 'nosniff')
        .send(content),
    );
  }
}

/** The page talks to its own server only, and runs nothing but its own scripts; its map of modules is known by its hash. */
function policyFor(page: string): string {
  const map = /<script type="importmap">([\s\S]*?)<\/script>/.exec(page)![1]!;
  const hash = createHash('sha256').update(map).digest('base64');
  return `default-src 'none'; script-src 'self' 'sha256-${hash}'; style-src 'self'; connect-src 'self' ws:; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
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
