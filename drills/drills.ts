/** All drills, as data: what is broken when under which load, and what must not happen. docs/drills.md says how to add one. */
import type { Environment } from '../catalog/environments.ts';
import { MusterError } from '../workers/base/errors.ts';
import { seededRandom } from '../workers/traffic/generate.ts';
import { type Change, changes } from './changes/changes.ts';
import type { Drill, Target } from './drill.ts';
import type { Fault } from './faults.ts';
import { casesIn, drillOf, lastsMs, loadsOf, stepsOf, variants } from './matrix/cases.ts';

/** What every drill of promotion sends a second. */
const promotion = { rate: 200 };
const shop = { coupons: { rate: 60, stock: 100 }, orders: { rate: 20 } };
/** Of all there is, some 200 requests a second. */
const everything = (loadMs: number) => ({ ...loadsOf('all', loadMs), promotion: { rate: 150 } });
/** Of all that MySQL holds. */
const allOfMysql = (loadMs: number) => {
  const { promotion: _, ...rest } = loadsOf('all', loadMs);
  return { ...rest, ...shop, money: { rate: 5 } };
};
const faultAtMs = 8_000;
const pageWithinMs = 75_000;

/** Long enough to be paged for; the load goes on until after the broker is back. */
const longFault = { loadMs: 105_000, healAfterMs: 82_000 } as const;

function brokerDead(name: string, about: string, on: Target, inject: Fault): Drill {
  return {
    name,
    about,
    loadMs: longFault.loadMs,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, inject, on, healAfterMs: longFault.healAfterMs }],
    expect: { rtoMs: 5_000, answersMs: 15_000, alerts: [{ name: 'BrokersMissing', withinMs: pageWithinMs }] },
  };
}

const brokerDrills = [1, 2, 3].map((id) =>
  brokerDead(
    `broker-${id}-killed`,
    `Broker ${id} is killed and stays dead for ${longFault.healAfterMs / 1_000} s: publishing goes on after seconds, nothing is lost.`,
    { alias: `kafka-${id}` },
    { kind: 'kill' },
  ),
);

