/**
 * What may break, as data: which part, how, and for how long: less and more than every deadline inside, of a request (3 s),
 * of a statement and of a send (10 s), of a session (10 s), of a lock and of a connection (60 s), of a producer (120 s).
 * Whoever was told "accepted" before or meanwhile is served afterwards; no process ends that the case does not end itself,
 * and nothing that is in order becomes a dead letter.
 */
import { type Environment, environments } from '../../catalog/environments.ts';
import { aliasesOf } from '../../stacks/config/topology.ts';
import type { Drill, DrillStep, Target } from '../drill.ts';
import type { Fault } from '../faults.ts';
import type { Loads } from '../loads/index.ts';

/** One case: a part that breaks in one way for one length under one variant of the load. */
export interface Case {
  readonly name: string;
  readonly target: string;
  readonly fault: string;
  /** 0: over at once. */
  readonly lengthMs: number;
  readonly variant: Variant;
}

interface Part {
  /** In words. */
  readonly about: string;
  readonly on: readonly Target[];
  /** Ways to break it, with their lengths in seconds; 0: over at once. */
  readonly breaks: Readonly<Record<string, { readonly inject: Fault; readonly seconds: readonly number[] }>>;
  /** Arrives when it is gone or frozen for longer than two minutes. */
  readonly alert?: string;
  /** From the end of the fault to the last client that is served again. */
  readonly backWithinMs: number;
}

const outages = [5, 35, 150];
const gone = { inject: { kind: 'kill' }, seconds: outages } as const;
const frozen = { inject: { kind: 'pause' }, seconds: outages } as const;
const readOnly = { inject: { kind: 'read-only' }, seconds: outages } as const;
const alias = (...names: readonly string[]) => names.map((name) => ({ alias: name }));

/** One container alone: it gets its address back. Several that get each other's are drills of their own. */
const cut = { inject: { kind: 'cut' }, seconds: outages } as const;

/** The engine starts it again. Frozen beyond its session, and beyond every patience. */
const workerBreaks = {
  killed: { inject: { kind: 'crash' }, seconds: [0] },
  frozen: { inject: { kind: 'pause' }, seconds: [15, 150] },
} as const;

/** What stands for systems outside is no part of the platform: that they fail is the drill webhook-failing. */
const workers = environments.ci.processes.list
  .filter(({ workers: own }) => !own.includes('webhook-stub') && !own.includes('traffic'))
  .map(({ name }): [string, Part] => [
    name,
    {
      about: `The process ${name}`,
      // All replicas: with one of two left people would notice nothing (`test/gateway.test.ts`).
      on: alias(...aliasesOf(environments.ci, name)),
      breaks: workerBreaks,
      backWithinMs: 25_000,
    },
  ]);

export const targets: Readonly<Record<string, Part>> = {
  kafka: {
    about: 'All brokers',
    alert: 'AllBrokersGone',
    on: alias('kafka-1', 'kafka-2', 'kafka-3'),
    breaks: { gone, frozen },
    backWithinMs: 60_000,
  },
  'two-brokers': {
    about: 'Two of three brokers',
    alert: 'BrokersMissing',
    on: alias('kafka-1', 'kafka-2'),
    breaks: { gone, frozen },
    backWithinMs: 45_000,
  },
  'one-broker': {
    about: 'The broker that is the controller',
    on: [{ role: 'controller' }],
    breaks: { gone, frozen, cut },
    backWithinMs: 25_000,
  },
  'zookeeper-leader': {
    about: 'The leader of ZooKeeper',
    on: [{ role: 'zookeeper-leader' }],
    breaks: { gone, frozen, cut },
    backWithinMs: 25_000,
  },
  'two-zookeepers': {
    about: 'Two of three ZooKeepers',
    on: alias('zookeeper-2', 'zookeeper-3'),
    breaks: { gone, frozen },
    backWithinMs: 25_000,
  },
  mysql: {
    about: 'MySQL',
    alert: 'MysqlOneCopy',
    on: [{ role: 'mysql-writer' }],
    breaks: {
      gone,
      frozen,
      'read-only': readOnly,
      'disk-full': { inject: { kind: 'disk-full' }, seconds: outages },
    },
    backWithinMs: 30_000,
  },
  redis: {
    about: 'Redis',
    alert: 'RedisDown',
    on: alias('redis'),
    breaks: { gone, frozen, 'read-only': readOnly, emptied: { inject: { kind: 'emptied' }, seconds: [0] } },
    backWithinMs: 25_000,
  },
  ...Object.fromEntries(workers),
};

