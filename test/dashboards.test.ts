/**
 * Every query of every dashboard finds data on the deployed environment, none excepted: what counts events that a healthy
 * system has none of (errors, dead letters) is written so that it answers 0.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import { renderDashboards } from '../dashboards/index.ts';
import { run } from '../environment/children.ts';
import { personToken } from '../environment/variables.ts';
import { runDelivery } from '../workers/traffic/delivery.ts';
import { runMoney } from '../workers/traffic/money.ts';
import { runTraffic } from '../workers/traffic/run.ts';
import type { Dashboard } from '../workers/views/model.ts';
import { prometheusAt } from '../workers/views/prometheus.ts';
import { interpolate, resolutionOf, variablesOf } from '../workers/views/queries.ts';
import { apiToken, apiUrl, environment, setting } from './deployed.fixture.ts';
import { openShop } from './shop.fixture.ts';

const prometheus = prometheusAt(setting('MUSTER_PROMETHEUS_URL'));

interface Asked {
  readonly where: string;
  readonly expr: string;
  readonly instant: boolean;
}

async function queries(window: { fromMs: number; toMs: number }): Promise<Asked[]> {
  const resolution = resolutionOf(window, environment.prometheus.scrapeIntervalMs);
  const all: Asked[] = [];
  for (const [file, text] of renderDashboards(environment)) {
    const dashboard = JSON.parse(text) as Dashboard;
    const asked = await variablesOf(dashboard, resolution, prometheus);
    for (const { title, targets = [] } of dashboard.panels)
      for (const { expr, legendFormat, instant } of targets)
        if (expr !== undefined)
          all.push({
            where: `${file.replace('.json', '')}: ${title}, ${legendFormat}`,
            expr: interpolate(expr, asked),
            instant: instant === true,
          });
  }
  return all;
}

/** Queries that find nothing but gaps in the window. */
async function emptyOnes(window: { fromMs: number; toMs: number }): Promise<string[]> {
  const { stepMs } = resolutionOf(window, environment.prometheus.scrapeIntervalMs);
  const found = await Promise.all(
    (await queries(window)).map(async ({ where, expr, instant }) => {
      const values = instant
        ? (await prometheus.instant(expr, window.toMs)).map(({ value }) => value[1])
        : (await prometheus.range(expr, window, stepMs)).flatMap(({ values }) =>
            values.map(([, value]) => value),
          );
      return values.some((value) => value !== 'NaN') ? [] : [where];
    }),
  );
  return found.flat();
}

test.serial('every query of every dashboard finds data on a system at work', async (t) => {
  const startedAtMs = Date.now();
  const closing = new AbortController();
  const durationMs = 240_000;
  const load = Promise.all([
    openShop({ apiUrl, token: apiToken, durationMs, rate: 4, signal: closing.signal }),
    runTraffic({
      apiUrl,
      token: apiToken,
      durationMs,
      rate: 20,
      seed: 7,
      signal: closing.signal,
      logDirectory: setting('LOG_INBOX_DIRECTORY'),
    }),
    runMoney({
      payUrl: setting('MUSTER_PAY_URL'),
      token: apiToken,
      rate: 4,
      durationMs,
      memberPrefix: `dashboards-${startedAtMs}`,
      signal: closing.signal,
    }),
    runDelivery(
      {
        deliveryUrl: setting('MUSTER_DELIVERY_URL'),
        tokenOf: (role, subject) => personToken(environment, role, subject),
        prefix: `dashboards-${startedAtMs}`,
        district: `dashboards-${startedAtMs}`,
        seed: 7,
        signal: closing.signal,
      },
      { rate: 1, durationMs },
    ),
  ]);
  // When the load cannot begin there is nothing to wait for; `finally` says why.
  load.catch(() => closing.abort());
  try {
    let empty: string[] = [];
    // Two scrapes make a rate, recording rules and the canary take their time: ask again until it is all there.
    for (
      const until = Date.now() + durationMs;
      Date.now() < until && !closing.signal.aborted;
      await sleep(5_000)
    ) {
      const toMs = Date.now();
      if (toMs - startedAtMs < 30_000) continue;
      empty = await emptyOnes({ fromMs: toMs - 300_000, toMs });
      if (empty.length === 0) break;
    }
    if (!closing.signal.aborted) t.deepEqual(empty, []);
  } finally {
    closing.abort();
    const [shop, traffic, money, delivery] = await load;
    t.log(
      `shop ${JSON.stringify(shop)}; traffic ${traffic.acked} acked of ${traffic.sent}; ${money.sent.length} amounts sent; ${delivery.orders.length} dishes ordered`,
    );
  }
});

test.serial('./muster dashboards preview draws them all from the live system', async (t) => {
  const folder = `build/preview-e2e`;
  const result = await run(process.execPath, [
    'tools/main.ts',
    '--env',
    environment.name,
    'dashboards',
    'preview',
    '--range',
    '10m',
    '--out',
    folder,
  ]);
  t.is(result.exitCode, 0, result.stderr);
  t.regex(result.stdout, /preview-e2e\/index\.html/);
});
