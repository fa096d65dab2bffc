/** A member of MySQL that loses its disk under load, and changes by hand. */
import { setTimeout as sleep } from 'node:timers/promises';
import { containersOf, docker, dockerArgs } from '../../environment/docker.ts';
import { failOver, guardOf, writerOf } from '../../environment/guard.ts';
import { paths } from '../../stacks/config/paths.ts';
import { type ProcedureStage, until } from './stage.ts';
import { aliasOf } from './steady.ts';

const both = async ({ environment }: ProcedureStage) =>
  (await guardOf(environment, await containersOf(environment)).catch(() => undefined))?.atRiskSeconds === 0;
const writer = ({ environment }: ProcedureStage) => writerOf(environment).catch(() => undefined);

/** Long enough for the page to have been sent. */
const awayMs = 75_000;

/** The one that takes writes is killed and all that is on its volumes is deleted; later it comes back and is made anew. */
export async function loseWriter(stage: ProcedureStage): Promise<void> {
  const { environment, signal } = stage;
  const alias = await aliasOf(environment, { role: 'mysql-writer' });
  const name = `${environment.prefix}-${alias}`;
  const container = (await containersOf(environment, signal)).find((one) => one.name === name)!;
  stage.disturbed(`${alias} killed, and its disk lost`);
  const killedAtMs = Date.now();
  const killed = await stage.faults.inject(alias, { kind: 'kill' });
  await docker(
    dockerArgs(container, [
      ...['run', '--rm', '--network', 'none', '--cap-drop', 'ALL', '--volumes-from', container.id],
      ...['--user', '999:999', '--entrypoint', '/bin/bash', container.image, '-c'],
      `rm -rf ${paths.mysqlVolume}/* ${paths.mysqlLog}/*`,
    ]),
    signal,
  );
  await until(stage, 'the other member takes the writes', async () => {
    const now = await writer(stage);
    return now !== undefined && now !== alias;
  });
  stage.note(`${await writer(stage)} takes the writes`);
  await sleep(Math.max(0, killedAtMs + awayMs - Date.now()), undefined, { signal });
  await killed.heal();
  await until(stage, `${alias} was made anew`, () => both(stage));
  stage.note(`${alias} has everything again`);
}

/** Three changes by hand, as for maintenance of one member and then the other. */
export async function failOverByHand(stage: ProcedureStage): Promise<void> {
  const { environment, signal } = stage;
  for (let change = 1; change <= 3; change += 1) {
    await until(stage, 'both members have everything', () => both(stage));
    const from = await writer(stage);
    const to = (await guardOf(environment, await containersOf(environment, signal))).members.find(
      ({ name }) => name !== from,
    )!.name;
    stage.disturbed(`${to} takes the writes, by hand`);
    await failOver(environment, to, { lose: false, signal });
    stage.note(`${to} takes the writes`);
    await sleep(5_000, undefined, { signal });
  }
}
