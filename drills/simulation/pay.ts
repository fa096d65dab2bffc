/**
 * my-pay in the simulation: remittances, recharges, payments and refunds as sagas, the books that they move money in, the
 * outbox and its relay, and what they hear on Kafka. Customers ask until they know; workers die, freeze and come back between
 * any two steps, answers of money and banking are lost, late, twice or of another amount, transactions fail before and after
 * their commits; then the ledger sums to zero, everything accepted has ended, and all money is where the ends say.
 */
import { groups } from '../../catalog/groups.ts';
import { metrics } from '../../catalog/metrics.ts';
import { topics } from '../../catalog/topics.ts';
import { isNotNow } from '../../workers/base/errors.ts';
import { uuidV7 } from '../../workers/base/ids.ts';
import { counter, emptyRegistry, gauge } from '../../workers/base/metrics.ts';
import { houseAccounts, houseOf, isHouse } from '../../workers/money/house.ts';
import type { Account, Hold, Operation } from '../../workers/money/ledger.ts';
import { bookAll, type LedgerCall } from '../../workers/money/postings.ts';
import { openRecharges, type Recharge, type RechargeWord } from '../../workers/money/recharge.ts';
import { readEnd as readFirmbanking } from '../../workers/money/recharge-worker.ts';
import { rechargeKind } from '../../workers/money/recharges.ts';
import type { Slip } from '../../workers/payment/payment.ts';
import { slipKind } from '../../workers/payment/slips.ts';
import { keyOf, type Move, openStates, type Word } from '../../workers/platform/move.ts';
import { readEnd } from '../../workers/platform/move-ends.ts';
import { startSagas } from '../../workers/platform/saga-work.ts';
import { type SagaKind, type SagaRows, sagas } from '../../workers/platform/sagas.ts';
import { remittanceKind } from '../../workers/remittance/store.ts';
import { groupCommit } from '../../workers/store/group-commit.ts';
import type { OnceCall } from '../../workers/store/once.ts';
import { simulateBanking, simulateNetwork } from './bank.ts';
import { type Life, silentLog, simulateKafka } from './kafka.ts';
import {
  type EntryRow,
  ledgerStoreIn,
  newAccount,
  rechargeRowsIn,
  remittanceTable,
  type SagaRow,
  sagaOptionsIn,
  sagaRows,
  slipRowsIn,
} from './pay-rows.ts';
import { processes } from './processes.ts';
import { relayOutbox, unpublished } from './relay.ts';
import { settled } from './settled.ts';
import { simulateStore } from './store.ts';
import type { World } from './world.ts';

export const payBugs = [
  'answersCountForTheNextCall',
  'olderClaimsCount',
  'keysOfTheirOwnEachTime',
  'otherAmountsCount',
  'heldForgotten',
  'paymentsNotLocked',
  'toldOutsideTransaction',
  'answersBeforeCommit',
  'outboxForgottenBeforeAck',
] as const;
export type PayBug = (typeof payBugs)[number];

const timeoutMs = 5_000;
const leaseMs = 15_000;
const feeMinor = 500;
const won = 'KRW';
const bankAccountId = '01a22284-818f-7098-8c5c-8a5294ad9a08';
const registry = emptyRegistry();

/** What the kinds of sagas decide, with a bug in it. */
function seeded<
  One extends Move | Recharge,
  Own,
  Wish,
  W extends Word | RechargeWord,
  Told,
  Rows extends SagaRows<One, Own>,
>(
  kind: SagaKind<One, Own, Wish, W, Told, Rows>,
  bug: PayBug | undefined,
): SagaKind<One, Own, Wish, W, Told, Rows> {
  return {
    ...kind,
    async decide(rows, answers, now) {
      const heard = answers.map((each): typeof each => {
        const { asked, row, word } = each;
        const forgets =
          bug === 'olderClaimsCount' ||
          (bug === 'answersCountForTheNextCall' && asked?.claim === row.one.claim);
        if (asked !== undefined && forgets) return { ...each, asked: row.one };
        if (bug === 'otherAmountsCount' && 'amountMinor' in word) {
          const { one } = row;
          const expected =
            'rechargeMinor' in one && one.state === 'RECHARGING' ? one.rechargeMinor : one.amountMinor;
          return { ...each, word: { ...word, amountMinor: expected } };
        }
        return each;
      });
      const changes = await kind.decide(rows, heard, now);
      if (bug !== 'heldForgotten') return changes;
      return changes.map((change) =>
        change?.next.state === 'RELEASE'
          ? { next: { ...change.next, state: 'FAILED' as const }, againInMs: undefined }
          : change,
      );
    },
  };
}

