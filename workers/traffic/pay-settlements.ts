/** Staff that settles what merchants were paid, changes commissions, and tries again what has stopped because a bank refused it. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Client, codeOf } from './client.ts';

/** A merchant's settlement as it was when somebody looked last. */
export interface Settled {
  readonly id: string;
  /** As the API knows the merchant. */
  readonly merchant: string;
  readonly state: string;
}

const newKey = () => ({ 'idempotency-key': randomUUID() });

/** Changes the commission of a merchant from now on: payments of before keep theirs. */
export async function setCommission(
  client: Client,
  merchant: string,
  rateBasisPoints: number,
): Promise<void> {
  const path = `/pay/commissions/${encodeURIComponent(merchant)}`;
  const answer = await client.call('PUT', path, { rateBasisPoints }, newKey()).catch(() => undefined);
  // It may be away: then the rate stays as it is, or changes all the same.
  if (answer?.status !== 200) client.problem(answer === undefined ? 'no answer' : codeOf(answer));
}

/** Settles what has come so far. */
export async function settleNow(client: Client): Promise<void> {
  const answer = await client.insist('/pay/settlements', {}, newKey());
  // Nothing may have come yet.
  if (answer !== undefined && answer.status !== 202 && codeOf(answer) !== 'MUSTER_SETTLEMENT_NOTHING')
    client.problem(codeOf(answer));
}

export const hasSettled = ({ state }: Settled): boolean => state === 'DONE' || state === 'CARRIED';

/** Waits for the end of all settlements of these merchants, at most until then (performance.now()); what they were at last. */
export async function settledAll(
  client: Client,
  merchants: readonly string[],
  { untilMs, signal }: { readonly untilMs: number; readonly signal: AbortSignal | undefined },
): Promise<readonly Settled[]> {
  for (;;) {
    // Asked first: a run that is not summed up has settlements yet to come.
    const summed = await allSummed(client);
    const found = await Promise.all(merchants.map((merchant) => settlementsOf(client, merchant)));
    const known = summed && found.every((each) => each !== undefined);
    const all = found.flatMap((each) => each ?? []);
    if ((known && all.every(hasSettled)) || performance.now() > untilMs || signal?.aborted === true)
      return all;
    for (const { id, state } of all)
      if (state === 'STOPPED') await client.insist(`/pay/settlements/${id}/retry`, {}, newKey());
    await sleep(500);
  }
}

/** Whether the newest runs have all their settlements; false, too, when there was no answer. */
async function allSummed(client: Client): Promise<boolean> {
  const answer = await client.call('GET', '/pay/settlements/runs').catch(() => undefined);
  if (answer?.status !== 200) return false;
  const { runs } = answer.json as { readonly runs: readonly { readonly summedAt?: string }[] };
  return runs.every(({ summedAt }) => summedAt !== undefined);
}

/** Undefined: there was no answer. */
async function settlementsOf(client: Client, merchant: string): Promise<readonly Settled[] | undefined> {
  const all: Settled[] = [];
  for (let before = ''; ; ) {
    const answer = await client
      .call('GET', `/pay/settlements?limit=200&merchantId=${encodeURIComponent(merchant)}${before}`)
      .catch(() => undefined);
    if (answer?.status !== 200) return undefined;
    const { settlements, next } = answer.json as {
      readonly settlements: readonly { readonly settlementId: string; readonly state: string }[];
      readonly next?: string;
    };
    all.push(...settlements.map(({ settlementId, state }) => ({ id: settlementId, merchant, state })));
    if (next === undefined) return all;
    before = `&before=${next}`;
  }
}
