/** Makes the calls of a move of money, over HTTP: of money and of banking. */

import type { Registry } from 'prom-client';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { createOutgoing, type Outgoing } from '../http/outgoing.ts';
import { codesOf, type FoundThere, findThere, type Said, saidOf } from '../http/said.ts';
import { keyOf, type Move, type OpenState, type Word } from './move.ts';

const uuid = Type.Optional(Type.String({ pattern: uuidPattern }));
const made = Type.Object({ transferId: uuid, holdId: uuid, rechargeId: uuid, firmbankingId: uuid });
type Made = Static<typeof made>;
const isMade = Compile(made);
const amount = Type.Object({ amountMinor: Type.Integer(), currency: Type.String() });
const account = Type.Object({ available: amount });
const isAccount = Compile(account);

const short = 'MONEY_SHORT';
const ofAccounts = ['ACCOUNT_NOT_OPEN', 'ACCOUNT_UNKNOWN', 'AMOUNT_INVALID', 'CURRENCIES_DIFFER'];
const ofSpending = [...ofAccounts, 'BALANCE_TOO_LARGE', 'SAME_ACCOUNT', short];
const ofPayouts = [
  ...['AMOUNT_INVALID', 'BANK_ACCOUNT_CLOSED', 'BANK_ACCOUNT_UNKNOWN', 'CONTRACT_INVALID'],
  ...['CORPORATE_ACCOUNT_MISSING', 'CURRENCIES_DIFFER', 'LIMIT_CALL', 'LIMIT_DAY', 'SAME_ACCOUNT'],
];

interface Making {
  readonly of: 'money' | 'banking';
  readonly path: string;
  readonly template?: string;
  readonly body: object;
  /** That end it. What has been promised (posting, freeing) is never refused: such an answer is asked for again. */
  readonly refusals: ReadonlySet<string>;
  readonly id: keyof Made;
}

/** By state: what is asked for. */
const makings: Readonly<Record<Exclude<OpenState, 'RECHARGING' | 'PAYING_OUT'>, (one: Move) => Making>> = {
  TRANSFER: (one) =>
    spending('/pay/money/transfers', one, 'member' in one.to ? one.to.member : '', 'transferId'),
  HOLD: (one) => spending('/pay/money/holds', one, 'house:bank', 'holdId'),
  HOLD_FEE: (one) =>
    spending('/pay/money/holds', { ...one, amountMinor: one.feeMinor }, 'house:fee', 'holdId'),
  RECHARGE: ({ sender, rechargeFrom, rechargeMinor, currency }) => ({
    of: 'money',
    path: '/pay/money/recharges',
    body: { memberId: sender, accountId: rechargeFrom, amount: { amountMinor: rechargeMinor, currency } },
    refusals: codesOf(...ofAccounts),
    id: 'rechargeId',
  }),
  PAYOUT: ({ sender, to, amountMinor, currency }) => ({
    of: 'banking',
    path: '/pay/banking/firmbankings',
    body: {
      toAccountId: 'bankAccountId' in to ? to.bankAccountId : '',
      owner: sender,
      amount: { amountMinor, currency },
    },
    refusals: codesOf(...ofPayouts),
    id: 'firmbankingId',
  }),
  POST: ({ holdId }) => ending(holdId!, 'post', 'transferId'),
  POST_FEE: ({ feeHoldId }) => ending(feeHoldId!, 'post', 'transferId'),
  RELEASE: ({ holdId }) => ending(holdId!, 'release', 'holdId'),
  RELEASE_FEE: ({ feeHoldId }) => ending(feeHoldId!, 'release', 'holdId'),
};

const spending = (
  path: string,
  { sender, amountMinor, currency }: Move,
  to: string,
  id: 'transferId' | 'holdId',
): Making => ({
  of: 'money',
  path,
  body: { from: sender, to, amount: { amountMinor, currency } },
  refusals: codesOf(...ofSpending),
  id,
});

const ending = (holdId: string, how: 'post' | 'release', id: 'transferId' | 'holdId'): Making => ({
  of: 'money',
  path: `/pay/money/holds/${holdId}/${how}`,
  template: `/pay/money/holds/{holdId}/${how}`,
  body: {},
  refusals: codesOf(),
  id,
});

export type MakeCall = (one: Move) => Promise<Word>;

export function callsOf(options: {
  readonly moneyUrl: string;
  /** Undefined: of moves that never go to a bank account. */
  readonly bankingUrl: string | undefined;
  readonly token: string;
  readonly timeoutMs: number;
  readonly registry: Registry;
  /** How long a service that fails is left alone. Default 5,000. */
  readonly leftAloneMs?: number;
}): MakeCall {
  const { token, timeoutMs, registry, leftAloneMs = 5_000 } = options;
  const client = (name: string, baseUrl: string) =>
    createOutgoing({ name, baseUrl, token, timeoutMs, registry, leftAloneMs });
  const services = {
    money: client('money', options.moneyUrl),
    banking: options.bankingUrl === undefined ? undefined : client('banking', options.bankingUrl),
  };

  return async (one) => {
    if (one.state === 'RECHARGING')
      return endOf(one.state, await findThere(services.money, '/pay/money/recharges', one.rechargeId!));
    if (one.state === 'PAYING_OUT')
      return endOf(
        one.state,
        await findThere(services.banking!, '/pay/banking/firmbankings', one.firmbankingId!),
      );
    const making = makings[one.state as keyof typeof makings](one);
    const { path, template = path } = making;
    const answer = await services[making.of]!.call({
      method: 'POST',
      path,
      template,
      idempotencyKey: keyOf(one),
      body: JSON.stringify(making.body),
      wantsBody: true,
    });
    const said = saidOf(answer, (body): body is Made => isMade.Check(body), making.refusals);
    if (said.kind === 'REFUSED' && said.reason === short) return availableTo(services.money, one.sender);
    if (said.kind !== 'OK') return said;
    const id = said.body[making.id];
    return id === undefined ? { kind: 'UNCLEAR' } : { kind: 'OK', id };
  };
}

/** What a sender could spend who was just refused for short money. */
async function availableTo(money: Outgoing, sender: string): Promise<Word> {
  const answer = await money.call({
    method: 'GET',
    path: `/pay/money/accounts/${sender}`,
    template: '/pay/money/accounts/{memberId}',
    wantsBody: true,
  });
  const said = saidOf(answer, (body): body is Static<typeof account> => isAccount.Check(body), codesOf());
  return said.kind === 'OK' ? { kind: 'SHORT', availableMinor: said.body.available.amountMinor } : said;
}

function endOf(of: 'RECHARGING' | 'PAYING_OUT', said: Said<FoundThere>): Word {
  if (said.kind !== 'OK') return said;
  const { state: now, reason, amount: whole } = said.body;
  const done = now === (of === 'RECHARGING' ? 'DONE' : 'EXECUTED');
  if (!done && now !== (of === 'RECHARGING' ? 'FAILED' : 'REJECTED'))
    return { kind: 'OPEN', waitsFor: reason };
  return { kind: 'ENDED', of, done, reason, amountMinor: whole.amountMinor };
}
