/** Steps of drills that are more than one fault. Each is over when it returns, and leaves nothing behind. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Environment } from '../../catalog/environments.ts';
import { containersOf } from '../../environment/docker.ts';
import { readiness } from '../../environment/health.ts';
import { processReplicas } from '../../stacks/config/topology.ts';
import { MusterError } from '../../workers/base/errors.ts';
import { changes } from '../changes/changes.ts';
import { deployChange } from '../changes/deploy.ts';
import type { Injected } from '../faults.ts';
import { rollingRestart } from '../rolling-restart.ts';
import { standInOf } from '../stand-in.ts';
import { failOverByHand, loseWriter } from './lost-member.ts';
import { joinOnBadLinks, scaleWorkers } from './second-join.ts';
import { fillDisk, nearlyFillDisk } from './small-disk.ts';
import { type ProcedureStage, until } from './stage.ts';
import { swapBrokers, swapZookeepers } from './swapped-addresses.ts';

type Procedure = (stage: ProcedureStage) => Promise<void>;

/** Of a worker, as in its container's own settings. */
const graceMs = 30_000;

const procedures: Readonly<Record<string, Procedure>> = {
  'rolling-restart': (stage) =>
    rollingRestart({
      ...stage,
      onBroker: (alias, what) =>
        what === 'stopping' ? stage.disturbed(`${alias} restarted`) : stage.note(`${alias} ${what}`),
    }),

  /** What an upgrade does: each process of ours ends in its own way and starts again, one after the other. */
  async 'restart-workers'(stage) {
    for (const alias of processesOf(stage.environment)) {
      stage.disturbed(`${alias} restarted`);
      await stage.faults.inject(alias, { kind: 'restart', graceMs });
      await settled(stage, alias);
    }
  },

  /** Each process of ours is replaced by a container of another image, one after the other, and then back. */
  async 'upgrade-workers'(stage) {
    const upgraded: Injected[] = [];
    for (const alias of processesOf(stage.environment)) {
      stage.disturbed(`${alias} upgraded`);
      upgraded.push(await stage.faults.inject(alias, { kind: 'replace', graceMs }));
      await settled(stage, alias);
    }
    for (const { alias, heal } of upgraded) {
      stage.disturbed(`${alias} rolled back`);
      await heal();
      await settled(stage, alias);
    }
  },

  'scale-workers': scaleWorkers,
  'join-loses-answers': (stage) => joinOnBadLinks(stage, { loseAnswers: 0.2 }, 20_000),
  'join-on-slow-links': (stage) => joinOnBadLinks(stage, { delayMs: { least: 200, most: 500 } }, 20_000),

  'swap-zookeepers': swapZookeepers,
  'swap-brokers': swapBrokers,

  'lose-mysql-writer': loseWriter,
  'fail-over-mysql': failOverByHand,

  'nearly-fill-disk': nearlyFillDisk,
  'fill-disk': fillDisk,

  ...Object.fromEntries(
    changes.map((change) => [change.name, (stage: ProcedureStage) => deployChange(change, stage)]),
  ),
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

/** Ours, without what looks on and what stands outside. */
function processesOf(environment: Environment): readonly string[] {
  return processReplicas(environment)
    .filter(({ spec }) => !spec.workers.some((worker) => worker === 'canary' || worker === 'webhook-stub'))
    .map(({ alias }) => alias);
}

/** Waits until the process is ready again, in its container or in one that stands in for it. */
async function settled(stage: ProcedureStage, alias: string): Promise<void> {
  const { environment } = stage;
  const name = `${environment.prefix}-${alias}`;
  await until(stage, `${alias} is ready`, async () => {
    const containers = await containersOf(environment);
    const standIn = containers.find((one) => one.name === standInOf(name));
    const seen = standIn === undefined ? containers : [{ ...standIn, name }];
    return (await readiness(environment, seen)).get(alias) === true;
  });
  stage.note(`${alias} ready`);
  await sleep(3_000, undefined, { signal: stage.signal });
}
