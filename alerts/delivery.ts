/** Food delivery: orders that go no further, riders that nobody finds, people who are told late. */
import { limits } from '../catalog/alerting.ts';
import { metrics } from '../catalog/metrics.ts';
import { atMost } from '../catalog/slos.ts';
import { at, growing, type RuleGroup, rule } from './rule.ts';

const { delivery } = metrics;

export function deliveryAlerts(): RuleGroup {
  const called = (outcome: string) => `sum(rate(${delivery.due}{outcome="${outcome}"}[10m]))`;
  const age = (state: string) => `${delivery.oldestAge}{process="delivery",state="${state}"}`;
  const due = (outcome: string) => `${delivery.due}{process="delivery",outcome="${outcome}"}`;
  const told = (le: string) => `${delivery.notifyLatency}_bucket{process="delivery",le="${le}"}`;
  const inTime = `sum(rate(${delivery.notifyLatency}_bucket${atMost(limits.notifyWithinSeconds)}[5m]))`;
  const all = `sum(rate(${delivery.notifyLatency}_count[5m]))`;
  return {
    name: 'delivery',
    rules: [
      rule({
        name: 'DeliveryStuck',
        severity: 'page',
        // People may take their time; these are ours to leave.
        expr: `max by (state) (${delivery.oldestAge}{state=~"CALLED|ASSIGNED|DELIVERING"}) > ${limits.deliveryStuckSeconds}`,
        for: '1m',
        summary: 'An order has been {{ $labels.state }} for {{ $value | humanizeDuration }}.',
        meaning:
          'A called order gets a rider or is told that there is none at once, and a delivery ends a second after it was assigned. Somebody waits for a dish that nobody brings, and a rider may be held with it.',
        firstStep: 'Is delivery-riders ready, is Kafka, and what does it log?',
        runbook: 'alerts/runbooks/DeliveryStuck.md',
        proof: {
          fires: [
            {
              when: 'an order stays assigned, and is delivered ten minutes later',
              series: { [age('ASSIGNED')]: [at(1, '2m'), at(90, '10m'), at(0)], [age('PLACED')]: [at(900)] },
              alerts: [{ state: 'ASSIGNED' }],
              trueFrom: '2m',
              falseFrom: '12m',
            },
          ],
          staysQuiet: [
            {
              when: 'owners do not answer, and what is called waits for a minute at most',
              series: { [age('PLACED')]: [at(9_000)], [age('CALLED')]: [at(60)] },
            },
          ],
          live: { notLive: 'promtool; would need an order that is kept from its end' },
        },
      }),
      rule({
        name: 'NoFreeRiders',
        severity: 'ticket',
        expr: `${called('TOLD_FAILED')} / (${called('TOLD_FAILED')} + ${called('ASSIGNED')}) > ${limits.noRiderRatio} and ${called('TOLD_FAILED')} > 0.01`,
        for: '5m',
        summary: '{{ $value | humanizePercentage }} of the orders that call for a rider find none.',
        meaning: 'All riders of a district are busy, or nobody works there. Customers call again or cancel.',
        firstStep: 'How many riders are free, busy and off, and in which districts?',
        runbook: 'alerts/runbooks/NoFreeRiders.md',
        proof: {
          fires: [
            {
              when: 'three of four find nobody',
              series: { [due('ASSIGNED')]: [growing(1)], [due('TOLD_FAILED')]: [at(0, '10m'), growing(3)] },
              // In 600 s with one assigned a second there are as many after 200 s.
              trueFrom: '800s',
              within: '60s',
            },
          ],
          staysQuiet: [
            {
              when: 'every third finds nobody, for long',
              series: { [due('ASSIGNED')]: [growing(2)], [due('TOLD_FAILED')]: [growing(1)] },
            },
            {
              when: 'the only call of the hour finds nobody',
              series: { [due('ASSIGNED')]: [at(0)], [due('TOLD_FAILED')]: [at(0, '6m'), at(1)] },
            },
          ],
          live: { notLive: 'promtool; would need riders who stop work' },
        },
      }),
      rule({
        name: 'DeliveryNotificationsLate',
        severity: 'ticket',
        expr: `1 - ${inTime} / ${all} > ${limits.notifyLateRatio}`,
        for: '5m',
        summary: `{{ $value | humanizePercentage }} of the changes of orders are told later than ${limits.notifyWithinSeconds} s after them.`,
        meaning:
          'People look at a state that is gone: a customer cancels what is being cooked, an owner does not see an order. Each is told all the same, once.',
        firstStep: 'Is delivery-messages behind (lag of its group), or the outbox of delivery?',
        runbook: 'alerts/runbooks/DeliveryNotificationsLate.md',
        proof: {
          fires: [
            {
              when: 'every second one is late',
              series: {
                [told(String(limits.notifyWithinSeconds))]: [growing(1)],
                [`${delivery.notifyLatency}_count{process="delivery"}`]: [growing(1, '10m'), growing(2)],
              },
              trueFrom: '630s',
              within: '60s',
            },
            {
              when: 'the same, where Prometheus writes the bound in its own way',
              series: {
                [told(`${limits.notifyWithinSeconds}.0`)]: [growing(1)],
                [`${delivery.notifyLatency}_count{process="delivery"}`]: [growing(1, '10m'), growing(2)],
              },
              trueFrom: '630s',
              within: '60s',
            },
          ],
          staysQuiet: [
            {
              when: 'one in fifty is late',
              series: {
                [told(String(limits.notifyWithinSeconds))]: [growing(49)],
                [`${delivery.notifyLatency}_count{process="delivery"}`]: [growing(50)],
              },
            },
          ],
          live: { notLive: 'promtool; would need a worker that is slow and not away' },
        },
      }),
    ],
  };
}
