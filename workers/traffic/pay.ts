/**
 * Members of my-pay who send each other money, bring some from their bank accounts and send some to other ones, at a rate; the
 * end of everything accepted is accounted for. Some have too little, so that it is recharged first or refused, one in ten is
 * sent twice at the same moment, and one in ten its key with another amount. The banks can be made to misbehave meanwhile.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Answer, type Client, codeOf, openClient, type Percentiles, percentiles } from './client.ts';
import { seededRandom } from './generate.ts';
import { misbehave, openBanks } from './outside-banks.ts';
import { keepPace } from './pace.ts';

/** Of traffic that is there to be looked at; they behave. */
export const trafficBanks: readonly string[] = ['hana', 'kookmin'];

export interface PayOptions {
  /** For example http://127.0.0.1:8082 */
  readonly payUrl: string;
  /** Where the banks outside are told how to be, for example http://127.0.0.1:8081 */
  readonly outsideUrl: string;
  /** Of an operator, who may call for anybody. */
  readonly token: string;
  /** Makes the names of people and their bank accounts; no other run's may be the same. At most 28 letters, digits and `-`. */
  readonly prefix: string;
  /** Banks that these members use; nobody else should, when they misbehave. */
  readonly banks: readonly string[];
  readonly seed: number;
  /** How long a request is tried again after 503 or a broken connection, and after the end an outcome waited for. Default 60,000. */
  readonly retryForMs?: number;
  readonly signal?: AbortSignal;
}

export interface PayRun {
  /** Begun a second. */
  readonly rate: number;
  /** Unset: until `signal`. */
  readonly durationMs?: number;
  /** Lets the banks misbehave until it is over. */
  readonly misbehave: boolean;
  /** About once a second. */
  onProgress?(accepted: number): void;
  /** Called with each that has ended or will not; when set, none is kept for the report: for runs without an end. */
  onAsked?(asked: Asked): void;
}

/** A member of this run, with what was first put into the account here and at the bank. */
export interface PayMember {
  readonly memberId: string;
  /** That put the first amount in. */
  readonly transferId: string;
  readonly amountMinor: number;
  readonly bank: BankPlace;
  /** As registered at banking. */
  readonly accountId: string;
  /** An account of somebody else's that this member sends to. */
  readonly payee: BankPlace & { readonly accountId: string };
}

export interface BankPlace {
  readonly bank: string;
  readonly accountNumber: string;
  readonly depositMinor: number;
}

export type PayKind = 'recharge' | 'remittance';

/** Something that a member has asked for. */
export interface Asked {
  readonly kind: PayKind;
  /** As answered, each time that it was sent. */
  readonly ids: readonly string[];
  readonly from: string;
  /** Minor units; nobody else of the run has asked for as much by the same kind. */
  readonly amountMinor: number;
  /** `ended`: DONE or FAILED, as banks and balances are. */
  readonly owes: 'refused' | 'ended' | 'DONE' | 'FAILED';
  /** `accepted`: 202; `refused`: 4xx; `failed`: never a final answer. */
  readonly outcome: 'accepted' | 'refused' | 'failed';
  /** How it ended, as its member was told; undefined: nobody said. */
  readonly end: 'DONE' | 'FAILED' | undefined;
  /** When it was first sent, UTC ms. */
  readonly sentAtMs: number;
}

export interface PayReport {
  readonly members: readonly PayMember[];
  readonly asked: readonly Asked[];
  /** From sending (the first try) to the acceptance, and from there to its end as seen by asking, ms. */
  readonly acceptMs: Percentiles | undefined;
  readonly endMs: Percentiles | undefined;
  /** Codes of refusals that were not owed and of failed tries, with how often. */
  readonly problems: Readonly<Record<string, number>>;
}

/** What somebody is about to ask for. */
interface Wish {
  readonly kind: PayKind;
  readonly from: PayMember;
  readonly owes: Asked['owes'];
  /** Of the request, beside the amount. */
  readonly body: object;
}

interface People {
  readonly rich: readonly PayMember[];
  /** Little money, and a bank account to recharge from. */
  readonly poor: readonly PayMember[];
  readonly broke: PayMember;
}

const paths: Readonly<Record<PayKind, string>> = {
  recharge: '/pay/money/recharges',
  remittance: '/pay/remittances',
};

