/** HTTP of banking. A member is known by a pseudonym, an account by its id and its last four characters. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { NotNowError } from '../base/errors.ts';
import { isPseudonym, pseudonym } from '../base/pseudonym.ts';
import { type Refused, refuse } from '../base/refusal.ts';
import { errorBody, failures, HttpError, inUse, refused } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { moment } from '../http/moment.ts';
import { members, onlyOf, userOf } from '../http/principals.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import { readAccountNumber } from './account-number.ts';
import type { Banks } from './banks.ts';
import { accountStates, house, masked, states } from './firmbanking.ts';
import type { StandingOf } from './members.ts';
import { reconcile } from './reconciliation.ts';
import type { Found, RequestStore } from './requests.ts';
import type { Account, AccountStore } from './store.ts';

export interface BankingRoutesOptions {
  readonly accounts: AccountStore;
  readonly requests: RequestStore;
  readonly banks: Pick<Banks, 'checkAccount' | 'statement'>;
  readonly standingOf: StandingOf;
  database(): Promise<Kysely<unknown>>;
  readonly pseudonymKey: Buffer;
  /** Called when a request was accepted. */
  onAccepted(): void;
}

type Asking = Pick<FastifyRequest, 'principal'>;

const tags = ['banking'];
const staff = { callers: ['operator'] } as const;
const services = { callers: ['service', 'operator'] } as const;
const all = { callers: ['customer', 'merchant', 'service', 'operator'] } as const;

const uuid = Type.String({ pattern: uuidPattern });
const bankName = Type.String({
  pattern: '^[a-z0-9-]{1,30}$',
  description: 'the bank, as its contract names it',
});
const memberId = Type.String({ minLength: 1, maxLength: 200, description: 'a member may leave it out' });
const amountMinor = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

const accountBody = Type.Object({
  accountId: Type.String(),
  bank: Type.String(),
  accountNumber: Type.String({ description: 'masked but for the last four' }),
  currency: Type.String(),
  state: Type.Enum([...accountStates], { description: 'PAYEE: only paid to' }),
  registeredAt: Type.String(),
  closedAt: Type.Optional(Type.String()),
});

const firmbankingBody = Type.Object({
  firmbankingId: Type.String(),
  bank: Type.String({ description: 'that carries it out' }),
  fromAccountId: Type.String(),
  toAccountId: Type.String(),
  amount: money,
  state: Type.Enum([...states], {
    description:
      'EXECUTED and REJECTED are for good. WAITING: not with the bank, `reason` says what for. IN_DOUBT: sent, and the bank has not said how it ended; it is asked.',
  }),
  reason: Type.Optional(Type.String()),
  fee: Type.Optional({ ...money, description: 'of the bank, when it was executed' }),
  requestedAt: Type.String(),
  decidedAt: Type.Optional(Type.String()),
  nextTryAt: Type.Optional(Type.String()),
});

const historyBody = Type.Object({
  changes: Type.Array(
    Type.Object({
      became: Type.Record(Type.String(), Type.Unknown()),
      changedBy: Type.String({ description: 'role and pseudonym' }),
      changedAt: Type.String(),
    }),
  ),
});

const contractFields = {
  state: Type.Enum(['ACTIVE', 'SUSPENDED']),
  expiresAt: moment('from then on the bank is not called for anything new'),
  fee: money,
  callLimitMinor: amountMinor,
  dayLimitMinor: amountMinor,
};

export function registerBankingRoutes(http: FastifyInstance, options: BankingRoutesOptions): void {
  const app = typed(http);
  registerAccounts(app, options);
  registerFirmbankings(app, options);
  registerContracts(app, options);
  registerBooks(app, options);
}

const iso = (ms: number) => new Date(ms).toISOString();

const accountView = (account: Account) => ({
  accountId: account.accountId,
  bank: account.bank,
  accountNumber: masked(account.accountNumber),
  currency: account.currency,
  state: account.state,
  registeredAt: iso(account.registeredAtMs),
  ...(account.closedAtMs === undefined ? {} : { closedAt: iso(account.closedAtMs) }),
});

function okOf<T extends { readonly ok: true }>(answer: T | Refused): T {
  if (!answer.ok) throw refused(answer.refusal);
  return answer;
}

