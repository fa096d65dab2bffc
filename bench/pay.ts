/**
 * my-pay: remittances between 10,000 members, the same when everybody pays one account, recharges, balances and histories.
 *
 * `./muster bench pay -- [--only=steady,members,hot,recharge,pages] [--seconds=20] [--rate=300] [--clients=128] [--members=10000]
 * [--recharge-rate=200] [--pages-rate=500] [--entries=10000000] [--trace-ratio=0.1] [--profile]`
 *
 * Runs on the deployed stores and brokers, in databases of its own; a process of this machine stands for process `pay`,
 * whose deployed one is stopped meanwhile, as is the traffic. Clients speak HTTP. A remittance counts when it has ended as DONE:
 * `endedMs` is from its 202 until the client has read its event from remittance-events, so it is a little too long; the rate
 * is of all that were accepted, over the time until the last had ended. Recharges are only accepted well: no bank knows the
 * accounts, so banking refuses them afterwards. After each phase all balances sum to zero and nothing is open, or it fails.
 */
import { randomUUID } from 'node:crypto';
import { loadavg } from 'node:os';
import winston from 'winston';
import { topics } from '../catalog/topics.ts';
import { pause } from '../environment/interruption.ts';
import { connectKafka } from '../workers/kafka/kafkajs.ts';
import { codeOf, percentiles } from '../workers/traffic/client.ts';
import { type BenchOptions, context, optionsOf, say, stopDeployed, writeReport } from './common/bench.ts';
import { fillEntries } from './common/books.ts';
import { openStage, type Phase, type Stage } from './pay/stage.ts';

const won = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
const anyOf = (members: readonly string[]) => members[Math.floor(Math.random() * members.length)]!;

export async function run(options: BenchOptions): Promise<void> {
  const { environment, signal } = options;
  const { setting, number } = optionsOf(options.args);
  const wanted = (setting('only') ?? 'steady,members,hot,recharge,pages').split(',');
  const report: Record<string, unknown> = { ...context(), loadBefore: loadavg()[0] };
  const restart = await stopDeployed(environment, ['pay', 'traffic']);
  try {
    const stage = await openStage(options, report);
    const ends = followEnds(stage.brokers);
    try {
      const steady = number('rate', 300);
      const phases: Readonly<Record<string, () => Phase | Promise<Phase>>> = {
        steady: () => remittances(stage, ends, { name: 'steady', rate: steady, toOne: false }),
        members: () => remittances(stage, ends, { name: 'members', rate: undefined, toOne: false }),
        hot: () => remittances(stage, ends, { name: 'hot', rate: undefined, toOne: true }),
        recharge: () => recharges(stage, number('recharge-rate', 200)),
        pages: () => pages(stage, number('pages-rate', 500), number('entries', 10_000_000)),
      };
      for (const [name, phase] of Object.entries(phases))
        if (wanted.includes(name) && !signal.aborted) await stage.measure(await phase());
    } finally {
      await ends.stop();
      await stage.close();
    }
  } finally {
    await restart();
  }
  writeReport('pay', report);
}

type Ends = ReturnType<typeof followEnds>;

/** How remittances ended, as a client of Kafka reads it from now on. */
function followEnds(brokers: readonly string[]) {
  const log = winston.createLogger({ silent: true });
  const kafka = connectKafka({ brokers: [...brokers], clientId: 'bench', log });
  const { name: topic, partitions } = topics.remittanceEvents;
  const ended = new Map<string, { readonly atMs: number; readonly state: string }>();
  const follower = kafka.follow({
    topic,
    partitions: Array.from({ length: partitions }, (_, n) => n),
    onRecords(_, records) {
      for (const { value } of records) {
        const { remittanceId, state } = JSON.parse(value!.toString());
        ended.set(remittanceId, { atMs: performance.now(), state });
      }
    },
  });
  return {
    ended,
    async stop() {
      await follower.stop();
      await kafka.close();
    },
  };
}

