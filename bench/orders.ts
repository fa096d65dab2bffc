/**
 * Orders: latency at 500 paid a second, the highest rate of paid orders, the same when all buy one product; ranking = sum.
 *
 * `./muster bench orders -- [--only=steady,highest,hot] [--rate=500] [--seconds=30] [--connections=96] [--url=http://...]`
 *
 * Runs on the deployed environment (or the API named) as it stands: load, API, database, brokers and consumers share the
 * machine. An order counts when its payment was answered with 200; placing it comes on top. What every container used of
 * the processors tells what limits.
 */
import { readFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import type { Environment } from '../catalog/environments.ts';
import { reachFromHost } from '../stacks/config/index.ts';
import { containersOf, docker } from '../tools/docker.ts';
import { type OrdersOptions, rankingEquals, runOrders } from '../workers/traffic/orders.ts';
import { type BenchOptions, context, optionsOf, say, writeReport } from './common/bench.ts';

const warmUpMs = 5_000;
const phases: Readonly<Record<string, Pick<OrdersOptions, 'products'>>> = {
  steady: {},
  highest: {},
  hot: { products: 1 },
};

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { setting, number } = optionsOf(options.args);
  const apiUrl = setting('url') ?? `http://${reachFromHost(environment, 'api', 'http')}`;
  const seconds = number('seconds', 30);
  const rate = number('rate', 500);
  const wanted = (setting('only') ?? 'steady,highest,hot').split(',');
  const report: Record<string, unknown> = {
    ...context(),
    loadBefore: loadavg()[0],
  };
  for (const [name, phase] of Object.entries(phases)) {
    if (!wanted.includes(name) || signal.aborted) continue;
    say(`${name}: ${name === 'steady' ? `${rate} orders a second` : 'as fast as it goes'}, ${seconds} s`);
    const before = await usage(environment);
    const {
      sold,
      productIds: _,
      orders: __,
      ...figures
    } = await runOrders({
      apiUrl,
      durationMs: seconds * 1_000 + warmUpMs,
      warmUpMs,
      connections: number('connections', 96),
      signal,
      ...(name === 'steady' ? { rate } : {}),
      ...phase,
    });
    const after = await usage(environment);
    const ranking = await rankingEquals(apiUrl, sold, { withinMs: 60_000, signal });
    report[name] = { ...figures, ranking, ...limits(before, after, figures.paid) };
    say(JSON.stringify(report[name], null, 2));
  }
  writeReport('orders', report);
}

interface Usage {
  readonly atMs: number;
  /** Busy and all time of the machine's processors, ms. */
  readonly busyMs: number;
  readonly allMs: number;
  /** Processor seconds of each container's first process. */
  readonly containers: ReadonlyMap<string, number>;
  readonly load: number;
}

async function usage(environment: Environment): Promise<Usage> {
  const containers = new Map<string, number>();
  for (const { id, name } of await containersOf(environment)) {
    const pid = await docker(['inspect', '--format', '{{.State.Pid}}', id]).catch(() => '0');
    const seconds = processorSeconds(`/proc/${pid.trim()}/stat`);
    if (seconds !== undefined) containers.set(name.replace(`${environment.prefix}-`, ''), seconds);
  }
  const times = cpus().map((one) => one.times);
  const idleMs = times.reduce((sum, { idle }) => sum + idle, 0);
  const allMs = times.reduce(
    (sum, { user, nice, sys, idle, irq }) => sum + user + nice + sys + idle + irq,
    0,
  );
  const own = process.cpuUsage();
  return {
    atMs: performance.now(),
    busyMs: allMs - idleMs,
    allMs,
    containers,
    load: (own.user + own.system) / 1e6,
  };
}

/** Undefined where there is no such process, or no /proc (an engine in a machine of its own). */
function processorSeconds(file: string): number | undefined {
  try {
    const fields = readFileSync(file, 'utf8').split(') ')[1]!.split(' ');
    return (Number(fields[11]) + Number(fields[12])) / 100;
  } catch {
    return undefined;
  }
}

/** Who used the processors: the share of the machine that was busy, and per paid order what each container took. */
function limits(before: Usage, after: Usage, paid: number) {
  const perOrder = (seconds: number) => Math.round((seconds / Math.max(1, paid)) * 1e6) / 1_000;
  const used = [...after.containers]
    .map(([name, seconds]) => [name, perOrder(seconds - (before.containers.get(name) ?? seconds))] as const)
    .filter(([, ms]) => ms >= 0.01)
    .sort(([, a], [, b]) => b - a);
  return {
    machineBusyShare: Math.round(((after.busyMs - before.busyMs) / (after.allMs - before.allMs)) * 100) / 100,
    processorMsPerPaidOrder: {
      ...Object.fromEntries(used),
      'the load itself': perOrder(after.load - before.load),
    },
  };
}
