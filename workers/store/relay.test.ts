/** The relay over a store in memory and producers that hang and fail, as real ones do at their worst moments. */
import { setTimeout as sleep } from 'node:timers/promises';
import FakeTimers from '@sinonjs/fake-timers';
import test from 'ava';
import { NotNowError } from '../base/errors.ts';
import { createRegistry } from '../base/metrics.ts';
import type { OutgoingRecord } from '../kafka/kafka.ts';
import { testLog } from '../kafka/testing.ts';
import {
  type DueRow,
  type OrderedRow,
  type OutboxStore,
  type RelayOptions,
  startOutboxRelay,
  wakeForTimer,
  wakeRelays,
} from './relay.ts';

/** Due rows with a clock of their own: `free` says whose time has come. */
function memoryStore(rows: readonly DueRow[], free: (row: DueRow) => boolean) {
  const left = new Map(rows.map((row) => [row.id, row]));
  const ready = () => [...left.values()].filter(free);
  let looks = 0;
  const store: OutboxStore = {
    transaction: (work) =>
      work({
        lockShards: async () => [],
        heads: async () => ({ rows: [], more: [] }),
        removeOrdered: async () => {},
        takeDue: async () => ready(),
      }),
    async nextInMs(lane) {
      looks += 1;
      return lane === 'due' && ready().length > 0 ? 0 : Number.POSITIVE_INFINITY;
    },
    removeDue: async (ids) => ids.forEach((id) => void left.delete(id)),
    backlog: async () => ({ pending: left.size, oldestAgeSeconds: 0 }),
  };
  return { left, store, looks: () => looks };
}

const row = (id: string, topic = 'out'): DueRow => ({
  id,
  records: [{ topic, key: id, value: id }],
  timer: undefined,
});

function relay(
  store: OutboxStore,
  send: (records: readonly OutgoingRecord[]) => Promise<void>,
  { pollMs = 5, ...more }: Partial<RelayOptions> = {},
) {
  return startOutboxRelay({
    store,
    database: 'shop',
    producer: { send: send as never },
    registry: createRegistry(),
    log: testLog,
    pollMs,
    ...more,
  });
}

async function until(what: () => boolean): Promise<void> {
  const endMs = Date.now() + 20_000;
  while (!what()) {
    if (Date.now() > endMs) throw new Error('did not happen in time');
    await sleep(5);
  }
}

const tooLate = () => new NotNowError('MUSTER_KAFKA_SEND', 'not acked within the deadline');

test('what is published from memory and hangs until its send gives up is published all the same, and stays until then', async (t) => {
  const one = row('1');
  let free = false;
  const { left, store, looks } = memoryStore([one], () => free);
  const sent: string[] = [];
  let giveUp: (() => void) | undefined;
  const running = relay(store, async (records) => {
    if (giveUp === undefined)
      await new Promise<void>((_, reject) => {
        giveUp = () => reject(tooLate());
      });
    sent.push(...records.map(({ value }) => String(value)));
    free = false;
  });
  running.publish(one);
  await until(() => giveUp !== undefined);
  // The search for what was left behind passes while the first send hangs, and much that was acked is deleted meanwhile.
  const seen = looks();
  await until(() => looks() > seen + 10);
  await sleep(300);
  t.is(left.size, 1, 'nothing is acked yet');
  giveUp!();
  free = true;
  await until(() => sent.length > 0);
  t.deepEqual(sent, ['1']);
  await until(() => left.size === 0);
  await running.stop();
});

test('a row that cannot be sent holds up no other, and is the only one that stays', async (t) => {
  const taken = new Set<string>();
  const { left, store } = memoryStore([row('1'), row('2', 'nowhere'), row('3')], ({ id }) => !taken.has(id));
  const running = relay(store, async (records) => {
    for (const { value } of records) taken.add(String(value));
    if (records.some(({ topic }) => topic === 'nowhere')) throw tooLate();
  });
  await until(() => left.size === 1);
  await running.stop();
  t.deepEqual([...left.keys()], ['2']);
});

test('a topic that cannot be written holds up no other: its shard stays, the others go out and go on', async (t) => {
  const left = new Map<string, OrderedRow>();
  const add = (id: string, shard: number, topic: string) =>
    left.set(id, { shard, id, record: { topic, key: id, value: id } });
  const store: OutboxStore = {
    transaction: (work) =>
      work({
        lockShards: async (wanted) => wanted ?? [0, 1],
        heads: async (shards) => ({
          rows: [...left.values()].filter(({ shard }) => shards.includes(shard)),
          more: [],
        }),
        removeOrdered: async (rows) => rows.forEach(({ id }) => void left.delete(id)),
        takeDue: async () => [],
      }),
    nextInMs: async (lane) => (lane === 'ordered' && left.size > 0 ? 0 : Number.POSITIVE_INFINITY),
    removeDue: async () => {},
    backlog: async () => ({ pending: left.size, oldestAgeSeconds: 0 }),
  };
  const sent: string[] = [];
  let isThere = false;
  const running = relay(store, async (records) => {
    if (!isThere && records.some(({ topic }) => topic === 'nowhere')) throw tooLate();
    sent.push(...records.map(({ value }) => String(value)));
  });
  add('1', 0, 'nowhere');
  add('2', 1, 'out');
  await until(() => sent.includes('2'));
  add('3', 0, 'nowhere');
  add('4', 1, 'out');
  await until(() => sent.includes('4'));
  t.deepEqual([...left.keys()], ['1', '3']);
  isThere = true;
  await until(() => left.size === 0);
  await running.stop();
  t.deepEqual(sent, ['2', '4', '1', '3'], 'each once, and in order');
});

