/** `./muster traffic`: realistic load, by profiles. */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { Argument, type Command, Option } from 'commander';
import { type OrderBy, orderBys } from '../../catalog/events/coupon.ts';
import { interrupted } from '../../environment/interruption.ts';
import { MusterError } from '../../workers/base/errors.ts';
import type { Percentiles } from '../../workers/traffic/client.ts';
import type { Exit } from '../exit-codes.ts';
import { numberOf, parseDurationMs, say, usage } from '../terminal.ts';
import { addVerb, type VerbContext } from '../verb.ts';

interface Options {
  rate?: string;
  duration?: string;
  seed?: string;
  steady?: boolean;
  users?: string;
  requests?: string;
  stock?: string;
  orderBy?: OrderBy;
  connections?: string;
}

/** What a profile gets: the API is known to answer. */
interface Target extends VerbContext {
  readonly apiUrl: string;
  readonly token: string;
}

/** Load of one kind. It sends, tells how it goes, and ends with the sum. */
const profiles: Readonly<Record<string, (target: Target, options: Options) => Promise<Exit | undefined>>> = {
  promotion,
  'coupon-rush': couponRush,
  orders,
  pay,
};

export function addTraffic(program: Command): void {
  addVerb<Options>(program, {
    usage: 'traffic',
    description:
      'send realistic load: purchases and acts, a rush on a coupon, orders that are paid, or members of my-pay',
    examples: [
      ['traffic --rate 200', 'purchases and acts by API, log file and plain Kafka, until Ctrl-C'],
      ['traffic --rate 50 --duration 2m --seed 7', 'the same messages every time'],
      ['traffic coupon-rush', '5,000 people want one of 100 coupons, three times each, at once'],
      ['traffic coupon-rush --users 400 --stock 20 --rate 200', 'a smaller one, at a rate'],
      [
        'traffic orders --rate 100 --duration 1m',
        'people who order and pay; then: is the ranking their sum?',
      ],
      [
        'traffic pay --rate 20 --duration 1m',
        'members of my-pay who recharge, send and pay merchants; then: has everything ended?',
      ],
    ],
    exits: ['failed', 'unavailable'],
    changes: true,
    configure: (command) =>
      command
        .addArgument(
          new Argument('[profile]', 'what kind of load').choices(Object.keys(profiles)).default('promotion'),
        )
        .option(
          '--rate <n>',
          'messages or requests or orders a second (pay: default 5); coupon-rush, orders: without it as fast as it goes',
        )
        .option('--duration <time>', 'promotion, orders, pay: how long: 30s, 5m, 1h; without it until Ctrl-C')
        .option('--seed <n>', 'promotion, orders, pay: the same seed gives the same messages')
        .option('--steady', 'promotion: evenly instead of in bursts')
        .option('--users <n>', 'coupon-rush: how many people (default 5000)')
        .option('--requests <n>', 'coupon-rush: how often each asks (default 3)')
        .addOption(
          new Option('--order-by <key>', 'coupon-rush: what is handled in order (default user)').choices(
            orderBys,
          ),
        )
        .option('--stock <n>', 'coupon-rush: how many coupons there are (default 100)')
        .option('--connections <n>', 'requests under way at the same time (coupon-rush: 256, orders: 64)'),
    async run(context, options, [profile = 'promotion']) {
      const { urlFromHost } = await import('../../stacks/config/index.ts');
      const apiUrl = urlFromHost(context.environment, 'api');
      try {
        await fetch(`${apiUrl}/healthz`, { signal: AbortSignal.timeout(5_000) });
      } catch {
        throw new MusterError(
          'MUSTER_UNAVAILABLE_API',
          `The API does not answer at ${apiUrl}. Start it: ./muster --env ${context.environment.name} up.`,
        );
      }
      const { apiToken } = await import('../../environment/variables.ts');
      const token = await apiToken(context.environment);
      return profiles[profile]!({ ...context, apiUrl, token }, options);
    },
  });
}

/** The number of an option that may be left out. */
const given = (name: string, text: string | undefined, byDefault: number): number =>
  text === undefined ? byDefault : numberOf(`--${name}`, text);

const rateOf = (text: string) => numberOf('--rate', text, { whole: false });

