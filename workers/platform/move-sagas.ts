/** Moves of money as sagas (sagas.ts): what a remittance and a payment have in common beside their decisions (move.ts). */
import type { Registry } from 'prom-client';
import type { ConsumerGroup } from '../../catalog/groups.ts';
import { afterWord, type EndTold, firstState, isOpen, type Move, openStates, type Word } from './move.ts';
import { callsOf } from './move-calls.ts';
import { readEnd } from './move-ends.ts';
import { leaseFor } from './saga-work.ts';
import { handledAs, type SagaKind, type SagaRows } from './sagas.ts';

export type MoveWish = Pick<Move, 'sender' | 'to' | 'amountMinor' | 'feeMinor' | 'currency' | 'rechargeFrom'>;

/** One that nothing has happened to. */
export const begunMove = (id: string, wish: MoveWish): Move => ({
  ...wish,
  id,
  state: firstState(wish),
  ...untouched,
});
/** What nothing has happened to. */
export const untouched = {
  failure: undefined,
  waitsFor: undefined,
  attempt: 1,
  rechargeMinor: undefined,
  rechargeId: undefined,
  firmbankingId: undefined,
  holdId: undefined,
  feeHoldId: undefined,
  transferId: undefined,
  tries: 0,
  claim: 0,
} as const;

/** What each table of moves has. */
export const moveFields = {
  fixed: { amountMinor: 'integer', currency: 'text', rechargeFrom: 'uuid?' },
  changing: {
    failure: 'text?',
    waitsFor: 'text?',
    attempt: 'integer',
    rechargeMinor: 'integer?',
    rechargeId: 'uuid?',
    transferId: 'uuid?',
  },
} as const;

/** How moves go on; how they begin and what their end means is the capability's. */
export function moveKind<Own, Wish, Told, Rows extends SagaRows<Move, Own>>(
  group: ConsumerGroup,
  own: Pick<SagaKind<Move, Own, Wish, Word, Told, Rows>, 'answer' | 'begin' | 'ended'> & {
    /** Where the ids stand of what ends by events. */
    readonly columns: Partial<Record<EndTold['word']['of'], string>>;
  },
): SagaKind<Move, Own, Wish, Word, Told, Rows> {
  return {
    ...own,
    idOf: ({ id }) => id,
    isOpen,
    waitsFor: ({ waitsFor }) => waitsFor,
    decide: async (_, answers) => answers.map(({ row, asked, word }) => afterWord(row.one, asked, word)),
    hears: { group: group.id, usually: handledAs(undefined) },
    target(id, word) {
      const column = word.kind === 'ENDED' ? own.columns[word.of] : undefined;
      return column === undefined ? undefined : { column, id };
    },
  };
}

const timeoutMs = 5_000;
/** A call of money may be followed by a look at the account. */
export const moveLeaseMs = leaseFor(2 * timeoutMs);

/** How a worker of moves carries them out (saga-work.ts). */
export function moveWork(
  settings: {
    readonly MONEY_URL: string;
    /** Of those that go to bank accounts. */
    readonly BANKING_URL?: string;
    readonly SERVICE_TOKEN: string;
  },
  registry: Registry,
) {
  const { MONEY_URL: moneyUrl, BANKING_URL: bankingUrl, SERVICE_TOKEN: token } = settings;
  const makeCall = callsOf({ moneyUrl, bankingUrl, token, timeoutMs, registry });
  return { states: openStates, makeCall, leaseMs: moveLeaseMs, parse: readEnd };
}
