/** HTTP of the books, for employees: the newest transfers, journal and audit of a day. They name no member: accounts are pseudonyms. */
import { Readable } from 'node:stream';
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Kysely } from 'kysely';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { daysOf } from '../base/days.ts';
import { homeCurrency } from '../base/money.ts';
import { failures, HttpError } from '../http/errors.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import { databaseNowMs } from '../store/database.ts';
import { auditOf, auditRules } from './audit.ts';
import { journal, newestTransfers, type Span, settledAfterMs } from './journal.ts';

export interface BooksRoutesOptions {
  database(): Promise<Kysely<unknown>>;
  /** IANA zone in which a day begins. */
  readonly timeZone: string;
  /** What a member may move on a day, minor units of the home currency. */
  readonly dailyLimitMinor: number;
  /** UTC ms, for tests; the database's clock when unset. */
  readonly clock?: () => number;
}

export function registerBooksRoutes(http: FastifyInstance, options: BooksRoutesOptions): void {
  const app = typed(http);
  registerTransfers(app, options);
  const { rangeOf } = daysOf(options.timeZone);

  /** What is settled of a day. Throws 422 for what is no day, or one that has not begun. */
  async function settledOf(date: string): Promise<Settled> {
    const range = rangeOf(date);
    const nowMs = options.clock?.() ?? (await databaseNowMs(await options.database()));
    if (range === undefined || range.fromMs > nowMs)
      throw new HttpError(422, 'MUSTER_VALIDATION', 'the query is not valid', [
        { field: 'date', reason: range === undefined ? 'is no day of the calendar' : 'has not begun yet' },
      ]);
    const toMs = Math.min(range.toMs, Math.max(range.fromMs, nowMs - settledAfterMs));
    return { fromMs: range.fromMs, toMs, isWhole: toMs === range.toMs };
  }

  app.get(
    '/pay/money/journal',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'The entries of a day, as CSV for an accounting system',
        description:
          'A line per entry, in the order of booking; two with opposite sides make a leg of a transfer, and all of them sum to zero per currency. A day is that of the time zone of the environment; times are UTC. Complete five minutes after the day has ended; until then it is what was booked up to five minutes ago, and its file is named `…-so-far.csv`. When it breaks off, the connection does.',
        tags: ['money'],
        querystring: Type.Object({ date }),
        response: {
          200: {
            content: {
              'text/csv': {
                schema: Type.String({
                  description:
                    'header; transfer_id, leg, booked_at, account (pseudonym, or ours: house:bank), side (DEBIT, CREDIT), amount_minor, currency, reason, corrects (the transfer that it takes back)',
                }),
              },
            },
          },
          ...failures,
        },
      },
    },
    async ({ query }, reply) => {
      const { isWhole, ...span } = await settledOf(query.date);
      const name = `journal-${query.date}${isWhole ? '' : '-so-far'}.csv`;
      return (reply as FastifyReply)
        .type('text/csv; charset=utf-8; header=present')
        .header('content-disposition', `attachment; filename="${name}"`)
        .send(Readable.from(journal(options.database, span)));
    },
  );
  registerAudit(app, options, settledOf);
}

/** What is settled of a day. */
type Settled = Span & { readonly isWhole: boolean };

function registerAudit(
  app: TypedHttp,
  { database, dailyLimitMinor }: BooksRoutesOptions,
  settledOf: (date: string) => Promise<Settled>,
): void {
  let auditing = false;
  app.get(
    '/pay/money/audit',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'Large and odd movements of a day',
        description:
          'Accounts that a rule has found, by pseudonym; of each rule those first who moved most. A movement is what leaves a member’s account, but for our fees and corrections. As settled as the journal of the day. One at a time: 503 MUSTER_AUDIT_BUSY.',
        tags: ['money'],
        querystring: Type.Object({ date }),
        response: {
          200: Type.Object({
            date: Type.String(),
            until: Type.String({ description: 'what was booked before it is in it, UTC' }),
            dailyLimit: money,
            rules: Type.Array(Type.Object({ rule: Type.String(), reason: Type.String() })),
            findings: Type.Array(
              Type.Object({
                rule: Type.String(),
                account: Type.String(),
                outMinor: Type.Integer({ description: 'that left on the day' }),
                inMinor: Type.Integer({ description: 'that came' }),
                movements: Type.Integer(),
              }),
            ),
            more: Type.Boolean({ description: 'a rule has found more than are told' }),
          }),
          ...failures,
        },
      },
    },
    async ({ query }) => {
      const span = await settledOf(query.date);
      // Each sums a day up in the database.
      if (auditing)
        throw new HttpError(503, 'MUSTER_AUDIT_BUSY', 'an audit is being made: ask again in a moment');
      auditing = true;
      try {
        const found = await auditOf(await database(), span, dailyLimitMinor);
        return {
          date: query.date,
          until: new Date(span.toMs).toISOString(),
          dailyLimit: { amountMinor: dailyLimitMinor, currency: homeCurrency },
          rules: auditRules.map(({ name: rule, reason }) => ({ rule, reason })),
          ...found,
        };
      } finally {
        auditing = false;
      }
    },
  );
}

function registerTransfers(app: TypedHttp, { database }: BooksRoutesOptions): void {
  app.get(
    '/pay/money/transfers',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'What was booked, with both sides of each leg, the newest first',
        description:
          'Entries as they are in the books, two a leg, which sum to zero. `next` is there while there may be more: pass it as `before`. By the time at which a transfer was begun: one that is booked meanwhile may be older than the first of a page.',
        tags: ['money'],
        querystring: Type.Object({
          limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
          before: Type.String({ pattern: uuidPattern, default: 'ffffffff-ffff-ffff-ffff-ffffffffffff' }),
        }),
        response: {
          200: Type.Object({
            transfers: Type.Array(
              Type.Object({
                transferId: Type.String(),
                bookedAt: Type.String(),
                currency: Type.String(),
                corrects: Type.Optional(Type.String({ description: 'the transfer that it takes back' })),
                entries: Type.Array(
                  Type.Object({
                    account: Type.String({
                      description: 'pseudonym of a member, or our account: house:bank',
                    }),
                    amountMinor: Type.Integer({ description: 'below zero: a debit' }),
                    reason: Type.String(),
                  }),
                ),
              }),
            ),
            next: Type.Optional(Type.String()),
          }),
          ...failures,
        },
      },
    },
    async ({ query }) => {
      const transfers = await newestTransfers(await database(), query);
      return {
        transfers: transfers.map(({ bookedAtMs, ...rest }) => ({
          ...rest,
          bookedAt: new Date(bookedAtMs).toISOString(),
          entries: [...rest.entries],
        })),
        ...(transfers.length < query.limit ? {} : { next: transfers.at(-1)!.transferId }),
      };
    },
  );
}

const date = Type.String({ pattern: '^[1-9]\\d{3}-\\d{2}-\\d{2}$', description: 'YYYY-MM-DD' });
