/** Judges a rush on a coupon when it is over, until it is right or will not get right any more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { reconcile } from '../../workers/coupon/store.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
import { openDatabase } from '../../workers/store/database.ts';
import type { CommitWatch, Watch } from './commits.ts';
import { type CouponInputs, checkCoupons } from './coupons.ts';
import { type Mark, readSince } from './reading.ts';
import type { Verdict } from './verdict.ts';

const names = (list: readonly { readonly name: string }[]) => list.map(({ name }) => name);
const requestTopics = names([topics.couponRequests, topics.couponIssue]);
const resultTopics = names([topics.couponResults, topics.couponIssueSucceeded, topics.couponIssueFailed]);
const deadLetterTopics = names([topics.couponRequestsDlq, topics.couponIssueDlq]);

export const couponWatch: Watch = {
  topics: [...requestTopics, ...resultTopics, ...deadLetterTopics],
  groups: [groups.couponRequest, groups.couponIssue],
};

/** Looks again while something is wrong, for `patienceMs` at most. `variables` say where the store is. */
export async function judgeCoupons(
  kafka: Kafka,
  since: Mark,
  commits: CommitWatch,
  inputs: Omit<CouponInputs, 'store'> & { readonly variables: Readonly<Record<string, string>> },
  options: { readonly patienceMs: number; readonly signal: AbortSignal },
): Promise<Verdict> {
  const read = readSince(kafka, since);
  const untilMs = Date.now() + options.patienceMs;
  for (;;) {
    const notes = await commits.notes();
    const of = await read();
    const verdict = checkCoupons(
      { ...inputs, store: await reconciled(inputs.told.couponId, inputs.variables) },
      {
        requests: requestTopics.flatMap(of),
        results: resultTopics.flatMap(of),
        deadLetters: deadLetterTopics.flatMap(of),
        commits: notes,
      },
    );
    if (verdict.findings.length === 0 || Date.now() > untilMs || options.signal.aborted) return verdict;
    await sleep(1_000);
  }
}

async function reconciled(couponId: string, variables: Readonly<Record<string, string>>) {
  const database = openDatabase({
    settings: {
      MYSQL_HOST: variables.MYSQL_HOST!,
      MYSQL_PORT: Number(variables.MYSQL_PORT),
      MYSQL_USER: variables.MYSQL_USER!,
      MYSQL_PASSWORD: variables.MYSQL_PASSWORD!,
      MYSQL_DATABASE: variables.MYSQL_DATABASE!,
    },
    connections: 1,
  });
  try {
    return await reconcile(database, couponId);
  } finally {
    await database.destroy();
  }
}
