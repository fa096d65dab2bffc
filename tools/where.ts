/** What `up` prints at its end: where to look and what to do next. Pure. */
import { join } from 'node:path';
import { type Environment, type ImageSource, spansHosts } from '../catalog/environments.ts';
import { plainTable, tableText } from '../drawing/table.ts';
import { authorityFile } from '../environment/certificate.ts';
import { stateDirectory } from '../environment/paths.ts';
import { secretsFile } from '../environment/variables.ts';
import { brokersOutside } from '../stacks/config/index.ts';
import { pagesOf } from './pages.ts';
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
  const table = plainTable(['what', 'where', 'note'], [], paint);
  for (const { title, url, note } of pagesOf(environment, result))
    table.push([title, paint('cyan', url), paint('dim', note)]);
  table.push(['Kafka', brokersOutside(environment), paint('dim', 'bootstrap brokers')]);
  if (environment.tls === 'made') {
    const file = authorityFile(secretsFile(environment));
    table.push(['authority', file, paint('dim', 'of their certificate: for browsers, and curl --cacert')]);
  }
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
