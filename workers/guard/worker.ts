/** Worker `mysql-guard`: decides which of the two members of the database takes writes, and says how they are. */
import { metrics } from '../../catalog/metrics.ts';
import { counter, gauge } from '../base/metrics.ts';
import type { Worker } from '../platform/worker.ts';
import { startGuarding } from './guarding.ts';
import { openNotes } from './notes.ts';
import { guardSettings } from './settings.ts';

export const worker: Worker<typeof guardSettings> = {
  name: 'mysql-guard',
  consumes: [],
  produces: [],
  staysSmall: true,
  config: guardSettings,
  async start({ config, log, metrics: registry }) {
    const changes = counter(registry, metrics.guard.changes);
    const guarding = await startGuarding({
      config,
      notes: openNotes(config.GUARD_DIRECTORY),
      log,
      onChange: () => changes.inc(),
    });
    const { members } = guarding;
    gauge(registry, metrics.guard.writer, (own) => {
      for (const member of members) own.set({ member }, guarding.serving() === member ? 1 : 0);
    });
    gauge(registry, metrics.guard.memberUp, (own) => {
      for (const member of members) own.set({ member }, guarding.isUp(member) ? 1 : 0);
    });
    gauge(registry, metrics.guard.atRisk, (own) => own.set(guarding.atRiskMs() / 1_000));
    return {
      // Also while nobody may write: it is not the guard that is not ready then.
      ready: guarding.hasLooked,
      waitingFor: () => 'a first look at both database servers',
      stop: guarding.stop,
    };
  },
};
