/**
 * What producers that know nothing of us send to our inputs, with clients that share no code with ours.
 * `foreign`: every codec of the protocol, and transactions that commit or abort. `odd`: tombstones, records of 1 MB, broken
 * and huge headers, timestamps of 1970 and 2100, ids that come again with another body, and what is no message at all.
 * foreign-rounds.ts says what goes to promotion, foreign-events.ts what goes to coupons, orders and systems outside.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Producer } from '@platformatic/kafka';
import kafkajs from 'kafkajs';
import { groups } from '../../catalog/groups.ts';
import type { ForeignMessage } from '../checker/foreign.ts';
import { foreignEventRounds, oddEventRounds } from './foreign-events.ts';
import { foreignRounds, type MakeRound, oddRounds, type Round } from './foreign-rounds.ts';
import type { LoadStage, Part } from './load.ts';

export interface ForeignRates {
  /** Rounds a second; each sends the next kind. */
  readonly rate: number;
  readonly kinds: 'foreign' | 'odd';
}

/** By turns: to promotion, and to the others. */
const byTurns = (one: readonly MakeRound[], other: readonly MakeRound[]) =>
  Array.from({ length: 2 * Math.max(one.length, other.length) }, (_, index) => {
    const rounds = index % 2 === 0 ? one : other;
    return rounds[Math.floor(index / 2) % rounds.length]!;
  });
const kinds = {
  foreign: byTurns(foreignRounds(), foreignEventRounds()),
  odd: byTurns(oddRounds(), oddEventRounds()),
};

export const foreign: Part<ForeignRates> = {
  groups: [groups.promotionJoin, groups.couponRequest, groups.couponIssue, groups.outsideEvents],
  async start({ rate, kinds: which }, stage) {
    const ending = new AbortController();
    const messages: ForeignMessage[] = [];
    const sentAtMs = new Map<string, number>();
    let failedTries = 0;
    const clients = clientsOf(stage);
    const over = AbortSignal.any([stage.signal, ending.signal, AbortSignal.timeout(stage.loadMs)]);
    const underWay = new Set<Promise<void>>();

    async function send(round: Round): Promise<void> {
      for (const { id } of round.messages) sentAtMs.set(id, Date.now());
      const untilMs = Date.now() + stage.retryForMs;
      let isAcked: boolean;
      for (let pauseMs = 500; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
        isAcked = await clients.send(round).then(
          () => true,
          () => {
            failedTries += 1;
            return false;
          },
        );
        if (isAcked || stage.signal.aborted || Date.now() >= untilMs) break;
        await sleep(pauseMs);
      }
      for (const message of round.messages) messages.push({ ...message, what: round.what, isAcked });
    }

    const sending = (async () => {
      for (let number = 0; !over.aborted; number += 1) {
        const make = kinds[which][number % kinds[which].length]!;
        const one = send(make(stage, number)).finally(() => underWay.delete(one));
        underWay.add(one);
        await sleep(1_000 / rate, undefined, { signal: over }).catch(() => undefined);
      }
      await Promise.all(underWay);
      await clients.close();
    })();
    return {
      end: () => ending.abort(),
      done: sending.then(() => ({
        sent: messages.length,
        failed: messages.filter(({ isAcked }) => !isAcked).length,
        failedTries,
        sentAtMs,
      })),
      told: async () => ({ foreign: messages }),
    };
  },
};

/** Hundreds of rounds wait in a long outage; tried again each moment they would keep each other from getting through after it. */
const longestPauseMs = 5_000;

/** Two foreign clients: one with all codecs, one with transactions. */
export function clientsOf({ variables, run }: Pick<LoadStage, 'variables' | 'run'>) {
  const brokers = variables.KAFKA_BROKERS!.split(',');
  // Tried again by the round and not in here: its own tries ask whoever led the partition when they began, and one request that
  // times out ends the connection, and with it whatever else waits for an answer there.
  const plain = new Producer({
    clientId: 'foreign',
    bootstrapBrokers: brokers,
    retries: 0,
    timeout: 5_000,
    requestTimeout: 10_000,
  });
  const open = new Set<kafkajs.Producer>();
  let number = 0;

  async function inTransaction({ batches, transaction: end }: Round): Promise<void> {
    number += 1;
    const producer = new kafkajs.Kafka({
      brokers,
      clientId: 'foreign-transactions',
      retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 5 },
      logLevel: kafkajs.logLevel.NOTHING,
    }).producer({
      transactionalId: `drill-${run}-${number}`,
      idempotent: true,
      maxInFlightRequests: 1,
      // Whoever reads what is committed waits for one that hangs.
      transactionTimeout: 5_000,
    });
    open.add(producer);
    try {
      await producer.connect();
      const transaction = await producer.transaction();
      for (const batch of batches)
        for (const { topic, key, value = null } of batch)
          await transaction.send({ topic, messages: [{ key, value }] });
      await transaction[end!]();
    } finally {
      open.delete(producer);
      await producer.disconnect().catch(() => undefined);
    }
  }

  return {
    async send(round: Round): Promise<void> {
      if (round.transaction !== undefined) return inTransaction(round);
      for (const batch of round.batches)
        await plain.send({
          messages: batch.map(({ topic, key, value, headers, timestamp, partition }) => ({
            topic,
            key: Buffer.from(key),
            ...(value === undefined ? {} : { value }),
            ...(timestamp === undefined ? {} : { timestamp }),
            ...(partition === undefined ? {} : { partition }),
            headers: new Map((headers ?? []).map(([name, text]) => [Buffer.from(name), Buffer.from(text)])),
          })),
          acks: -1,
          compression: round.compression ?? 'none',
        });
    },
    async close(): Promise<void> {
      await plain.close().catch(() => undefined);
      for (const producer of open) await producer.disconnect().catch(() => undefined);
    },
  };
}
