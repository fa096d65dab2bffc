/**
 * Room Dashboards: those of the environment, drawn from what its Prometheus says now. For who looks, not for programs: they ask
 * Prometheus.
 */
import { readFile } from 'node:fs/promises';
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { HttpError } from '../http/errors.ts';
import { typed } from '../http/typed.ts';
import { drawDashboard } from '../views/dashboard.ts';
import { jaegerAt, sampleTraces } from '../views/jaeger.ts';
import type { Dashboard } from '../views/model.ts';
import { styles } from '../views/page.ts';
import { type Prometheus, prometheusAt } from '../views/prometheus.ts';
import { type Chosen, choicesOf, type Resolution, resolutionOf } from '../views/queries.ts';

export interface DashboardsOptions {
  /** By slug, as the stack has written them. */
  readonly file: string;
  readonly prometheusUrl: string;
  readonly scrapeIntervalMs: number;
  /** For the service map; empty: there is no Jaeger to ask. */
  readonly jaegerUrl: string;
  readonly sampleRatio: number;
  /** Where a person sees a trace. */
  readonly linkOf: (traceId: string) => string;
}

const open = { config: { callers: 'anyone' } } as const;

const asked = Type.Object(
  { rangeMinutes: Type.Union([Type.Literal(15), Type.Literal(60), Type.Literal(360)]) },
  // What was chosen for the dashboard's variables, by their names.
  { additionalProperties: Type.String({ maxLength: 300 }) },
);
const named = Type.Object({ slug: Type.String({ maxLength: 100 }) });

const timeoutMs = 20_000;
/** Whoever looks at the same within this time sees the same. */
const freshMs = 5_000;
/** Beside the requests of clients: a map of a rough estimate will do. */
const mapTraces = 400;

export async function registerDashboards(http: FastifyInstance, options: DashboardsOptions): Promise<void> {
  const all = JSON.parse(await readFile(options.file, 'utf8')) as Readonly<Record<string, Dashboard>>;
  const list = Object.entries(all)
    .map(([slug, { title, description }]) => ({ slug, title: title.replace(/^.*: /, ''), description }))
    .sort(
      (a, b) =>
        Number(b.slug === 'overview') - Number(a.slug === 'overview') || a.title.localeCompare(b.title),
    );
  const recent = new Map<string, Promise<object>>();

  const routes = typed(http);
  routes.get('/console/dashboards.css', { ...open, schema: { hide: true } }, (_request, reply) =>
    reply.header('content-type', 'text/css; charset=utf-8').header('cache-control', 'no-cache').send(styles),
  );
  routes.get('/console/dashboards', { ...open, schema: { hide: true } }, () => ({ dashboards: list }));
  routes.get(
    '/console/dashboards/:slug',
    { ...open, schema: { hide: true, params: named, querystring: asked } },
    (request, reply) => {
      const { slug } = request.params;
      const { rangeMinutes, ...chosen } = request.query;
      const dashboard = Object.hasOwn(all, slug) ? all[slug] : undefined;
      if (dashboard === undefined) throw new HttpError(404, 'MUSTER_NOT_FOUND', 'there is no such dashboard');
      reply.header('cache-control', 'no-store');
      const key = JSON.stringify([slug, rangeMinutes, Object.entries(chosen).sort()]);
      const known = recent.get(key);
      if (known !== undefined) return known;
      const drawn = draw(dashboard, rangeMinutes, chosen as Chosen, options);
      recent.set(key, drawn);
      setTimeout(() => recent.delete(key), freshMs).unref();
      return drawn;
    },
  );
}

async function draw(
  dashboard: Dashboard,
  rangeMinutes: number,
  chosen: Chosen,
  { prometheusUrl, scrapeIntervalMs, jaegerUrl, sampleRatio, linkOf }: DashboardsOptions,
) {
  const signal = AbortSignal.timeout(timeoutMs);
  const toMs = Date.now();
  const resolution = resolutionOf({ fromMs: toMs - rangeMinutes * 60_000, toMs }, scrapeIntervalMs);
  const prometheus = prometheusAt(prometheusUrl, signal);
  const variables = await variablesFor(dashboard, resolution, prometheus, chosen);
  const { html, panels } = await drawDashboard(
    dashboard,
    resolution,
    {
      prometheus,
      traces:
        jaegerUrl === ''
          ? undefined
          : (window) => sampleTraces(jaegerAt(jaegerUrl, signal), window, { sampleRatio, most: mapTraces }),
      linkOf,
    },
    { chosen },
  );
  return {
    drawnAt: new Date(toMs).toISOString(),
    variables,
    // The page's policy lets no style pass that stands in the markup: the page sets them itself.
    html: html.replaceAll(' style="', ' data-style="'),
    panels: panels
      .filter(({ panel }) => panel.type !== 'row')
      .map(({ panel: { title, description }, empty }) => ({ title, description, empty })),
  };
}

/** The choices with what was chosen; what nobody offered is refused, so that nobody asks Prometheus by way of it. */
async function variablesFor(
  dashboard: Dashboard,
  resolution: Resolution,
  prometheus: Prometheus,
  chosen: Chosen,
) {
  const choices = await choicesOf(dashboard, resolution, prometheus);
  for (const [name, value] of Object.entries(chosen))
    if (choices.find((choice) => choice.name === name)?.values.includes(value) !== true)
      throw new HttpError(422, 'MUSTER_VALIDATION', 'there is no such variable, or no such value of it');
  return choices.map((choice) => ({ ...choice, chosen: chosen[choice.name] ?? null }));
}