type Pick = <Item>(list: readonly Item[]) => Item;
const send = (from: PayMember, owes: Asked['owes'], body: object): Wish => ({
  kind: 'remittance',
  from,
  owes,
  body: { from: from.memberId, ...body },
});

/** What people ask for, and how often. */
const wishes: readonly { readonly share: number; readonly make: (people: People, pick: Pick) => Wish }[] = [
  {
    share: 30,
    make({ rich }, pick) {
      const from = pick(rich);
      return send(from, 'DONE', { to: pick(rich.filter((one) => one !== from)).memberId });
    },
  },
  {
    share: 20,
    make({ rich, poor }, pick) {
      const from = pick(poor);
      return send(from, 'ended', { to: pick(rich).memberId, rechargeFrom: from.accountId });
    },
  },
  {
    share: 15,
    make({ rich }, pick) {
      const from = pick(rich);
      return send(from, 'ended', { toAccountId: from.payee.accountId });
    },
  },
  {
    share: 5,
    make({ poor }, pick) {
      const from = pick(poor);
      return send(from, 'ended', { toAccountId: from.payee.accountId, rechargeFrom: from.accountId });
    },
  },
  {
    share: 20,
    make({ rich, poor }, pick) {
      const from = pick([...rich, ...poor]);
      return {
        kind: 'recharge',
        from,
        owes: 'ended',
        body: { memberId: from.memberId, accountId: from.accountId },
      };
    },
  },
  { share: 4, make: ({ rich, broke }, pick) => send(broke, 'FAILED', { to: pick(rich).memberId }) },
  { share: 3, make: ({ rich }, pick) => send(pick(rich), 'FAILED', { to: 'nobody' }) },
  {
    share: 3,
    make({ rich }, pick) {
      const from = pick(rich);
      return send(from, 'refused', { to: from.memberId });
    },
  },
];
/** Each as often as its share is. */
const mixed = wishes.flatMap(({ share, make }) => Array.from({ length: share }, () => make));

/** More than any of them can send. */
const richMinor = 100_000_000_000;
/** Less than the least amount. */
const poorMinor = 10;
const atBankMinor = 100_000_000_000;
const leastAmount = 1_000;
/** Above all amounts that are in order. */
const otherAmount = 50_000_000;
const amountOf = (amountMinor: number) => ({ amountMinor, currency: 'KRW' });
const newKey = () => ({ 'idempotency-key': randomUUID() });

export interface PayWorld {
  /** Lets members ask for things. Resolves when all that was accepted has ended, or nobody waits for it any more. */
  run(run: PayRun): Promise<PayReport>;
  close(): Promise<void>;
}