/** Asks for something that is answered with 202 and an id, and notes of each when it was accepted. */
function accepting({ client }: Stage, path: string, id: 'remittanceId' | 'rechargeId', bodyOf: () => object) {
  let accepted = new Map<string, number>();
  let acceptMs: number[] = [];
  let beganMs = performance.now();
  return {
    async ask() {
      const answer = await client.insist(path, bodyOf(), { 'idempotency-key': randomUUID() });
      if (answer?.status !== 202) {
        if (answer !== undefined) client.problem(codeOf(answer));
        return;
      }
      acceptMs.push(answer.tookMs);
      accepted.set(String(answer.json[id]), performance.now());
    },
    ids: () => [...accepted.keys()],
    /** What was asked since the last call. */
    take() {
      const taken = { accepted, acceptMs: percentiles(acceptMs), beganMs };
      accepted = new Map();
      acceptMs = [];
      beganMs = performance.now();
      return taken;
    },
  };
}

function remittances(
  stage: Stage,
  { ended }: Ends,
  { toOne, ...phase }: Pick<Phase, 'name' | 'rate'> & { readonly toOne: boolean },
): Phase {
  const { members, signal } = stage;
  const { ask, ids, take } = accepting(stage, '/pay/remittances', 'remittanceId', () => {
    // To the first, or to the one before: never to oneself.
    const n = 1 + Math.floor(Math.random() * (members.length - 1));
    return { from: members[n], to: members[toOne ? 0 : n - 1], amount: won(1) };
  });
  return {
    ...phase,
    ask,
    async settle() {
      const untilMs = performance.now() + 120_000;
      while (!ids().every((id) => ended.has(id))) {
        if (performance.now() > untilMs) throw new Error('remittances have not ended within two minutes');
        await pause(50, signal);
      }
      const { accepted, acceptMs, beganMs } = take();
      const ends = [...accepted].map(([id, atMs]) => ({ ...ended.get(id)!, acceptedMs: atMs }));
      ended.clear();
      const done = ends.filter(({ state }) => state === 'DONE').length;
      const lastMs = ends.reduce((last, { atMs }) => Math.max(last, atMs), beganMs + 1);
      return {
        done,
        failed: ends.length - done,
        aSecond: Math.round(done / ((lastMs - beganMs) / 1_000)),
        acceptMs,
        // An event may be here before the answer is.
        endedMs: percentiles(ends.map(({ atMs, acceptedMs }) => Math.max(0, atMs - acceptedMs))),
      };
    },
  };
}

function recharges(stage: Stage, rate: number): Phase {
  const { ask, take } = accepting(stage, '/pay/money/recharges', 'rechargeId', () => ({
    memberId: anyOf(stage.members),
    accountId: randomUUID(),
    amount: won(10_000),
  }));
  return {
    name: 'recharge',
    rate,
    ask,
    async settle() {
      await stage.scratch.untilNoneDue('money', 'recharge', stage.signal);
      const { accepted, acceptMs } = take();
      return { done: accepted.size, acceptMs };
    },
  };
}

async function pages(
  { members, client, scratch, signal }: Stage,
  rate: number,
  entries: number,
): Promise<Phase> {
  say(`filling in ${entries} entries`);
  await fillEntries(scratch.of('money'), entries, signal);
  let tookMs = { balance: [] as number[], page: [] as number[] };
  let n = 0;
  return {
    name: 'pages',
    rate,
    async ask() {
      const kind = n++ % 2 === 0 ? 'balance' : 'page';
      const path = `/pay/money/accounts/${anyOf(members)}${kind === 'page' ? '/history' : ''}`;
      const sentMs = performance.now();
      const { status } = await client.call('GET', path);
      if (status === 200) tookMs[kind].push(performance.now() - sentMs);
      else client.problem(`HTTP ${status}`);
    },
    async settle() {
      const { balance, page } = tookMs;
      tookMs = { balance: [], page: [] };
      return {
        done: balance.length + page.length,
        entries,
        balanceMs: percentiles(balance),
        pageMs: percentiles(page),
      };
    },
  };
}
