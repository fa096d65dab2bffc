/**
 * The banks outside, over HTTP: a client a bank, so that one in trouble is left alone by itself. What a bank answers is looked
 * at field by field here: a word that is not exactly one of the agreed counts as none.
 *
 * Numbers of accounts are in bodies, never in paths: paths are what traces and logs of whoever is on the way show.
 */
import type { Registry } from 'prom-client';
import { type Static, type TSchema, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { type Answer, createOutgoing, type Outgoing } from '../http/outgoing.ts';
import type { Firmbanking, Said, Word } from './firmbanking.ts';

export interface BanksOptions {
  /** Below it each bank is reached under its name: `<baseUrl>/<bank>/…`, without a slash at the end. */
  readonly baseUrl: string;
  /** Longest wait for an answer. */
  readonly timeoutMs: number;
  readonly registry: Registry;
  /** How long a bank that fails is left alone. Default 30,000. */
  readonly leftAloneMs?: number;
}

/** What a bank says of an account. */
export type AccountWord =
  | { readonly kind: 'NORMAL'; readonly currency: string }
  | { readonly kind: 'FROZEN' | 'CLOSED' | 'UNKNOWN' }
  /** No answer, or none that can be understood. */
  | { readonly kind: 'UNCLEAR' };

const accountAnswer = Type.Union([
  Type.Object({ state: Type.Literal('NORMAL'), currency: Type.String({ pattern: '^[A-Z]{3}$' }) }),
  Type.Object({ state: Type.Enum(['FROZEN', 'CLOSED', 'UNKNOWN']) }),
]);

const transferAnswer = Type.Object({
  transferId: Type.String(),
  state: Type.Enum(['EXECUTED', 'REJECTED', 'PENDING', 'UNKNOWN']),
  reason: Type.Optional(Type.String()),
  from: Type.Optional(Type.String()),
  to: Type.Optional(Type.Object({ bank: Type.String(), accountNumber: Type.String() })),
  amountMinor: Type.Optional(Type.Integer()),
  currency: Type.Optional(Type.String()),
});

/** A transfer as a bank's statement has it. */
const statementEntry = Type.Object({
  transferId: Type.String({ minLength: 1, maxLength: 100, pattern: '^[\\x21-\\x7e]+$' }),
  state: Type.Enum(['EXECUTED', 'REJECTED']),
  from: Type.String(),
  to: Type.Object({ bank: Type.String(), accountNumber: Type.String() }),
  amountMinor: Type.Integer(),
  currency: Type.String(),
});
export type StatementEntry = Static<typeof statementEntry>;

const statementAnswer = Type.Object({
  entries: Type.Array(statementEntry, { maxItems: 200 }),
  next: Type.Optional(Type.String({ minLength: 1, maxLength: 100, pattern: '^[A-Za-z0-9_-]+$' })),
});
export type StatementPage = Static<typeof statementAnswer>;

const reader = <Schema extends TSchema>(schema: Schema) => {
  const check = Compile(schema);
  return ({ body }: Answer): Static<Schema> | undefined =>
    check.Check(body) ? (body as Static<Schema>) : undefined;
};
const readAccount = reader(accountAnswer);
const readTransfer = reader(transferAnswer);
const readStatement = reader(statementAnswer);

export type Banks = ReturnType<typeof createBanks>;

export function createBanks({ baseUrl, timeoutMs, registry, leftAloneMs }: BanksOptions) {
  const clients = new Map<string, Outgoing>();
  function clientOf(bank: string): Outgoing {
    let client = clients.get(bank);
    if (client === undefined) {
      client = createOutgoing({
        name: `bank-${bank}`,
        baseUrl: `${baseUrl}/${bank}`,
        timeoutMs,
        registry,
        ...(leftAloneMs === undefined ? {} : { leftAloneMs }),
      });
      clients.set(bank, client);
    }
    return client;
  }

  return {
    /** Whether the bank may be called just now; while it is down, once in a while, and who is told so calls. */
    mayCall: (bank: string): boolean => clientOf(bank).mayCall(),

    async checkAccount(bank: string, accountNumber: string): Promise<AccountWord> {
      const answer = await clientOf(bank).call({
        method: 'POST',
        path: '/account-checks',
        body: JSON.stringify({ accountNumber }),
        wantsBody: true,
      });
      const said = readAccount(answer);
      if (said === undefined) return { kind: 'UNCLEAR' };
      return said.state === 'NORMAL' ? { kind: 'NORMAL', currency: said.currency } : { kind: said.state };
    },

    /** Asks for the transfer, under the request's id. */
    async send(one: Firmbanking): Promise<Said> {
      const answer = await clientOf(one.bank).call({
        method: 'POST',
        path: '/transfers',
        idempotencyKey: one.firmbankingId,
        body: JSON.stringify({
          from: one.from.accountNumber,
          to: { bank: one.to.bank, accountNumber: one.to.accountNumber },
          amountMinor: one.amountMinor,
          currency: one.currency,
        }),
        sentBefore: one.tries - 1,
        wantsBody: true,
      });
      return { word: wordOf(one, answer), outcome: answer.outcome };
    },

    /** Asks what became of it, by its id. */
    async ask(one: Firmbanking): Promise<Said> {
      const answer = await clientOf(one.bank).call({
        method: 'GET',
        path: `/transfers/${one.firmbankingId}`,
        template: '/transfers/{transferId}',
        wantsBody: true,
      });
      return { word: wordOf(one, answer), outcome: answer.outcome };
    },

    /** A page of the transfers that the bank has decided since then, oldest first; undefined when it does not say. */
    async statement(
      bank: string,
      sinceMs: number,
      after: string | undefined,
    ): Promise<StatementPage | undefined> {
      const since = encodeURIComponent(new Date(sinceMs).toISOString());
      const answer = await clientOf(bank).call({
        method: 'GET',
        path: `/statement?limit=100&since=${since}${after === undefined ? '' : `&after=${after}`}`,
        template: '/statement',
        wantsBody: true,
      });
      return answer.outcome === '2xx' ? readStatement(answer) : undefined;
    },
  };
}

/** A server in trouble (5xx) may have written half an answer: only what comes with 2xx or 4xx is the bank's word. */
function wordOf(one: Firmbanking, answer: Answer): Word {
  const { outcome, inDoubt } = answer;
  if (outcome === 'breaker' || (outcome === 'network' && !inDoubt)) return { kind: 'NOT_SENT' };
  if (outcome !== '2xx' && outcome !== '4xx') return { kind: 'UNCLEAR' };
  const said = readTransfer(answer);
  if (said === undefined || said.transferId !== one.firmbankingId) return { kind: 'UNCLEAR' };
  switch (said.state) {
    case 'EXECUTED':
      return isSame(one, said) ? { kind: 'EXECUTED' } : { kind: 'OTHER' };
    case 'REJECTED':
      return { kind: 'REJECTED', reason: wordFor(said.reason) };
    default:
      return { kind: said.state };
  }
}

const isSame = (one: Firmbanking, said: Static<typeof transferAnswer>): boolean =>
  said.amountMinor === one.amountMinor &&
  said.currency === one.currency &&
  said.from === one.from.accountNumber &&
  said.to?.bank === one.to.bank &&
  said.to.accountNumber === one.to.accountNumber;

/** A bank's reason is kept when it is a word for programs: free text may name people. */
const wordFor = (reason: string | undefined): string =>
  reason !== undefined && /^[A-Z][A-Z0-9_]{0,59}$/.test(reason) ? reason : 'BANK_GAVE_NO_REASON';
