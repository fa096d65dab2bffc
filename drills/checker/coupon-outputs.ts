/** Judges a rush on a coupon when it is over, until it is right or will not get right any more. */
import { setTimeout as sleep } from 'node:timers/promises';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import type { Reconciliation } from '../../workers/coupon/store.ts';
import type { Kafka } from '../../workers/kafka/kafka.ts';
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

/** Looks again while something is wrong, for `patienceMs` at most. `reconciled` asks the store. */
export async function judgeCoupons(
  kafka: Kafka,
  since: Mark,
  commits: CommitWatch,
  inputs: Omit<CouponInputs, 'store'> & { reconciled(): Promise<Reconciliation> },
  options: { readonly patienceMs: number; readonly signal: AbortSignal },
): Promise<Verdict> {
  const read = readSince(kafka, since);
  const untilMs = Date.now() + options.patienceMs;
  for (;;) {
    const notes = await commits.notes();
    const of = await read();
    const verdict = checkCoupons(
      { ...inputs, store: await inputs.reconciled() },
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
