/** Steps of drills that are more than one fault. Each is over when it returns, and leaves nothing behind. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { processReplicas } from '../../stacks/config/topology.ts';
import { containersOf } from '../../tools/docker.ts';
import { readiness } from '../../tools/health.ts';
import { checkout } from '../../tools/paths.ts';
import { MusterError } from '../../workers/platform/errors.ts';
import type { Kafka } from '../../workers/platform/kafka.ts';
import type { Faults } from '../faults.ts';
import { rollingRestart } from '../rolling-restart.ts';

export interface ProcedureStage {
  readonly environment: Environment;
  readonly faults: Faults;
  readonly kafka: Kafka;
  readonly signal: AbortSignal;
  /** Variables with which a worker on this host reaches the environment. */
  readonly variables: Readonly<Record<string, string>>;
  /** Recovery is measured from each of these. */
  disturbed(what: string): void;
  note(what: string): void;
}

type Procedure = (stage: ProcedureStage) => Promise<void>;

const patienceMs = 180_000;

const procedures: Readonly<Record<string, Procedure>> = {
  'rolling-restart': (stage) =>
    rollingRestart({
      ...stage,
      onBroker: (alias, what) =>
        what === 'stopping' ? stage.disturbed(`${alias} restarted`) : stage.note(`${alias} ${what}`),
    }),

  /** What an upgrade does: each process of ours ends in its own way and starts again, one after the other. */
  async 'restart-workers'(stage) {
    for (const { alias, spec } of processReplicas(stage.environment)) {
      // They are what looks on and what stands outside.
      if (spec.workers.some((worker) => worker === 'canary' || worker === 'webhook-stub')) continue;
      stage.disturbed(`${alias} restarted`);
      await stage.faults.inject(alias, { kind: 'restart', graceMs: 30_000 });
      await until(stage, `${alias} is ready`, async () => {
        const containers = await containersOf(stage.environment);
        return (await readiness(stage.environment, containers)).get(alias) === true;
      });
      stage.note(`${alias} ready`);
      await sleep(3_000, undefined, { signal: stage.signal });
    }
  },

  /** A second join takes half of the partitions over, and gives them back. */
  async 'scale-workers'(stage) {
    const port = 28_500 + Math.floor(Math.random() * 400);
    stage.disturbed('a second join added');
    const child = spawn(process.execPath, [join(checkout, 'workers/main.ts'), 'promotion-join'], {
      stdio: 'ignore',
      env: {
        ...process.env,
        ...stage.variables,
        PROCESS_NAME: 'drill-join',
        HTTP_HOST: '127.0.0.1',
        HTTP_PORT: String(port),
        LOG_LEVEL: 'error',
      },
    });
    const ended = once(child, 'exit');
    const kill = () => child.kill('SIGKILL');
    process.on('exit', kill);
    try {
      await until(stage, 'the second join is ready', async () => {
        if (child.exitCode !== null)
          throw new MusterError('MUSTER_DRILL_PROCEDURE', `the second join ended with ${child.exitCode}`);
        const answer = await fetch(`http://127.0.0.1:${port}/readyz`).catch(() => undefined);
        return answer?.ok === true;
      });
      stage.note('the second join is ready');
      await sleep(10_000, undefined, { signal: stage.signal });
      stage.disturbed('the second join taken away');
      child.kill('SIGTERM');
      await Promise.race([ended, sleep(30_000)]);
    } finally {
      process.off('exit', kill);
      kill();
      await ended;
    }
  },
};

/** Throws MUSTER_DRILL_PROCEDURE when there is none of this name. */
export function procedureNamed(name: string): Procedure {
  const found = Object.hasOwn(procedures, name) ? procedures[name] : undefined;
  if (found === undefined)
    throw new MusterError(
      'MUSTER_DRILL_PROCEDURE',
      `No procedure "${name}"; there are: ${Object.keys(procedures).join(', ')}.`,
    );
  return found;
}

async function until(stage: ProcedureStage, what: string, is: () => Promise<boolean>): Promise<void> {
  for (const untilMs = Date.now() + patienceMs; !(await is()); ) {
    if (Date.now() > untilMs)
      throw new MusterError('MUSTER_DRILL_PROCEDURE', `not within ${patienceMs / 1_000} s: ${what}`);
    await sleep(500, undefined, { signal: stage.signal });
  }
}