/** A line that is written over on a terminal, and told every ten seconds elsewhere. */
function progressLine(): { tell(elapsedMs: number, line: string): void; end(): void } {
  const live = process.stdout.isTTY;
  let toldAtMs = 0;
  return {
    tell(elapsedMs, line) {
      if (!live && elapsedMs - toldAtMs < 10_000) return;
      toldAtMs = elapsedMs;
      process.stdout.write(live ? `\r\u001B[K${line}` : `${line}\n`);
    },
    end() {
      if (live) say('');
    },
  };
}

function tellProblems(problems: Readonly<Record<string, number>>): void {
  for (const [problem, count] of Object.entries(problems)) say(`  ${count} x ${problem}`);
}

const times = (what: string, of: Percentiles | undefined): string =>
  of === undefined
    ? ''
    : `  ${what}: p50 ${of.p50} ms, p95 ${of.p95} ms, p99 ${of.p99} ms, max ${of.max} ms\n`;

async function promotion(
  { environment, signal, apiUrl, token }: Target,
  options: Options,
): Promise<Exit | undefined> {
  if (options.rate === undefined)
    throw usage('--rate is needed: messages a second, purchases and acts together.');
  const rate = rateOf(options.rate);
  const seed = given('seed', options.seed, Date.now() % 2 ** 31);
  const durationMs = options.duration === undefined ? undefined : parseDurationMs(options.duration);
  const [{ runTraffic }, { kafkaOf }, { stateDirectory }] = await Promise.all([
    import('../../workers/traffic/run.ts'),
    import('../../environment/kafka.ts'),
    import('../../environment/paths.ts'),
  ]);
  const kafka = kafkaOf(environment);
  const progress = progressLine();
  try {
    const report = await runTraffic({
      apiUrl,
      token,
      rate,
      seed,
      kafka: await kafka.producer('traffic'),
      logDirectory: join(stateDirectory(environment.name), 'log-inbox'),
      signal,
      ...(durationMs === undefined ? {} : { durationMs }),
      ...(options.steady === true ? { steady: true } : {}),
      onProgress({ elapsedMs, sent, acked, failed, sentBy }) {
        const perSecond = elapsedMs === 0 ? 0 : (sent * 1000) / elapsedMs;
        progress.tell(
          elapsedMs,
          `${(elapsedMs / 1000).toFixed(0)} s · ${sent} sent (${perSecond.toFixed(0)}/s: api ${sentBy.api}, log ${sentBy.log}, kafka ${sentBy.kafka}) · ${acked} acked · ${failed} failed`,
        );
      },
    });
    progress.end();
    process.stdout.write(
      `${report.sent} sent, ${report.acked} acked, ${report.failed} failed, ${report.unexpected} answered wrongly\n` +
        times('acked by the API in', report.apiAckMs),
    );
    tellProblems(report.problems);
    return report.failed + report.unexpected > 0 ? 'failed' : undefined;
  } finally {
    await kafka.close();
  }
}

async function couponRush({ signal, apiUrl, token }: Target, options: Options): Promise<Exit | undefined> {
  const { runCouponRush } = await import('../../workers/traffic/coupons.ts');
  const progress = progressLine();
  const users = given('users', options.users, 5_000);
  const requestsEach = given('requests', options.requests, 3);
  const report = await runCouponRush({
    apiUrl,
    token,
    users,
    requestsEach,
    stock: given('stock', options.stock, 100),
    ...(options.orderBy === undefined ? {} : { orderBy: options.orderBy }),
    connections: given('connections', options.connections, 256),
    ...(options.rate === undefined ? {} : { rate: rateOf(options.rate) }),
    signal,
    onProgress: ({ elapsedMs, accepted, failed }) =>
      progress.tell(
        elapsedMs,
        `${(elapsedMs / 1000).toFixed(0)} s · ${accepted} of ${users * requestsEach} accepted · ${failed} failed`,
      ),
  });
  progress.end();
  if (signal.aborted) throw interrupted();
  process.stdout.write(
    `Coupon ${report.couponId}: ${report.issued} of ${report.stock} issued.\n` +
      `  ${report.accepted} accepted (${report.acceptedPerSecond}/s in ${report.seconds} s), ${report.failed} failed, ${report.unanswered} without an outcome\n` +
      `  outcomes: ${Object.entries(report.outcomes)
        .map(([outcome, count]) => `${count} ${outcome}`)
        .join(', ')}\n` +
      times('accepted in', report.acceptMs) +
      times('outcome pushed in', report.pushMs),
  );
  tellProblems(report.problems);
  const wrong = report.issued > report.stock || report.usersTwice > 0;
  if (wrong) say('This must not happen: more was issued than there was, or somebody won twice.');
  return wrong || report.failed > 0 || report.unanswered > 0 ? 'failed' : undefined;
}

