/**
 * The gateway: what it adds to a request, and what it takes of the throughput.
 *
 * `./muster --env ci bench gateway -- [--rounds=5] [--seconds=10] [--rate=200] [--connections=64] [--path=/coupons?limit=1]`
 *
 * Needs a deployed environment whose engine is on this machine (Linux: replicas are asked at their containers' addresses). Turn about
 * by the gateway and straight to the replicas of the API: at a steady rate, and as fast as it goes.
 */
import { Pool } from 'undici';
import type { Environment } from '../catalog/environments.ts';
import { percentile } from '../drills/runner/measure.ts';
import { docker } from '../environment/docker.ts';
import { throwIfInterrupted } from '../environment/interruption.ts';
import { aliasesOf, urlFromHost } from '../stacks/config/index.ts';
import { containerPorts } from '../stacks/config/topology.ts';
import { keepPace, type Pace } from '../workers/traffic/pace.ts';
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
        const within = async (forSeconds: number, atRate: number | undefined) => {
          const beganMs = performance.now();
          const isOver = () => signal.aborted || performance.now() - beganMs >= forSeconds * 1_000;
          const tookMs = await timed(ask, { rate: atRate, connections, over: isOver });
          throwIfInterrupted(signal);
          return { tookMs, perSecond: (tookMs.length * 1_000) / (performance.now() - beganMs) };
        };
        await within(1, undefined);
        const { tookMs } = await within(seconds, rate);
        const { perSecond } = await within(seconds, undefined);
        const found = { p50Ms: percentile(tookMs, 0.5)!, p99Ms: percentile(tookMs, 0.99)!, perSecond };
        measured[way].push(found);
        say(
          `${round + 1} of ${rounds}, ${way}: p50 ${found.p50Ms.toFixed(2)} ms, p99 ${found.p99Ms.toFixed(1)} ms at ${rate}/s; ${perSecond.toFixed(0)}/s at most`,
        );
      } finally {
        await Promise.all(pools.map((pool) => pool.destroy()));
      }
    }
  const median = (way: (typeof ways)[number], of: keyof Round) =>
    percentile(
      measured[way].map((round) => round[of]),
      0.5,
    )!;
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

/** How long each took, ms. Rejects with the first failure, when all have ended. */
async function timed(ask: () => Promise<void>, pace: Pace): Promise<readonly number[]> {
  const tookMs: number[] = [];
  const failures: unknown[] = [];
  const one = async () => {
    const sentMs = performance.now();
    await ask().then(
      () => void tookMs.push(performance.now() - sentMs),
      (error: unknown) => void failures.push(error),
    );
  };
  await keepPace(one, { ...pace, over: () => failures.length > 0 || pace.over() });
  if (failures.length > 0) throw failures[0];
  return tookMs;
}
