/** The pages of an environment that a person opens. Pure. */
import type { Environment, ImageSource } from '../catalog/environments.ts';
import { placements, urlFromHost } from '../stacks/config/index.ts';
import { environmentFlag } from './terminal.ts';

export interface Page {
  /** As typed: `./muster open jaeger`. */
  readonly name: string;
  /** For people. */
  readonly title: string;
  readonly url: string;
  readonly note: string;
}

/** Those that the environment has. */
export function pagesOf(
  environment: Environment,
  deployed: { readonly images: ImageSource; readonly leftOut: ReadonlySet<string> },
): readonly Page[] {
  const passwordBy = (name: string) =>
    `admin, password: ./muster ${environmentFlag(environment)}secrets show ${name}`;
  /** `of`: the process or the server that has it. */
  const page = (of: string, name: string, title: string, note: string, path = ''): Page[] => {
    const isThere = placements(environment).some(({ ports }) => ports[of] !== undefined);
    if (!isThere || deployed.leftOut.has(of)) return [];
    return [{ name, title, url: `${urlFromHost(environment, of)}${path}`, note }];
  };
  const ofConsole = (room: string, name: string, note: string) =>
    page('api', name, name, note, `/console${room}`);
  const hasConsole = environment.processes.list.some(
    ({ name, workers }) => name === 'api' && workers.includes('console'),
  );
  // What Debian and the Go modules give has less of a web interface than the official images.
  const built = deployed.images === 'build';
  return [
    ...(hasConsole
      ? [
          ...ofConsole('', 'console', 'try it: shop, rush, live outcomes, my-pay, food delivery'),
          ...ofConsole('#dashboards', 'dashboards', 'live, by the console'),
          ...ofConsole('#traces', 'traces', 'with their log lines, by the console'),
        ]
      : []),
    ...page('api', 'api', 'API', 'how to use it, with examples', '/docs'),
    ...page('pay', 'pay', 'my-pay', 'members, money, banks', '/docs'),
    ...page('delivery', 'delivery', 'food delivery', 'shops, orders, riders', '/docs'),
    ...page('grafana', 'grafana', 'Grafana', passwordBy('grafanaPassword')),
    ...page('prometheus', 'prometheus', 'Prometheus', 'metrics and alerts', built ? '/classic/graph' : ''),
    ...page('alertmanager', 'alertmanager', 'Alertmanager', 'what fires', built ? '/api/v2/alerts' : ''),
    // The page of a Jaeger that we build is a placeholder: the console's is at its place.
    ...(built && hasConsole
      ? []
      : page('jaeger', 'jaeger', 'Jaeger', built ? 'traces (API; read them by ./muster trace)' : 'traces')),
    ...page('victorialogs', 'logs', 'VictoriaLogs', 'log lines (also ./muster logs)', '/select/vmui'),
    ...page('cmak', 'cmak', 'CMAK', passwordBy('cmakPassword')),
  ];
}
