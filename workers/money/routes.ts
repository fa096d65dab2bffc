/** HTTP of members' money. Neither the ledger nor an answer has a member's id: accounts are known by its pseudonym. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { metrics } from '../../catalog/metrics.ts';
import { isNotNow } from '../base/errors.ts';
import { uuidV7 } from '../base/ids.ts';
import { counter, durationHistogram } from '../base/metrics.ts';
import { homeCurrency, type Money } from '../base/money.ts';
import { failures, HttpError, inUse, refused } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import { inGroups } from '../store/group-commit.ts';
import { setAccount, sumsByDistrict } from './accounts.ts';
import { type Callers, callersOf, isService, unknownAccount } from './callers.ts';
import { type House, houseAccounts, houseOf, houses, isHouse } from './house.ts';
import type { Account, Operation } from './ledger.ts';
import { bookAll, type LedgerCall } from './postings.ts';
import { registerRechargeRoutes } from './recharge-routes.ts';
import { rechargeStore } from './recharges.ts';
import { findAccount, history, ledgerStore } from './store.ts';

export interface MoneyRoutesOptions {
  database(): Promise<Kysely<unknown>>;
  readonly pseudonymKey: Buffer;
  readonly registry: Registry;
}

type Request = Pick<FastifyRequest, 'principal' | 'headers' | 'method' | 'url' | 'body'>;

const tags = ['money'];
const staff = { callers: ['operator'] } as const;
const own = { callers: ['customer', 'merchant', 'operator'] } as const;
const services = { callers: ['service', 'operator'] } as const;
const all = { callers: ['customer', 'merchant', 'service', 'operator'] } as const;

const memberId = Type.String({ minLength: 1, maxLength: 200, description: 'the member' });
const uuid = Type.String({ pattern: uuidPattern });
const memberPath = Type.Object({ memberId });
const accountState = Type.Enum(['OPEN', 'SUSPENDED', 'CLOSED']);
const accountBody = Type.Object({
  balance: money,
  /** The balance without what is under way. */
  available: money,
  state: accountState,
});
const bookedBody = Type.Object({ transferId: Type.String() });
const heldBody = Type.Object({ holdId: Type.String() });

/** Does an operation for a request, once per its Idempotency-Key; resolves to the id of the transfer or hold. */
type Book = (request: Request, operation: Operation) => Promise<string>;

export function registerMoneyRoutes(http: FastifyInstance, options: MoneyRoutesOptions): void {
  const app = typed(http);
  const book = booking(options);
  const callers = callersOf(options);
  const house = houseAccounts();
  registerAccounts(app, options, callers);
  registerDistricts(app, options);
  registerMoves(app, book, callers, house);
  registerHolds(app, book, callers, house);
  const recharges = rechargeStore({ database: options.database, houseAccount: house });
  registerRechargeRoutes(http, { recharges, callers, pseudonymKey: options.pseudonymKey });
}

function booking({ database, pseudonymKey, registry }: MoneyRoutesOptions): Book {
  const operations = counter(registry, metrics.money.operations);
  const commits = durationHistogram(registry, metrics.money.commitDuration);
  const store = ledgerStore(database);
  const run = inGroups(async (calls: readonly LedgerCall[]) => {
    const beganMs = performance.now();
    const outcomes = await bookAll(store, calls, Date.now);
    commits.observe({}, (performance.now() - beganMs) / 1_000);
    return outcomes;
  });
  return async (request, operation) => {
    const { kind } = operation;
    try {
      // A service may ask again from another process, with another token: its keys are those of all services, and have one
      // answer for good, so that a request that comes late cannot take effect after its repeat was refused.
      const ofServices = isService(request);
      const once = onceOf(
        request as FastifyRequest,
        'money',
        pseudonymKey,
        ofServices ? { user: 'service' } : {},
      )!;
      const outcome = await run({ operation, once, keepsRefusal: ofServices });
      if (!outcome.ok) throw refused(outcome.refusal);
      operations.inc({ kind, outcome: outcome.repeated ? 'REPEATED' : 'DONE' });
      return outcome.id;
    } catch (error) {
      const known = error instanceof HttpError && error.status < 500;
      operations.inc({ kind, outcome: known ? error.code.replace('MUSTER_', '') : 'UNAVAILABLE' });
      if (!isNotNow(error)) throw error;
      throw new HttpError(
        503,
        error.code,
        'it is not known here whether it took place: send the same again with the same Idempotency-Key',
        undefined,
        { cause: error },
      );
    }
  };
}