/** Who changes something, for its history. */
const changedBy = ({ principal }: Asking, key: Buffer): string =>
  `${principal!.role}:${pseudonym(key, principal!.subject)}`;

/** Pseudonym of the member that a request is about; a service may name it so itself. */
function ownerNamed(request: Asking, named: string | undefined, key: Buffer): string {
  const member = userOf(request, named, 'memberId', members);
  return request.principal?.role === 'service' && isPseudonym(member) ? member : pseudonym(key, member);
}

const unknownAccount = () =>
  refused(refuse(404, 'MUSTER_BANK_ACCOUNT_UNKNOWN', 'no such bank account is registered').refusal);

function registerAccounts(
  app: TypedHttp,
  { accounts, banks, standingOf, pseudonymKey }: BankingRoutesOptions,
): void {
  /** Pseudonym of the member that a caller is confined to. */
  const ownerOf = (request: Asking): string | undefined => {
    const only = onlyOf(request, members);
    return only === undefined ? undefined : pseudonym(pseudonymKey, only);
  };

  /** Refuses what may not be registered. Rejects with "not now" when one of those who are asked does not answer. */
  async function currencyAt(bank: string, accountNumber: string): Promise<string | Refused> {
    const said = await banks.checkAccount(bank, accountNumber);
    if (said.kind === 'UNCLEAR')
      throw new NotNowError('MUSTER_BANK_AWAY', 'the bank does not say whether the account is in order');
    if (said.kind === 'NORMAL') return said.currency;
    return refuse(409, 'MUSTER_BANK_ACCOUNT_REFUSED', 'the bank has no such account in order', [
      { field: 'accountNumber', reason: `is ${said.kind} at the bank` },
    ]);
  }

  app.post(
    '/pay/banking/accounts',
    {
      config: all,
      schema: {
        summary: 'Register a bank account of a member',
        description:
          'Membership is asked whether the member is in good standing, the bank whether the account is in order. While one of them does not answer it is 503 and nothing is registered: send the same again. Staff register accounts of the house by `ofTheHouse`.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            memberId: Type.Optional(memberId),
            ofTheHouse: Type.Optional(Type.Literal(true, { description: 'ours: no member is asked about' })),
            isPayee: Type.Optional(
              Type.Literal(true, {
                description:
                  "somebody's, to send money to: nothing can be taken from it, and others may name it, too",
              }),
            ),
            bank: bankName,
            accountNumber: Type.String({
              maxLength: 100,
              description:
                '4 to 34 letters and digits; spaces, and how dashes and digits are written, do not matter',
            }),
          },
          { additionalProperties: false, examples: [{ bank: 'hana', accountNumber: '110-123-456789' }] },
        ),
        response: { 201: Type.Object({ accountId: Type.String() }), 403: errorBody, ...failures },
      },
    },
    async (request, reply) => {
      const { bank, ofTheHouse, isPayee } = request.body;
      const accountNumber = readAccountNumber(request.body.accountNumber);
      if (accountNumber === undefined)
        throw new HttpError(422, 'MUSTER_VALIDATION', 'the request is not valid', [
          { field: 'accountNumber', reason: 'is no account number: 4 to 34 letters and digits' },
        ]);
      const call = onceOf(request, 'banking', pseudonymKey)!;
      const ours = ofTheHouse === true;
      if (ours && request.principal?.role !== 'operator')
        throw new HttpError(403, 'MUSTER_FORBIDDEN', 'accounts of the house are registered by operators');
      const member = ours ? undefined : userOf(request, request.body.memberId, 'memberId', members);
      type Answer = { readonly ok: true; readonly accountId: string };
      let answer = await accounts.answeredBefore<Answer>(call);
      if (answer === undefined) {
        const contract = await accounts.refusedBank(bank);
        const standing = contract ?? (member === undefined ? undefined : await standingOf(member));
        if (standing !== undefined) throw refused(standing.refusal);
        const currency = await currencyAt(bank, accountNumber);
        if (typeof currency !== 'string') throw refused(currency.refusal);
        const owner = member === undefined ? house : pseudonym(pseudonymKey, member);
        const by = changedBy(request, pseudonymKey);
        const account = { owner, bank, accountNumber, currency };
        answer = okOf(await accounts.registerAccount(account, isPayee ? 'PAYEE' : 'OPEN', by, call));
      }
      return reply.code(201).send({ accountId: answer.accountId });
    },
  );

  app.get(
    '/pay/banking/accounts',
    {
      config: all,
      schema: {
        summary: "A member's registered bank accounts, closed ones too",
        description: 'The newest 200, oldest first. A service may name the member by its pseudonym.',
        tags,
        querystring: Type.Object({ memberId: Type.Optional(memberId) }),
        response: { 200: Type.Object({ accounts: Type.Array(accountBody) }), 403: errorBody, ...failures },
      },
    },
    async (request) => {
      const owner = ownerNamed(request, request.query.memberId, pseudonymKey);
      return { accounts: (await accounts.accountsOf(owner)).map(accountView) };
    },
  );

  const path = Type.Object({ accountId: uuid });
  app.post(
    '/pay/banking/accounts/:accountId/close',
    {
      config: all,
      schema: {
        summary: 'Close a registered bank account, for good',
        description: 'What was accepted before still goes on. The account at the bank stays as it is.',
        tags,
        headers: idempotencyKey.required,
        params: path,
        response: { 200: Type.Object({ state: Type.Literal('CLOSED') }), ...failures },
      },
    },
    async (request) => {
      const call = onceOf(request, 'banking', pseudonymKey)!;
      const by = changedBy(request, pseudonymKey);
      okOf(await accounts.closeAccount(request.params.accountId, ownerOf(request), by, call));
      return { state: 'CLOSED' as const };
    },
  );

  app.get(
    '/pay/banking/accounts/:accountId/history',
    {
      config: all,
      schema: {
        summary: 'Every change of a registered bank account',
        tags,
        params: path,
        response: { 200: historyBody, ...failures },
      },
    },
    async (request) => {
      const { accountId } = request.params;
      const account = await accounts.findAccount(accountId);
      const owner = ownerOf(request);
      if (account === undefined || (owner !== undefined && account.owner !== owner)) throw unknownAccount();
      return { changes: [...(await accounts.historyOf('ACCOUNT', accountId))] };
    },
  );
}

