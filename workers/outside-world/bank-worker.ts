/**
 * Worker `bank-stub`: banks outside in `dev` and `ci`, several by path, that can be told to misbehave. Their books are in a
 * journal on disk: a bank that forgets is none. Never part of `prod`.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { Type } from 'typebox';
import { errorBody, HttpError } from '../http/errors.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import type { Worker } from '../platform/worker.ts';
import {
  type BankBehaviour,
  bankBehaviour,
  type JournalEntry,
  type OutsideBanks,
  outsideBanks,
  type Transfer,
  transferOrder,
} from './banks.ts';
import { openJournal } from './journal.ts';

const config = Type.Object({
  BANK_STATE_DIRECTORY: Type.String({
    minLength: 1,
    description: 'directory of the banks’ journal: their books survive a restart',
  }),
});

export const bankStub: Worker<typeof config> = {
  name: 'bank-stub',
  consumes: [],
  produces: [],
  config,
  async start({ config: { BANK_STATE_DIRECTORY: directory }, http }) {
    const journal = openJournal<JournalEntry>(join(directory, 'journal.jsonl'), { synced: true });
    const banks = outsideBanks(journal.keep);
    for (const entry of journal.entries) banks.replay(entry);
    registerBankRoutes(http, banks);
    return { ready: () => true, stop: async () => journal.close() };
  },
};

const tags = ['banks'];
const anyone = { callers: 'anyone' } as const;
const bankPath = { bank: Type.String({ pattern: '^[a-z0-9-]{1,30}$' }) };
const accountNumber = Type.String({ minLength: 1, maxLength: 34 });

function registerBankRoutes(http: FastifyInstance, banks: OutsideBanks): void {
  const app = typed(http);
  registerWorld(app, banks);
  registerAsking(app, banks);
  registerOrders(app, banks);
}

/** What people and tests do to the world. */
function registerWorld(app: TypedHttp, banks: OutsideBanks): void {
  const accountPath = Type.Object({ ...bankPath, accountNumber });
  app.put(
    '/banks/:bank/accounts/:accountNumber',
    {
      config: anyone,
      schema: {
        summary: 'Open an account at a bank, or change its state; a deposit comes from the vault',
        tags,
        params: accountPath,
        body: Type.Object(
          {
            state: Type.Optional(
              Type.Enum(['NORMAL', 'FROZEN', 'CLOSED'], { description: 'NORMAL when it is left out' }),
            ),
            currency: Type.Optional(
              Type.String({ pattern: '^[A-Z]{3}$', description: 'KRW when it is left out; it stays' }),
            ),
            depositMinor: Type.Optional(Type.Integer({ minimum: 0, maximum: 10 ** 15 })),
          },
          { additionalProperties: false },
        ),
      },
    },
    async ({ params, body: { state = 'NORMAL', currency = 'KRW', depositMinor = 0 } }) =>
      banks.setAccount(params.bank, params.accountNumber, { state, currency, depositMinor }),
  );
  app.get(
    '/banks/:bank/accounts/:accountNumber',
    { config: anyone, schema: { summary: 'An account at a bank', tags, params: accountPath } },
    async ({ params }) => {
      const account = banks.account(params.bank, params.accountNumber);
      if (account === undefined) throw new HttpError(404, 'MUSTER_NOT_FOUND', 'the bank has no such account');
      return account;
    },
  );
  app.put(
    '/banks/:bank/behaviour',
    {
      config: anyone,
      schema: {
        summary: 'Say how a bank behaves from now on',
        tags,
        params: Type.Object(bankPath),
        body: bankBehaviour,
        response: { 200: bankBehaviour, 422: errorBody },
      },
    },
    async ({ params, body }) => {
      banks.behave(params.bank, body);
      return body;
    },
  );
  app.get(
    '/banks/sum',
    {
      config: anyone,
      schema: { summary: 'What all balances of all banks sum to: zero', tags },
    },
    async () => ({ sumMinor: banks.sum() }),
  );
}

/** True when the bank is not there: then the reply is given, or never will be. */
function isAway({ mode }: BankBehaviour, reply: FastifyReply): boolean {
  if (mode === 'down') void reply.code(503).send({ error: 'the bank is closed' });
  else if (mode === 'hang') reply.hijack();
  return mode === 'down' || mode === 'hang';
}