function registerAccounts(app: TypedHttp, { database }: MoneyRoutesOptions, callers: Callers): void {
  /** Throws 404 also when it is another member's. */
  async function ownAccount(request: Pick<FastifyRequest, 'principal'>, id: string): Promise<Account> {
    const only = await callers.onlyAccount(request);
    const accountId = callers.accountOf(request, id);
    const account =
      only === undefined || only === accountId ? await findAccount(await database(), accountId) : undefined;
    if (account === undefined) throw unknownAccount();
    return account;
  }

  app.put(
    '/pay/money/accounts/:memberId',
    {
      config: staff,
      schema: {
        summary: "Open a member's account, or change its state",
        description:
          'The same again changes nothing. A SUSPENDED account neither gets nor gives, but for what was promised before; CLOSED is for good, and only when nothing is in the account or under way. The account of a member of membership follows its member: 409 MUSTER_ACCOUNT_FOLLOWS_MEMBER, until they have left.',
        tags,
        params: memberPath,
        body: Type.Object({
          state: accountState,
          currency: Type.Optional(
            Type.String({ pattern: '^[A-Z]{3}$', description: `${homeCurrency} when it is left out` }),
          ),
        }),
        response: { 200: accountBody, ...failures },
      },
    },
    async (request) => {
      const { params, body } = request;
      const currency = body.currency ?? homeCurrency;
      inUse({ amountMinor: 0, currency }, 'body');
      const changed = await setAccount(await database(), callers.accountOf(request, params.memberId), {
        state: body.state,
        currency,
      });
      if (!changed.ok) throw refused(changed.refusal);
      return accountView(changed.account);
    },
  );

  app.get(
    '/pay/money/accounts/:memberId',
    {
      config: all,
      schema: {
        summary: "What is in a member's account",
        tags,
        params: memberPath,
        response: { 200: accountBody, ...failures },
      },
    },
    async (request) => accountView(await ownAccount(request, request.params.memberId)),
  );

  app.get(
    '/pay/money/accounts/:memberId/history',
    {
      config: own,
      schema: {
        summary: 'What was booked on an account, the newest first',
        description:
          'An amount below zero went out. `next` is there while there is more: pass it as `before`. What is booked meanwhile shifts nothing.',
        tags,
        params: memberPath,
        querystring: Type.Object({
          limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
          before: Type.Integer({ minimum: 1, maximum: 4_294_967_295, default: 4_294_967_295 }),
        }),
        response: {
          200: Type.Object({
            entries: Type.Array(
              Type.Object({
                transferId: Type.String(),
                amountMinor: Type.Integer(),
                balanceMinor: Type.Integer({ description: 'of the account after it' }),
                currency: Type.String(),
                other: Type.String({
                  description: 'the other side: the pseudonym of a member, or our account',
                }),
                reason: Type.String(),
                bookedAt: Type.String(),
              }),
            ),
            next: Type.Optional(Type.Integer()),
          }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { accountId, currency } = await ownAccount(request, request.params.memberId);
      const entries = await history(await database(), accountId, request.query);
      const last = entries.at(-1);
      return {
        entries: entries.map(({ transferId, amountMinor, balanceMinor, other, reason, bookedAtMs }) => ({
          transferId,
          amountMinor,
          balanceMinor,
          currency,
          other: isHouse(other) ? houseOf(other).name : other,
          reason,
          bookedAt: new Date(bookedAtMs).toISOString(),
        })),
        ...(last === undefined || last.version === 1 ? {} : { next: last.version }),
      };
    },
  );
}

function registerDistricts(app: TypedHttp, { database }: MoneyRoutesOptions): void {
  app.get(
    '/pay/money/districts',
    {
      config: staff,
      schema: {
        summary: 'What members have, by the district that they live in',
        description:
          'Of this moment, from the accounts themselves. Persons and merchants apart; accounts that staff has opened are of nobody known to live anywhere.',
        tags,
        querystring: Type.Object({
          district: Type.Optional(
            Type.String({ minLength: 1, maxLength: 100, description: 'this one only, e.g. Gangnam-gu' }),
          ),
        }),
        response: {
          200: Type.Object({
            districts: Type.Array(
              Type.Object({
                district: Type.String(),
                type: Type.Enum(['PERSON', 'MERCHANT']),
                members: Type.Integer({ description: 'who have not left' }),
                balance: money,
              }),
            ),
          }),
          ...failures,
        },
      },
    },
    async ({ query }) => {
      const sums = await sumsByDistrict(await database(), query.district);
      return {
        districts: sums.map(({ balanceMinor, currency, ...rest }) => ({
          ...rest,
          balance: { amountMinor: balanceMinor, currency },
        })),
      };
    },
  );
}

type HouseAccount = ReturnType<typeof houseAccounts>;

function registerMoves(app: TypedHttp, book: Book, callers: Callers, house: HouseAccount): void {
  async function transfer(request: Request, from: string, to: string, amount: Money, reason: string) {
    const { amountMinor, currency } = inUse(amount, 'amount');
    const transferId = await book(request, {
      kind: 'transfer',
      transferId: uuidV7(Date.now()),
      currency,
      legs: [{ from, to, amountMinor, reason }],
    });
    return { transferId };
  }

  for (const [path, summary, reason] of [
    ['/pay/money/increases', 'Put money into an account that has come in at the bank', 'increase'],
    ['/pay/money/decreases', 'Take money out of an account that has gone out at the bank', 'decrease'],
  ] as const)
    app.post(
      path,
      {
        config: staff,
        schema: {
          summary,
          tags,
          headers: idempotencyKey.required,
          body: Type.Object({ memberId, amount: money }),
          response: { 201: bookedBody, ...failures },
        },
      },
      async (request, reply) => {
        const { amount } = request.body;
        const own = callers.accountOf(request, request.body.memberId);
        const bank = house('bank', amount.currency);
        const [from, to] = reason === 'increase' ? [bank, own] : [own, bank];
        return reply.code(201).send(await transfer(request, from, to, amount, reason));
      },
    );

  app.post(
    '/pay/money/transfers',
    {
      config: all,
      schema: {
        summary: 'Send money to another member',
        description:
          'A service may also pay what a member owes a merchant into an account of ours, `house:merchants`, or back out of it, and move money between two accounts of ours.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            from: Type.Optional(
              Type.String({ minLength: 1, maxLength: 200, description: 'a member may leave it out' }),
            ),
            to: memberId,
            amount: money,
          },
          { examples: [{ to: 'user-2', amount: { amountMinor: 5_000, currency: 'KRW' } }] },
        ),
        response: { 201: bookedBody, ...failures },
      },
    },
    async (request, reply) => {
      const { from, to, amount } = request.body;
      const ours = { from: houseNamed(request, from), to: houseNamed(request, to) };
      const houseOr = (named: House | undefined, member: () => string | Promise<string>) =>
        named === undefined ? member() : house(named, amount.currency);
      const sender = await houseOr(ours.from, () => callers.actingFor(request, from, 'from'));
      const receiver = await houseOr(ours.to, () => callers.accountOf(request, to));
      return reply.code(201).send(await transfer(request, sender, receiver, amount, reasonOf(ours)));
    },
  );

  app.post(
    '/pay/money/transfers/:transferId/correction',
    {
      config: staff,
      schema: {
        summary: 'Take a transfer back, once, by another one',
        description: 'Not that of a payment (409 MUSTER_TRANSFER_OF_PAYMENT): staff refunds it.',
        tags,
        headers: idempotencyKey.required,
        params: Type.Object({ transferId: uuid }),
        response: { 201: bookedBody, ...failures },
      },
    },
    async (request, reply) => {
      const transferId = await book(request, {
        kind: 'correct',
        transferId: uuidV7(Date.now()),
        corrects: request.params.transferId,
      });
      return reply.code(201).send({ transferId });
    },
  );
}

