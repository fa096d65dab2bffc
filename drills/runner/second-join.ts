/** A second join, a process on this host beside the environment's own: it takes half of the partitions over. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { checkout } from '../../environment/paths.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { seededRandom } from '../../workers/traffic/generate.ts';
import { startLinks } from '../links/links.ts';
import type { LinkFault } from '../links/proxy.ts';
import { type ProcedureStage, until } from './stage.ts';

/** It gives its partitions back at the end. */
export function scaleWorkers(stage: ProcedureStage): Promise<void> {
  return withSecondJoin(stage, stage.variables, async () => {
    await sleep(10_000, undefined, { signal: stage.signal });
  });
}

/** Its links to the brokers are bad for a while; those of everybody else are well. */
export async function joinOnBadLinks(stage: ProcedureStage, fault: LinkFault, forMs: number): Promise<void> {
  const { signal } = stage;
  const links = await startLinks(stage.environment, stage.variables, seededRandom(stage.seed));
  try {
    await withSecondJoin(stage, links.variables, async () => {
      // What the change of partitions costs is over by then.
      await sleep(8_000, undefined, { signal });
      stage.disturbed(`links of the second join: ${JSON.stringify(fault)}`);
      const mend = links.spoil(fault);
      await sleep(forMs, undefined, { signal });
      stage.disturbed('links of the second join: as they should');
      stage.note(mend());
      await sleep(8_000, undefined, { signal });
    });
  } finally {
    await links.close();
  }
}

async function withSecondJoin(
  stage: ProcedureStage,
  variables: Readonly<Record<string, string>>,
  work: () => Promise<void>,
): Promise<void> {
  const port = 28_500 + Math.floor(Math.random() * 400);
  stage.disturbed('a second join added');
  const endsWithUs = ['--import', new URL('./end-with-parent.ts', import.meta.url).href];
  const worker = [join(checkout, 'workers/main.ts'), 'promotion-join'];
  const child = spawn(process.execPath, [...endsWithUs, ...worker], {
    stdio: ['pipe', 'ignore', 'ignore'],
    env: {
      ...process.env,
      ...variables,
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
    await work();
    if (child.exitCode !== null)
      throw new MusterError('MUSTER_DRILL_PROCEDURE', `the second join ended with ${child.exitCode}`);
    stage.disturbed('the second join taken away');
    child.kill('SIGTERM');
    await Promise.race([ended, sleep(30_000)]);
  } finally {
    process.off('exit', kill);
    kill();
    await ended;
  }
}
