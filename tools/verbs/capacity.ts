/** `./muster capacity`: what a broker needs at the catalog's design load, and for how many days its disk is enough. */
import type { Command } from 'commander';
import { allGroups } from '../../catalog/groups.ts';
import { allTopics } from '../../catalog/topics.ts';
import { compareCapacity, planCapacity } from '../capacity.ts';
import { comparisonTable, planTables } from '../capacity-table.ts';
import { paint, say, sayJson } from '../terminal.ts';
import { addVerb } from '../verb.ts';

export function addCapacity(program: Command): void {
  addVerb<{ json?: boolean; measure?: boolean }>(program, {
    usage: 'capacity',
    description: 'disk, network and memory of a broker at the design load; does the retention fit',
    examples: [
      ['--env prod capacity', 'where the contract’s 34.5 GB come from, and what it really takes'],
      ['--env ci capacity --measure', 'beside it what a message takes on the disks of a running environment'],
      ['--env prod capacity --json', 'for programs (Capacity in tools/capacity.ts)'],
    ],
    exits: ['failed', 'unavailable'],
    configure: (command) =>
      command
        .option('--measure', 'compare with bytes on disk (Prometheus) and records (brokers)')
        .option('--json', 'for programs'),
    async run({ environment, signal }, options) {
      const plan = planCapacity(environment, allTopics, allGroups);
      const comparison =
        options.measure === true
          ? compareCapacity(
              plan,
              await (await import('../capacity-measure.ts')).measureTopics(environment, signal),
            )
          : undefined;
      if (options.json === true) {
        sayJson({ ...plan, ...(comparison && { comparison }) });
      } else {
        say(planTables(plan, paint));
        if (comparison !== undefined) say(`\n${comparisonTable(comparison, paint)}`);
      }
      return plan.disk.fits && plan.memory.fits ? 'ok' : 'failed';
    },
  });
}
