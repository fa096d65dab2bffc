import test from 'ava';
import { ruleGroups } from '../../alerts/index.ts';
import { isAlert } from '../../alerts/rule.ts';
import { environments } from '../../catalog/environments.ts';
import { type Plan, planProof, proveCause, quickProof, type Session } from './prove.ts';
import {
  type Arrival,
  arrivalsFrom,
  detection,
  type Held,
  heldFrom,
  type Look,
  memoryMs,
  pagesSince,
  resolution,
} from './sightings.ts';

const environment = environments.ci;
const alerts = ruleGroups(environment).flatMap(({ rules }) => rules.filter(isAlert));
const stepsOf = ({ alongside, shared, alone }: Plan) => [alongside, ...shared, ...alone].flat();

test('every alert is caused on a running environment, or says why it cannot be', (t) => {
  const plan = planProof(environment);
  const caused = stepsOf(plan).flatMap((step) => step.alerts.map(({ alert }) => alert.name));
  const not = plan.not.map(({ alert }) => alert.name);
  t.deepEqual([...caused, ...not].sort(), alerts.map(({ name }) => name).sort());
  for (const { reason } of plan.not) t.regex(reason, /\w+ \w+/);
});

test('the short proof has the pages that matter most, and causes that there are', (t) => {
  const plan = planProof(environment, { quick: true });
  const caused = stepsOf(plan).flatMap(({ cause, alerts }) => alerts.map(({ alert }) => [alert.name, cause]));
  t.deepEqual(Object.fromEntries(caused), quickProof);
  t.deepEqual(plan.alone, []);
});

test('chosen alerts only, and no name that is none', (t) => {
  const plan = planProof(environment, { names: ['MysqlDown', 'DiskLow'] });
  t.deepEqual(
    stepsOf(plan).map(({ cause }) => cause),
    ['mysql stopped'],
  );
  t.deepEqual(
    plan.not.map(({ alert }) => alert.name),
    ['DiskLow'],
  );
  t.throws(() => planProof(environment, { names: ['MysqlDonw'] }), { code: 'MUSTER_USAGE' });
});

test('what stops a part that others need runs alone', (t) => {
  const plan = planProof(environment);
  const beside = [plan.alongside, ...plan.shared].flat().map(({ cause }) => cause);
  for (const cause of [
    'worker stopped',
    'mysql stopped',
    'alertmanager stopped',
    'all brokers stopped',
  ] as const)
    t.false(beside.includes(cause), cause);
  for (const wave of plan.alone) t.is(wave.length, 1);
});

const arrival = (over: Partial<Arrival> & { name: string }): Arrival => {
  const { name, ...rest } = over;
  return {
    receiver: 'page',
    status: 'firing',
    labels: { alertname: name, severity: 'page' },
    arrivedAtMs: 70_000,
    startsAtMs: 65_000,
    notification: 'n1',
    ...rest,
  };
};
const held = (name: string, over: Partial<Held> = {}): Held => ({
  labels: { alertname: name },
  startsAtMs: 65_000,
  state: 'active',
  inhibitedBy: [],
  ...over,
});
const seen = (arrivals: readonly Arrival[], holds: readonly Held[] | undefined = []): Look => ({
  atMs: 80_000,
  arrivals,
  held: holds,
});
const away: Look = { atMs: 80_000, arrivals: [], held: undefined };
const sent = { name: 'A', sent: true };

test('an alert is detected when it first arrives after the cause', (t) => {
  const look = seen([
    arrival({ name: 'A', arrivedAtMs: 71_000 }),
    arrival({ name: 'A' }),
    arrival({ name: 'B' }),
  ]);
  t.deepEqual(detection(sent, 5_000, look), { atMs: 70_000, how: 'page', arrived: true });
  t.is(detection({ name: 'C', sent: true }, 5_000, look), undefined);
});

test('one that fired before the cause proves nothing, but the dead man’s switch always fires', (t) => {
  const before = seen(
    [arrival({ name: 'A', startsAtMs: 1_000, receiver: 'deadman' })],
    [held('A', { startsAtMs: 1_000 })],
  );
  t.is(detection(sent, 5_000, before), undefined);
  t.is(detection({ ...sent, always: true }, 5_000, before)?.how, 'deadman');
  t.is(detection({ ...sent, always: true }, 75_000, before), undefined, 'a notification of before');
});

test('one that is held back is seen with what holds it; one that should be sent is not seen by firing alone', (t) => {
  const kept = seen([], [held('A', { state: 'suppressed', inhibitedBy: ['Cause'] })]);
  t.deepEqual(detection(sent, 5_000, kept), { atMs: 80_000, how: 'held back by Cause', arrived: false });
  t.is(detection(sent, 5_000, seen([], [held('A')])), undefined);
  t.is(detection({ name: 'A', sent: false }, 5_000, seen([], [held('A')]))?.how, 'fires, is not sent');
  t.is(detection(sent, 5_000, away), undefined, 'Alertmanager is away');
});

test('an alert has ended when the end of each of its instances has arrived', (t) => {
  const one = arrival({ name: 'A', labels: { alertname: 'A', instance: '1' } });
  const two = arrival({ name: 'A', labels: { instance: '2', alertname: 'A' } });
  const ended = (of: Arrival, arrivedAtMs: number) => ({ ...of, status: 'resolved' as const, arrivedAtMs });
  const detected = { atMs: 70_000, how: 'page', arrived: true };
  t.is(resolution('A', detected, 5_000, seen([one, two, ended(one, 90_000)])), undefined);
  t.is(resolution('A', detected, 5_000, seen([ended(two, 95_000), ended(one, 90_000), one, two])), 95_000);
  const again = { ...one, arrivedAtMs: 99_000 };
  t.is(resolution('A', detected, 5_000, seen([one, ended(one, 90_000), again])), undefined, 'it fires again');
});

