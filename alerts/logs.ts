/** Log lines: that the store of the group log-store lags, or is away, others tell. */
import { metrics } from '../catalog/metrics.ts';
import { at, growing, type RuleGroup, rule } from './rule.ts';

const { log } = metrics;

export function logAlerts(): RuleGroup {
  const dropped = (reason: string) =>
    `${log.dropped}{job="worker",instance="api",process="api",reason="${reason}"}`;
  return {
    name: 'logs',
    rules: [
      rule({
        name: 'LogLinesDropped',
        severity: 'ticket',
        expr: `sum by (process) (increase(${log.dropped}[10m])) > 0`,
        for: '0s',
        summary: '{{ $labels.process }} has dropped {{ $value | humanize }} log lines within 10 minutes.',
        meaning:
          'They are in the log of its container only: whoever searches the log store does not find them. No work is lost.',
        firstStep:
          'Was Kafka away (BrokersMissing), or does the process write a storm of lines? Dashboard Logs.',
        runbook: 'alerts/runbooks/LogLinesDropped.md',
        proof: {
          fires: [
            {
              when: 'lines find no room for a minute',
              series: { [dropped('no-room')]: [at(0, '5m'), growing(10, '1m'), at(600)] },
              trueFrom: '315s',
              within: '15s',
              alerts: [{ process: 'api' }],
            },
          ],
          staysQuiet: [
            {
              when: 'none was dropped for long',
              series: { [dropped('no-room')]: [at(600)], [dropped('refused')]: [at(0)] },
            },
          ],
          live: { notLive: 'needs Kafka to be away for longer than any drill, or a storm' },
        },
      }),
    ],
  };
}
