/** my-pay: what waits for people. */
import { metrics } from '../catalog/metrics.ts';
import { at, type RuleGroup, rule } from './rule.ts';

export function payAlerts(): RuleGroup {
  const { open } = metrics.settlement;
  const settlements = (state: string, process = 'pay') => `${open}{process="${process}",state="${state}"}`;
  return {
    name: 'pay',
    rules: [
      rule({
        name: 'SettlementsStopped',
        severity: 'ticket',
        // Each process that settles counts the same rows.
        expr: `max(${open}{state="STOPPED"}) > 0`,
        for: '1m',
        summary: '{{ $value }} settlements have stopped: their merchants get no money until somebody looks.',
        meaning:
          'Banking or a bank has refused a payout, or the merchant has no account or is not in good standing. The money is still ours to pay; nothing happens by itself.',
        firstStep: 'GET /pay/settlements?state=STOPPED: what the reasons have in common.',
        runbook: 'alerts/runbooks/SettlementsStopped.md',
        proof: {
          fires: [
            {
              when: 'one stops, two processes see it, and it is tried again ten minutes later',
              series: {
                [settlements('STOPPED')]: [at(0, '2m'), at(1, '10m'), at(0)],
                [settlements('STOPPED', 'pay-2')]: [at(0, '2m'), at(1, '10m'), at(0)],
              },
              trueFrom: '2m',
              falseFrom: '12m',
            },
          ],
          staysQuiet: [
            {
              when: 'many are under way, and one was tried again at once',
              series: {
                [settlements('PAYING_OUT')]: [at(500)],
                [settlements('STOPPED')]: [at(0, '2m'), at(1, '45s'), at(0)],
              },
            },
          ],
          live: {
            notLive:
              'needs a merchant’s money that a bank refuses; the integration test of settlements stops one',
          },
        },
      }),
    ],
  };
}
