/** The pages of an environment that a person opens. Pure. */
import type { Environment, ImageSource } from '../catalog/environments.ts';
import { placements, reachFromHost } from '../stacks/config/index.ts';
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
  const page = (
    alias: string,
    port: string,
    name: string,
    title: string,
    note: string,
    path = '',
  ): Page[] => {
    const placement = placements(environment).find((one) => one.alias === alias);
    if (placement?.ports[port] === undefined || deployed.leftOut.has(placement.component)) return [];
    return [{ name, title, url: `http://${reachFromHost(environment, alias, port)}${path}`, note }];
  };
  const hasConsole = environment.processes.list.some(
    ({ name, workers }) => name === 'api' && workers.includes('console'),
  );
  // What Debian and the Go modules give has less of a web interface than the official images.
  const built = deployed.images === 'build';
  return [
    ...(hasConsole
      ? page(
          'gateway',
          'api',
          'console',
          'console',
          'try it: shop, rush, live outcomes, my-pay, food delivery',
          '/console',
        )
      : []),
    ...page('gateway', 'api', 'api', 'API', 'how to use it, with examples', '/docs'),
    ...page('gateway', 'pay', 'pay', 'my-pay', 'members, money, banks', '/docs'),
    ...page('gateway', 'delivery', 'delivery', 'food delivery', 'shops, orders, riders', '/docs'),
    ...page('grafana', 'http', 'grafana', 'Grafana', passwordBy('grafanaPassword')),
    ...page(
      'prometheus',
      'http',
      'prometheus',
      'Prometheus',
      'metrics and alerts',
      built ? '/classic/graph' : '',
    ),
    ...page(
      'alertmanager',
      'http',
      'alertmanager',
      'Alertmanager',
      'what fires',
      built ? '/api/v2/alerts' : '',
    ),
    ...page(
      'jaeger',
      'query',
      'jaeger',
      'Jaeger',
      built ? 'traces (API; read them by ./muster trace)' : 'traces',
    ),
    ...page('victorialogs', 'http', 'logs', 'VictoriaLogs', 'log lines (also ./muster logs)', '/select/vmui'),
    ...page('cmak', 'http', 'cmak', 'CMAK', passwordBy('cmakPassword')),
  ];
}
