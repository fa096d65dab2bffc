/** Judges a rush on a coupon: what its clients were told, what is on the topics, and the store of truth. Pure. */

import { type CommitNote, committedBeyond, type Work } from './commits.ts';
import type { SeenRecord } from './reading.ts';
import type { CouponRows } from './stores.ts';
import { type Finding, found, type Verdict } from './verdict.ts';
import { bodyOf, headerOf, mentioned, nameOf, showing, traceIdOf } from './wire.ts';

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
  /** Answered with 202. */
  readonly requestIds: readonly string[];
  /** Of those with an outcome in time: SUCCESS or the reason of the failure. */
  readonly outcomeOf: ReadonlyMap<string, string>;
  /** Never answered with 202. */
  readonly failed: number;
  /** Outcomes that were acknowledged and are listed as not told all the same. */
  readonly notAcknowledged: number;
  /** Users who were told SUCCESS more than once. */
  readonly usersTwice: number;
}

export interface CouponInputs {
  readonly told: CouponRush;
  readonly store: CouponRows;
  /** Must not appear on a topic of results: the prefix of user ids. */
  readonly personal: readonly string[];
}

export function checkCoupons({ told, store, personal }: CouponInputs, records: CouponRecords): Verdict {
  const findings: Finding[] = [...checkClaims(told, store), ...checkLedger(told.couponId, store)];
  const requests = records.requests.flatMap((record) => parsed<Request>(record, told.couponId));
  const results = records.results.flatMap((record) => parsed<Result>(record, told.couponId));
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
      findings.push(found('doubled', requestId, 'was told two outcomes', traceIdOf(result.record)));
  }
  // Of all that the store has decided, also when nobody knows whether it was accepted.
  const decided = new Map(store.requests.map((request) => [request.id, outcomeIn(request)]));
  for (const [requestId, outcome] of decided) {
    const result = first.get(requestId);
    if (result === undefined) {
      if (outcome !== 'PENDING')
        findings.push(found('untold', requestId, `decided as ${outcome}, and not on the results`));
    } else if ((result.body.reason ?? result.body.outcome) !== outcome) {
      const detail = `told as ${result.body.reason ?? result.body.outcome}, and is ${outcome}`;
      findings.push(found('wrong', requestId, detail, traceIdOf(result.record)));
    }
  }
  for (const [requestId, { record }] of first)
    if (!decided.has(requestId))
      findings.push(
        found('from-nowhere', requestId, 'a result of a request that nobody made', traceIdOf(record)),
      );

  findings.push(...checkOrder(requests, [...first.values()]));
  const resultsOf = Map.groupBy(results, ({ body }) => body.requestId);
  const letters = Map.groupBy(records.deadLetters, (record) => headerOf(record, 'muster-source'));
  const work = requests.map(({ body: { requestId }, record }): Work => {
    const effects = [
      ...(resultsOf.get(requestId) ?? []).map((result) => result.record),
      ...(letters.get(nameOf(record)) ?? []),
    ];
    return { id: requestId, inputs: [record], effects, traceId: traceIdOf(record) };
  });
  findings.push(...committedBeyond(work, records.commits));

  const shown = showing(records.results, personal);
  if (shown !== undefined)
    findings.push(found('personal-data', shown.topic, 'a record shows personal data', traceIdOf(shown)));
  return { subject: 'coupons', acked: told.requestIds.length, inDoubt: told.failed, repeats, findings };
}

/** SUCCESS, the reason of the refusal, or PENDING. */
const outcomeIn = ({ status, reason }: CouponRows['requests'][number]): string =>
  status === 'PENDING' ? 'PENDING' : (reason ?? 'SUCCESS');

/** What clients were told, against the store. */
function checkClaims(told: CouponRush, store: CouponRows): readonly Finding[] {
  const findings: Finding[] = [];
  const { couponId } = told;
  const rows = new Map(store.requests.map((request) => [request.id, outcomeIn(request)]));
  for (const id of told.requestIds) {
    const outcome = rows.get(id);
    const said = told.outcomeOf.get(id);
    if (outcome === undefined) findings.push(found('lost', id, 'accepted, and not in the store'));
    else if (said === undefined) {
      // One that is PENDING is told of with the store.
      if (outcome !== 'PENDING')
        findings.push(found('lost', id, `accepted, and never got its outcome, ${outcome}`));
    } else if (said !== outcome) findings.push(found('wrong', id, `told ${said}, and is ${outcome}`));
  }
  if (told.issued !== store.issued || told.stock !== store.stock) {
    const detail = `the API says ${told.issued} of ${told.stock}, the store ${store.issued} of ${store.stock}`;
    findings.push(found('wrong', couponId, detail));
  }
  if (told.notAcknowledged > 0) {
    const detail = `${told.notAcknowledged} outcomes were acknowledged, and are still listed as not told`;
    findings.push(found('untold', couponId, detail));
  }
  if (told.usersTwice > 0)
    findings.push(found('doubled', couponId, `${told.usersTwice} people were told SUCCESS twice`));
  const isSoldOut = store.requests.some(({ reason }) => reason === 'OUT_OF_STOCK');
  if (isSoldOut && store.issued < store.stock)
    findings.push(
      found('wrong', couponId, `sold out was said with ${store.issued} of ${store.stock} issued`),
    );
  return findings;
}

/** Issued = held = won, each once, none beyond the stock; nothing undecided, nothing left to publish. */
function checkLedger(couponId: string, store: CouponRows): readonly Finding[] {
  const findings: Finding[] = [];
  const { stock, issued, requests, held } = store;
  if (issued > stock) findings.push(found('over-issued', couponId, `${issued} issued of ${stock}`));
  if (issued !== held.length)
    findings.push(found('ledger', couponId, `${issued} issued, and people hold ${held.length}`));
  const holders = new Map<string, string>();
  const heldBy = new Map(held.map(({ requestId, user }) => [requestId, user]));
  for (const { id, requestId, user } of held) {
    if (holders.has(user)) findings.push(found('doubled', requestId, 'its user holds two coupons'));
    holders.set(user, requestId);
    const state = store.told.get(id);
    if (state !== 'COMPLETED')
      findings.push(
        found('untold', requestId, `the webhook of its coupon ${id} is ${state ?? 'not logged'}`),
      );
  }
  const won = new Map(requests.map((request) => [request.id, outcomeIn(request)]));
  for (const { id, user, ...row } of requests) {
    const outcome = outcomeIn({ id, user, ...row });
    if (outcome === 'PENDING') findings.push(found('lost', id, 'is PENDING: nobody has decided it'));
    if (outcome === 'SUCCESS' && heldBy.get(id) !== user)
      findings.push(found('ledger', id, 'has won, and its user holds nothing by it'));
  }
  for (const { requestId } of held)
    if (won.get(requestId) !== 'SUCCESS')
      findings.push(
        found('ledger', requestId, `a coupon is held by it, and it is ${won.get(requestId) ?? 'not there'}`),
      );
  for (const id of mentioned(store.unpublished, new Set([couponId, ...won.keys()])))
    findings.push(found('untold', id, 'a record of it was never published'));
  return findings;
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
  const body = bodyOf(record) as Body | undefined;
  return body?.couponId === couponId ? [{ record, body }] : [];
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
        findings.push(found('order', body.requestId, detail, traceIdOf(record)));
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
