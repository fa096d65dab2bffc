/** Remittances as sagas in their table, and what people ask of them. */
import { sql } from 'kysely';
import { groups } from '../../catalog/groups.ts';
import { type Claimed, type Move, openStates } from '../platform/move.ts';
import { begunMove, type MoveWish, moveFields, moveKind } from '../platform/move-sagas.ts';
import {
  type Page,
  type SagaStoreOptions,
  type SagaTable,
  sagaFinder,
  sagaOptions,
  sagaSql,
} from '../platform/saga-rows.ts';
import { type Found as FoundOf, type SagaRows, sagas } from '../platform/sagas.ts';
import type { OnceCall } from '../store/once.ts';
import { decidedRecord } from './events.ts';

export type Found = FoundOf<Move>;

/** What was accepted; `claimed`: by this process, which is to work on it at once. Undefined: whoever claims it does. */
export interface Accepted {
  readonly remittanceId: string;
  readonly claimed: Claimed | undefined;
}

const fields = {
  fixed: {
    ...moveFields.fixed,
    sender: 'text',
    receiver: 'text?',
    toAccountId: 'uuid?',
    feeMinor: 'integer',
  },
  changing: { ...moveFields.changing, firmbankingId: 'uuid?', holdId: 'uuid?', feeHoldId: 'uuid?' },
} as const;

const table: SagaTable<Move, undefined, typeof fields.fixed, typeof fields.changing> = {
  ...{ name: 'remittance', id: 'remittance_id', open: openStates, ...fields },
  rowOf: ({ one: { to, ...rest } }) => ({
    ...rest,
    receiver: 'member' in to ? to.member : undefined,
    toAccountId: 'member' in to ? undefined : to.bankAccountId,
  }),
  of: ({ receiver, toAccountId, ...rest }) => ({
    one: {
      ...rest,
      to: receiver === undefined ? { bankAccountId: toAccountId! } : { member: receiver },
    } as Move,
    own: undefined,
  }),
};
const rows = sagaSql(table);

/** What remittances are beside moves of money. */
export const remittanceKind = moveKind<undefined, MoveWish, string, SagaRows<Move>>(groups.remittanceEnds, {
  columns: { RECHARGING: 'recharge_id', PAYING_OUT: 'firmbanking_id' },
  answer: ({ id }) => id,
  begin: async (_, asked) => asked.map(({ id, wish }) => ({ one: begunMove(id, wish), own: undefined })),
  ended: (trx, ended, now) =>
    trx.tell(ended.map(({ next, traceparent }) => decidedRecord(next, now, traceparent))),
});

export type RemittanceStore = ReturnType<typeof remittanceStore>;

export function remittanceStore(options: SagaStoreOptions) {
  const { accept, ...moves } = sagas(remittanceKind, sagaOptions(options, rows.rowsOf));
  const finder = sagaFinder(options, rows);
  return {
    ...moves,
    ...finder,

    /** Accepts a remittance; durable when it resolves. */
    async accept(wish: MoveWish, call: OnceCall): Promise<Accepted> {
      const { answer, claimed } = await accept(wish, call);
      // None is refused.
      return { remittanceId: answer as string, claimed };
    },

    /** Those of a sender, the newest first. */
    findOf: (sender: string, page: Page): Promise<readonly Found[]> =>
      finder.page(sql`sender = ${sender}`, page),
  };
}
