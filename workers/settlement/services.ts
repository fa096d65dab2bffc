/** Makes the calls of a line, over HTTP: of payment, banking and money. */

import type { Registry } from 'prom-client';
import { type Static, Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { createOutgoing } from '../http/outgoing.ts';
import { codesOf, type FoundThere, findThere, type Said, saidOf } from '../http/said.ts';
import { bookedCommissionMinor, grossMinor, keyOf, type Line, type Word } from './settlement.ts';
import type { SlipStore } from './slips.ts';

const uuid = Type.String({ pattern: uuidPattern });
const isOwed = Compile(Type.Object({ merchant: Type.String() }));
const isPayout = Compile(Type.Object({ firmbankingId: uuid }));
const isTransfer = Compile(Type.Object({ transferId: uuid }));
const accounts = Type.Object({
  accounts: Type.Array(Type.Object({ accountId: uuid, currency: Type.String(), state: Type.String() })),
});
const isAccounts = Compile(accounts);
const none = codesOf();
const ofOwed = codesOf('REFUNDED_SINCE');
const ofPayouts = codesOf(
  ...['AMOUNT_INVALID', 'BANK_ACCOUNT_CLOSED', 'BANK_ACCOUNT_UNKNOWN', 'CONTRACT_INVALID'],
  ...['CORPORATE_ACCOUNT_MISSING', 'CURRENCIES_DIFFER', 'LIMIT_CALL', 'LIMIT_DAY', 'SAME_ACCOUNT'],
);

export type MakeCall = (line: Line) => Promise<Word>;

export function callsOf(options: {
  readonly paymentUrl: string;
  readonly moneyUrl: string;
  readonly bankingUrl: string;
  readonly token: string;
  readonly timeoutMs: number;
  readonly registry: Registry;
  /** What membership has told of a merchant. */
  readonly stateOf: SlipStore['stateOf'];
  /** How long a service that fails is left alone. Default 5,000. */
  readonly leftAloneMs?: number;
}): MakeCall {
  const { token, timeoutMs, registry, stateOf, leftAloneMs = 5_000 } = options;
  const client = (name: string, baseUrl: string) =>
    createOutgoing({ name, baseUrl, token, timeoutMs, registry, leftAloneMs });
  const payment = client('payment', options.paymentUrl);
  const money = client('money', options.moneyUrl);
  const banking = client('banking', options.bankingUrl);

  async function takeFromOwed(line: Line): Promise<Word> {
    const { lineId, merchant, currency } = line;
    const answer = await payment.call({
      method: 'POST',
      path: '/pay/payments/settlements',
      idempotencyKey: keyOf(line),
      body: JSON.stringify({ merchant, amount: { amountMinor: grossMinor(line), currency } }),
      wantsBody: true,
    });
    const said = saidOf(answer, (body): body is { merchant: string } => isOwed.Check(body), ofOwed);
    return said.kind === 'OK' ? { kind: 'OK', id: lineId } : said;
  }

  /** The newest account of a merchant that is in good standing, or has left and was looked at by people. */
  async function findAccount({ merchant, currency, attempt }: Line): Promise<Word> {
    const standing = await stateOf(merchant);
    // Who has left is owed it all the same, and nothing else can pay it out: people decide that, by trying it again.
    const mayBePaid = standing === 'ACTIVE' || (standing === 'CLOSED' && attempt > 1);
    if (!mayBePaid) return { kind: 'REFUSED', reason: `MERCHANT_${standing ?? 'UNKNOWN'}` };
    const answer = await banking.call({
      method: 'GET',
      path: `/pay/banking/accounts?memberId=${merchant}`,
      template: '/pay/banking/accounts',
      wantsBody: true,
    });
    const said = saidOf(answer, (body): body is Static<typeof accounts> => isAccounts.Check(body), none);
    if (said.kind !== 'OK') return said;
    const ofThem = said.body.accounts.findLast((each) => each.state === 'OPEN' && each.currency === currency);
    return ofThem === undefined
      ? { kind: 'REFUSED', reason: 'ACCOUNT_MISSING' }
      : { kind: 'OK', id: ofThem.accountId };
  }

  async function pay(line: Line): Promise<Word> {
    const answer = await banking.call({
      method: 'POST',
      path: '/pay/banking/firmbankings',
      idempotencyKey: keyOf(line),
      body: JSON.stringify({
        toAccountId: line.accountId,
        owner: line.merchant,
        amount: { amountMinor: line.netMinor, currency: line.currency },
      }),
      wantsBody: true,
    });
    const said = saidOf(answer, (body): body is { firmbankingId: string } => isPayout.Check(body), ofPayouts);
    return said.kind === 'OK' ? { kind: 'OK', id: said.body.firmbankingId } : said;
  }

  /** Between accounts of ours: never refused, so whatever is no transfer is asked for again. */
  async function book(line: Line, from: string, to: string, amountMinor: number): Promise<Word> {
    const answer = await money.call({
      method: 'POST',
      path: '/pay/money/transfers',
      idempotencyKey: keyOf(line),
      body: JSON.stringify({ from, to, amount: { amountMinor, currency: line.currency } }),
      wantsBody: true,
    });
    const said = saidOf(answer, (body): body is { transferId: string } => isTransfer.Check(body), none);
    return said.kind === 'OK' ? { kind: 'OK', id: said.body.transferId } : said;
  }

  return async (line) => {
    switch (line.state) {
      case 'OWED':
        return takeFromOwed(line);
      case 'ACCOUNT':
        return findAccount(line);
      case 'PAYOUT':
        return pay(line);
      case 'PAYING_OUT':
        return endOf(line, await findThere(banking, '/pay/banking/firmbankings', line.firmbankingId!));
      case 'BOOK':
        return book(line, 'house:merchants', 'house:bank', line.netMinor);
      case 'BOOK_COMMISSION': {
        const earned = bookedCommissionMinor(line);
        return earned > 0
          ? book(line, 'house:merchants', 'house:commission', earned)
          : book(line, 'house:commission', 'house:merchants', -earned);
      }
      default:
        return { kind: 'UNCLEAR' };
    }
  };
}

function endOf({ firmbankingId }: Line, said: Said<FoundThere>): Word {
  if (said.kind !== 'OK') return said;
  const { state: now, reason, amount } = said.body;
  if (now !== 'EXECUTED' && now !== 'REJECTED') return { kind: 'OPEN', waitsFor: reason };
  return {
    kind: 'ENDED',
    firmbankingId: firmbankingId!,
    done: now === 'EXECUTED',
    reason,
    amountMinor: amount.amountMinor,
  };
}
