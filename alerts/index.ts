/** All rule files, as `./muster render` writes them to build/<environment>/prometheus/rules/. */
import { stringify } from 'yaml';
import type { Environment } from '../catalog/environments.ts';
import { watchdog } from './watchdog.ts';

/** File name -> YAML text of a Prometheus rule file. */
export function renderRules(environment: Environment): Map<string, string> {
  return new Map([['watchdog.yml', stringify({ groups: [watchdog(environment)] }, { lineWidth: 0 })]]);
}