export const drills: readonly Drill[] = [
  ...brokerDrills,
  {
    name: 'broker-killed-logs',
    about:
      'A process writes 10,000 log lines a second while a broker is killed and comes back: each is in the log store, or told as dropped.',
    loadMs: 40_000,
    loads: { logs: { rate: 10_000 } },
    steps: [{ atMs: faultAtMs, inject: { kind: 'kill' }, on: { alias: 'kafka-2' }, healAfterMs: 20_000 }],
    expect: { rtoMs: 10_000 },
  },
  brokerDead(
    'controller-killed',
    'The broker that is the controller is killed: another one takes over and chooses new leaders.',
    { role: 'controller' },
    { kind: 'kill' },
  ),
  brokerDead(
    'broker-cut',
    'A broker is cut off the network: it cannot answer, and nobody can tell it from a dead one.',
    { alias: 'kafka-2' },
    { kind: 'cut' },
  ),
  {
    name: 'broker-frozen',
    about:
      'A broker freezes for 20 s, then goes on as if nothing had been: it must not ack what it does not lead.',
    loadMs: 40_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, inject: { kind: 'pause' }, on: { alias: 'kafka-3' }, healAfterMs: 20_000 }],
    expect: { rtoMs: 10_000, answersMs: 15_000 },
  },
  {
    name: 'zookeeper-leader-killed',
    about:
      'The leader of ZooKeeper is killed: the others choose a new one before any broker loses its session.',
    loadMs: 30_000,
    loads: { promotion },
    steps: [
      { atMs: faultAtMs, inject: { kind: 'kill' }, on: { role: 'zookeeper-leader' }, healAfterMs: 12_000 },
    ],
    expect: { rtoMs: 5_000 },
  },
  {
    name: 'zookeeper-killed',
    about: 'One ZooKeeper that does not lead is killed: no client may see any error.',
    loadMs: 30_000,
    loads: { promotion },
    steps: [
      { atMs: faultAtMs, inject: { kind: 'kill' }, on: { role: 'zookeeper-follower' }, healAfterMs: 12_000 },
    ],
    expect: { rtoMs: 0, failedTries: 0 },
  },
  {
    name: 'two-zookeepers-down',
    about:
      'Two of three ZooKeepers are down for 20 s: no leader can be chosen, and with the brokers all well none is needed.',
    loadMs: 45_000,
    loads: { promotion },
    steps: ['zookeeper-2', 'zookeeper-3'].map((alias) => ({
      atMs: faultAtMs,
      inject: { kind: 'kill' },
      on: { alias },
      healAfterMs: 20_000,
    })),
    expect: { rtoMs: 10_000 },
  },
  {
    name: 'zookeepers-swapped',
    about:
      'Two ZooKeepers die together and come back with each other’s addresses: all three serve again, and nobody sees a failure.',
    loadMs: 60_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'swap-zookeepers' }],
    // Each time that two are away, all brokers may lose theirs.
    expect: { rtoMs: 10_000, sessionsLost: 6 },
  },
  {
    name: 'brokers-swapped',
    about:
      'Two brokers die together and come back with each other’s addresses: nobody tells one of them what is meant for the other.',
    loadMs: 75_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'swap-brokers' }],
    expect: { rtoMs: 50_000, answersMs: 60_000 },
  },
  {
    name: 'worker-killed',
    about:
      'The join is killed; the engine starts it again: it restores its state and answers every purchase once.',
    loadMs: 35_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, inject: { kind: 'crash' }, on: { alias: 'promotion' } }],
    expect: { rtoMs: 12_000 },
  },
  {
    name: 'worker-frozen',
    about:
      'The join freezes for 15 s, longer than its session: when it goes on, it must not commit what is not its own.',
    loadMs: 40_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, inject: { kind: 'pause' }, on: { alias: 'promotion' }, healAfterMs: 15_000 }],
    expect: { rtoMs: 25_000 },
  },
  {
    name: 'workers-scaled',
    about: 'A second join is added and taken away again: partitions and their state move twice.',
    loadMs: 30_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'scale-workers' }],
    expect: { rtoMs: 15_000 },
  },
  {
    name: 'workers-restarted',
    about:
      'Every process of ours ends in its own way and starts again, one after the other, as in an upgrade.',
    loadMs: 30_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'restart-workers' }],
    expect: { rtoMs: 15_000 },
  },
  {
    name: 'workers-upgraded',
    about:
      'Every process of ours is replaced by a container of another image, one after the other, and then back: an upgrade and its withdrawal.',
    loadMs: 30_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'upgrade-workers' }],
    expect: { rtoMs: 15_000 },
  },
  {
    name: 'answers-lost',
    about:
      'One in ten answers to the load’s clients is lost after the work is done, over HTTP and Kafka: they ask again, and nothing is done twice.',
    loadMs: 40_000,
    loads: { promotion, orders: { rate: 10 } },
    steps: [{ atMs: faultAtMs, link: { loseAnswers: 0.1 }, healAfterMs: 20_000 }],
    expect: { rtoMs: 5_000 },
  },
  {
    name: 'links-slow',
    about: 'Each round trip of the load’s clients takes 200 to 500 ms more: that is all they notice.',
    loadMs: 40_000,
    loads: { promotion, orders: { rate: 10 } },
    steps: [{ atMs: faultAtMs, link: { delayMs: { least: 200, most: 500 } }, healAfterMs: 20_000 }],
    expect: { rtoMs: 0, p99Ms: 2_000 },
  },
  {
    name: 'join-loses-answers',
    about:
      'A second join takes half of the work over and loses one in five answers to what it writes and commits: no purchase is answered twice.',
    loadMs: 45_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'join-loses-answers' }],
    // An answer takes several round trips: while the links are bad it may come late.
    expect: { rtoMs: 5_000, answersMs: 30_000 },
  },
  {
    name: 'join-on-slow-links',
    about:
      'A second join takes half of the work over, with 200 to 500 ms more for each round trip to the brokers.',
    loadMs: 45_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'join-on-slow-links' }],
    expect: { rtoMs: 5_000, answersMs: 30_000 },
  },
  {
    name: 'disk-nearly-full',
    about:
      'A broker works on a small disk of which 85 % are in use: somebody is paged before it is full, and nobody else notices.',
    loadMs: 60_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'nearly-fill-disk' }],
    // The alert waits for five minutes; before that the disk is filled.
    expect: { rtoMs: 5_000, answersMs: 15_000, alerts: [{ name: 'DiskLow', withinMs: 480_000 }] },
  },
  {
    name: 'disk-full',
    about:
      'A broker’s disk is full: it stops and cannot start, the others go on, and with room again it catches up.',
    loadMs: 60_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'fill-disk' }],
    // It gets the small disk first, and copies all onto it.
    expect: {
      rtoMs: 5_000,
      answersMs: 15_000,
      alerts: [{ name: 'BrokersMissing', withinMs: 60_000 + pageWithinMs }],
    },
  },
  {
    name: 'mysql-restarted',
    about:
      'MySQL restarts during a rush for coupons and while people pay: nobody pays twice, nothing is issued twice.',
    loadMs: 30_000,
    loads: shop,
    steps: [{ atMs: faultAtMs, inject: { kind: 'restart', graceMs: 0 }, on: { role: 'mysql-writer' } }],
    expect: { rtoMs: 20_000 },
  },
  {
    name: 'mysql-writer-lost',
    about:
      'The member of MySQL that takes writes is killed and its disk is lost: the other one goes on with all that was acked, and makes it anew.',
    loadMs: 120_000,
    loads: allOfMysql(120_000),
    steps: [{ atMs: faultAtMs, procedure: 'lose-mysql-writer' }],
    expect: { rtoMs: 15_000, alerts: [{ name: 'MysqlOneCopy', withinMs: 75_000 }] },
  },
  {
    name: 'mysql-writer-frozen',
    about:
      'The member of MySQL that takes writes freezes for 60 s, then goes on as if nothing had been: it must not ack what the other one has not.',
    loadMs: 90_000,
    loads: allOfMysql(90_000),
    steps: [
      { atMs: faultAtMs, inject: { kind: 'pause' }, on: { role: 'mysql-writer' }, healAfterMs: 60_000 },
    ],
    expect: { rtoMs: 15_000 },
  },
  {
    name: 'mysql-copy-cut',
    about:
      'The other member is cut off for 30 s: who takes writes goes on alone, and both are together again.',
    loadMs: 60_000,
    loads: allOfMysql(60_000),
    steps: [{ atMs: faultAtMs, inject: { kind: 'cut' }, on: { role: 'mysql-copy' }, healAfterMs: 30_000 }],
    expect: { rtoMs: 15_000 },
  },
  {
    name: 'mysql-failed-over',
    about: 'Three times the other member takes the writes, by hand, as for maintenance: nobody sees it.',
    loadMs: 60_000,
    loads: allOfMysql(60_000),
    steps: [{ atMs: faultAtMs, procedure: 'fail-over-mysql' }],
    expect: { rtoMs: 5_000 },
  },
  {
    name: 'redis-restarted',
    about:
      'Redis restarts empty-handed or not during the same: the store of truth decides, the ranking is made good.',
    loadMs: 30_000,
    loads: shop,
    steps: [{ atMs: faultAtMs, inject: { kind: 'restart', graceMs: 0 }, on: { alias: 'redis' } }],
    expect: { rtoMs: 20_000 },
  },
  {
    name: 'webhook-failing',
    about:
      'The receiver outside is slow, then refuses everything, then loses its answers: it does the work of each payment once.',
    loadMs: 40_000,
    loads: { orders: { rate: 10 } },
    steps: [
      { atMs: 5_000, outside: { mode: 'slow', delayMs: 1_500 }, healAfterMs: 8_000 },
      { atMs: 14_000, outside: { mode: 'fail', status: 503 }, healAfterMs: 10_000 },
      { atMs: 25_000, outside: { mode: 'lose-response', first: 2 }, healAfterMs: 8_000 },
    ],
    expect: { rtoMs: 0 },
  },
  {
    name: 'bad-data',
    about:
      '1 % of the messages come twice, 5 % late and 1 % cannot be understood: the rest is answered as if they were not there.',
    loadMs: 30_000,
    loads: {
      promotion: { ...promotion, duplicateShare: 0.01, outOfOrderShare: 0.05, poisonShare: 0.01 },
    },
    steps: [],
    expect: { rtoMs: 0 },
  },
  {
    name: 'rolling-restart',
    about:
      'All brokers are restarted one after the other under load: no request fails, and 99 of 100 take less than 2 s.',
    loadMs: 40_000,
    loads: { promotion },
    steps: [{ atMs: faultAtMs, procedure: 'rolling-restart' }],
    expect: { rtoMs: 5_000, answersMs: 15_000, p99Ms: 2_000 },
  },
];

