/** Judges a rush on a coupon: what its clients were told, what is on the topics, and the store of truth. Pure. */

import type { Reconciliation } from '../../workers/coupon/store.ts';
import { type CommitNote, committedBeyond, type Work } from './commits.ts';
import type { SeenRecord } from './promotion.ts';
import { type Finding, found, traceIdOf, type Verdict } from './verdict.ts';

/** Everything since the run began; each partition's in order of offsets. */
export interface CouponRecords {
  /** Of both topics: by user and by coupon. */
  readonly requests: readonly SeenRecord[];
  readonly results: readonly SeenRecord[];
  readonly deadLetters: readonly SeenRecord[];
  readonly commits: readonly CommitNote[];
}

/** What the clients of a rush on one coupon say. */
export interface CouponRush {
  readonly couponId: string;
  readonly stock: number;
  /** As the API tells it at the end. */
  readonly issued: number;
  /** Answered with 202; their ids are `requestIds`. */
  readonly accepted: number;
  /** Never answered with 202. */
  readonly failed: number;
  /** Accepted and without an outcome in time. */
  readonly unanswered: number;
  /** Outcomes that were acknowledged and are listed as not told all the same. */
  readonly notAcknowledged: number;
  /** Users who were told SUCCESS more than once. */
  readonly usersTwice: number;
  /** By SUCCESS or the reason of the failure. */
  readonly outcomes: Readonly<Record<string, number>>;
  readonly requestIds: readonly string[];
}

export interface CouponInputs {
  readonly told: CouponRush;
  readonly store: Reconciliation;
  /** Must not appear on a topic of results: the prefix of user ids. */
  readonly personal: readonly string[];
}

export function checkCoupons({ told, store, personal }: CouponInputs, records: CouponRecords): Verdict {
  const findings: Finding[] = [];
  const { couponId: id } = told;
  const check = (wrong: boolean, kind: Finding['kind'], detail: string) => {
    if (wrong) findings.push({ kind, id, detail });
  };
  check(told.unanswered > 0, 'lost', `${told.unanswered} accepted requests never got an outcome`);
  check(
    told.notAcknowledged > 0,
    'untold',
    `${told.notAcknowledged} outcomes were acknowledged, and are still listed as not told`,
  );
  check(told.usersTwice > 0, 'doubled', `${told.usersTwice} people were told SUCCESS twice`);
  check(store.usersTwice > 0, 'doubled', `${store.usersTwice} people hold two`);
  check(store.issued > store.stock, 'over-issued', `${store.issued} issued of ${store.stock}`);
  check(
    store.issued !== store.historyRows || store.issued !== store.succeeded,
    'ledger',
    `issued ${store.issued}, held ${store.historyRows}, requests that succeeded ${store.succeeded}`,
  );
  check(store.succeededWithoutCoupon > 0, 'ledger', `${store.succeededWithoutCoupon} won and hold nothing`);
  check(
    told.unanswered === 0 && told.failed === 0 && (told.outcomes.SUCCESS ?? 0) !== store.succeeded,
    'untold',
    `${told.outcomes.SUCCESS ?? 0} were told SUCCESS, ${store.succeeded} succeeded`,
  );
  check(
    told.issued < Math.min(told.stock, told.accepted) && (told.outcomes.OUT_OF_STOCK ?? 0) > 0,
    'wrong',
    `sold out was said with ${told.issued} of ${told.stock} issued`,
  );

  const requests = records.requests.flatMap((record) => parsed<Request>(record, id));
  const results = records.results.flatMap((record) => parsed<Result>(record, id));
  const first = new Map<string, Parsed<Result>>();
  let repeats = 0;
  for (const result of results) {
    const { requestId } = result.body;
    const known = first.get(requestId);
    if (known === undefined) {
      first.set(requestId, result);
      continue;
    }
    repeats += 1;
    if (!known.record.value!.equals(result.record.value!))
      findings.push(found('doubled', requestId, 'was told two outcomes', traceIdOf(result.record.headers)));
  }
  for (const requestId of told.requestIds)
    if (!first.has(requestId)) findings.push(found('untold', requestId, 'accepted, and not on the results'));

  findings.push(...checkOrder(requests, [...first.values()]));
  const resultsOf = Map.groupBy(results, ({ body }) => body.requestId);
  const letters = Map.groupBy(records.deadLetters, ({ headers }) => String(headers['muster-source']));
  const work = requests.map(({ body: { requestId }, record }): Work => {
    const { topic, partition, offset, headers } = record;
    const effects = [
      ...(resultsOf.get(requestId) ?? []).map((result) => result.record),
      ...(letters.get(`${topic}-${partition}-${offset}`) ?? []),
    ];
    return { id: requestId, inputs: [record], effects, traceId: traceIdOf(headers) };
  });
  findings.push(...committedBeyond(work, records.commits));

  const shown = records.results.find(({ key, value, headers }) => {
    const text = `${key} ${value} ${Object.values(headers).join(' ')}`;
    return personal.some((one) => text.includes(one));
  });
  if (shown !== undefined)
    findings.push(
      found('personal-data', shown.topic, 'a record shows personal data', traceIdOf(shown.headers)),
    );
  return { subject: 'coupons', acked: told.accepted, inDoubt: told.failed, repeats, findings };
}

