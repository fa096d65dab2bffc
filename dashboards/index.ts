/** All dashboards, as `./muster render` writes them to build/<environment>/grafana/dashboards/. */
import type { Environment } from '../catalog/environments.ts';
import { overview } from './overview.ts';

/** File name -> JSON text. */
export function renderDashboards(environment: Environment): Map<string, string> {
  return new Map([['overview.json', `${JSON.stringify(overview(environment), null, 2)}\n`]]);
}
