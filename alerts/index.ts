/** All rule files, as `./muster render` writes them to build/<environment>/prometheus/rules/. */
import type { Environment } from '../catalog/environments.ts';
import { renderGroup, renderProofs } from './promtool.ts';
import type { RuleGroup } from './rule.ts';
import { watchdog } from './watchdog.ts';

/** The groups of an environment, each a file of its own. */
export function ruleGroups(_environment: Environment): readonly RuleGroup[] {
  return [watchdog()];
}

/** File name -> YAML text of a Prometheus rule file. */
export function renderRules(environment: Environment): Map<string, string> {
  return new Map(ruleGroups(environment).map((group) => [`${group.name}.yml`, renderGroup(group)]));
}

/** File name -> YAML text of a promtool test file, for a folder beside the one of the rules. */
export function renderRuleTests(environment: Environment): Map<string, string> {
  return new Map(ruleGroups(environment).flatMap((group) => [...renderProofs(group)]));
}
