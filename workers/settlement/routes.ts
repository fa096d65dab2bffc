/** HTTP of settlement. Merchants are known by their pseudonym, bank accounts by their id. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { errorBody, failures, HttpError, refused } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { moment } from '../http/moment.ts';
import { userOf } from '../http/principals.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import type { LineFound, LineStore } from './lines.ts';
import type { RunFound, RunStore } from './runs.ts';
import { openStates, states } from './settlement.ts';
import { anyMerchant, type SlipStore } from './slips.ts';

export interface SettlementRoutesOptions {
  readonly slips: Pick<SlipStore, 'setRate' | 'rates'>;
  readonly runs: Pick<RunStore, 'start' | 'list'>;
  readonly lines: Pick<LineStore, 'list' | 'retry'>;
  readonly pseudonymKey: Buffer;
  /** Called when there is something to do. */
  onAccepted(): void;
}

const tags = ['settlement'];
const staff = { callers: ['operator'] } as const;
const own = { callers: ['merchant', 'operator'] } as const;
const uuid = Type.String({ pattern: uuidPattern });
const merchantId = Type.String({ minLength: 1, maxLength: 200, description: 'the merchant' });
const basisPoints = Type.Integer({
  minimum: 0,
  maximum: 10_000,
  description: '1/100 of a percent: 250 is 2.5 %',
});
const answers = { ...failures, 403: errorBody };
const signed = Type.Object(
  { amountMinor: Type.Integer(), currency: Type.String() },
  { description: 'may be below zero' },
);

const lineBody = Type.Object({
  settlementId: Type.String(),
  runNo: Type.Integer(),
  merchant: Type.String({ description: 'pseudonym' }),
  paid: money,
  refunded: money,
  commission: signed,
  carried: {
    ...signed,
    description: 'from settlements before that were below zero, without their commission',
  },
  carriedCommission: signed,
  net: { ...signed, description: 'paid - refunded + carried - commission - carriedCommission' },
  state: Type.Enum([...states], {
    description:
      'DONE: paid out and booked. CARRIED: below zero, the next one takes it on. STOPPED: refused, waits for people (`reason`). The others name what is under way.',
  }),
  reason: Type.Optional(Type.String({ description: 'why it stopped, or what it waits for' })),
  accountId: Type.Optional(Type.String({ description: 'the bank account that it goes to' })),
  firmbankingId: Type.Optional(Type.String()),
  transferId: Type.Optional(Type.String()),
  madeAt: Type.String(),
  endedAt: Type.Optional(Type.String()),
});

const runBody = Type.Object({
  runNo: Type.Integer(),
  startedBy: Type.String({ description: '`schedule`, or role and pseudonym' }),
  startedAt: Type.String(),
  summedAt: Type.Optional(Type.String({ description: 'from then on it has all its settlements' })),
  settlements: Type.Array(
    Type.Object({
      state: Type.Enum([...states]),
      count: Type.Integer(),
      net: signed,
      commission: signed,
    }),
  ),
});

export function registerSettlementRoutes(http: FastifyInstance, options: SettlementRoutesOptions): void {
  const app = typed(http);
  registerRuns(app, options);
  registerLines(app, options);
  registerCommissions(app, options);
}

/** Who changes something. */
const byOf = ({ principal }: Pick<FastifyRequest, 'principal'>, key: Buffer): string =>
  `${principal!.role}:${pseudonym(key, principal!.subject)}`;

function registerRuns(app: TypedHttp, { runs, pseudonymKey, onAccepted }: SettlementRoutesOptions): void {
  app.post(
    '/pay/settlements',
    {
      config: staff,
      schema: {
        summary: 'Settle now what merchants were paid so far',
        description:
          'Closes the open period; the schedule does so once a day. Who starts twice at once has one run: while one is being summed, and when no slip has come since, it is the answer.',
        tags,
        headers: idempotencyKey.required,
        response: { 202: Type.Object({ runNo: Type.Integer() }), ...answers },
      },
    },
    async (request, reply) => {
      const call = onceOf(request, 'settlement', pseudonymKey)!;
      const runNo = await runs.start(byOf(request, pseudonymKey), call);
      if (runNo === undefined)
        throw new HttpError(409, 'MUSTER_SETTLEMENT_NOTHING', 'no merchant was paid anything yet');
      onAccepted();
      return reply.code(202).send({ runNo });
    },
  );

  app.get(
    '/pay/settlements/runs',
    {
      config: staff,
      schema: {
        summary: 'The newest runs, and how their settlements stand',
        tags,
        querystring: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 31, default: 10 }) }),
        response: { 200: Type.Object({ runs: Type.Array(runBody) }), ...answers },
      },
    },
    async ({ query }) => ({ runs: (await runs.list(query.limit)).map(runView) }),
  );
}