/** Long enough for a p99 of before and after. */
const aroundMs = 25_000;

/** A second deployment under a load of everything, some 200 requests a second in all, and the way back. */
function changeDrill({ name, what, withinMs, expect, stops }: Change): Drill {
  const { rtoMs, ...requests } = expect;
  const end =
    stops === true
      ? 'it stops at its first node, the platform serves on, and undoing works'
      : 'and the way back';
  return {
    name,
    about: `A deployment with ${what}, under a load of everything; ${end}.`,
    loadMs: withinMs,
    afterMs: aroundMs,
    loads: everything(withinMs),
    steps: [{ atMs: aroundMs, procedure: name }],
    // Workers that are replaced take their partitions over, and what is in their memory.
    expect: { rtoMs, answersMs: 30_000, deadLetters: 0, requests },
  };
}

export const changeDrills: readonly Drill[] = changes.map(changeDrill);

type Having = Pick<Environment, 'processes'>;

/** Each worker, store and a broker, one after the other; the last with what is left of the others still to do. */
const courseParts = [
  'delivery-killed',
  'mysql-gone-5s',
  'delivery-frozen-15s',
  'one-broker-gone-35s',
  'redis-gone-5s',
  'delivery-killed',
];

/** 2,000 orders of dishes, in an environment that has food delivery. */
export function deliveryCourseIn(environment: Having): readonly Drill[] {
  const known = casesIn(environment);
  const parts = courseParts.flatMap((name) => known.find((one) => one.name === name) ?? []);
  if (parts.length < courseParts.length) return [];
  let atMs = faultAtMs;
  const chosen = parts.map((one, nth) => {
    const begins = { one, atMs, name: `${nth + 1} ${one.name}` };
    atMs += lastsMs(one);
    return begins;
  });
  const rate = 8;
  return [
    {
      name: 'delivery-course',
      about:
        '2,000 dishes are ordered while food delivery, its stores and a broker are killed: each order ends, each change is told once and in order, all riders are free in the end, nothing is early or done twice.',
      // A tenth more: who cannot order while MySQL is away orders nothing in that time.
      loadMs: Math.max(atMs, (2_200 / rate) * 1_000),
      loads: { delivery: { rate } },
      steps: chosen.flatMap(({ one, atMs: beginsMs, name }) => stepsOf(one, beginsMs, name)),
      cases: chosen.map(({ one, name }) => ({ name, rtoMs: lastsMs(one) })),
      expect: { rtoMs: 45_000, restarts: 0, deadLetters: 0 },
    },
  ];
}