test('one that did not arrive has ended when Alertmanager holds it no more', (t) => {
  const detected = { atMs: 70_000, how: 'held back by Cause', arrived: false };
  t.is(resolution('A', detected, 5_000, seen([], [held('A', { state: 'suppressed' })])), undefined);
  t.is(resolution('A', detected, 5_000, seen([], [held('B')])), 80_000);
  t.is(resolution('A', detected, 5_000, away), undefined, 'Alertmanager is away');
});

test('pages are counted by notification, without those about what others have made', (t) => {
  const look = seen([
    arrival({ name: 'A' }),
    arrival({ name: 'B' }),
    arrival({ name: 'C', notification: 'n2' }),
    arrival({ name: 'D', notification: 'n3', startsAtMs: 1_000 }),
    arrival({ name: 'E', notification: 'n4', status: 'resolved' }),
    arrival({ name: 'F', notification: 'n5', labels: { alertname: 'F', severity: 'ticket' } }),
    arrival({ name: 'G', notification: 'n6', labels: { alertname: 'G', severity: 'page', of: 'x' } }),
  ]);
  t.deepEqual(
    pagesSince(5_000, look, ({ of }) => of === 'x'),
    [['A', 'B'], ['C']],
  );
});

test('an expression remembers its longest range and offset', (t) => {
  t.is(memoryMs('up == 0'), 0);
  t.is(memoryMs('increase(x[5m]) > 0 and increase(x[90s] offset 5m) > 0'), 600_000);
  t.is(memoryMs('max_over_time(x[1h:30s])'), 3_600_000);
});

test('answers of receiver and Alertmanager are read: who holds an alert back is named', (t) => {
  const startsAt = '2026-11-21T08:00:00.000Z';
  const status = (inhibitedBy: string[]) => ({ state: 'suppressed' as const, inhibitedBy });
  const two = heldFrom([
    { fingerprint: 'f1', labels: { alertname: 'A' }, startsAt, status: status(['f2']) },
    {
      fingerprint: 'f2',
      labels: { alertname: 'Cause' },
      startsAt,
      status: { state: 'active', inhibitedBy: [] },
    },
  ]);
  t.deepEqual(two[0]?.inhibitedBy, ['Cause']);
  const firing = { status: 'firing' as const, labels: { alertname: 'A' }, startsAt };
  const notification = { receiver: 'page', receivedAt: startsAt, alerts: [firing, firing] };
  const arrivals = arrivalsFrom([notification, notification]);
  t.is(arrivals.length, 4);
  t.is(new Set(arrivals.map((one) => one.notification)).size, 2);
  t.is(arrivals[0]?.startsAtMs, Date.parse(startsAt));
});

/** An environment in which RedisDown arrives while redis is stopped and ends when it runs again. */
function pretend(signal: AbortSignal) {
  const done: string[] = [];
  let beganAtMs: number | undefined;
  let endedAtMs: number | undefined;
  const redisDown = { alertname: 'RedisDown', severity: 'page' };
  const session: Session = {
    environment,
    signal,
    kafka: undefined as never,
    database: undefined as never,
    close: async () => {},
    faults: {
      async inject(alias, fault) {
        done.push(`${fault.kind} ${alias}`);
        beganAtMs = Date.now();
        const heal = async () => {
          if (endedAtMs === undefined) done.push(`heal ${alias}`);
          endedAtMs ??= Date.now();
        };
        return { alias, fault, atMs: beganAtMs, heal, healed: Promise.resolve() };
      },
      healAll: async () => {},
    },
    async look() {
      const one = (status: Arrival['status'], atMs: number | undefined): Arrival[] =>
        atMs === undefined
          ? []
          : [
              arrival({
                name: 'RedisDown',
                labels: redisDown,
                status,
                arrivedAtMs: atMs,
                startsAtMs: beganAtMs!,
              }),
            ];
      return {
        atMs: Date.now(),
        held: [],
        arrivals: [...one('firing', beganAtMs && beganAtMs + 50), ...one('resolved', endedAtMs)],
      };
    },
  };
  return { session, done };
}
const redisStep = stepsOf(planProof(environment, { names: ['RedisDown'] }))[0]!;

test('a cause is taken back as soon as its alert has arrived, and its end is waited for', async (t) => {
  const { session, done } = pretend(new AbortController().signal);
  const { ok, alerts: proven } = await proveCause(session, redisStep.cause, redisStep.alerts, () => {});
  t.true(ok);
  t.like(proven[0], { alert: 'RedisDown', seen: 'page', ok: true, note: '' });
  t.is(typeof proven[0]?.resolvedAfterS, 'number');
  t.deepEqual(done, ['stop redis', 'heal redis']);
});

test('a stop in the middle takes the cause back', async (t) => {
  const stop = new AbortController();
  const { session, done } = pretend(stop.signal);
  const never: Session = {
    ...session,
    look: async () => {
      stop.abort();
      return { atMs: Date.now(), arrivals: [], held: [] };
    },
  };
  await t.throwsAsync(proveCause(never, redisStep.cause, redisStep.alerts, () => {}));
  t.deepEqual(done, ['stop redis', 'heal redis']);
});