function registerAsking(app: TypedHttp, banks: OutsideBanks): void {
  app.post(
    '/banks/:bank/account-checks',
    {
      config: anyone,
      schema: {
        summary: 'Ask whether an account is in order',
        tags,
        params: Type.Object(bankPath),
        body: Type.Object({ accountNumber }, { additionalProperties: false }),
      },
    },
    async ({ params, body }, reply) => {
      if (isAway(banks.behaviourOf(params.bank), reply)) return reply;
      const account = banks.account(params.bank, body.accountNumber);
      return account === undefined
        ? { state: 'UNKNOWN' }
        : { state: account.state, currency: account.currency };
    },
  );
  app.get(
    '/banks/:bank/transfers/:transferId',
    {
      config: anyone,
      schema: {
        summary: 'What became of a transfer',
        tags,
        params: Type.Object({ ...bankPath, transferId: Type.String({ maxLength: 100 }) }),
      },
    },
    async ({ params: { bank, transferId } }, reply) => {
      if (isAway(banks.behaviourOf(bank), reply)) return reply;
      const transfer = banks.transfer(bank, transferId);
      return transfer === undefined
        ? reply.code(404).send({ transferId, state: 'UNKNOWN' })
        : shown(transfer);
    },
  );
  app.get(
    '/banks/:bank/statement',
    {
      config: anyone,
      schema: {
        summary: 'Transfers that the bank has decided, executed and rejected, oldest first, by page',
        tags,
        params: Type.Object(bankPath),
        querystring: Type.Object({
          since: Type.String({ format: 'date-time', default: '1970-01-01T00:00:00Z' }),
          after: Type.Integer({ minimum: 0, default: 0, description: '`next` of the page before' }),
          limit: Type.Integer({ minimum: 1, maximum: 100, default: 100 }),
        }),
      },
    },
    async ({ params: { bank }, query: { since, after, limit } }, reply) => {
      if (isAway(banks.behaviourOf(bank), reply)) return reply;
      const { entries, next } = banks.statement(bank, { sinceMs: Date.parse(since), after, limit });
      return { entries: entries.map(shown), ...(next === undefined ? {} : { next: String(next) }) };
    },
  );
}

const shown = ({ atMs, ...transfer }: Transfer) => ({ ...transfer, at: new Date(atMs).toISOString() });

function registerOrders(app: TypedHttp, banks: OutsideBanks): void {
  /** How many orders of a key have come: in memory, for `first`. */
  const came = new Map<string, number>();

  app.post(
    '/banks/:bank/transfers',
    {
      config: anyone,
      schema: {
        summary:
          'Move money from an account of this bank, once per Idempotency-Key; the key is the transfer’s id',
        tags,
        params: Type.Object(bankPath),
        headers: Type.Object({ 'idempotency-key': Type.String({ minLength: 1, maxLength: 100 }) }),
        body: transferOrder,
      },
    },
    async ({ params: { bank }, headers: { 'idempotency-key': id }, body, raw }, reply) => {
      const key = `${bank} ${id}`;
      const n = came.get(key) ?? 0;
      came.set(key, n + 1);
      const told = banks.behaviourOf(bank);
      const { mode, delayMs = 2_000 } = told;
      const misbehave: BankBehaviour = told.first !== undefined && n >= told.first ? { mode: 'ok' } : told;
      if (isAway(misbehave, reply)) return reply;
      const cut = () => {
        reply.hijack();
        raw.socket.destroy();
        return reply;
      };
      if (misbehave.mode === 'cut') return cut();
      if (misbehave.mode === 'late') await sleep(delayMs);
      const decide = () => banks.order(bank, id, body, { atMs: Date.now(), misbehave });
      const decided = decide();
      if (mode === 'twice') decide();
      if (misbehave.mode === 'lose-answer') return cut();
      if (misbehave.mode === 'slow') await sleep(delayMs);
      if (decided.kind === 'conflict')
        return reply.code(409).send({ error: 'this id was used for another transfer' });
      const { state } = decided.transfer;
      return reply.code(state === 'EXECUTED' ? 200 : 422).send(shown(decided.transfer));
    },
  );
}
