/**
 * A check of one run: begun before its load, so that it knows where topics ended and sees commits from the first on, and
 * asked for verdicts when the load is over. What the load says it sent and was told is given as plain data.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { groups } from '../../catalog/groups.ts';
import { topics } from '../../catalog/topics.ts';
import { type BankTransfer, checkBanking } from './banking.ts';
import { atBanksOf, balancesOf, bankBooksOf, claimsOf, receivedOf } from './claims.ts';
import { type Watch, watchCommits } from './commits.ts';
import { type CouponRush, checkCoupons } from './coupons.ts';
import { checkDelivery, type DeliveryTold, deliveryTopics } from './delivery.ts';
import { checkForeign, type ForeignMessage, foreignTopics } from './foreign.ts';
import { checkLogs, type LogsSeen, type LogsTold, logsSeen } from './logs.ts';
import { checkMembers, memberTopics } from './members.ts';
import { checkMoney, type MoneyTold } from './money.ts';
import { checkOrders, type OrderClaims, type OrdersTold, orderTopics } from './orders.ts';
import { type BankPlace, checkPay, type PayTold } from './pay.ts';
import { checkPayments, paymentTopics } from './payments.ts';
import { checkPromotion, type SentMessage } from './promotion.ts';
import { openReader, type Reader } from './reading.ts';
import { checkSagas } from './sagas.ts';
import { checkSettlements } from './settlements.ts';
import { watchSnapshots } from './snapshots.ts';
import { openStores, type Stores } from './stores.ts';
import { found, unjudged, type Verdict } from './verdict.ts';

const names = (list: readonly { readonly name: string }[]) => list.map(({ name }) => name);
const promotionTopics = names([
  topics.purchase,
  topics.promoBehavior,
  topics.purchaseByUser,
  topics.purchaseEnriched,
  topics.promotion,
  topics.purchaseDlq,
  topics.promoBehaviorDlq,
]);
const requestTopics = names([topics.couponRequests, topics.couponIssue]);
const resultTopics = names([topics.couponResults, topics.couponIssueSucceeded, topics.couponIssueFailed]);
const couponLetterTopics = names([topics.couponRequestsDlq, topics.couponIssueDlq]);

const watches = {
  promotion: { topics: promotionTopics, groups: [groups.promotionJoin] },
  coupons: {
    topics: [...requestTopics, ...resultTopics, ...couponLetterTopics],
    groups: [groups.couponRequest, groups.couponIssue],
  },
  foreign: { topics: foreignTopics, groups: [] },
  // What their groups do is in stores: there is no record to hold a commit against.
  orders: { topics: orderTopics, groups: [] },
  money: { topics: [...memberTopics, ...paymentTopics], groups: [] },
  pay: { topics: [...memberTopics, ...paymentTopics], groups: [] },
  delivery: { topics: deliveryTopics, groups: [] },
  // Its store says what it has; the topic is only the way there.
  logs: { topics: [], groups: [] },
} satisfies Record<string, Watch>;

export type Subject = keyof typeof watches;

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
  readonly orders?: OrdersTold;
  readonly money?: MoneyTold;
  readonly pay?: PayTold;
  readonly delivery?: DeliveryTold;
  readonly logs?: LogsTold;
}

export interface JudgeOptions {
  /** How long to look again while something is missing or wrong: corrections and retries take their time. */
  readonly patienceMs: number;
  /** Whether anything was broken during the run. */
  readonly disturbed: boolean;
}

export interface Check {
  /** A verdict on each subject, and the end of the check. What cannot be looked at is a finding. */
  judge(told: Told, options: JudgeOptions): Promise<readonly Verdict[]>;
}