/** The account of ours that a service names (`house:bank`), undefined when it names none. */
const houseNamed = (request: Request, named: string | undefined): House | undefined =>
  isService(request) ? houses.find((each) => `house:${each}` === named) : undefined;

/** Between a member and us only what merchants are owed moves so: all else is held first, or is for staff. */
function reasonOf({ from, to }: { readonly from: House | undefined; readonly to: House | undefined }) {
  if (from === undefined && to === undefined) return 'transfer';
  if (from !== undefined && to !== undefined) return 'settlement';
  if ((from ?? to) !== 'merchants') throw unknownAccount();
  return to === undefined ? 'refund' : 'payment';
}

/** What a history shows of money that was held. */
const holdReasons = {
  member: 'transfer',
  bank: 'payout',
  fee: 'fee',
  merchants: 'payment',
  commission: 'commission',
} as const;

function registerHolds(app: TypedHttp, book: Book, callers: Callers, house: HouseAccount): void {
  const holdPath = Type.Object({ holdId: uuid });

  app.post(
    '/pay/money/holds',
    {
      config: services,
      schema: {
        summary: 'Hold an amount for a transfer that is under way',
        description:
          'Nobody else can spend it until it is posted or released; nothing releases it by itself. A service names members by their pseudonym, and may hold for an account of ours: `house:bank` (money that leaves at the bank), `house:fee`.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object({ from: memberId, to: memberId, amount: money }),
        response: { 201: heldBody, ...failures },
      },
    },
    async (request, reply) => {
      const { amountMinor, currency } = inUse(request.body.amount, 'amount');
      const from = callers.accountOf(request, request.body.from);
      const ours = houseNamed(request, request.body.to);
      const to = ours === undefined ? callers.accountOf(request, request.body.to) : house(ours, currency);
      const leg = { from, to, amountMinor, reason: holdReasons[ours ?? 'member'] };
      const holdId = await book(request, { kind: 'hold', holdId: uuidV7(Date.now()), currency, leg });
      return reply.code(201).send({ holdId });
    },
  );

  app.post(
    '/pay/money/holds/:holdId/post',
    {
      config: services,
      schema: {
        summary: 'Transfer what is held, or a part of it; the rest is free again',
        tags,
        headers: idempotencyKey.required,
        params: holdPath,
        body: Type.Object({
          amountMinor: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
        }),
        response: { 201: bookedBody, ...failures },
      },
    },
    async (request, reply) => {
      const transferId = await book(request, {
        kind: 'post',
        transferId: uuidV7(Date.now()),
        holdId: request.params.holdId,
        ...request.body,
      });
      return reply.code(201).send({ transferId });
    },
  );

  app.post(
    '/pay/money/holds/:holdId/release',
    {
      config: services,
      schema: {
        summary: 'Free what is held',
        tags,
        headers: idempotencyKey.required,
        params: holdPath,
        response: { 200: heldBody, ...failures },
      },
    },
    async (request) => ({
      holdId: await book(request, { kind: 'release', holdId: request.params.holdId }),
    }),
  );
}

function accountView({ balanceMinor, heldMinor, currency, state }: Account) {
  return {
    balance: { amountMinor: balanceMinor, currency },
    available: { amountMinor: balanceMinor - heldMinor, currency },
    state,
  };
}