/** Lets members join, with money here and accounts at the banks. Rejects when that does not go well. */
export async function openPay(options: PayOptions): Promise<PayWorld> {
  const { token, retryForMs = 60_000, signal, seed, outsideUrl } = options;
  const client = openClient({ apiUrl: options.payUrl, token, connections: 128, retryForMs, signal });
  const world = openClient({ apiUrl: outsideUrl, token, connections: 8 });
  const close = async () => {
    await client.close();
    await world.close();
  };
  try {
    await openBanks(client, world, options);
    const people: PayMember[] = [];
    for (const [index, amountMinor] of [...Array(8).fill(richMinor), ...Array(4).fill(poorMinor)].entries())
      people.push(await join(client, world, options, index, amountMinor));
    const [rich, poor] = [people.slice(0, 8), people.slice(8, 11)];
    return {
      close,
      run: (run) => runPay({ client, world, options, people: { rich, poor, broke: people[11]! }, seed }, run),
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** A new member, with an account here, one at a bank, and somebody to send to at another bank. */
async function join(
  client: Client,
  world: Client,
  { prefix, banks, retryForMs = 60_000 }: PayOptions,
  index: number,
  amountMinor: number,
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
  const person = { type: 'PERSON', name, email: `${name}@example.org`, address: `${name}-street 1` };
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
  const payeeId = await register(payee, { isPayee: true });
  // The account follows by an event.
  let put: Answer | undefined;
  for (const untilMs = Date.now() + retryForMs; Date.now() < untilMs && put?.status !== 201; ) {
    if (put !== undefined) await sleep(200);
    put = await client.insist('/pay/money/increases', { memberId, amount: amountOf(amountMinor) }, newKey());
  }
  const transferId = made(put, 'transferId');
  return { memberId, transferId, amountMinor, bank, accountId, payee: { ...payee, accountId: payeeId } };
}

interface Stage {
  readonly client: Client;
  readonly world: Client;
  readonly options: PayOptions;
  readonly people: People;
  readonly seed: number;
}

async function runPay({ client, world, options, people, seed }: Stage, run: PayRun): Promise<PayReport> {
  const { retryForMs = 60_000, signal } = options;
  const random = seededRandom(seed);
  const pick: Pick = (list) => list[Math.floor(random() * list.length)]!;
  const kept: Asked[] = [];
  const acceptMs: number[] = [];
  const endMs: number[] = [];
  let accepted = 0;
  const ends = new Set<Promise<void>>();
  /** Of the last one that was begun; nobody waits longer for an end. */
  let waitsUntilMs = Number.POSITIVE_INFINITY;
  const tell = (asked: Asked) => (run.onAsked === undefined ? kept.push(asked) : run.onAsked(asked));
  const note = (list: number[], ms: number) => {
    // Ten minutes at 200/s fit.
    if (list.length < 120_000) list.push(ms);
  };

  const chosen = (): Wish => pick(mixed)(people, pick);

  async function endOf(kind: PayKind, id: string): Promise<Asked['end']> {
    const fromMs = performance.now();
    for (let waitMs = 100; ; waitMs = Math.min(waitMs * 1.5, 2_000)) {
      await sleep(waitMs);
      const answer = await client.call('GET', `${paths[kind]}/${id}`).catch(() => undefined);
      const { state } = (answer?.status === 200 ? answer.json : {}) as { state?: Asked['end'] };
      if (state === 'DONE' || state === 'FAILED') {
        note(endMs, performance.now() - fromMs);
        return state;
      }
      if (performance.now() > waitsUntilMs || signal?.aborted === true) return undefined;
    }
  }

  async function ask(
    wish: Wish,
    amountMinor: number,
    key: string,
    atOnce: number,
  ): Promise<Asked['outcome']> {
    const { kind, from, body, owes } = wish;
    const sentAtMs = Date.now();
    const answers = await Promise.all(
      Array.from({ length: atOnce }, () =>
        client.insist(paths[kind], { ...body, amount: amountOf(amountMinor) }, { 'idempotency-key': key }),
      ),
    );
    const ids = answers.flatMap((one) => (one?.status === 202 ? [String(one.json[`${kind}Id`])] : []));
    const outcome =
      ids.length > 0 ? 'accepted' : answers.every((one) => one !== undefined) ? 'refused' : 'failed';
    const asked = { kind, ids, from: from.memberId, amountMinor, owes, outcome, sentAtMs } as const;
    if (outcome !== 'accepted') {
      if (outcome === 'refused' && owes !== 'refused') client.problem(codeOf(answers[0]!));
      tell({ ...asked, end: undefined });
      return outcome;
    }
    accepted += 1;
    note(acceptMs, answers.find((one) => one?.status === 202)!.tookMs);
    // Whoever sends the next one does not wait for it.
    const ending = endOf(kind, ids[0]!).then((end) => {
      tell({ ...asked, end });
      ends.delete(ending);
    });
    ends.add(ending);
    return outcome;
  }

  let number = 0;
  async function next(): Promise<void> {
    const n = number++;
    const wish = chosen();
    const key = randomUUID();
    const outcome = await ask(wish, leastAmount + n, key, n % 10 === 5 ? 2 : 1);
    if (n % 10 === 7 && outcome === 'accepted')
      await ask({ ...wish, owes: 'refused' }, otherAmount + n, key, 1);
  }

  const untilMs = performance.now() + (run.durationMs ?? Number.POSITIVE_INFINITY);
  const over = () => signal?.aborted === true || performance.now() >= untilMs;
  const wellAgain = run.misbehave
    ? misbehave(world, options.banks, seededRandom(seed ^ 0x5bd1e995))
    : undefined;
  const telling = setInterval(() => run.onProgress?.(accepted), 1_000);
  try {
    await keepPace(next, { rate: run.rate, connections: 1, over });
    await wellAgain?.();
    waitsUntilMs = performance.now() + retryForMs;
    await Promise.all(ends);
  } finally {
    clearInterval(telling);
    await wellAgain?.();
  }
  return {
    members: [...people.rich, ...people.poor, people.broke],
    asked: kept,
    acceptMs: percentiles(acceptMs),
    endMs: percentiles(endMs),
    problems: client.problems,
  };
}
