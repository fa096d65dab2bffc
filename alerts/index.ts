/** All rule files, as `./muster render` writes them to build/<environment>/prometheus/rules/. */
import type { Environment } from '../catalog/environments.ts';
import { brokerAlerts } from './brokers.ts';
import { couponAlerts } from './coupon.ts';
import { dataAlerts } from './data.ts';
import { deliveryAlerts } from './delivery.ts';
import { diskAlerts } from './disk.ts';
import { lagAlerts } from './lag.ts';
import { logAlerts } from './logs.ts';
import { outsideAlerts } from './outside.ts';
import { payAlerts } from './pay.ts';
import { platformAlerts } from './platform.ts';
import { promiseAlerts } from './promises.ts';
import { promotionAlerts } from './promotion.ts';
import { renderGroup, renderProofs } from './promtool.ts';
import { recoveryAlerts } from './recovery.ts';
import { isAlert, type RuleGroup } from './rule.ts';
import { selfAlerts } from './self.ts';
import { sloAlerts, sloBudget } from './slo.ts';
import { renderPeriodProof } from './slo-period.ts';
import { watchdog } from './watchdog.ts';
import { zookeeperAlerts } from './zookeeper.ts';

/** The groups of an environment, each a file of its own. */
export function ruleGroups(environment: Environment): readonly RuleGroup[] {
  return [
    promiseAlerts(),
    brokerAlerts(environment),
    zookeeperAlerts(environment),
    diskAlerts(environment),
    lagAlerts(),
    promotionAlerts(),
    couponAlerts(),
    outsideAlerts(),
    deliveryAlerts(),
    payAlerts(),
    logAlerts(),
    platformAlerts(environment),
    dataAlerts(),
    recoveryAlerts(),
    sloAlerts(),
    sloBudget(),
    selfAlerts(),
    watchdog(),
  ];
}

/** File name -> YAML text of a Prometheus rule file. */
export function renderRules(environment: Environment): Map<string, string> {
  return new Map(ruleGroups(environment).map((group) => [`${group.name}.yml`, renderGroup(group)]));
}

/** File name -> YAML text of a promtool test file, for a folder beside the one of the rules. */
export function renderRuleTests(environment: Environment): Map<string, string> {
  return new Map([
    ...ruleGroups(environment).flatMap((group) => [...renderProofs(group)]),
    ['slo-period.yml', renderPeriodProof()],
  ]);
}

/** All alerts as a Markdown table, for docs/alerts.md: what differs between environments is not in it. */
export function renderAlertTable(environment: Environment): string {
  const rows = ruleGroups(environment).flatMap(({ rules }) =>
    rules.filter(isAlert).map((rule) => {
      const { live } = rule.proof;
      const causes = (rule.inhibitedBy ?? []).map((entry) =>
        typeof entry === 'string' ? entry : `${entry.cause} (${entry.where.label} ${entry.where.value})`,
      );
      return [
        `[${rule.name}](../${rule.runbook})`,
        rule.severity,
        rule.for === '0s' ? 'at once' : rule.for,
        rule.meaning.replaceAll('|', '\\|'),
        causes.join(', '),
        'cause' in live ? `live: ${live.cause}` : `promtool; ${live.notLive}`,
      ];
    }),
  );
  const head = ['alert', 'severity', 'after', 'what it means', 'kept back by', 'proof'];
  return [head, head.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |\n`).join('');
}