interface Request {
  readonly what: 'remittance' | 'recharge' | 'payment' | 'refund';
  readonly key: string;
  /** As each answer said it. */
  readonly answers: Set<string>;
}

type Answered = { readonly id: string } | { readonly refused: string };

interface Service {
  remit(
    wish: { from: string; to: Move['to']; amountMinor: number; may: boolean },
    key: string,
  ): Promise<Answered>;
  recharge(account: string, amountMinor: number, call: OnceCall, keepsRefusal: boolean): Promise<Answered>;
  pay(
    wish: { customer: string; merchant: string; amountMinor: number; may: boolean },
    key: string,
  ): Promise<Answered>;
  refund(paymentId: string, amountMinor: number, key: string): Promise<Answered>;
  book(call: LedgerCall): Promise<Answered>;
}

/** Runs one scenario; resolves to what is wrong with the outcome. */
export async function payScenario(world: World, bug?: PayBug): Promise<readonly string[]> {
  const bugs = bug === undefined ? {} : { [bug]: true };
  const kafka = simulateKafka(world, 2, bugs);
  const store = simulateStore(world, bugs);
  const banking = simulateBanking(world, kafka);
  const network = simulateNetwork(world, timeoutMs);
  const surprises: string[] = [];
  const workers = processes<Service>(world, { name: 'pay', most: 2, begin });

  async function begin(life: Life, fail: (error: Error) => void): Promise<Service> {
    const port = kafka.client(life);
    relayOutbox(world, { life, store, producer: await port.producer('outbox') }, bugs);
    const newId = () => uuidV7(world.now());
    const place = { store, life, newId };
    const houseAccount = houseAccounts(world.int(0, 1));
    const claiming = { leaseMs, room: (): number => remitting.room() };
    const remittances = sagas(
      seeded(remittanceKind, bug),
      sagaOptionsIn(world, { ...place, claiming }, (trx) =>
        sagaRows<Move, undefined>({ store, life, trx }, remittanceTable, bugs),
      ),
    );
    const payments = sagas(
      seeded(slipKind, bug),
      sagaOptionsIn(world, { ...place, claiming: undefined }, (trx) =>
        slipRowsIn({ store, life, trx }, bugs),
      ),
    );
    const recharges = sagas(
      seeded(rechargeKind(houseAccount), bug),
      sagaOptionsIn(world, { ...place, claiming: undefined }, (trx) =>
        rechargeRowsIn({ store, life, trx }, bugs),
      ),
    );
    const ledger = ledgerStoreIn(store, life);
    const booking = groupCommit((calls: readonly LedgerCall[]) => bookAll(ledger, calls, Date.now), {
      most: 250,
      waiting: 5_000,
    });
    const common = { leaseMs, everyMs: 1_000 };
    const deps = { kafka: port, log: silentLog, fail };
    // What is due is always looked for: there are no statements to save.
    const asked = { open: async () => new Map<never, number>(), nextInMs: async () => 0 };
    const [remitting] = await Promise.all([
      startSagas(
        {
          ...common,
          what: 'remittances',
          sagas: { ...remittances, ...asked },
          states: openStates,
          makeCall: (one) => callOf(life, one),
          group: groups.remittanceEnds,
          parse: readEnd,
          ended: counter(registry, metrics.remittance.remittances),
          open: gauge(registry, metrics.remittance.open),
        },
        deps,
      ),
      startSagas(
        {
          ...common,
          what: 'payments',
          sagas: { ...payments, ...asked },
          states: openStates,
          makeCall: (one) => callOf(life, one),
          group: groups.paymentEnds,
          parse: readEnd,
          ended: counter(registry, metrics.payment.slips),
          open: gauge(registry, metrics.payment.open),
        },
        deps,
      ),
      startSagas(
        {
          ...common,
          what: 'recharges',
          sagas: { ...recharges, ...asked },
          states: openRecharges,
          makeCall: (one) => askBank(life, one),
          group: groups.moneyRecharges,
          parse: readFirmbanking,
          ended: counter(registry, metrics.money.recharges),
          open: gauge(registry, metrics.money.openRecharges),
        },
        deps,
      ),
    ]);
    return {
      async remit({ from: sender, to, amountMinor, may }, key) {
        const fee = 'member' in to ? 0 : feeMinor;
        const rechargeFrom = may ? bankAccountId : undefined;
        const wish = { sender, to, amountMinor, feeMinor: fee, currency: won, rechargeFrom };
        const { answer, claimed } = await remittances.accept(wish, {
          scope: 'remittance:client',
          key,
          body: JSON.stringify(wish),
        });
        if (claimed === undefined) remitting.wake();
        else remitting.begin(claimed);
        return { id: answer as string };
      },
      async recharge(account, amountMinor, call, keepsRefusal) {
        const { answer } = await recharges.accept(
          { account, bankAccountId, amountMinor, currency: won },
          call,
          { keepsRefusal },
        );
        return answer.ok ? { id: answer.rechargeId } : { refused: answer.refusal.code };
      },
      async pay({ may, ...wish }, key) {
        const whole = {
          ...wish,
          kind: 'PAYMENT',
          currency: won,
          rechargeFrom: may ? bankAccountId : undefined,
        } as const;
        const { answer } = await payments.accept(whole, {
          scope: 'payment:client',
          key,
          body: JSON.stringify(whole),
        });
        return answer.ok ? { id: answer.paymentId! } : { refused: answer.refusal.code };
      },
      async refund(paymentId, amountMinor, key) {
        const whole = {
          kind: 'REFUND',
          paymentId,
          merchant: undefined,
          amount: { amountMinor, currency: won },
        } as const;
        const { answer } = await payments.accept(whole, {
          scope: 'payment:client',
          key,
          body: JSON.stringify(whole),
        });
        return answer.ok ? { id: answer.refundId! } : { refused: answer.refusal.code };
      },
      async book(call) {
        const outcome = await booking(call);
        return outcome.ok ? { id: outcome.id } : { refused: outcome.refusal.code };
      },
    };
  }

  // --- what services say to each other ------------------------------------------------------------------------------

  let healed = false;
  const anybody = () =>
    world.pick([...workers.alive().map(({ work }) => work), ...(healed ? [] : [undefined])]);
  let made = 0;

  /** Asks money, whichever process of it answers. */
  async function ask(life: Life, serve: (money: Service) => Promise<Answered>): Promise<Word> {
    const said = await network.call(life, async () => {
      const money = anybody();
      if (money === undefined) throw new Error('nobody is there');
      return serve(money);
    });
    if ('lost' in said) return { kind: said.lost };
    if ('id' in said.answer) return { kind: 'OK', id: said.answer.id };
    const reason = said.answer.refused.replace('MUSTER_', '');
    // A key that is in use, or that has another body: nothing that a call ends by.
    return reason.startsWith('IDEMPOTENCY') ? { kind: 'UNCLEAR' } : { kind: 'REFUSED', reason };
  }

  const onceOf = (one: Move): OnceCall => {
    made += 1;
    const key = bug === 'keysOfTheirOwnEachTime' ? `${keyOf(one)}-${made}` : keyOf(one);
    return { scope: 'money:service', key, body: key };
  };

  /** The call that the state of a move stands for. */
  async function callOf(life: Life, one: Move): Promise<Word> {
    const house = houseAccounts(0);
    const spend = async (
      of: 'transfer' | 'hold',
      to: string,
      amountMinor: number,
      reason: string,
    ): Promise<Word> => {
      const from = isHouse(one.sender) ? house('merchants', won) : one.sender;
      const leg = { from, to, amountMinor, reason };
      const id = uuidV7(world.now());
      const operation: Operation =
        of === 'hold'
          ? { kind: 'hold', holdId: id, currency: won, leg }
          : { kind: 'transfer', transferId: id, currency: won, legs: [leg] };
      const word = await ask(life, (money) =>
        money.book({ operation, once: onceOf(one), keepsRefusal: true }),
      );
      if (word.kind !== 'REFUSED' || word.reason !== 'MONEY_SHORT') return word;
      const { balanceMinor, heldMinor } = store.get<Account>('account', one.sender)!;
      return { kind: 'SHORT', availableMinor: balanceMinor - heldMinor };
    };
    const book = (operation: Operation) =>
      ask(life, (money) => money.book({ operation, once: onceOf(one), keepsRefusal: true }));
    const transferId = uuidV7(world.now());
    switch (one.state) {
      case 'TRANSFER': {
        const to = 'member' in one.to ? one.to.member : '';
        return spend('transfer', isHouse(to) ? house('merchants', won) : to, one.amountMinor, 'transfer');
      }
      case 'HOLD':
        return spend('hold', house('bank', won), one.amountMinor, 'payout');
      case 'HOLD_FEE':
        return spend('hold', house('fee', won), one.feeMinor, 'fee');
      case 'RECHARGE':
        return ask(life, (money) => money.recharge(one.sender, one.rechargeMinor!, onceOf(one), true));
      case 'RECHARGING':
        return findRecharge(life, one.rechargeId!);
      case 'PAYOUT':
        return atBank(life, () =>
          banking.accept(keyOf(one), { owner: one.sender, way: 'OUT', amountMinor: one.amountMinor }),
        );
      case 'PAYING_OUT':
        return findPayout(life, one.firmbankingId!);
      case 'POST':
        return book({ kind: 'post', holdId: one.holdId!, transferId });
      case 'POST_FEE':
        return book({ kind: 'post', holdId: one.feeHoldId!, transferId });
      case 'RELEASE':
        return book({ kind: 'release', holdId: one.holdId! });
      case 'RELEASE_FEE':
        return book({ kind: 'release', holdId: one.feeHoldId! });
      default:
        throw new Error(`${one.id}: carried out although it is ${one.state}`);
    }
  }

  async function atBank(life: Life, accept: () => string): Promise<Word> {
    const said = await network.call(life, async () => accept());
    return 'lost' in said ? { kind: said.lost } : { kind: 'OK', id: said.answer };
  }

  async function findRecharge(life: Life, id: string): Promise<Word> {
    const said = await network.call(life, async () => store.get<SagaRow<Recharge>>('recharge', id)!.one);
    if ('lost' in said) return { kind: said.lost };
    const { state, amountMinor, reason } = said.answer;
    if (state !== 'DONE' && state !== 'FAILED') return { kind: 'OPEN', waitsFor: reason };
    return { kind: 'ENDED', of: 'RECHARGING', done: state === 'DONE', reason, amountMinor };
  }

  async function findPayout(life: Life, id: string): Promise<Word> {
    const said = await network.call(life, async () => ({ ...banking.find(id) }));
    if ('lost' in said) return { kind: said.lost };
    const { state, amountMinor } = said.answer;
    if (state === 'OPEN') return { kind: 'OPEN', waitsFor: world.pick([undefined, 'BANK_DOWN']) };
    return { kind: 'ENDED', of: 'PAYING_OUT', done: state === 'EXECUTED', reason: 'NO_MONEY', amountMinor };
  }

  /** The call that the state of a recharge stands for. */
  async function askBank(life: Life, one: Recharge): Promise<RechargeWord> {
    if (one.state === 'AT_BANK') {
      const said = await network.call(life, async () => ({ ...banking.find(one.firmbankingId!) }));
      if ('lost' in said) return { kind: said.lost };
      const { state, amountMinor } = said.answer;
      if (state === 'OPEN') return { kind: 'OPEN', reason: world.pick([undefined, 'BANK_DOWN']) };
      return state === 'EXECUTED'
        ? { kind: 'EXECUTED', amountMinor, currency: won }
        : { kind: 'REJECTED', reason: 'NO_MONEY' };
    }
    made += 1;
    const key = bug === 'keysOfTheirOwnEachTime' ? `${one.rechargeId}-${made}` : one.rechargeId;
    const word = await atBank(life, () =>
      banking.accept(key, { owner: one.account, way: 'IN', amountMinor: one.amountMinor }),
    );
    return word.kind === 'OK' ? { kind: 'ACCEPTED', firmbankingId: word.id } : (word as RechargeWord);
  }

  // --- what comes in ------------------------------------------------------------------------------------------------

  const member = (n: number) => `u_${String(n).repeat(22)}`;
  const people = [1, 2, 3, 4].map(member);
  const shops = [8, 9].map(member);
  const began = new Map(people.map((account) => [account, world.pick([0, 8_000, world.int(0, 60_000)])]));
  for (const [account, balanceMinor] of began)
    store.put('account', account, { ...newAccount(account, won, false), balanceMinor });
  const requests: Request[] = [];

  /** Asks until there is an answer, whoever gives it; impatient clients ask twice at once. Resolves to what was accepted. */
  async function until(
    request: Request,
    serve: (service: Service) => Promise<Answered>,
  ): Promise<string | undefined> {
    for (;;) {
      const service = anybody();
      if (service === undefined) {
        await world.sleep(world.int(50, 500));
        continue;
      }
      try {
        const answer = await Promise.race([
          serve(service),
          world.sleep(world.pick([300, 5_000])).then(() => undefined),
        ]);
        if (answer === undefined) continue;
        if ('refused' in answer) return undefined;
        request.answers.add(answer.id);
        return answer.id;
      } catch (error) {
        if (!isNotNow(error)) {
          surprises.push(`${request.key}: ${(error as Error).message}`);
          return undefined;
        }
        await world.sleep(world.int(50, 500));
      }
    }
  }

  async function asks(what: Request['what'], serve: (service: Service, key: string) => Promise<Answered>) {
    const request: Request = { what, key: `${what}-${requests.length}`, answers: new Set() };
    requests.push(request);
    const once = () => until(request, (service) => serve(service, request.key));
    const [id] = await Promise.all(world.chance(0.2) ? [once(), once()] : [once()]);
    return id;
  }

  async function customer(): Promise<void> {
    await world.sleep(world.int(0, 8_000));
    const from = world.pick(people);
    const [amountMinor, may] = [world.int(1, 30_000), world.chance(0.7)];
    switch (world.int(0, 5)) {
      case 0:
        await asks('recharge', (service, key) =>
          service.recharge(from, amountMinor, { scope: 'recharge:client', key, body: '' }, false),
        );
        break;
      case 1:
      case 2: {
        const to = world.chance(0.5)
          ? { bankAccountId }
          : { member: world.pick(people.filter((each) => each !== from)) };
        await asks('remittance', (service, key) => service.remit({ from, to, amountMinor, may }, key));
        break;
      }
      default: {
        const wish = { customer: from, merchant: world.pick(shops), amountMinor, may };
        const paymentId = await asks('payment', (service, key) => service.pay(wish, key));
        if (paymentId === undefined || world.chance(0.4)) break;
        while (store.get<SagaRow<Move>>('slip', paymentId)?.dueAtMs !== undefined) await world.sleep(500);
        // More than was paid, together, and at the same moment.
        const parts = world.pick([[1], [1, 1], [0.6, 0.6, 0.4]]).map((part) => Math.ceil(amountMinor * part));
        await Promise.all(
          parts.map((part) => asks('refund', (service, key) => service.refund(paymentId, part, key))),
        );
      }
    }
  }

  async function trouble(): Promise<void> {
    for (let count = world.int(0, 5); count > 0; count -= 1) {
      await world.sleep(world.int(100, 5_000));
      await workers.trouble(['kill', 'kill', 'freeze', 'join']);
    }
  }

  workers.start();
  if (world.chance(0.8)) workers.start();
  const customers = Promise.all(Array.from({ length: world.int(4, 14) }, customer));
  // Sagas wait for banks: most steps come later than what is asked for.
  await Promise.all([trouble(), store.trouble(), world.sleep(world.int(10_000, 60_000))]);
  for (const one of [kafka, store, network, banking, workers]) one.heal();
  healed = true;
  await customers;
  const reads = [
    { group: groups.remittanceEnds.id, topics: [topics.rechargeEvents.name, topics.firmbankingEvents.name] },
    { group: groups.paymentEnds.id, topics: [topics.rechargeEvents.name] },
    { group: groups.moneyRecharges.id, topics: [topics.firmbankingEvents.name] },
  ];
  const rows = <One, Own = undefined>(table: string) =>
    store.keys(table).map((id) => store.get<SagaRow<One, Own>>(table, id)!);
  await settled(world, {
    kafka,
    reads,
    open: () => [
      ...unpublished(world, store),
      ...['remittance', 'slip', 'recharge'].flatMap((table) =>
        rows<Move | Recharge>(table)
          .filter(({ dueAtMs }) => dueAtMs !== undefined)
          .map(({ one }) => `${table} ${'id' in one ? one.id : one.rechargeId} is ${one.state}`),
      ),
    ],
  });
  return [
    ...surprises,
    ...wrongRequests(),
    ...wrongBooks(),
    ...wrongEnds(),
    ...wrongEvents(),
    ...workers.gaveUp(),
  ];

  // --- what came out ------------------------------------------------------------------------------------------------

  function wrongRequests(): string[] {
    const tables = { remittance: 'remittance', recharge: 'recharge', payment: 'slip', refund: 'slip' };
    const known = new Set<string>();
    const found = requests.flatMap(({ what, key, answers }) => {
      for (const id of answers) known.add(id);
      const missing = [...answers].filter((id) => store.get(tables[what], id) === undefined);
      return [
        ...missing.map((id) => `${key}: accepted as ${id}, and there is none`),
        ...(answers.size > 1 ? [`${key}: has ${answers.size} answers`] : []),
      ];
    });
    // Those of short money are asked for by sagas.
    const own = new Set(
      [...rows<Move>('remittance'), ...rows<Move>('slip')].map(({ one }) => one.rechargeId),
    );
    const ids = ['remittance', 'slip', 'recharge'].flatMap((table) => store.keys(table));
    const extra = ids.filter((id) => !known.has(id) && !own.has(id));
    return [...found, ...extra.map((id) => `${id}: is there, and nobody was told so`)];
  }

  function wrongBooks(): string[] {
    const found: string[] = [];
    const sums = new Map<string, number>();
    for (const key of store.keys('entry')) {
      const { accountId, amountMinor } = store.get<EntryRow>('entry', key)!;
      sums.set(accountId, (sums.get(accountId) ?? 0) + amountMinor);
    }
    let total = 0;
    for (const id of store.keys('account')) {
      const { balanceMinor, heldMinor, version } = store.get<Account>('account', id)!;
      total += balanceMinor - (began.get(id) ?? 0);
      if (balanceMinor !== (began.get(id) ?? 0) + (sums.get(id) ?? 0))
        found.push(`${id}: ${balanceMinor} is not what its entries say`);
      if (heldMinor !== 0) found.push(`${id}: ${heldMinor} are still held`);
      if (!isHouse(id) && balanceMinor < 0) found.push(`${id}: below zero`);
      for (let n = 1; n <= version; n += 1)
        if (store.get('entry', `${id}/${n}`) === undefined) found.push(`${id}: entry ${n} is missing`);
    }
    if (total !== 0) found.push(`the ledger sums to ${total}`);
    for (const id of store.keys('hold'))
      if (store.get<Hold>('hold', id)!.state === 'OPEN') found.push(`hold ${id} is still open`);
    return found;
  }

  /** All money is where the ends of everything that was accepted, and the bank, say. */
  function wrongEnds(): string[] {
    const found: string[] = [];
    const should = new Map(began);
    const add = (account: string, minor: number) => should.set(account, (should.get(account) ?? 0) + minor);
    const move = (from: string, to: string, minor: number) => {
      add(from, -minor);
      add(to, minor);
    };
    const executed = banking.all().filter(({ state }) => state === 'EXECUTED');
    for (const { owner, way, amountMinor } of executed)
      if (way === 'IN') move('house:bank', owner, amountMinor);
      else move(owner, 'house:bank', amountMinor);
    const done = <One extends { readonly state: string }, Own = undefined>(table: string) =>
      rows<One, Own>(table).filter(({ one }) => one.state === 'DONE');
    const atBank = (way: 'IN' | 'OUT') => executed.filter((each) => each.way === way).map(({ id }) => id);
    const ofRows = (ids: readonly (string | undefined)[]) => ids.map(String).toSorted().join();
    const toBank = done<Move>('remittance').filter(({ one }) => 'bankAccountId' in one.to);
    for (const { one } of toBank) move(one.sender, 'house:fee', one.feeMinor);
    if (ofRows(toBank.map(({ one }) => one.firmbankingId)) !== ofRows(atBank('OUT')))
      found.push(
        `paid out at the bank ${atBank('OUT').length} times, and ${toBank.length} remittances say so`,
      );
    const taken = done<Recharge>('recharge').map(({ one }) => one.firmbankingId);
    if (ofRows(taken) !== ofRows(atBank('IN')))
      found.push(`taken at the bank ${atBank('IN').length} times, and ${taken.length} recharges say so`);
    for (const { one } of done<Move>('remittance'))
      if ('member' in one.to) move(one.sender, one.to.member, one.amountMinor);
    const refunded = new Map<string, number>();
    for (const { one, own } of done<Move, Slip>('slip'))
      if (own.kind === 'PAYMENT') move(own.customer, 'house:merchants', one.amountMinor);
      else {
        move('house:merchants', own.customer, one.amountMinor);
        refunded.set(own.paymentId, (refunded.get(own.paymentId) ?? 0) + one.amountMinor);
      }
    for (const { one, own } of rows<Move, Slip>('slip')) {
      if (own.kind !== 'PAYMENT') continue;
      const back = refunded.get(one.id) ?? 0;
      if (back > (one.state === 'DONE' ? one.amountMinor : 0))
        found.push(`${one.id}: ${back} of ${one.amountMinor} refunded`);
      if (back !== own.refundedMinor)
        found.push(`${one.id}: says ${own.refundedMinor} refunded, and ${back} are`);
    }
    const are = new Map<string, number>();
    for (const id of store.keys('account')) {
      const name = isHouse(id) ? houseOf(id).name : id;
      are.set(name, (are.get(name) ?? 0) + store.get<Account>('account', id)!.balanceMinor);
    }
    for (const name of new Set([...should.keys(), ...are.keys()]))
      if ((should.get(name) ?? 0) !== (are.get(name) ?? 0))
        found.push(`${name}: has ${are.get(name) ?? 0}, and should have ${should.get(name) ?? 0}`);
    return found;
  }

  /** Each end is told, in the same words each time; and nothing else is. */
  function wrongEvents(): string[] {
    const ended = <One extends { readonly state: string }>(table: string, which: readonly string[]) =>
      rows<One>(table).filter(({ one }) => which.includes(one.state));
    const both = ['DONE', 'FAILED'];
    const wanted: readonly (readonly [string, readonly string[]])[] = [
      [
        topics.remittanceEvents.name,
        ended<Move>('remittance', both).map(({ one }) => `${one.id}-decided ${one.state}`),
      ],
      [
        topics.rechargeEvents.name,
        ended<Recharge>('recharge', both).map(({ one }) => `${one.rechargeId}-decided ${one.state}`),
      ],
      [
        topics.paymentOutcomes.name,
        ended<Move>('slip', both).map(({ one }) => `${one.id}-decided ${one.state}`),
      ],
      [
        topics.paymentEvents.name,
        ended<Move>('slip', ['DONE']).map(
          ({ one }) => `${one.id} ${'member' in one.to && isHouse(one.to.member) ? 'PAID' : 'REFUNDED'}`,
        ),
      ],
    ];
    const found = wanted.flatMap(([topic, ends]) => {
      const told = new Map<string, string>();
      const twice: string[] = [];
      for (const { headers, value } of kafka.records(topic)) {
        const id = String(headers.ce_id);
        if (told.has(id) && told.get(id) !== String(value)) twice.push(`${topic}: two contents of ${id}`);
        told.set(id, String(value));
      }
      const says = new Set(
        [...told].map(([id, value]) => {
          const { state, kind } = JSON.parse(value) as { state?: string; kind?: string };
          return `${id} ${state ?? kind}`;
        }),
      );
      return [
        ...twice,
        ...ends.filter((end) => !says.has(end)).map((end) => `${topic}: nothing of ${end}`),
        ...[...says].filter((end) => !ends.includes(end)).map((end) => `${topic}: ${end}, and it is not so`),
      ];
    });
    const letters = [topics.rechargeEventsDlq, topics.firmbankingEventsDlq].flatMap(({ name }) =>
      kafka.records(name),
    );
    const why = letters.map(
      ({ topic, headers }) => `a dead letter on ${topic}: ${headers['muster-error-reason']}`,
    );
    return [...found, ...why];
  }
}