const firmbankingView = ({ one, requestedAtMs, decidedAtMs, nextTryAtMs }: Found) => ({
  firmbankingId: one.firmbankingId,
  bank: one.bank,
  fromAccountId: one.from.accountId,
  toAccountId: one.to.accountId,
  amount: { amountMinor: one.amountMinor, currency: one.currency },
  state: one.state,
  ...(one.reason === undefined ? {} : { reason: one.reason }),
  ...(one.state === 'EXECUTED' ? { fee: { amountMinor: one.feeMinor, currency: one.currency } } : {}),
  requestedAt: iso(requestedAtMs),
  ...(decidedAtMs === undefined ? {} : { decidedAt: iso(decidedAtMs) }),
  ...(nextTryAtMs === undefined ? {} : { nextTryAt: iso(nextTryAtMs) }),
});

function registerFirmbankings(
  app: TypedHttp,
  { requests, pseudonymKey, onAccepted }: BankingRoutesOptions,
): void {
  app.post(
    '/pay/banking/firmbankings',
    {
      config: services,
      schema: {
        summary: 'Move money between two registered bank accounts',
        description:
          'Accepted at once and durable; carried out by the bank of the account that it is from. The result is an event on firmbanking-events, and can be asked for by the id. An account that is left out is our corporate one at the bank of the other. Money is taken from a member only by a service that names them (`owner`). For a service a key has one answer for good, a refusal, too.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            fromAccountId: Type.Optional(uuid),
            toAccountId: Type.Optional(uuid),
            owner: Type.Optional(
              Type.String({
                pattern: '^u_[A-Za-z0-9_-]{22}$',
                description:
                  "pseudonym of the member on whose behalf it is: no other member's account may be in it",
              }),
            ),
            amount: money,
          },
          { additionalProperties: false, minProperties: 2 },
        ),
        response: { 202: Type.Object({ firmbankingId: Type.String() }), ...failures },
      },
    },
    async (request, reply) => {
      const { fromAccountId: fromId, toAccountId: toId, owner, amount } = request.body;
      const isService = request.principal?.role === 'service';
      if (fromId === undefined && toId === undefined)
        throw new HttpError(422, 'MUSTER_VALIDATION', 'the request is not valid', [
          { field: 'fromAccountId', reason: 'or toAccountId is needed' },
        ]);
      if (owner !== undefined && !isService)
        throw new HttpError(403, 'MUSTER_FORBIDDEN', 'money of members is moved by services', [
          { field: 'owner', reason: 'is for services' },
        ]);
      // A service may ask again from another process, with another token: its keys are those of all services.
      const call = onceOf(request, 'banking', pseudonymKey, isService ? { user: 'service' } : {})!;
      const asked = { fromId, toId, owner, ...inUse(amount, 'amount') };
      const { firmbankingId } = okOf(await requests.accept(asked, call, { keepsRefusal: isService }));
      onAccepted();
      return reply.code(202).send({ firmbankingId });
    },
  );

  app.get(
    '/pay/banking/firmbankings/:firmbankingId',
    {
      config: all,
      schema: {
        summary: 'What became of a firm banking, with each of its steps',
        tags,
        params: Type.Object({ firmbankingId: uuid }),
        response: {
          200: Type.Object({
            ...firmbankingBody.properties,
            history: Type.Array(
              Type.Object({
                state: Type.Enum([...states]),
                reason: Type.Optional(Type.String()),
                called: Type.Optional(Type.String({ description: 'the call of the bank that led here' })),
                outcome: Type.Optional(Type.String({ description: 'how the call ended' })),
                at: Type.String(),
              }),
            ),
          }),
          ...failures,
        },
      },
    },
    async (request) => {
      const { firmbankingId } = request.params;
      const found = await requests.find(firmbankingId);
      const only = onlyOf(request, members);
      const owner = only === undefined ? undefined : pseudonym(pseudonymKey, only);
      const isTheirs =
        found !== undefined &&
        (owner === undefined || [found.one.from.owner, found.one.to.owner].includes(owner));
      if (!isTheirs) throw new HttpError(404, 'MUSTER_FIRMBANKING_UNKNOWN', 'there is no such firm banking');
      const history = (await requests.stepsOf(firmbankingId)).map(
        ({ state, reason, called, outcome, atMs }) => ({
          state,
          ...(reason === undefined ? {} : { reason }),
          ...(called === undefined ? {} : { called }),
          ...(outcome === undefined ? {} : { outcome }),
          at: iso(atMs),
        }),
      );
      return { ...firmbankingView(found), history };
    },
  );

  app.get(
    '/pay/banking/firmbankings',
    {
      config: all,
      schema: {
        summary: "Firm bankings from and to a member's accounts, the newest first",
        description:
          '`next` is there while there may be more: pass it as `before`. A service may name the member by its pseudonym.',
        tags,
        querystring: Type.Object({
          memberId: Type.Optional(memberId),
          limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
          before: Type.String({
            pattern: uuidPattern,
            default: 'ffffffff-ffff-ffff-ffff-ffffffffffff',
          }),
        }),
        response: {
          200: Type.Object({ firmbankings: Type.Array(firmbankingBody), next: Type.Optional(Type.String()) }),
          403: errorBody,
          ...failures,
        },
      },
    },
    async (request) => {
      const { memberId: named, limit, before } = request.query;
      const found = await requests.findOf(ownerNamed(request, named, pseudonymKey), { before, limit });
      return {
        firmbankings: found.map(firmbankingView),
        ...(found.length < limit ? {} : { next: found.at(-1)!.one.firmbankingId }),
      };
    },
  );
}

