/** Members of my-pay for traffic: they join, with money here and accounts at banks. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type Client, codeOf } from './client.ts';

/** A member of this run, with what was first put into the account here and at the bank. */
export interface PayMember {
  readonly memberId: string;
  /** That put the first amount in. */
  readonly transferId: string;
  readonly amountMinor: number;
  readonly bank: BankPlace;
  /** As registered at banking. */
  readonly accountId: string;
  /** An account of somebody else's that this member sends to; of a merchant its own, where it is paid out to. */
  readonly payee: BankPlace & { readonly accountId: string };
}

export interface BankPlace {
  readonly bank: string;
  readonly accountNumber: string;
  readonly depositMinor: number;
}

export interface People {
  readonly rich: readonly PayMember[];
  /** Little money, and a bank account to recharge from. */
  readonly poor: readonly PayMember[];
  readonly broke: PayMember;
  readonly merchants: readonly PayMember[];
}

export interface JoinOptions {
  /** Makes the names of people and their bank accounts; no other run's may be the same. At most 28 letters, digits and `-`. */
  readonly prefix: string;
  /** Banks that these members use; nobody else should, when they misbehave. */
  readonly banks: readonly string[];
  /** How long a request is tried again after 503 or a broken connection, and after the end an outcome waited for. Default 60,000. */
  readonly retryForMs?: number;
}

/** More than any of them can send. */
const richMinor = 100_000_000_000;
/** Less than the least amount. */
const poorMinor = 10;
const atBankMinor = 100_000_000_000;
export const amountOf = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
export const newKey = () => ({ 'idempotency-key': randomUUID() });

/** Eight who are rich, three who are poor, one who is broke, and three merchants. Rejects when they cannot join. */
export async function joinAll(client: Client, world: Client, options: JoinOptions): Promise<People> {
  const people: PayMember[] = [];
  for (const [index, amountMinor] of [...Array(8).fill(richMinor), ...Array(4).fill(poorMinor)].entries())
    people.push(await join(client, world, options, { index, amountMinor, type: 'PERSON' }));
  const merchants: PayMember[] = [];
  for (let index = 12; index < 15; index++)
    merchants.push(await join(client, world, options, { index, amountMinor: poorMinor, type: 'MERCHANT' }));
  await knownAsMerchants(client, merchants, options.retryForMs);
  return { rich: people.slice(0, 8), poor: people.slice(8, 11), broke: people[11]!, merchants };
}

/** Waits until merchants can be paid: it follows by an event. Who pays has no account, so nothing comes of it. */
async function knownAsMerchants(
  client: Client,
  merchants: readonly PayMember[],
  retryForMs = 60_000,
): Promise<void> {
  const untilMs = Date.now() + retryForMs;
  for (const { memberId: merchantId } of merchants)
    for (;;) {
      const body = { from: 'nobody', merchantId, amount: amountOf(1) };
      const answer = await client.insist('/pay/payments', body, newKey());
      if (answer?.status === 202) break;
      if (Date.now() > untilMs) throw new Error(`a merchant cannot be paid: ${answer && codeOf(answer)}`);
      await sleep(200);
    }
}

interface Joining {
  readonly index: number;
  readonly amountMinor: number;
  readonly type: 'PERSON' | 'MERCHANT';
}

/** A new member, with an account here, one at a bank, and somebody to send to at another bank; a merchant is paid out to there. */
async function join(
  client: Client,
  world: Client,
  { prefix, banks, retryForMs = 60_000 }: JoinOptions,
  { index, amountMinor, type }: Joining,
): Promise<PayMember> {
  const name = `${prefix}-${index}`;
  const made = (answer: Answer | undefined, field: string): string => {
    if (answer?.status !== 201) throw new Error(`${field} of a member: ${answer && codeOf(answer)}`);
    return String(answer.json[field]);
  };
  const place = async (which: string, bank: string, depositMinor: number): Promise<BankPlace> => {
    const accountNumber = `${name}-${which}`;
    const opened = await world.call('PUT', `/banks/${bank}/accounts/${accountNumber}`, { depositMinor });
    if (opened.status !== 200) throw new Error(`no account at ${bank}: ${codeOf(opened)}`);
    return { bank, accountNumber, depositMinor };
  };
  const person = { type, name, email: `${name}@example.org`, address: `${name}-street 1` };
  const joined = await client.insist(
    '/pay/members',
    { ...person, district: 'Gangnam-gu', password: randomUUID() },
    newKey(),
  );
  const memberId = made(joined, 'memberId');
  const register = async ({ bank, accountNumber }: BankPlace, more = {}) =>
    made(
      await client.insist('/pay/banking/accounts', { memberId, bank, accountNumber, ...more }, newKey()),
      'accountId',
    );
  const bank = await place('a', banks[index % banks.length]!, atBankMinor);
  const payee = await place('p', banks[(index + 1) % banks.length]!, 0);
  const accountId = await register(bank);
  const payeeId = await register(payee, type === 'MERCHANT' ? {} : { isPayee: true });
  // The account follows by an event.
  let put: Answer | undefined;
  for (const untilMs = Date.now() + retryForMs; Date.now() < untilMs && put?.status !== 201; ) {
    if (put !== undefined) await sleep(200);
    put = await client.insist('/pay/money/increases', { memberId, amount: amountOf(amountMinor) }, newKey());
  }
  const transferId = made(put, 'transferId');
  return { memberId, transferId, amountMinor, bank, accountId, payee: { ...payee, accountId: payeeId } };
}
