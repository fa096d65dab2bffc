/**
 * Alerts on the deployed environment (`./muster test e2e` deploys `ci` and sets the variables): conditions are caused,
 * alerts arrive at a real receiver, everything is healed, and their ends arrive too. The same as
 * `./muster prove-alerts --env ci --quick`, about five minutes.
 */
import test, { type ExecutionContext } from 'ava';
import {
  type CauseProven,
  openSession,
  planProof,
  proveCause,
  type Session,
} from '../drills/alerts/prove.ts';
import { type Faults, withFaults } from '../drills/faults.ts';
import { containersOf } from '../environment/docker.ts';
import { readiness } from '../environment/health.ts';
import { environment } from './deployed.fixture.ts';

const signal = new AbortController().signal;
const { alongside, shared } = planProof(environment, { quick: true });

let session: Session;
/** Those that run beside the others begin with the first test and are looked at in the last. */
const beside = new Map<string, Promise<CauseProven>>();
let endSession: () => void = () => {};
let sessionEnded: Promise<void>;

test.before(async (t) => {
  t.timeout(120_000);
  const opened = Promise.withResolvers<Faults>();
  const closing = new Promise<void>((resolve) => {
    endSession = resolve;
  });
  sessionEnded = withFaults(environment, { report: (line) => t.log(line) }, async (faults) => {
    opened.resolve(faults);
    await closing;
  });
  sessionEnded.catch(opened.reject);
  session = await openSession(environment, await opened.promise, signal);
  for (const { cause, alerts } of alongside) {
    const proving = proveCause(session, cause, alerts, () => {});
    proving.catch(() => undefined);
    beside.set(cause, proving);
  }
});

test.after.always(async () => {
  await Promise.allSettled(beside.values());
  endSession();
  await sessionEnded;
  await session?.close();
});

function wasProven(t: ExecutionContext, { cause, alerts, pages, heldBack }: CauseProven): void {
  for (const { alert, seen, detectedAfterS, resolvedAfterS, ok, note } of alerts) {
    t.log(
      `${alert}, ${cause}: ${seen ?? 'not seen'} after ${detectedAfterS ?? '?'} s, over ${resolvedAfterS ?? '?'} s after healing`,
    );
    t.true(ok, `${alert}: ${note}`);
  }
  if (pages !== undefined) t.log(`pages: ${JSON.stringify(pages)}; held back: ${heldBack.join(', ')}`);
}

async function proven(t: ExecutionContext, cause: string): Promise<CauseProven> {
  const step = shared.flat().find((one) => one.cause === cause);
  const result = await proveCause(session, step!.cause, step!.alerts, () => {});
  wasProven(t, result);
  return result;
}

test.serial(
  'a broker is killed: exactly one page arrives, and its end when the broker is back',
  async (t) => {
    t.timeout(600_000);
    const { alerts, pages } = await proven(t, 'broker killed');
    t.deepEqual(pages, [['BrokersMissing']]);
    const { seen, detectedAfterS } = alerts.find(({ alert }) => alert === 'BrokersMissing')!;
    t.is(seen, 'page');
    t.log(`BrokersMissing paged ${detectedAfterS} s after the kill (promised: 75 s)`);
  },
);

test.serial('a worker process is stopped: its page arrives, and its end', async (t) => {
  t.timeout(600_000);
  const { alerts } = await proven(t, 'log follower stopped');
  t.is(alerts[0]?.seen, 'page');
});

test.serial('the dead man’s switch arrives', async (t) => {
  t.timeout(600_000);
  wasProven(t, await beside.get('nothing, it always fires')!);
});

test.serial('a record that cannot be understood: a ticket for the dead letter arrives', async (t) => {
  t.timeout(600_000);
  const result = await beside.get('poison message')!;
  wasProven(t, result);
  t.is(result.alerts[0]?.seen, 'ticket');
});

test.serial('a group that nobody reads for any more: its page arrives', async (t) => {
  t.timeout(900_000);
  wasProven(t, await beside.get('consumer stopped')!);
});

test.serial('afterwards every container runs and every worker is ready', async (t) => {
  t.timeout(300_000);
  await Promise.allSettled(beside.values());
  let notReady: string[] = ['not asked yet'];
  for (const until = Date.now() + 180_000; notReady.length > 0 && Date.now() < until; ) {
    const containers = await containersOf(environment);
    const ready = await readiness(environment, containers);
    notReady = [...ready].filter(([, isReady]) => !isReady).map(([alias]) => alias);
    for (const { name, state, oneShot } of containers)
      if (!oneShot && state !== 'running') notReady.push(name);
    if (notReady.length > 0) await new Promise((resolve) => setTimeout(resolve, 1_000));
  }
  t.deepEqual(notReady, []);
});