function registerContracts(app: TypedHttp, { accounts, pseudonymKey }: BankingRoutesOptions): void {
  const contractBody = Type.Object({
    bank: Type.String(),
    ...contractFields,
    usedTodayMinor: Type.Integer(),
    corporateAccountId: Type.Optional(Type.String()),
  });
  const view = (contract: Awaited<ReturnType<AccountStore['contracts']>>[number]) => ({
    bank: contract.bank,
    state: contract.state,
    expiresAt: iso(contract.expiresAtMs),
    fee: { amountMinor: contract.feeMinor, currency: contract.currency },
    callLimitMinor: contract.callLimitMinor,
    dayLimitMinor: contract.dayLimitMinor,
    usedTodayMinor: contract.usedMinor,
    ...(contract.corporateAccountId === undefined ? {} : { corporateAccountId: contract.corporateAccountId }),
  });

  app.put(
    '/pay/banking/contracts/:bank',
    {
      config: staff,
      schema: {
        summary: 'Make or change the contract with a bank',
        description:
          'The fee is of each executed call, limits are in its currency. What was sent under a contract is ended under it; what was not is rejected when it is no longer valid.',
        tags,
        headers: idempotencyKey.required,
        params: Type.Object({ bank: bankName }),
        body: Type.Object(contractFields, { additionalProperties: false }),
        response: { 200: Type.Object({ bank: Type.String() }), ...failures },
      },
    },
    async (request) => {
      const { bank } = request.params;
      const { state, expiresAt, fee, callLimitMinor, dayLimitMinor } = request.body;
      const { amountMinor: feeMinor, currency } = inUse(fee, 'fee');
      const call = onceOf(request, 'banking', pseudonymKey)!;
      await accounts.setContract(
        {
          bank,
          state,
          expiresAtMs: Date.parse(expiresAt),
          currency,
          feeMinor,
          callLimitMinor,
          dayLimitMinor,
        },
        changedBy(request, pseudonymKey),
        call,
      );
      return { bank };
    },
  );

  app.put(
    '/pay/banking/contracts/:bank/corporate-account',
    {
      config: staff,
      schema: {
        summary: 'Say which account of ours at a bank holds the money of members',
        description: 'What was accepted before goes by the account of then.',
        tags,
        headers: idempotencyKey.required,
        params: Type.Object({ bank: bankName }),
        body: Type.Object({ accountId: uuid }, { additionalProperties: false }),
        response: { 200: Type.Object({ accountId: Type.String() }), ...failures },
      },
    },
    async (request) => {
      const { accountId } = request.body;
      const call = onceOf(request, 'banking', pseudonymKey)!;
      const by = changedBy(request, pseudonymKey);
      okOf(await accounts.setCorporateAccount(request.params.bank, accountId, by, call));
      return { accountId };
    },
  );

  app.get(
    '/pay/banking/contracts',
    {
      config: services,
      schema: {
        summary: 'Contracts with banks, and how much of today’s limits is used',
        tags,
        response: { 200: Type.Object({ contracts: Type.Array(contractBody) }), ...failures },
      },
    },
    async () => ({ contracts: (await accounts.contracts()).map(view) }),
  );

  app.get(
    '/pay/banking/contracts/:bank/history',
    {
      config: staff,
      schema: {
        summary: 'Every change of the contract with a bank, and of our corporate account there',
        description: 'The newest 1,000, oldest first; none when there is no contract.',
        tags,
        params: Type.Object({ bank: bankName }),
        response: { 200: historyBody, ...failures },
      },
    },
    async ({ params }) => ({ changes: [...(await accounts.historyOf('CONTRACT', params.bank))] }),
  );
}

