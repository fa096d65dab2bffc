/** The two promises about disasters: how much may be lost, how long it may take. */
import { metrics } from '../catalog/metrics.ts';
import { recoveryObjectives } from '../catalog/slos.ts';
import { at, growing, type RuleGroup, rule } from './rule.ts';

const { recovery, canary } = metrics;
const { rtoSeconds, rpoSeconds } = recoveryObjectives;

export function recoveryAlerts(): RuleGroup {
  return {
    name: 'recovery',
    rules: [
      rule({
        name: 'RpoAtRisk',
        severity: 'page',
        expr: `max by (topic) (${recovery.secondsAtRisk}) > ${rpoSeconds.required}`,
        for: '30s',
        summary: '{{ $value | humanizeDuration }} of {{ $labels.topic }} are on one broker only.',
        meaning: `If that broker’s disk dies now, more than the ${rpoSeconds.required} s that may be lost are gone.`,
        firstStep: 'Bring the followers back: ./muster status. Do not restart the leader.',
        runbook: 'alerts/runbooks/RpoAtRisk.md',
        proof: {
          fires: [
            {
              when: 'the followers of one partition stand still',
              series: {
                [`${recovery.secondsAtRisk}{topic="purchase",partition="0"}`]: [at(0)],
                [`${recovery.secondsAtRisk}{topic="purchase",partition="1"}`]: [at(0, '2m'), growing(1)],
              },
              trueFrom: '195s',
              alerts: [{ topic: 'purchase' }],
            },
          ],
          staysQuiet: [
            {
              when: 'a minute of it',
              series: {
                [`${recovery.secondsAtRisk}{topic="purchase",partition="1"}`]: [
                  at(0, '2m'),
                  growing(1, '1m'),
                  at(0),
                ],
              },
            },
          ],
          live: { cause: 'two brokers killed' },
        },
      }),
      rule({
        name: 'RtoExceeded',
        severity: 'page',
        expr: `max(${canary.currentOutage}) > ${rtoSeconds.required}`,
        for: '0s',
        summary: 'Publishing has been disturbed for {{ $value | humanizeDuration }}.',
        meaning: `The platform promised to be back within ${rtoSeconds.required / 60} minutes.`,
        firstStep: 'There is an incident going on already: ask for help now.',
        runbook: 'alerts/runbooks/RtoExceeded.md',
        proof: {
          fires: [
            {
              when: 'an outage passes five minutes',
              series: { [`${canary.currentOutage}{instance="watch"}`]: [at(0, '2m'), growing(1)] },
              trueFrom: '435s',
            },
          ],
          staysQuiet: [
            {
              when: 'it ends after exactly five minutes',
              series: {
                [`${canary.currentOutage}{instance="watch"}`]: [at(0, '2m'), growing(1, '5m'), at(0)],
              },
            },
          ],
          live: { cause: 'two brokers killed' },
        },
      }),
    ],
  };
}
