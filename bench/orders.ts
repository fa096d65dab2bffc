/**
 * Orders: latency at 500 paid a second, the highest rate of paid orders, the same when all buy one product; ranking = sum.
 *
 * `./muster bench orders -- [--only=steady,highest,hot] [--rate=500] [--seconds=30] [--connections=96] [--url=http://...]`
 *
 * Runs on the deployed environment (or the API named): load, API, database, brokers and all consumers share the machine;
 * only the other traffic is stopped meanwhile. An order counts when its payment was answered with 200; placing it comes on top. What every container used of
 * the processors tells what limits.
 */
import { loadavg } from 'node:os';
import { apiToken } from '../environment/variables.ts';
import { urlFromHost } from '../stacks/config/index.ts';
import { type OrdersOptions, rankingEquals, runOrders } from '../workers/traffic/orders.ts';
import { type BenchOptions, context, optionsOf, say, stopDeployed, writeReport } from './common/bench.ts';
import { limits, usage } from './common/usage.ts';

/** What was just started compiles its hot code; that is not what is asked here. */
const warmUpMs = 10_000;
const phases: Readonly<Record<string, Pick<OrdersOptions, 'products'>>> = {
  steady: {},
  highest: {},
  hot: { products: 1 },
};

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { setting, number } = optionsOf(options.args);
  const apiUrl = setting('url') ?? urlFromHost(environment, 'api');
  const token = await apiToken(environment);
  const seconds = number('seconds', 30);
  const rate = number('rate', 500);
  const wanted = (setting('only') ?? 'steady,highest,hot').split(',');
  const report: Record<string, unknown> = {
    ...context(),
    loadBefore: loadavg()[0],
  };
  const restart = await stopDeployed(environment, ['traffic']);
  try {
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
        token,
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
  } finally {
    await restart();
  }
  writeReport('orders', report);
}
