/** What `up` prints at its end: where to look and what to do next. Pure. */
import { join } from 'node:path';
import { type Environment, type ImageSource, spansHosts } from '../catalog/environments.ts';
import { plainTable, tableText } from '../drawing/table.ts';
import { stateDirectory } from '../environment/paths.ts';
import { secretsFile } from '../environment/variables.ts';
import { brokersOutside, placements, reachFromHost } from '../stacks/config/index.ts';
import { environmentFlag, paint } from './terminal.ts';

/** The table of addresses with the next commands. */
export function whereToLook(
  environment: Environment,
  result: {
    readonly images: ImageSource;
    readonly leftOut: ReadonlySet<string>;
    readonly touched: number;
  },
  seconds: number,
): string {
  const secrets = secretsFile(environment);
  const table = plainTable(['what', 'where', 'note'], [], paint);
  const row = (alias: string, port: string, what: string, note: string, path = ''): void => {
    const placement = placements(environment).find((one) => one.alias === alias);
    if (placement === undefined || result.leftOut.has(placement.component)) return;
    table.push([
      what,
      paint('cyan', `http://${reachFromHost(environment, alias, port)}${path}`),
      paint('dim', note),
    ]);
  };
  if (environment.processes.list.some(({ name, workers }) => name === 'api' && workers.includes('console')))
    row('api', 'http', 'console', 'try it: shop, rush, live outcomes, my-pay, food delivery', '/console');
  row('api', 'http', 'API', 'how to use it, with examples', '/docs');
  row('pay', 'http', 'my-pay', 'members, money, banks', '/docs');
  row('delivery', 'http', 'food delivery', 'shops, orders, riders', '/docs');
  row('grafana', 'http', 'Grafana', `admin, password: grafanaPassword in ${secrets}`);
  // What Debian and the Go modules give has less of a web interface than the official images.
  const built = result.images === 'build';
  row('prometheus', 'http', 'Prometheus', 'metrics and alerts', built ? '/classic/graph' : '');
  row('alertmanager', 'http', 'Alertmanager', 'what fires', built ? '/api/v2/alerts' : '');
  row('jaeger', 'query', 'Jaeger', built ? 'traces (API; read them by ./muster trace)' : 'traces');
  row('victorialogs', 'http', 'VictoriaLogs', 'log lines (also ./muster logs)', '/select/vmui');
  row('cmak', 'http', 'CMAK', `admin, password: cmakPassword in ${secrets}`);
  table.push(['Kafka', brokersOutside(environment), paint('dim', 'bootstrap brokers')]);
  if (!spansHosts(environment)) {
    const inbox = join(stateDirectory(environment.name), 'log-inbox');
    table.push(['log inbox', inbox, paint('dim', 'JSON lines in purchase/ and promo_behavior/')]);
  }
  const flag = environmentFlag(environment);
  const next = [
    [`./muster ${flag}status`, 'is it well?'],
    [`./muster ${flag}trace --last promotion`, 'one purchase, from the request to its promotion'],
    [`./muster ${flag}logs --follow`, 'what the parts say'],
    [`./muster ${flag}traffic --rate 200`, 'more load'],
    [`./muster ${flag}down`, 'stop; the data stays (--volumes: it goes)'],
  ];
  const width = Math.max(...next.map(([command]) => command!.length));
  const changed = result.touched === 0 ? 'nothing had to change' : `${result.touched} resources changed`;
  return [
    `${paint('green', `Environment ${environment.name} is up`)} (${seconds} s, ${changed}).`,
    '',
    tableText(table),
    '',
    ...next.map(([command, does]) => `  ${command!.padEnd(width)}   ${paint('dim', does!)}`),
  ].join('\n');
}
