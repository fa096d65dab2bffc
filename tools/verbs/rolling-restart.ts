/** `./muster rolling-restart`: all brokers, one after the other, without a failed request. */
import type { Command } from 'commander';
import { say } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addRollingRestart(program: Command): void {
  addVerb(program, {
    usage: 'rolling-restart',
    description:
      'restart the brokers one after the other, each only when every copy is in sync and leaders are back; no request fails',
    examples: [
      ['rolling-restart', 'two to three minutes; may be stopped and repeated at any time'],
      ['--env ci rolling-restart', 'the same in another environment'],
    ],
    exits: ['failed', 'unavailable'],
    changes: true,
    async run({ environment, signal }) {
      const [{ rollingRestart }, { withFaults }, { kafkaOf }, { alone }] = await Promise.all([
        import('../../drills/rolling-restart.ts'),
        import('../../drills/faults.ts'),
        import('../../environment/kafka.ts'),
        import('../lifecycle.ts'),
      ]);
      const kafka = kafkaOf(environment);
      const startedAtMs = performance.now();
      let told = '';
      try {
        // Maintenance, and no fault: prod is allowed. The journal starts a broker again when we are cut off.
        await alone(environment, signal, () =>
          withFaults(environment, { report: say, signal, reallyProd: true }, (faults) =>
            rollingRestart({
              environment,
              faults,
              kafka,
              signal,
              onBroker: (alias, what) => {
                told = '';
                say(`${alias} ${what}`);
              },
              tell(line) {
                if (line !== told) say(`  waiting: ${line}`);
                told = line;
              },
            }),
          ),
        );
      } finally {
        await kafka.close();
      }
      say(`All brokers restarted (${((performance.now() - startedAtMs) / 1_000).toFixed(0)} s).`);
      return undefined;
    },
  });
}