function registerBooks(app: TypedHttp, { accounts, banks, database }: BankingRoutesOptions): void {
  app.get(
    '/pay/banking/fees',
    {
      config: staff,
      schema: {
        summary: 'Fees of executed calls in a period, by bank',
        tags,
        querystring: Type.Object({ from: moment('executed then or later'), to: moment('executed before') }),
        response: {
          200: Type.Object({
            fees: Type.Array(Type.Object({ bank: Type.String(), calls: Type.Integer(), fees: money })),
          }),
          ...failures,
        },
      },
    },
    async ({ query }) => ({ fees: await accounts.fees(Date.parse(query.from), Date.parse(query.to)) }),
  );

  app.post(
    '/pay/banking/reconciliations',
    {
      config: staff,
      schema: {
        summary: "Compare a bank's books with ours now",
        description: 'The same as daily. Doing it again changes nothing but what is known.',
        tags,
        body: Type.Object({ bank: bankName }, { additionalProperties: false }),
        response: {
          200: Type.Object({
            bank: Type.String(),
            compared: Type.Integer({ description: "transfers on the bank's statement" }),
            differences: Type.Array(Type.Object({ transferId: Type.String(), difference: Type.String() })),
          }),
          ...failures,
        },
      },
    },
    async ({ body }) => {
      const why = await accounts.refusedBank(body.bank);
      // The books of a bank whose contract has ended are still its books.
      if (why?.refusal.details?.[0]?.reason === 'CONTRACT_MISSING') throw refused(why.refusal);
      const { bank, compared, differences } = await reconcile(await database(), banks, body.bank);
      return { bank, compared, differences: [...differences] };
    },
  );
}
