/**
 * Promises on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): one that is broken by hand is
 * named with its id, by the command and by the page; one that nobody checks is not said to hold.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { sql } from 'kysely';
import { run } from '../environment/children.ts';
import type { ToldPromise } from '../environment/promises.ts';
import { databaseSettings, readSettings } from '../workers/base/config.ts';
import { bytesOfUuid, uuidV7 } from '../workers/base/ids.ts';
import { openDatabase } from '../workers/store/database.ts';
import { environment, setting } from './deployed.fixture.ts';

const db = openDatabase({ settings: readSettings(databaseSettings, process.env) });
const requestId = uuidV7(Date.now());
const forget = () => sql`DELETE FROM coupon_request WHERE request_id = ${bytesOfUuid(requestId)}`.execute(db);

test.after.always(async () => {
  await forget();
  await db.destroy();
});

const muster = (...args: string[]) =>
  run(process.execPath, ['tools/main.ts', '--env', environment.name, ...args]);

async function told(): Promise<readonly ToldPromise[]> {
  const { stdout } = await muster('promises', '--json');
  return (JSON.parse(stdout) as { promises: ToldPromise[] }).promises;
}

async function until(what: string, met: () => Promise<boolean>, withinMs: number): Promise<void> {
  for (const giveUpAt = Date.now() + withinMs; !(await met()); await sleep(1_000))
    if (Date.now() > giveUpAt) throw new Error(`not within ${withinMs} ms: ${what}`);
}

const isFiring = async () => {
  const answer = await fetch(`${setting('MUSTER_PROMETHEUS_URL')}/api/v1/alerts`);
  const { data } = (await answer.json()) as {
    data: { alerts: { state: string; labels: Record<string, string> }[] };
  };
  return data.alerts.some(
    ({ state, labels }) =>
      state === 'firing' &&
      labels.alertname === 'PromiseBroken' &&
      labels.promise === 'coupon-requests-decided',
  );
};

test.serial('every promise is checked and holds', async (t) => {
  t.timeout(180_000);
  let { stdout, exitCode } = await muster('promises');
  for (const giveUpAt = Date.now() + 120_000; exitCode !== 0 && Date.now() < giveUpAt; await sleep(1_000))
    ({ stdout, exitCode } = await muster('promises'));
  t.is(exitCode, 0, stdout);
});

test.serial('a request that was accepted and is forgotten is named, and pages', async (t) => {
  t.timeout(300_000);
  // As if its row of the outbox had been deleted: nobody will ever decide it.
  await sql`
    INSERT INTO coupon_request (request_id, coupon_id, user_id, requested_at)
    VALUES (${bytesOfUuid(requestId)}, 'e2e-promises', 'e2e', UTC_TIMESTAMP(3) - INTERVAL 50 SECOND)`.execute(
    db,
  );
  const ours = async () => (await told()).find(({ name }) => name === 'coupon-requests-decided')!;
  await until('it is told', async () => (await ours()).status === 'broken', 60_000);
  t.deepEqual((await ours()).ids, [requestId]);
  await until('it pages', isFiring, 90_000);
  const { stdout, exitCode } = await muster('status', '--json');
  t.is(exitCode, 1);
  const { healthy, problems } = JSON.parse(stdout) as { healthy: boolean; problems: string[] };
  t.false(healthy);
  t.true(
    problems.includes(
      `promise coupon-requests-decided is broken once (${requestId}): ./muster --env ${environment.name} promises coupon-requests-decided`,
    ),
    problems.join('\n'),
  );
  await forget();
  await until('it holds again', async () => (await ours()).status === 'holds', 60_000);
  await until('the page is over', async () => !(await isFiring()), 60_000);
});
