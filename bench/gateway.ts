/**
 * The gateway: what it adds to a request, and what it takes of the throughput.
 *
 * `./muster --env ci bench gateway -- [--rounds=5] [--seconds=10] [--rate=200] [--connections=64] [--path=/coupons?limit=1]`
 *
 * Needs a deployed environment whose engine is on this machine (Linux: replicas are asked at their containers' addresses). Turn about
 * by the gateway and straight to the replicas of the API: at a steady rate, and as fast as it goes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Pool } from 'undici';
import type { Environment } from '../catalog/environments.ts';
import { docker } from '../environment/docker.ts';
import { aliasesOf, urlFromHost } from '../stacks/config/index.ts';
import { containerPorts } from '../stacks/config/topology.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';

const wanted = { addedP50Ms: 0.3, throughputShare: 0.9 };
const ways = ['gateway', 'direct'] as const;

interface Round {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly perSecond: number;
}

export async function run({ environment, args, signal }: BenchOptions): Promise<void> {
  const { number, setting } = optionsOf(args);
  const [rounds, seconds] = [number('rounds', 5), number('seconds', 10)];
  const [rate, connections] = [number('rate', 200), number('connections', 64)];
  const path = setting('path') ?? '/coupons?limit=1';
  const origins = {
    gateway: [urlFromHost(environment, 'api')],
    direct: await replicasOf(environment),
  };
  const measured: Record<(typeof ways)[number], Round[]> = { gateway: [], direct: [] };
  for (let round = 0; round < rounds; round += 1)
    // Who comes second has it better, or worse: so each is second as often.
    for (const way of round % 2 === 0 ? ways : ways.toReversed()) {
      const pools = origins[way].map(
        (origin) => new Pool(origin, { connections: Math.ceil(connections / origins[way].length) }),
      );
      try {
        let turn = 0;
        const ask = async () => {
          const { statusCode, body } = await pools[turn++ % pools.length]!.request({ path, method: 'GET' });
          await body.arrayBuffer();
          if (statusCode !== 200) throw new Error(`${statusCode} by ${way} for ${path}`);
        };
        await asFast(ask, connections, 1, signal);
        const tookMs = await steadily(ask, rate, seconds, signal);
        const perSecond = await asFast(ask, connections, seconds, signal);
        const found = { p50Ms: at(tookMs, 0.5), p99Ms: at(tookMs, 0.99), perSecond };
        measured[way].push(found);
        say(
          `${round + 1} of ${rounds}, ${way}: p50 ${found.p50Ms.toFixed(2)} ms, p99 ${found.p99Ms.toFixed(1)} ms at ${rate}/s; ${perSecond.toFixed(0)}/s at most`,
        );
      } finally {
        await Promise.all(pools.map((pool) => pool.destroy()));
      }
    }
  const median = (way: (typeof ways)[number], of: keyof Round) =>
    at(
      measured[way].map((round) => round[of]).toSorted((a, b) => a - b),
      0.5,
    );
  writeReport('gateway', {
    ...context(),
    path,
    rate,
    connections,
    wanted,
    addedP50Ms: median('gateway', 'p50Ms') - median('direct', 'p50Ms'),
    throughputShare: median('gateway', 'perSecond') / median('direct', 'perSecond'),
    measured,
  });
}

/** Where the replicas of the API are, on the containers' network. */
const replicasOf = (environment: Environment): Promise<readonly string[]> =>
  Promise.all(
    aliasesOf(environment, 'api').map(async (alias) => {
      const network = `{{(index .NetworkSettings.Networks "${environment.prefix}").IPAddress}}`;
      const address = await docker(['inspect', '--format', network, `${environment.prefix}-${alias}`]);
      return `http://${address.trim()}:${containerPorts.workerHttp}`;
    }),
  );

/** One after the other in time, whether or not those before were answered: how long each took, ms, in ascending order. */
async function steadily(
  ask: () => Promise<void>,
  rate: number,
  seconds: number,
  signal: AbortSignal,
): Promise<readonly number[]> {
  const tookMs: number[] = [];
  const asked: Promise<void>[] = [];
  const failures: unknown[] = [];
  const beganMs = performance.now();
  for (let count = 0; count < rate * seconds; count += 1) {
    const waitMs = beganMs + (count * 1_000) / rate - performance.now();
    if (waitMs > 0) await sleep(waitMs, undefined, { signal });
    const sentMs = performance.now();
    asked.push(
      ask().then(
        () => void tookMs.push(performance.now() - sentMs),
        (error: unknown) => void failures.push(error),
      ),
    );
  }
  await Promise.all(asked);
  if (failures.length > 0) throw failures[0];
  return tookMs.toSorted((a, b) => a - b);
}

/** Answers a second with so many under way all the time. */
async function asFast(
  ask: () => Promise<void>,
  connections: number,
  seconds: number,
  signal: AbortSignal,
): Promise<number> {
  const beganMs = performance.now();
  let answered = 0;
  const one = async () => {
    while (performance.now() - beganMs < seconds * 1_000) {
      signal.throwIfAborted();
      await ask();
      answered += 1;
    }
  };
  await Promise.all(Array.from({ length: connections }, one));
  return (answered * 1_000) / (performance.now() - beganMs);
}

const at = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!;
