/**
 * A check of one run: begun before its load, so that it knows where topics ended and sees commits from the first on, and
 * asked for verdicts when the load is over. What the load says it sent and was told is given as plain data.
 */
import winston from 'winston';
import { connectKafka } from '../../workers/kafka/kafkajs.ts';
import { watchCommits } from './commits.ts';
import { couponWatch, judgeCoupons } from './coupon-outputs.ts';
import type { CouponRush } from './coupons.ts';
import { type ForeignMessage, foreignTopics, judgeForeign } from './foreign.ts';
import type { ChangedProduct } from './order-events.ts';
import { judgeOrders, type OrdersTold, orderTopics } from './orders.ts';
import type { SentMessage } from './promotion.ts';
import { judgePromotion, promotionWatch } from './promotion-outputs.ts';
import { markEnds } from './reading.ts';
import type { Verdict } from './verdict.ts';

export type Subject = 'promotion' | 'foreign' | 'coupons' | 'orders';

export interface CheckOptions {
  /** What will be sent. */
  readonly subjects: readonly Subject[];
  /** Where the environment is, and its secrets: what `./muster env` prints. */
  readonly variables: Readonly<Record<string, string>>;
  /** What ids of this run begin with. */
  readonly run: string;
  /** Must not appear on any output: the prefix of user ids, card numbers. */
  readonly personal: readonly string[];
  readonly signal: AbortSignal;
}

/** What a load says that it sent, and what it was told. */
export interface Told {
  readonly promotion?: {
    readonly messages: readonly SentMessage[];
    /** Must not appear on outputs either: what was hidden in the messages' texts. */
    readonly personal: readonly string[];
  };
  readonly foreign?: readonly ForeignMessage[];
  readonly coupons: readonly CouponRush[];
  readonly orders?: OrdersTold & {
    readonly changed: readonly ChangedProduct[];
    /** Of each product when the run began. */
    readonly stock: number;
  };
}

export interface Check {
  /** A verdict on each subject, and the end of the check. `disturbed`: something was broken meanwhile. */
  judge(
    told: Told,
    options: { readonly patienceMs: number; readonly disturbed: boolean },
  ): Promise<readonly Verdict[]>;
}

/** Marks where outputs end, and begins to watch. It ends when it has judged, or by the signal. */
export async function beginCheck(options: CheckOptions): Promise<Check> {
  const { subjects, variables, run, personal, signal } = options;
  const kafka = connectKafka({
    brokers: variables.KAFKA_BROKERS!.split(','),
    clientId: 'muster-checker',
    log: winston.createLogger({ silent: true }),
  });
  const close = () => kafka.close().catch(() => undefined);
  signal.addEventListener('abort', close, { once: true });
  const watches = [
    ...(subjects.includes('promotion') ? [promotionWatch] : []),
    ...(subjects.includes('coupons') ? [couponWatch] : []),
  ];
  const outputs = watches.flatMap(({ topics }) => topics);
  const since = await markEnds(kafka, [
    ...new Set([
      ...outputs,
      ...(subjects.includes('foreign') ? foreignTopics : []),
      ...(subjects.includes('orders') ? orderTopics : []),
    ]),
  ]);
  const marked = (topics: readonly string[]) => new Map(topics.map((topic) => [topic, since.get(topic)!]));
  const judged = new AbortController();
  const commits = watchCommits(
    kafka,
    { groups: watches.flatMap(({ groups }) => groups), outputs },
    AbortSignal.any([signal, judged.signal]),
  );
  return {
    async judge({ promotion, foreign, coupons, orders }, { patienceMs, disturbed }) {
      const patience = { patienceMs, signal };
      const verdicts: Verdict[] = [];
      if (promotion !== undefined) {
        const { messages } = promotion;
        const inputs = {
          sent: messages,
          everything: messages,
          run,
          personal: [...personal, ...promotion.personal],
          disturbed,
        };
        const mark = marked(promotionWatch.topics);
        verdicts.push(await judgePromotion(kafka, mark, commits, inputs, patience));
      }
      if (foreign !== undefined)
        verdicts.push(await judgeForeign(kafka, marked(foreignTopics), foreign, patience));
      for (const told of coupons) {
        const inputs = { told, personal, variables };
        verdicts.push(await judgeCoupons(kafka, marked(couponWatch.topics), commits, inputs, patience));
      }
      judged.abort();
      if (orders !== undefined)
        verdicts.push(
          await judgeOrders(kafka, marked(orderTopics), { ...orders, variables, personal }, patience),
        );
      await close();
      return verdicts;
    },
  };
}