test('a timer that is known goes out when it is due, and not when the next look comes round', async (t) => {
  const dueAtMs = performance.now() + 50;
  const sent: string[] = [];
  const { left, store } = memoryStore([row('1')], () => sent.length === 0 && performance.now() >= dueAtMs);
  const looking: OutboxStore = {
    ...store,
    nextInMs: async (lane) =>
      lane === 'ordered' || sent.length > 0 ? Number.POSITIVE_INFINITY : dueAtMs - performance.now(),
  };
  const send = async (records: readonly OutgoingRecord[]) => {
    sent.push(...records.map(({ value }) => String(value)));
  };
  const running = relay(looking, send, { pollMs: 60_000 });
  await until(() => left.size === 0);
  t.deepEqual(sent, ['1']);
  await running.stop();
});

test('a process that publishes two databases says of each what waits in it, and how late its timers are', async (t) => {
  const registry = createRegistry();
  const timer: DueRow = { ...row('1'), timer: { dueAtMs: Date.now(), lateMs: 7_000 } };
  let sent = false;
  const stuck = memoryStore([timer, row('2'), row('3')], ({ id }) => id === '1' && !sent);
  const send = async () => {
    sent = true;
  };
  const running = [
    relay(stuck.store, send, { registry, database: 'money' }),
    relay(memoryStore([], () => false).store, async () => {}, { registry, database: 'shop' }),
  ];
  await until(() => stuck.left.size === 2);
  const text = await registry.metrics();
  t.regex(text, /\nmuster_outbox_pending\{database="money"\} 3\n/);
  t.regex(text, /\nmuster_outbox_pending\{database="shop"\} 0\n/);
  t.regex(text, /\nmuster_timer_lateness_seconds_count\{database="money"\} 1\n/);
  t.notRegex(text, /\nmuster_timer_lateness_seconds_count\{database="shop"\}/);
  await Promise.all(running.map((one) => one.stop()));
});

test.serial(
  'a commit wakes the relay of its own database, and one in nobody knows which wakes all',
  async (t) => {
    const relays = ['shop', 'money'].map((schema) => {
      const { store, looks } = memoryStore([], () => false);
      const taken: (readonly number[] | undefined)[] = [];
      const counting: OutboxStore = {
        ...store,
        schema,
        transaction: (work) =>
          store.transaction((rows) =>
            work({
              ...rows,
              async lockShards(wanted) {
                taken.push(wanted);
                return wanted ?? [];
              },
            }),
          ),
      };
      // Nothing but a wake makes it look a second time.
      return { taken, looks, running: relay(counting, async () => {}, { pollMs: 3_600_000 }) };
    });
    const [shop, money] = relays as [(typeof relays)[0], (typeof relays)[0]];
    await until(() => relays.every(({ looks }) => looks() === 2));
    wakeRelays([1], 'shop');
    wakeForTimer(0, 'shop');
    await until(() => shop.taken.length === 1 && shop.looks() === 3);
    wakeRelays([2]);
    wakeForTimer(0);
    await until(() => relays.every(({ taken }) => taken.at(-1)?.includes(2)) && shop.looks() === 4);
    t.deepEqual([shop.taken, money.taken], [[[1], [2]], [[2]]]);
    await until(() => money.looks() === 3);
    await Promise.all(relays.map(({ running }) => running.stop()));
  },
);

test.serial('what another relay holds is asked for ever less often, until it is free', async (t) => {
  const clock = FakeTimers.install({ toFake: ['setTimeout', 'clearTimeout'] });
  t.teardown(() => clock.uninstall());
  const { store } = memoryStore([], () => false);
  const triesMs: number[] = [];
  const left = new Map([['1', { shard: 0, id: '1', record: { topic: 'out', key: '1', value: '1' } }]]);
  let isFree = false;
  const held: OutboxStore = {
    ...store,
    transaction: (work) =>
      store.transaction((rows) =>
        work({
          ...rows,
          async lockShards(wanted) {
            triesMs.push(clock.now);
            return isFree ? (wanted ?? []) : [];
          },
          heads: async () => ({ rows: [...left.values()], more: [] }),
          removeOrdered: async (sent) => sent.forEach(({ id }) => void left.delete(id)),
        }),
      ),
  };
  // Nothing but a wake makes it look.
  const running = relay(held, async () => {}, { pollMs: 3_600_000 });
  await clock.tickAsync(1);
  wakeRelays([0]);
  await clock.tickAsync(160);
  const [beganMs] = triesMs;
  t.deepEqual(
    triesMs.map((ms) => ms - beganMs!),
    [0, 5, 15, 35, 75, 115, 155],
  );
  isFree = true;
  await clock.tickAsync(40);
  t.is(left.size, 0);
  await running.stop();
});