/** Whom a check asks. */
export interface Sources {
  readonly reader: Reader;
  readonly stores: Stores;
  /** What the API says of orders and of members' accounts. */
  claims(orderIds: readonly string[]): Promise<OrderClaims>;
  balances(members: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** What a bank outside has decided since then, UTC ms. */
  bankBooks(bank: string, sinceMs: number): Promise<readonly BankTransfer[]>;
  /** What banks outside say is in accounts there, and the sum of all. */
  atBanks(places: readonly BankPlace[]): ReturnType<typeof atBanksOf>;
  /** How often the receiver of webhooks has done the work of orders. */
  received(orderIds: readonly string[]): Promise<ReadonlyMap<string, number>>;
  /** What the log store has of a process, and how much of that is personal. */
  logs(process: string, personal: readonly string[]): Promise<LogsSeen>;
}

const sourcesOf = (variables: CheckOptions['variables']): Sources => ({
  reader: openReader(variables.KAFKA_BROKERS!),
  stores: openStores(variables),
  claims: (orderIds) => claimsOf(orderIds, variables),
  balances: (members) => balancesOf(members, variables),
  bankBooks: (bank, sinceMs) => bankBooksOf(bank, sinceMs, variables),
  atBanks: (places) => atBanksOf(places, variables),
  received: (orderIds) => receivedOf(orderIds, variables),
  logs: (process, personal) => logsSeen(variables.LOG_STORE_URL!, process, personal),
});

/** Marks where outputs end, and begins to watch. It ends when it has judged, or by the signal. Rejects with NotChecked. */
export async function beginCheck(
  options: CheckOptions,
  sources: Sources = sourcesOf(options.variables),
): Promise<Check> {
  const { subjects, run, personal, signal } = options;
  const { reader, stores } = sources;
  const judged = new AbortController();
  const over = AbortSignal.any([signal, judged.signal]);
  const close = () => Promise.allSettled([reader.close(), stores.close()]);
  over.addEventListener('abort', close, { once: true });
  const startedAt = await stores.now();
  const all = subjects.map((subject): Watch => watches[subject]);
  const watched = all.filter((watch) => watch.groups.length > 0);
  const mark = await reader.ends([...new Set(all.flatMap((watch) => watch.topics))]);
  const commits = watchCommits(
    reader,
    { topics: watched.flatMap((watch) => watch.topics), groups: watched.flatMap((watch) => watch.groups) },
    over,
  );
  const isPay = subjects.includes('money') || subjects.includes('pay');
  const snapshots = isPay ? watchSnapshots(stores, over) : undefined;
  const since = (subject: Subject) =>
    reader.since(new Map(watches[subject].topics.map((topic) => [topic, mark.get(topic)!])));

  async function judgeAll(told: Told, { patienceMs, disturbed }: JudgeOptions): Promise<readonly Verdict[]> {
    const verdicts: Verdict[] = [];
    /** Looks until it is right, or will not get right any more: only what stays is a finding. */
    async function patiently(
      subject:
        | Subject
        | 'members'
        | 'banking'
        | 'sagas'
        | 'payments'
        | 'settlements'
        | 'snapshots'
        | 'stores',
      look: () => Promise<Verdict>,
    ): Promise<void> {
      for (const untilMs = Date.now() + patienceMs; ; await sleep(1_000)) {
        const verdict = await look().catch((error: unknown) => unjudged(subject, error));
        if (verdict.findings.length > 0 && Date.now() < untilMs && !signal.aborted) continue;
        verdicts.push(verdict);
        return;
      }
    }

    const { promotion, foreign, orders, money, pay, delivery, logs } = told;
    if (promotion !== undefined) {
      const read = since('promotion');
      const inputs = {
        sent: promotion.messages,
        run,
        personal: [...personal, ...promotion.personal],
        disturbed,
      };
      await patiently('promotion', async () => {
        const notes = await commits.notes();
        const of = await read();
        return checkPromotion(inputs, {
          purchases: of(topics.purchase.name),
          movedPurchases: of(topics.purchaseByUser.name),
          acts: of(topics.promoBehavior.name),
          enriched: of(topics.purchaseEnriched.name),
          promotion: of(topics.promotion.name),
          deadLetters: [...of(topics.purchaseDlq.name), ...of(topics.promoBehaviorDlq.name)],
          commits: notes,
        });
      });
    }
    if (foreign !== undefined) {
      const read = since('foreign');
      await patiently('foreign', async () => {
        const outside = foreign.filter(({ owes }) => owes !== 'nothing' && 'effects' in owes);
        const received = await sources.received(outside.map(({ id }) => id));
        return checkForeign(foreign, await read(), received);
      });
    }
    // One reader for all of them: they lie on the same topics.
    const readCoupons = since('coupons');
    for (const rush of told.coupons)
      await patiently('coupons', async () => {
        const notes = await commits.notes();
        const of = await readCoupons();
        const records = {
          requests: requestTopics.flatMap(of),
          results: resultTopics.flatMap(of),
          deadLetters: couponLetterTopics.flatMap(of),
          commits: notes,
        };
        return checkCoupons({ told: rush, store: await stores.coupon(rush.couponId), personal }, records);
      });
    if (orders !== undefined) {
      const read = since('orders');
      await patiently('orders', async () => {
        const of = await read();
        const rows = await stores.orders(startedAt, orders.productIds);
        const paid = orders.orders.flatMap(({ orderId, outcome }) => (outcome === 'paid' ? [orderId] : []));
        return checkOrders({ told: orders, rows, claims: await sources.claims(paid), personal }, of);
      });
    }
    if (snapshots !== undefined) {
      snapshots.stop();
      await patiently('snapshots', async () => snapshots.verdict());
      // The books of everybody, also where nobody sends from account to account.
      const sent = money ?? { members: [], sent: [] };
      await patiently('money', async () => {
        const members = sent.members.map(({ member }) => member);
        const rows = await stores.ledger(startedAt);
        return checkMoney({ told: sent, rows, balances: await sources.balances(members), personal });
      });
      if (pay !== undefined)
        await patiently('pay', async () => {
          const rows = await stores.sagas(startedAt);
          const { accounts: atBanks, sumMinor: banksSumMinor } = await sources.atBanks(
            pay.members.flatMap(({ bank, payee }) => [bank, payee]),
          );
          const balances = await sources.balances(pay.members.map(({ memberId }) => memberId));
          return checkPay({ told: pay, rows, balances, atBanks, banksSumMinor });
        });
      await patiently('sagas', async () => checkSagas(await stores.sagas(startedAt)));
      const read = since('money');
      await patiently('members', async () => {
        // The rows first: what they say was told by then.
        const rows = await stores.members(startedAt);
        return checkMembers(rows, memberTopics.flatMap(await read()), personal);
      });
      await patiently('payments', async () => {
        const rows = await stores.payments(startedAt);
        return checkPayments(rows, paymentTopics.flatMap(await read()), personal);
      });
      await patiently('banking', async () => {
        const rows = await stores.firmbankings(startedAt);
        // The books afterwards: what we hold as decided the bank has decided before.
        // What was under way when the run began they have decided a moment before it.
        const sinceMs = Date.parse(`${startedAt.replace(' ', 'T')}Z`) - 300_000;
        const books = await Promise.all(
          (await stores.banks()).map(async (bank) => [bank, await sources.bankBooks(bank, sinceMs)] as const),
        );
        return checkBanking(rows, new Map(books));
      });
      await patiently('settlements', async () => checkSettlements(await stores.settlements()));
    }
    if (delivery !== undefined) {
      const read = since('delivery');
      const itemIds = delivery.dishes.map(({ itemId }) => itemId);
      const districts = [...new Set(delivery.riders.map(({ district }) => district))];
      await patiently('delivery', async () => {
        // The rows first: what they say was told by then.
        const rows = await stores.delivery({ itemIds, districts });
        return checkDelivery(delivery, rows, await read(), personal);
      });
    }
    if (logs !== undefined)
      await patiently('logs', async () => checkLogs(logs, await sources.logs(logs.process, personal)));
    await patiently('stores', async () => {
      const findings = [
        ...(await stores.overdue(startedAt)).map((id) => found('untold', id, 'it ought to be published')),
        ...(await stores.refusing()).map((id) => found('wrong', id, 'it takes no writes')),
      ];
      const looked = 'the outbox and timers of each database, and a write to each store';
      return { subject: 'stores', acked: 0, looked, inDoubt: 0, repeats: 0, findings };
    });
    return verdicts;
  }

  return {
    async judge(told, judging) {
      try {
        return await judgeAll(told, judging);
      } finally {
        judged.abort();
      }
    },
  };
}