async function orders({ signal, apiUrl, token }: Target, options: Options): Promise<Exit | undefined> {
  const { rankingEquals, runOrders } = await import('../../workers/traffic/orders.ts');
  const progress = progressLine();
  const report = await runOrders({
    apiUrl,
    token,
    connections: given('connections', options.connections, 64),
    ...(options.rate === undefined ? {} : { rate: rateOf(options.rate) }),
    ...(options.duration === undefined ? {} : { durationMs: parseDurationMs(options.duration) }),
    ...(options.seed === undefined ? {} : { seed: given('seed', options.seed, 1) }),
    signal,
    onProgress: ({ elapsedMs, paid, refused, failed }) =>
      progress.tell(
        elapsedMs,
        `${(elapsedMs / 1000).toFixed(0)} s · ${paid} paid (${((paid * 1000) / elapsedMs).toFixed(0)}/s) · ${refused} refused · ${failed} failed`,
      ),
  });
  progress.end();
  process.stdout.write(
    `${report.paid} paid (${report.paidPerSecond}/s), ${report.refused} refused, ${report.failed} failed\n` +
      times('placed in', report.placeMs) +
      times('paid in', report.payMs),
  );
  tellProblems(report.problems);
  const { equal } = await rankingEquals(apiUrl, report.sold, {
    withinMs: 30_000,
    signal: new AbortController().signal,
  });
  // A payment without a final answer may have gone through all the same.
  const told = equal ? 'equals' : report.failed > 0 ? 'cannot be compared with' : 'differs from';
  say(`The ranking ${told} the sum of these orders.`);
  return report.failed + report.refused > 0 || !equal ? 'failed' : undefined;
}

async function pay({ environment, signal, token }: Target, options: Options): Promise<Exit | undefined> {
  const [{ openPay, trafficBanks }, { hasSettled }, { urlFromHost }] = await Promise.all([
    import('../../workers/traffic/pay.ts'),
    import('../../workers/traffic/pay-settlements.ts'),
    import('../../stacks/config/index.ts'),
  ]);
  const progress = progressLine();
  const world = await openPay({
    payUrl: urlFromHost(environment, 'pay'),
    outsideUrl: urlFromHost(environment, 'outside-world'),
    token,
    prefix: `traffic-${randomUUID().slice(0, 8)}`,
    banks: trafficBanks,
    seed: given('seed', options.seed, Date.now() % 2 ** 31),
    signal,
  });
  const startedMs = performance.now();
  const { asked, settlements, acceptMs, endMs, problems } = await world
    .run({
      rate: options.rate === undefined ? 5 : rateOf(options.rate),
      ...(options.duration === undefined ? {} : { durationMs: parseDurationMs(options.duration) }),
      misbehave: false,
      onProgress(accepted) {
        const elapsedMs = performance.now() - startedMs;
        progress.tell(elapsedMs, `${(elapsedMs / 1000).toFixed(0)} s · ${accepted} accepted`);
      },
    })
    .finally(world.close);
  progress.end();
  const count = (is: (one: (typeof asked)[number]) => boolean) => asked.filter(is).length;
  const unsettled = settlements.filter((one) => !hasSettled(one)).length;
  const open = count(({ outcome, end }) => outcome === 'accepted' && end === undefined);
  const wrong = count(
    ({ outcome, owes, end }) =>
      outcome !== (owes === 'refused' ? 'refused' : 'accepted') ||
      ((owes === 'DONE' || owes === 'FAILED') && end !== undefined && end !== owes),
  );
  process.stdout.write(
    `${asked.length} asked: ${count(({ end }) => end === 'DONE')} done, ${count(({ end }) => end === 'FAILED')} failed as they may, ${count(({ outcome }) => outcome === 'refused')} refused, ${open} without an end, ${wrong} answered wrongly\n` +
      `${settlements.length} settlements of merchants, ${unsettled} without an end\n` +
      times('accepted in', acceptMs) +
      times('ended in', endMs),
  );
  tellProblems(problems);
  return open + wrong + unsettled > 0 ? 'failed' : undefined;
}
