/** The dead man's switch: an alert that always fires. */
import { at, type RuleGroup, rule } from './rule.ts';

/** Fires from the first evaluation on; whoever receives it notices when it stops. */
export function watchdog(): RuleGroup {
  return {
    name: 'watchdog',
    rules: [
      rule({
        name: 'Watchdog',
        severity: 'none',
        expr: 'vector(1)',
        for: '0s',
        summary: 'Alerting works from Prometheus to the receiver.',
        meaning:
          'This alert always fires. When its receiver stops hearing it, no other alert would arrive either.',
        firstStep: 'Nothing, while it arrives. When it stops: ./muster status, then the runbook.',
        runbook: 'alerts/runbooks/Watchdog.md',
        proof: {
          fires: [
            { when: 'anything', series: { up: [at(1)] }, trueFrom: '0s' },
            { when: 'there is no data at all', series: {}, trueFrom: '0s' },
          ],
          staysQuiet: { never: 'its silence is the alarm' },
          live: { cause: 'nothing, it always fires' },
        },
      }),
    ],
  };
}
