/**
 * Runs one or several workers in a process: `node workers/main.ts <worker>...`.
 * Exit codes: 64 wrong arguments; for the others see platform/process.ts.
 */
import { setFlagsFromString } from 'node:v8';
import type { Worker } from './platform/worker.ts';

// V8 lets the young generation grow to three semi-spaces of 16 MiB while modules load, and an idle process never gives
// them back (measured: 20 to 60 MB resident more). So it stays at its 1 MiB until there is work to do (platform/process.ts),
// unless the environment names a size: NODE_OPTIONS=--max-semi-space-size=<MiB>. Hence the dynamic imports below: they must
// come after this.
if (![...process.execArgv, process.env.NODE_OPTIONS ?? ''].some((flags) => flags.includes('semi-space')))
  setFlagsFromString('--semi-space-growth-factor=1');

/** All workers: the file of a folder exports one or several, each known by its name. */
const workers: Readonly<Record<string, () => Promise<object>>> = {
  'bank-stub': () => import('./outside-world/bank-worker.ts'),
  canary: () => import('./canary/worker.ts'),
  console: () => import('./console/worker.ts'),
  'order-analytics': () => import('./order/worker.ts'),
  'order-api': () => import('./order/worker.ts'),
  'order-expiry': () => import('./order/worker.ts'),
  'order-ranking': () => import('./order/worker.ts'),
  'outside-api': () => import('./outside/worker.ts'),
  'outside-events': () => import('./outside/worker.ts'),
  'product-events': () => import('./order/worker.ts'),
  'promotion-api': () => import('./promotion/api-worker.ts'),
  'promotion-analysis': () => import('./promotion/analysis-worker.ts'),
  'promotion-join': () => import('./promotion/join-worker.ts'),
  'promotion-log': () => import('./promotion/log-worker.ts'),
  'coupon-api': () => import('./coupon/worker.ts'),
  'coupon-issue': () => import('./coupon/worker.ts'),
  membership: () => import('./membership/worker.ts'),
  money: () => import('./money/worker.ts'),
  'money-members': () => import('./money/worker.ts'),
  'money-recharges': () => import('./money/recharge-worker.ts'),
  banking: () => import('./banking/worker.ts'),
  remittance: () => import('./remittance/worker.ts'),
  payment: () => import('./payment/worker.ts'),
  settlement: () => import('./settlement/worker.ts'),
  'delivery-orders': () => import('./delivery/worker.ts'),
  'delivery-photos': () => import('./delivery/worker.ts'),
  'delivery-riders': () => import('./delivery/worker.ts'),
  'delivery-messages': () => import('./delivery/worker.ts'),
  'delivery-log': () => import('./delivery/worker.ts'),
  messages: () => import('./messages/worker.ts'),
  'log-store': () => import('./logging/worker.ts'),
  lag: () => import('./lag/worker.ts'),
  promises: async () => {
    // The one place that knows all capabilities: they hand over what they promise.
    const [
      { promisesWorker },
      platform,
      coupon,
      order,
      outside,
      promotion,
      money,
      logging,
      membership,
      banking,
      remittance,
      payment,
      settlement,
      delivery,
    ] = await Promise.all([
      import('./promises/worker.ts'),
      import('./platform/promises.ts'),
      import('./coupon/promises.ts'),
      import('./order/promises.ts'),
      import('./outside/promises.ts'),
      import('./promotion/promises.ts'),
      import('./money/promises.ts'),
      import('./logging/promises.ts'),
      import('./membership/promises.ts'),
      import('./banking/promises.ts'),
      import('./remittance/promises.ts'),
      import('./payment/promises.ts'),
      import('./settlement/promises.ts'),
      import('./delivery/promises.ts'),
    ]);
    return {
      worker: promisesWorker({
        ...platform.platformChecks,
        ...coupon.couponChecks,
        ...order.orderChecks,
        ...outside.outsideChecks,
        ...promotion.promotionChecks,
        ...money.moneyChecks,
        ...logging.loggingChecks,
        ...membership.membershipChecks,
        ...banking.bankingChecks,
        ...remittance.remittanceChecks,
        ...payment.paymentChecks,
        ...settlement.settlementChecks,
        ...delivery.deliveryChecks,
      }),
    };
  },
  'mysql-backup': () => import('./backup/worker.ts'),
  'mysql-guard': () => import('./guard/worker.ts'),
  retention: () => import('./retention/worker.ts'),
  traffic: () => import('./traffic/worker.ts'),
  'webhook-stub': () => import('./outside-world/worker.ts'),
  'zookeeper-disk': () => import('./zookeeper/worker.ts'),
};

const usage = `Usage: node workers/main.ts <worker>...

Runs the workers in one process. Settings come from the environment (docs/environments.md).
Workers: ${Object.keys(workers).join(', ')}
`;

const names = process.argv.slice(2);
const unknown = names.filter((name) => !Object.hasOwn(workers, name));
if (names.includes('--help') || names.includes('-h')) {
  process.stdout.write(usage);
} else if (names.length === 0) {
  process.stderr.write(`muster: name at least one worker\n\n${usage}`);
  process.exitCode = 64;
} else if (unknown.length > 0) {
  process.stderr.write(
    `muster: unknown worker ${unknown.join(', ')}; known: ${Object.keys(workers).join(', ')}\n`,
  );
  process.exitCode = 64;
} else if (new Set(names).size < names.length) {
  process.stderr.write('muster: a worker is named twice\n');
  process.exitCode = 64;
} else {
  const [{ runProcess }, { connectKafka }, ...modules] = await Promise.all([
    import('./platform/process.ts'),
    import('./kafka/kafkajs.ts'),
    ...names.map((name) => workers[name]!()),
  ]);
  const workerOf = (module: object, name: string) =>
    (Object.values(module) as Partial<Worker>[]).find(
      (each) => typeof each === 'object' && each.name === name,
    );
  await runProcess({
    workers: names.map((name, index) => workerOf(modules[index]!, name) as Worker),
    connectKafka,
  });
}
