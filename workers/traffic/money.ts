/**
 * Members with prepaid money who send each other some of it, at a rate; every amount's end is accounted for. One in ten is
 * sent again with its Idempotency-Key, one in ten its key with another amount, and one in ten is more than its sender has.
 */
import { randomUUID } from 'node:crypto';
import { type Answer, codeOf, type OnInsisted, openClient, type Percentiles, percentiles } from './client.ts';
import { keepPace } from './pace.ts';

export interface MoneyOptions {
  /** For example http://127.0.0.1:8082 */
  readonly payUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  /** Amounts a second. */
  readonly rate: number;
  /** Unset: until `signal`. */
  readonly durationMs?: number;
  /** Makes the members' ids. */
  readonly memberPrefix: string;
  /** How long a request is tried again after 503 or a broken connection. Default 60,000. */
  readonly retryForMs?: number;
  readonly onInsisted?: OnInsisted;
  /** Nobody new comes after it; what has begun goes on to its end. */
  readonly closing?: AbortSignal | undefined;
  readonly signal?: AbortSignal;
}

/** An amount that a member sent to another. */
export interface SentAmount {
  /** Minor units; no other amount of the run is the same. */
  readonly amountMinor: number;
  readonly from: string;
  readonly to: string;
  /** `refused`: its sender has not so much, or its Idempotency-Key was used for another one. */
  readonly owes: 'booked' | 'refused';
  /** `booked`: 201; `refused`: 4xx; `failed`: never a final answer. */
  readonly outcome: 'booked' | 'refused' | 'failed';
  /** As answered, each time that it was sent. */
  readonly transferIds: readonly string[];
  /** When it was first sent, UTC ms. */
  readonly sentAtMs: number;
}

/** A member, with what was first put into the account. */
export interface FundedMember {
  readonly member: string;
  readonly transferId: string;
  readonly amountMinor: number;
}

export interface MoneyReport {
  readonly members: readonly FundedMember[];
  readonly sent: readonly SentAmount[];
  /** From sending (the first try) to the answer, ms. */
  readonly sendMs: Percentiles | undefined;
  /** Codes of refusals that were not owed and of failed tries, with how often. */
  readonly problems: Readonly<Record<string, number>>;
}

/** More than any of them can send. */
const rich = 100_000_000_000;
/** Less than the least amount. */
const poor = 10;
const richMembers = 20;
const leastAmount = 1_000;
/** Above all amounts that are in order. */
const otherAmount = 50_000_000;

/** Opens accounts, puts money in and lets members send it. Rejects only when they cannot be opened. */
export async function runMoney(options: MoneyOptions): Promise<MoneyReport> {
  const { rate, signal, token, retryForMs, memberPrefix, payUrl: apiUrl, onInsisted } = options;
  const client = openClient({ apiUrl, token, connections: 64, retryForMs, signal, onInsisted });
  const sent: SentAmount[] = [];
  const sendMs: number[] = [];
  const amountOf = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });

  async function fund(member: string, amountMinor: number): Promise<FundedMember> {
    const opened = await client.insist(`/pay/money/accounts/${member}`, { state: 'OPEN' }, {}, 'PUT');
    const filled = await client.insist(
      '/pay/money/increases',
      { memberId: member, amount: amountOf(amountMinor) },
      { 'idempotency-key': randomUUID() },
    );
    if (opened?.status !== 200 || filled?.status !== 201)
      throw new Error(`${member} got no money: ${opened?.status}, ${filled && codeOf(filled)}`);
    return { member, transferId: String(filled.json.transferId), amountMinor };
  }

  /** Sends an amount with a key, and again with it when it was booked, `times` in all. */
  async function send(
    one: Pick<SentAmount, 'amountMinor' | 'from' | 'to' | 'owes'>,
    key: string,
    times = 1,
  ): Promise<SentAmount['outcome']> {
    const { amountMinor, from, to, owes } = one;
    const sentAtMs = Date.now();
    const transferIds: string[] = [];
    let outcome: SentAmount['outcome'] = 'failed';
    for (let n = 0; n < times && (n === 0 || outcome === 'booked'); n++) {
      const answer = await client.insist(
        '/pay/money/transfers',
        { from, to, amount: amountOf(amountMinor) },
        { 'idempotency-key': key },
      );
      if (answer?.status === 201) transferIds.push(String(answer.json.transferId));
      if (n === 0) outcome = endOf(answer);
      if (n === 0 && outcome === 'booked') sendMs.push(answer!.tookMs);
      if (answer !== undefined && owes === 'booked' && answer.status !== 201) client.problem(codeOf(answer));
    }
    sent.push({ ...one, outcome, transferIds, sentAtMs });
    return outcome;
  }

  try {
    const names = Array.from({ length: richMembers }, (_, index) => `${memberPrefix}-${index}`);
    const poorOne = `${memberPrefix}-poor`;
    const members = [await fund(poorOne, poor)];
    for (const name of names) members.push(await fund(name, rich));

    let number = 0;
    async function next(): Promise<void> {
      const n = number++;
      const isPoor = n % 10 === 3;
      // Never the same: one is n, the other 7n + 1, of an even number of members.
      const from = isPoor ? poorOne : names[n % richMembers]!;
      const to = names[(n * 7 + 1) % richMembers]!;
      const one = { amountMinor: leastAmount + n, from, to };
      const key = randomUUID();
      const outcome = await send({ ...one, owes: isPoor ? 'refused' : 'booked' }, key, n % 10 === 5 ? 2 : 1);
      if (n % 10 === 7 && outcome === 'booked')
        await send({ ...one, amountMinor: otherAmount + n, owes: 'refused' }, key);
    }

    const endMs = performance.now() + (options.durationMs ?? Number.POSITIVE_INFINITY);
    const over = () =>
      signal?.aborted === true || options.closing?.aborted === true || performance.now() >= endMs;
    await keepPace(next, { rate, connections: 1, over });
    return { members, sent, sendMs: percentiles(sendMs), problems: client.problems };
  } finally {
    await client.close();
  }
}

function endOf(answer: Answer | undefined): SentAmount['outcome'] {
  if (answer === undefined) return 'failed';
  return answer.status === 201 ? 'booked' : 'refused';
}
