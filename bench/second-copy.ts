/**
 * The second copy of MySQL: what waiting for it costs orders and coupons.
 *
 * `./muster --env ci bench second-copy -- [--rounds=3] [--seconds=15] [--rate=100] [--users=2000]`
 *
 * Runs on the deployed environment, turn about with both members and with the writer alone (the other one is stopped meanwhile, and
 * so takes no processor time either): orders at a steady rate, for what a payment takes, then as fast as they go, then a rush on a
 * coupon as fast as it goes.
 */
import { percentile } from '../drills/runner/measure.ts';
import { containersOf, docker } from '../environment/docker.ts';
import { guardOf } from '../environment/guard.ts';
import { pause, throwIfInterrupted } from '../environment/interruption.ts';
import { apiToken } from '../environment/variables.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { runCouponRush } from '../workers/traffic/coupons.ts';
import { runOrders } from '../workers/traffic/orders.ts';
import { type BenchOptions, context, optionsOf, say, stopDeployed, writeReport } from './common/bench.ts';

const wanted = { ratesShare: 0.85 };
const ways = ['both', 'alone'] as const;
type Way = (typeof ways)[number];

interface Round {
  readonly payP50Ms: number;
  readonly payP99Ms: number;
  readonly ordersPerSecond: number;
  readonly couponsPerSecond: number;
}

const warmUpMs = 3_000;
const changeWithinMs = 120_000;

export async function run({ environment, args, signal }: BenchOptions): Promise<void> {
  const { number } = optionsOf(args);
  const [rounds, seconds, rate] = [number('rounds', 3), number('seconds', 15), number('rate', 100)];
  const users = number('users', 2_000);
  const caller = { apiUrl: urlFromHost(environment, 'api'), token: await apiToken(environment), signal };
  const guard = async () => guardOf(environment, await containersOf(environment, signal));
  const { writer, members } = await guard();
  const copy = `${environment.prefix}-${members.find(({ name }) => name !== writer)!.name}`;

  /** The guard has told the writer to wait for the other one, or not to. */
  async function change(way: Way): Promise<void> {
    await docker([way === 'both' ? 'start' : 'stop', copy]);
    for (const endMs = performance.now() + changeWithinMs; ; await pause(1_000, signal)) {
      const { atRiskSeconds } = await guard();
      if ((atRiskSeconds === 0) === (way === 'both')) return;
      if (performance.now() > endMs) throw new Error(`${copy}: the guard does not take it for ${way}`);
    }
  }

  async function measure(): Promise<Round> {
    const ordersFor = (more: { rate?: number }) =>
      runOrders({ ...caller, durationMs: seconds * 1_000 + warmUpMs, warmUpMs, connections: 96, ...more });
    const steady = await ordersFor({ rate });
    const highest = await ordersFor({});
    const rush = await runCouponRush({
      ...caller,
      ...{ stock: 100, users, requestsEach: 3, connections: 256, askForAll: false },
    });
    throwIfInterrupted(signal);
    return {
      payP50Ms: steady.payMs!.p50,
      payP99Ms: steady.payMs!.p99,
      ordersPerSecond: highest.paidPerSecond,
      couponsPerSecond: rush.acceptedPerSecond,
    };
  }

  const measured: Record<Way, Round[]> = { both: [], alone: [] };
  const restart = await stopDeployed(environment, ['traffic']);
  try {
    say('warming up');
    await measure();
    for (let round = 0; round < rounds; round += 1)
      // Who comes second has it better, or worse: so each is second as often.
      for (const way of round % 2 === 0 ? ways : ways.toReversed()) {
        await change(way);
        measured[way].push(await measure());
        say(`${round + 1} of ${rounds}, ${way}: ${JSON.stringify(measured[way].at(-1))}`);
      }
  } finally {
    await docker(['start', copy]);
    await restart();
  }
  const median = (way: Way, of: keyof Round) =>
    percentile(
      measured[way].map((round) => round[of]),
      0.5,
    )!;
  const share = (of: keyof Round) => median('both', of) / median('alone', of);
  writeReport('second-copy', {
    ...context(),
    ...{ rate, seconds, users, wanted },
    ordersShare: share('ordersPerSecond'),
    couponsShare: share('couponsPerSecond'),
    addedPayP50Ms: median('both', 'payP50Ms') - median('alone', 'payP50Ms'),
    addedPayP99Ms: median('both', 'payP99Ms') - median('alone', 'payP99Ms'),
    measured,
  });
}