/** Each store, and each process of ours, away or hindered by itself: the cases of the matrix whose load is all in order. */
export const outagesIn = (environment: Having): readonly Drill[] =>
  casesIn(environment)
    .filter(({ variant }) => variant === 'all')
    .map(drillOf);

/** The drill or case of the matrix of this name. Throws MUSTER_USAGE with the known names. */
export function drillNamed(name: string, environment: Having): Drill {
  const named = [...drills, ...changeDrills, ...deliveryCourseIn(environment)];
  const found = named.find((drill) => drill.name === name);
  if (found !== undefined) return found;
  const one = casesIn(environment).find((other) => other.name === name);
  if (one === undefined)
    throw new MusterError(
      'MUSTER_USAGE',
      `No drill "${name}"; there are: ${[...named, ...outagesIn(environment)].map((drill) => drill.name).join(', ')}, soak, pay-operations, matrix, all, changes, outages.`,
    );
  return drillOf(one);
}

const legMinutes = 10;

/**
 * Drills of ten minutes each, so that what was sent fits in memory, with a case of the matrix that is short each minute. The same
 * seed gives the same faults.
 */
function faultEachMinute(
  minutes: number,
  seed: number,
  environment: Having,
  what: {
    readonly name: string;
    /** In words, without the minutes. */
    readonly about: string;
    loads(leg: number, loadMs: number): Drill['loads'];
    breaks(one: ReturnType<typeof casesIn>[number]): boolean;
  },
): readonly Drill[] {
  const random = seededRandom(seed);
  // Over in a minute, the recovery too.
  const shortCases = casesIn(environment).filter(
    (one) => one.variant === 'all' && one.lengthMs <= 15_000 && lastsMs(one) <= 45_000 && what.breaks(one),
  );
  return Array.from({ length: Math.ceil(minutes / legMinutes) }, (_, leg): Drill => {
    const length = Math.min(legMinutes, minutes - leg * legMinutes);
    const loadMs = length * 60_000;
    const chosen = Array.from({ length }, (_one, minute) => {
      const one = shortCases[Math.floor(random() * shortCases.length)]!;
      return {
        one,
        name: `${minute + 1} ${one.name}`,
        atMs: minute * 60_000 + 5_000 + Math.floor(random() * 10_000),
      };
    });
    return {
      name: `${what.name}-${leg + 1}`,
      about: `${length} minutes ${what.about} (seed ${seed}, minutes ${leg * legMinutes + 1} to ${leg * legMinutes + length}): nothing is lost, nothing doubled.`,
      loadMs,
      loads: what.loads(leg, loadMs),
      steps: chosen.flatMap(({ one, name, atMs }) => stepsOf(one, atMs, name)),
      cases: chosen.map(({ one, name }) => ({ name, rtoMs: lastsMs(one) })),
      expect: { rtoMs: 45_000, restarts: 0, deadLetters: 0 },
    };
  });
}

/** Everything at once. */
export const soak = (minutes: number, seed: number, environment: Having): readonly Drill[] =>
  faultEachMinute(minutes, seed, environment, {
    name: 'soak',
    about: 'with a fault each minute',
    loads: (leg, loadMs) => ({ ...loadsOf(variants[leg % variants.length]!, loadMs), promotion }),
    breaks: () => true,
  });

/** What two cores carry out beside the faults. */
const payRate = 20;
const payParts = new Set(['pay', 'mysql', 'redis', 'kafka', 'two-brokers', 'one-broker']);

/** At least so many operations of members of my-pay, whose banks misbehave while what carries them out is killed and frozen. */
export const payOperations = (operations: number, seed: number, environment: Having): readonly Drill[] =>
  faultEachMinute(Math.ceil(operations / payRate / 60), seed, environment, {
    name: 'pay-operations',
    about: 'of members whose banks misbehave, with a worker, store or broker that dies each minute',
    loads: () => ({ pay: { rate: payRate } }),
    breaks: ({ target }) => payParts.has(target),
  });
