/** Outside systems: do they hear what we tell them. */
import { limits } from '../catalog/alerting.ts';
import { metrics } from '../catalog/metrics.ts';
import { at, growing, type RuleGroup, rule } from './rule.ts';

const { http, outside } = metrics;

export function outsideAlerts(): RuleGroup {
  const attempts = `sum(rate(${outside.webhookAttempts}[5m]))`;
  const failed = `sum(rate(${outside.webhookAttempts}{outcome!="2xx"}[5m]))`;
  const attempt = (outcome: string) => `${outside.webhookAttempts}{process="outside",outcome="${outcome}"}`;
  return {
    name: 'outside',
    rules: [
      rule({
        name: 'OutsideDeadLettered',
        severity: 'ticket',
        expr: `max(${outside.deadLettered}) > 0`,
        for: '0s',
        summary: '{{ $value }} business events were given up: the system outside did not take them.',
        meaning:
          'A partner does not know of payments that happened. All retries are used up; nobody tries again by itself.',
        firstStep: 'Is the partner well again? Then ./muster dlq list, and replay.',
        runbook: 'alerts/runbooks/OutsideDeadLettered.md',
        proof: {
          fires: [
            {
              when: 'one is given up, and replayed ten minutes later',
              series: { [`${outside.deadLettered}{process="outside"}`]: [at(0, '2m'), at(1, '10m'), at(0)] },
              trueFrom: '2m',
              falseFrom: '12m',
            },
          ],
          staysQuiet: [
            { when: 'none is', series: { [`${outside.deadLettered}{process="outside"}`]: [at(0)] } },
          ],
          live: { cause: 'failing webhook' },
        },
      }),
      rule({
        name: 'WebhooksFailing',
        severity: 'ticket',
        expr: `${failed} / ${attempts} > ${limits.webhookFailureRatio} and ${attempts} > 0.01`,
        for: '5m',
        summary: '{{ $value | humanizePercentage }} of the calls to systems outside fail.',
        meaning:
          'A partner is down or refuses us. Events wait and are tried again; after the last retry they are given up.',
        firstStep: 'Which outcome: 5xx and timeout are theirs, 4xx is ours, network is between.',
        runbook: 'alerts/runbooks/WebhooksFailing.md',
        proof: {
          fires: [
            {
              when: 'three of four calls time out',
              series: {
                [attempt('2xx')]: [growing(1)],
                [attempt('timeout')]: [at(0, '10m'), growing(3)],
              },
              // Half of the calls of the last five minutes have failed after a bit more than half of them.
              trueFrom: '690s',
              within: '60s',
            },
          ],
          staysQuiet: [
            {
              when: 'every third call fails, for long',
              series: { [attempt('2xx')]: [growing(2)], [attempt('5xx')]: [growing(1)] },
            },
            {
              when: 'the only call of the hour fails',
              series: { [attempt('2xx')]: [at(0)], [attempt('5xx')]: [at(0, '6m'), at(1)] },
            },
          ],
          live: { cause: 'failing webhook' },
        },
      }),
      rule({
        name: 'OtherSideDown',
        severity: 'ticket',
        expr: `max by (client) (${http.clientBreakerOpen}) == 1`,
        for: '1m',
        summary: '{{ $labels.client }} is left alone: its calls have failed, one after the other.',
        meaning:
          'A system that we call is down: a bank, a receiver of webhooks, a service of ours. What needs it waits or is answered 503; once in a while a call finds out whether it is back.',
        firstStep: 'Which one, and how do its calls end: no connection, no answer in time, or 5xx?',
        runbook: 'alerts/runbooks/OtherSideDown.md',
        proof: {
          fires: [
            {
              when: 'a bank is down for ten minutes',
              series: {
                [`${http.clientBreakerOpen}{process="pay",client="bank-hana"}`]: [
                  at(0, '2m'),
                  at(1, '10m'),
                  at(0),
                ],
                [`${http.clientBreakerOpen}{process="pay",client="membership"}`]: [at(0)],
              },
              alerts: [{ client: 'bank-hana' }],
              trueFrom: '2m',
              falseFrom: '12m',
            },
          ],
          staysQuiet: [
            {
              when: 'it is back at the first look',
              series: {
                [`${http.clientBreakerOpen}{process="pay",client="bank-hana"}`]: [
                  at(0, '2m'),
                  at(1, '45s'),
                  at(0),
                ],
              },
            },
          ],
          live: { notLive: 'promtool; no fault of the platform breaks a system outside for good' },
        },
      }),
    ],
  };
}
