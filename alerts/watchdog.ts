/** The dead man's switch: an alert that always fires. */
import type { Environment } from '../catalog/environments.ts';

/** A group of a Prometheus rule file. */
export interface RuleGroup {
  readonly name: string;
  readonly interval?: string;
  readonly rules: readonly {
    readonly alert: string;
    readonly expr: string;
    readonly for?: string;
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  }[];
}

/** Fires from the first evaluation on; whoever receives it notices when it stops. */
export function watchdog(environment: Environment): RuleGroup {
  return {
    name: 'watchdog',
    rules: [
      {
        alert: 'Watchdog',
        expr: 'vector(1)',
        labels: { severity: 'none', environment: environment.name },
        annotations: {
          summary: 'Alerting works from Prometheus to the receiver.',
          description:
            'This alert always fires. When its receiver stops hearing it, no other alert would arrive either.',
          runbook: 'alerts/runbooks/Watchdog.md',
        },
      },
    ],
  };
}