/** What is sent beside everything that is in order. */
export const variants = ['all', 'foreign', 'odd'] as const;
export type Variant = (typeof variants)[number];

/** Everything at once, at rates that leave two cores room for the faults. */
export function loadsOf(variant: Variant, loadMs: number): Loads {
  const requests = 2;
  return {
    promotion: { rate: 12 },
    // Sold out about half way: both answers are given before, during and after faults.
    coupons: { rate: requests, stock: Math.ceil((requests * loadMs) / 1_000 / 4) },
    orders: { rate: 2 },
    money: { rate: 2 },
    pay: { rate: 0.5 },
    delivery: { rate: 0.3 },
    ...(variant === 'all' ? {} : { foreign: { rate: 2, kinds: variant } }),
  };
}

/** All there may be. The name of one with the load that is in order ends with its length, others with their variant. */
export const cases: readonly Case[] = Object.entries(targets).flatMap(([target, { breaks }]) =>
  Object.entries(breaks).flatMap(([fault, { seconds }]) =>
    seconds.flatMap((length) =>
      variants.map((variant) => ({
        name: [
          target,
          fault,
          ...(length === 0 ? [] : [`${length}s`]),
          ...(variant === 'all' ? [] : [variant]),
        ].join('-'),
        target,
        fault,
        lengthMs: length * 1_000,
        variant,
      })),
    ),
  ),
);

/** Those whose part the environment has: my-pay is not in all of them yet. */
export function casesIn({ processes }: Pick<Environment, 'processes'>): readonly Case[] {
  const isProcess = new Set(workers.map(([name]) => name));
  return cases.filter(
    ({ target }) => !isProcess.has(target) || processes.list.some(({ name }) => name === target),
  );
}

/** From the begin of a case to that of the next: both moves of a disk, the fault, and the time to recover. */
export function lastsMs({ target, fault, lengthMs }: Case): number {
  const movesMs = fault === 'disk-full' ? 20_000 : 0;
  return movesMs + lengthMs + targets[target]!.backWithinMs;
}

/** `of`: what it is called among others. */
export function stepsOf(one: Case, atMs: number, of = one.name): readonly DrillStep[] {
  const { on, breaks } = targets[one.target]!;
  const { inject } = breaks[one.fault]!;
  return on.map((target) => ({
    atMs,
    inject,
    on: target,
    of,
    ...(one.lengthMs === 0 ? {} : { healAfterMs: one.lengthMs }),
  }));
}

export const firstAtMs = 8_000;

/** A case by itself. */
export function drillOf(one: Case): Drill {
  const { about, alert } = targets[one.target]!;
  const loadMs = firstAtMs + lastsMs(one);
  const length = one.lengthMs === 0 ? '' : ` for ${one.lengthMs / 1_000} s`;
  const isTold = alert !== undefined && one.lengthMs > 120_000 && /^(gone|frozen)$/.test(one.fault);
  return {
    name: one.name,
    about: `${about}: ${one.fault}${length}. What was accepted is served afterwards, no process ends, no dead letter that is not owed.`,
    loadMs,
    loads: loadsOf(one.variant, loadMs),
    steps: stepsOf(one, firstAtMs),
    expect: {
      rtoMs: lastsMs(one),
      restarts: 0,
      deadLetters: 0,
      ...(isTold ? { alerts: [{ name: alert, withinMs: 90_000 }] } : {}),
    },
  };
}
