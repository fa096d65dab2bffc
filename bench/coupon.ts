/**
 * Coupons: a rush of 15,000 requests on 100 coupons as fast as it goes, in both orders, and the push of outcomes at 200/s.
 *
 * `./muster bench coupon -- [--only=rush,push] [--ordering=user,coupon] [--rushes=3] [--users=5000] [--connections=256]
 * [--push-rate=200] [--push-seconds=30] [--trace-ratio=0.1] [--beside]`
 *
 * Runs on the deployed stores. The deployed API, commerce and traffic are stopped meanwhile and started again at the end
 * (--beside leaves them running); processes of this machine take their place: one with coupon-api, one with coupon-issue, traced as `prod` is. Load, both
 * workers, database, brokers and everything else of the environment share the machine. A rush counts only when store,
 * counter and what the API tells agree. Who used the processors tells what limits.
 */
import { loadavg } from 'node:os';
import type { OrderBy } from '../catalog/events/coupon.ts';
import { pause } from '../environment/interruption.ts';
import { ensureSecrets } from '../environment/secrets.ts';
import { hostVariables, secretsFile } from '../environment/variables.ts';
import { databaseSettings, readSettings } from '../workers/base/config.ts';
import { reconcile } from '../workers/coupon/store.ts';
import { openDatabase } from '../workers/store/database.ts';
import { type CouponRushOptions, runCouponRush } from '../workers/traffic/coupons.ts';
import { type BenchOptions, context, optionsOf, say, stopDeployed, writeReport } from './common/bench.ts';
import { limits, usage } from './common/usage.ts';
import { startWorker } from './common/worker.ts';

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { setting, number } = optionsOf(options.args);
  const only = (setting('only') ?? 'rush,push').split(',');
  const orderings = (setting('ordering') ?? 'user,coupon').split(',') as OrderBy[];
  const traceRatio = setting('trace-ratio') ?? '0.1';
  const { secrets } = await ensureSecrets(secretsFile(environment));
  const variables = await hostVariables(environment, secrets);
  const restart = options.args.includes('--beside')
    ? async () => {}
    : await stopDeployed(environment, ['api', 'commerce', 'traffic']);
  const report: Record<string, unknown> = {
    ...context(),
    loadBefore: Math.round(loadavg()[0]! * 100) / 100,
    traceRatio,
  };
  const db = openDatabase({ settings: readSettings(databaseSettings, variables) });
  try {
    for (const ordering of orderings) {
      if (signal.aborted) break;
      const env = {
        // Room for the objects of some hundred requests, so that few of them are copied.
        NODE_OPTIONS: `--max-semi-space-size=16 ${process.env.BENCH_NODE_OPTIONS ?? ''}`,
        ...variables,
        TRACE_SAMPLE_RATIO: traceRatio,
      };
      const api = await startWorker({ workers: ['coupon-api'], env, signal });
      const issue = await startWorker({ workers: ['coupon-issue'], env, signal });
      const figures: Record<string, unknown> = {};
      report[`orderedBy${ordering === 'user' ? 'User' : 'Coupon'}`] = figures;
      const rush = async (more: Pick<CouponRushOptions, 'users'> & Partial<CouponRushOptions>) => {
        const before = await usage(environment, [api, issue]);
        const {
          requestIds: _,
          outcomeOf: __,
          ...told
        } = await runCouponRush({
          apiUrl: api.url,
          token: variables.MUSTER_API_TOKEN!,
          stock: 100,
          orderBy: ordering,
          requestsEach: 3,
          connections: number('connections', 256),
          signal,
          ...more,
        });
        const after = await usage(environment, [api, issue]);
        for (const until = Date.now() + 60_000; Date.now() < until; await pause(100, signal))
          if ((await reconcile(db, told.couponId)).pending === 0) break;
        const store = await reconcile(db, told.couponId);
        const agrees =
          store.issued === told.stock &&
          store.historyRows === told.stock &&
          store.succeeded === told.stock &&
          store.usersTwice === 0 &&
          store.pending === 0 &&
          store.requests === told.accepted;
        return { ...told, agrees, ...limits(before, after, told.accepted) };
      };
      try {
        say(`in order by ${ordering}: warming up`);
        // What was just started compiles its hot code.
        for (let round = 0; round < 2; round++) await rush({ users: 2_000, askForAll: false });
        if (only.includes('rush')) {
          const rushes = [];
          for (let round = 0; round < number('rushes', 3) && !signal.aborted; round++) {
            // Only who asked is told: looking every outcome up would be load of another kind. The store says that all are decided.
            rushes.push(await rush({ users: number('users', 5_000), askForAll: false }));
            say(JSON.stringify(rushes.at(-1)));
          }
          const middle = [...rushes].sort((a, b) => a.acceptedPerSecond - b.acceptedPerSecond)[
            Math.floor(rushes.length / 2)
          ];
          figures.rush = {
            acceptedPerSecond: middle?.acceptedPerSecond,
            acceptP95Ms: middle?.acceptMs?.p95,
            allAgree: rushes.every(({ agrees }) => agrees),
            rushes,
          };
        }
        if (only.includes('push') && !signal.aborted) {
          const rate = number('push-rate', 200);
          const users = Math.round((rate * number('push-seconds', 30)) / 3);
          // Two hundred people watch; each request of theirs is timed from its 202 to the push.
          figures.push = await rush({ users, rate, watchers: Math.min(200, users), askForAll: false });
          say(JSON.stringify(figures.push));
        }
      } finally {
        await Promise.all([api.stop(), issue.stop()]);
      }
    }
  } finally {
    await db.destroy();
    await restart();
  }
  writeReport('coupon', report);
}
