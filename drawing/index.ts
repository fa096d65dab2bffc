/** Dashboards with live data, drawn without Grafana: for pull requests, for drill reports, for places that have none. */
import type { Environment } from '../catalog/environments.ts';
import { renderDashboards } from '../dashboards/index.ts';
import { jaegerOf } from '../environment/jaeger.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { MusterError } from '../workers/base/errors.ts';
import { drawDashboard } from '../workers/views/dashboard.ts';
import { sampleTraces } from '../workers/views/jaeger.ts';
import type { Dashboard, Mark } from '../workers/views/model.ts';
import type { DrawnDashboard } from '../workers/views/page.ts';
import type { Sources } from '../workers/views/panels.ts';
import { prometheusAt, type Window } from '../workers/views/prometheus.ts';
import { resolutionOf } from '../workers/views/queries.ts';

export { fragmentOf, pageOf } from '../workers/views/page.ts';

export interface PreviewOptions {
  readonly window: Window;
  /** Slugs as in the file names (`overview`, `canary`); undefined: all. */
  readonly dashboards?: readonly string[] | undefined;
  /** Beside those of the dashboards' own annotations, e.g. what a drill broke and when. */
  readonly marks?: readonly Mark[];
  /** Another Prometheus than the environment's own. */
  readonly prometheusUrl?: string | undefined;
  readonly signal: AbortSignal;
}

/** Slugs of all dashboards, in order. */
export function dashboardSlugs(environment: Environment): readonly string[] {
  return [...renderDashboards(environment).keys()].map((file) => file.replace(/\.json$/, ''));
}

/**
 * The environment's dashboards as HTML sections (put them on a page with `pageOf`, or into one with
 * `fragmentOf`; a dashboard’s `panels` can stand alone), drawn from its Prometheus and Jaeger.
 * A Jaeger that does not answer leaves the service map empty. Throws MUSTER_USAGE (unknown dashboard),
 * MUSTER_PROMETHEUS_DOWN, MUSTER_PROMETHEUS_QUERY.
 */
export async function drawDashboards(
  environment: Environment,
  options: PreviewOptions,
): Promise<readonly DrawnDashboard[]> {
  const { window, signal, marks = [] } = options;
  const rendered = renderDashboards(environment);
  const slugs = options.dashboards ?? dashboardSlugs(environment);
  for (const slug of slugs)
    if (!rendered.has(`${slug}.json`))
      throw new MusterError(
        'MUSTER_USAGE',
        `No dashboard "${slug}"; there are: ${dashboardSlugs(environment).join(', ')}.`,
      );
  const url = options.prometheusUrl ?? urlFromHost(environment, 'prometheus');
  const sources: Sources = {
    prometheus: prometheusAt(url, signal),
    traces: async (of) => {
      try {
        const sampleRatio = environment.traceSampleRatio;
        return await sampleTraces(jaegerOf(environment, signal), of, { sampleRatio });
      } catch (error) {
        if (error instanceof MusterError && error.code.startsWith('MUSTER_JAEGER')) return [];
        throw error;
      }
    },
  };
  const resolution = resolutionOf(window, environment.prometheus.scrapeIntervalMs);
  const drawn: DrawnDashboard[] = [];
  for (const slug of slugs) {
    const dashboard = JSON.parse(rendered.get(`${slug}.json`)!) as Dashboard;
    drawn.push(await drawDashboard(dashboard, resolution, sources, { marks }));
  }
  return drawn;
}