interface Request {
  readonly requestId: string;
  readonly couponId: string;
}

interface Result extends Request {
  readonly user: string;
  readonly outcome: 'SUCCESS' | 'FAILED';
  readonly reason?: string;
  /** ISO-8601 UTC. */
  readonly decidedAt: string;
}

interface Parsed<Body> {
  readonly record: SeenRecord;
  readonly body: Body;
}

function parsed<Body extends Request>(record: SeenRecord, couponId: string): readonly Parsed<Body>[] {
  try {
    const body = JSON.parse(String(record.value)) as Body;
    return body.couponId === couponId ? [{ record, body }] : [];
  } catch {
    return [];
  }
}

/**
 * Requests of one key are decided, and their results first told, in the order in which they lie on their topic. Nobody
 * is refused for want of stock, or as one who has it already, and then gets it by a later request.
 */
function checkOrder(
  requests: readonly Parsed<Request>[],
  firstResults: readonly Parsed<Result>[],
): readonly Finding[] {
  const findings: Finding[] = [];
  const resultOf = new Map(firstResults.map((result) => [result.body.requestId, result]));
  for (const own of Map.groupBy(requests, ({ record }) => `${record.topic} ${record.key}`).values()) {
    const ids = [...new Set(own.map(({ body }) => body.requestId))];
    const turns = ids.flatMap((requestId) => resultOf.get(requestId) ?? []);
    const lastTold = new Map<string, Parsed<Result>>();
    const refused = new Map<string, Parsed<Result>>();
    let before: Parsed<Result> | undefined;
    for (const turn of turns) {
      const { record, body } = turn;
      const out = (detail: string) =>
        findings.push(found('order', body.requestId, detail, traceIdOf(record.headers)));
      const told = lastTold.get(record.topic);
      const refusedBefore = refused.get(body.user);
      if (before !== undefined && body.decidedAt < before.body.decidedAt)
        out(`decided before request ${before.body.requestId}, which came before it with the same key`);
      else if (told !== undefined && told.record.partition !== record.partition)
        out(`told on another partition than request ${told.body.requestId} of the same key`);
      else if (told !== undefined && record.offset < told.record.offset)
        out(`told before request ${told.body.requestId}, which came before it with the same key`);
      else if (body.outcome === 'SUCCESS' && refusedBefore !== undefined)
        out(`has a coupon, and request ${refusedBefore.body.requestId} before it was refused`);
      if (body.reason === 'DUPLICATE' || body.reason === 'OUT_OF_STOCK') refused.set(body.user, turn);
      lastTold.set(record.topic, turn);
      before = turn;
    }
  }
  return findings;
}