function registerLines(app: TypedHttp, { lines, pseudonymKey, onAccepted }: SettlementRoutesOptions): void {
  app.get(
    '/pay/settlements',
    {
      config: own,
      schema: {
        summary: "A merchant's settlements, or for staff all in a state; the newest first",
        description: '`next` is there while there may be more: pass it as `before`.',
        tags,
        querystring: Type.Object({
          merchantId: Type.Optional({ ...merchantId, description: 'a merchant may leave it out' }),
          state: Type.Optional(
            Type.Enum([...openStates, 'STOPPED', 'CARRIED'], { description: 'of all merchants, for staff' }),
          ),
          limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
          before: Type.String({ pattern: uuidPattern, default: 'ffffffff-ffff-ffff-ffff-ffffffffffff' }),
        }),
        response: {
          200: Type.Object({ settlements: Type.Array(lineBody), next: Type.Optional(Type.String()) }),
          ...answers,
        },
      },
    },
    async (request) => {
      const { merchantId: named, state, ...page } = request.query;
      const ofState = request.principal?.role === 'operator' && named === undefined ? state : undefined;
      const of =
        ofState === undefined
          ? { merchant: pseudonym(pseudonymKey, userOf(request, named, 'merchantId', ['merchant'])) }
          : { state: ofState };
      const found = await lines.list(of, page);
      return {
        settlements: found.map(lineView),
        ...(found.length < page.limit ? {} : { next: found.at(-1)!.line.lineId }),
      };
    },
  );

  app.post(
    '/pay/settlements/:settlementId/retry',
    {
      config: staff,
      schema: {
        summary: 'Try a settlement again that has stopped',
        tags,
        headers: idempotencyKey.required,
        params: Type.Object({ settlementId: uuid }),
        response: { 202: Type.Object({ settlementId: Type.String() }), ...answers },
      },
    },
    async (request, reply) => {
      const { settlementId } = request.params;
      const answer = await lines.retry(settlementId, onceOf(request, 'settlement', pseudonymKey)!);
      if (!answer.ok) throw refused(answer.refusal);
      onAccepted();
      return reply.code(202).send({ settlementId });
    },
  );
}

function registerCommissions(app: TypedHttp, { slips, pseudonymKey }: SettlementRoutesOptions): void {
  const params = Type.Object({ merchantId });

  app.put(
    '/pay/commissions/:merchantId',
    {
      config: staff,
      schema: {
        summary: 'Change the commission of a merchant from a moment on',
        description:
          'Payments that are booked from then on have it; those of before keep theirs, and so do their refunds.',
        tags,
        headers: idempotencyKey.required,
        params,
        body: Type.Object(
          {
            rateBasisPoints: basisPoints,
            from: Type.Optional(moment('not in the past; left out: from now on')),
          },
          { additionalProperties: false },
        ),
        response: { 200: Type.Object({ rateBasisPoints: basisPoints, from: Type.String() }), ...answers },
      },
    },
    async (request) => {
      const { rateBasisPoints, from } = request.body;
      const fromMs = from === undefined ? undefined : Date.parse(from);
      const answer = await slips.setRate(
        pseudonym(pseudonymKey, request.params.merchantId),
        { rateBasisPoints, fromMs },
        byOf(request, pseudonymKey),
        onceOf(request, 'settlement', pseudonymKey)!,
      );
      if (!answer.ok) throw refused(answer.refusal);
      return { rateBasisPoints, from: iso(answer.fromMs) };
    },
  );

  app.get(
    '/pay/commissions/:merchantId',
    {
      config: own,
      schema: {
        summary: 'The commissions of a merchant, oldest first; before the first, that of all',
        tags,
        params,
        response: {
          200: Type.Object({
            rates: Type.Array(
              Type.Object({ rateBasisPoints: basisPoints, from: Type.String(), ofAll: Type.Boolean() }),
            ),
          }),
          ...answers,
        },
      },
    },
    async (request) => {
      const named = userOf(request, request.params.merchantId, 'merchantId', ['merchant']);
      const merchant = pseudonym(pseudonymKey, named);
      const found = await slips.rates(merchant);
      return {
        rates: [anyMerchant, merchant].flatMap((whose) =>
          (found.get(whose) ?? []).map(({ rateBasisPoints, fromMs }) => ({
            rateBasisPoints,
            from: iso(fromMs),
            ofAll: whose === anyMerchant,
          })),
        ),
      };
    },
  );
}

const iso = (ms: number) => new Date(ms).toISOString();

const runView = ({ runNo, startedBy, startedAtMs, summedAtMs, lines }: RunFound) => ({
  runNo,
  startedBy,
  startedAt: iso(startedAtMs),
  ...(summedAtMs === undefined ? {} : { summedAt: iso(summedAtMs) }),
  settlements: lines.map(({ state, currency, count, netMinor, commissionMinor }) => ({
    state: state as (typeof states)[number],
    count,
    net: { amountMinor: netMinor, currency },
    commission: { amountMinor: commissionMinor, currency },
  })),
});

function lineView({ line, madeAtMs, endedAtMs }: LineFound) {
  const { lineId, runNo, merchant, currency, state, failure, waitsFor } = line;
  const amount = (amountMinor: number) => ({ amountMinor, currency });
  const reason = failure ?? waitsFor;
  return {
    settlementId: lineId,
    runNo,
    merchant,
    paid: amount(line.paidMinor),
    refunded: amount(line.refundedMinor),
    commission: amount(line.commissionMinor),
    carried: amount(line.carriedMinor),
    carriedCommission: amount(line.carriedCommissionMinor),
    net: amount(line.netMinor),
    state,
    ...(reason === undefined ? {} : { reason }),
    ...(line.accountId === undefined ? {} : { accountId: line.accountId }),
    ...(line.firmbankingId === undefined ? {} : { firmbankingId: line.firmbankingId }),
    ...(line.transferId === undefined ? {} : { transferId: line.transferId }),
    madeAt: iso(madeAtMs),
    ...(endedAtMs === undefined ? {} : { endedAt: iso(endedAtMs) }),
  };
}
