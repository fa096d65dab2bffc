/** Rows of what is carried out step by step, over several databases, in one view: a part for each capability. */
import type { DatabaseName } from '../../catalog/tables.ts';
import type { Saga, SagaRows } from './sagas.ts';

export type Ask = <Row>(sql: string, values?: readonly unknown[]) => Promise<readonly Row[]>;
type SchemaOf = (name: DatabaseName) => string;

interface Stage {
  readonly ask: Ask;
  readonly schemaOf: SchemaOf;
  readonly since: string;
}

/** @param since what the database's clock said before the run */
export async function sagaRows(ask: Ask, schemaOf: SchemaOf, since: string): Promise<SagaRows> {
  const stage = { ask, schemaOf, since };
  const accounts = await ask<{ id: string; balanceMinor: number; heldMinor: number }>(
    `SELECT account_id AS id, balance_minor AS balanceMinor, held_minor AS heldMinor
     FROM ${schemaOf('money')}.ledger_account`,
  );
  return {
    sagas: [
      ...(await recharges(stage)),
      ...(await remittances(stage)),
      ...(await slips(stage)),
      ...(await settlements(stage)),
    ],
    legs: await legs(stage),
    payments: await firmbankings(stage),
    accounts: new Map(accounts.map(({ id, ...account }) => [id, account])),
  };
}

/** An id that was read as HEX(). */
export const uuid = (hex: string): string =>
  hex.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
const uuidOr = (hex: string | null) => (hex === null ? null : uuid(hex));

/** `house:bank` of one of its sub-accounts, `house:bank:KRW/3`. */
const accountOf = (id: string): string => id.replace(/^(house:\w+):.*/, '$1');

const isNew = '(decided_at IS NULL OR decided_at >= ?) AS isNew';
const recent = '(decided_at IS NULL OR decided_at >= ? - INTERVAL 1 HOUR)';

async function recharges({ ask, schemaOf, since }: Stage): Promise<readonly Saga[]> {
  const rows = await ask<{
    id: string;
    account: string;
    amountMinor: number;
    state: string;
    isNew: number;
    firmbankingId: string | null;
    transferId: string | null;
  }>(
    `SELECT HEX(recharge_id) AS id, account_id AS account, amount_minor AS amountMinor, state, ${isNew},
       HEX(firmbanking_id) AS firmbankingId, HEX(transfer_id) AS transferId
     FROM ${schemaOf('money')}.recharge WHERE ${recent}`,
    [since, since],
  );
  return rows.map(({ id, account, amountMinor, state, ...row }) => ({
    kind: 'recharge',
    id: uuid(id),
    state,
    isNew: row.isNew === 1,
    account,
    amountMinor,
    legs: [{ transferId: uuidOr(row.transferId), from: 'house:bank', to: account, amountMinor }],
    payment: { firmbankingId: uuidOr(row.firmbankingId), from: account, to: 'house', amountMinor },
    holds: [],
    rechargeId: null,
  }));
}

/** To a member: one transfer. To a bank account: what was held is booked, the fee with it, and the bank has paid it out. */
async function remittances({ ask, schemaOf, since }: Stage): Promise<readonly Saga[]> {
  const money = schemaOf('money');
  const rows = await ask<{
    id: string;
    sender: string;
    receiver: string | null;
    amountMinor: number;
    feeMinor: number;
    state: string;
    isNew: number;
    firmbankingId: string | null;
    transferId: string | null;
    rechargeId: string | null;
    hold: string | null;
    feeHold: string | null;
    feeTransferId: string | null;
  }>(
    `SELECT HEX(remittance_id) AS id, sender, receiver, r.amount_minor AS amountMinor, fee_minor AS feeMinor, r.state,
       ${isNew}, HEX(firmbanking_id) AS firmbankingId, HEX(r.transfer_id) AS transferId, HEX(recharge_id) AS rechargeId,
       h.state AS hold, f.state AS feeHold, HEX(f.transfer_id) AS feeTransferId
     FROM ${schemaOf('remittance')}.remittance r
     LEFT JOIN ${money}.ledger_hold h ON h.hold_id = r.hold_id
     LEFT JOIN ${money}.ledger_hold f ON f.hold_id = r.fee_hold_id
     WHERE ${recent}`,
    [since, since],
  );
  return rows.map(({ id, sender, receiver, amountMinor, feeMinor, state, ...row }) => {
    const fee = { from: sender, to: 'house:fee', amountMinor: feeMinor };
    return {
      kind: 'remittance',
      id: uuid(id),
      state,
      isNew: row.isNew === 1,
      account: sender,
      amountMinor,
      legs: [
        { transferId: uuidOr(row.transferId), from: sender, to: receiver ?? 'house:bank', amountMinor },
        ...(receiver === null && feeMinor > 0 ? [{ ...fee, transferId: uuidOr(row.feeTransferId) }] : []),
      ],
      payment:
        receiver === null
          ? { firmbankingId: uuidOr(row.firmbankingId), from: 'house', to: sender, amountMinor }
          : undefined,
      holds: [row.hold, row.feeHold].filter((hold) => hold !== null),
      rechargeId: uuidOr(row.rechargeId),
    };
  });
}

/** A payment goes to what we owe merchants, and a refund comes back from there. */
async function slips({ ask, schemaOf, since }: Stage): Promise<readonly Saga[]> {
  const rows = await ask<{
    id: string;
    kind: 'PAYMENT' | 'REFUND';
    paymentId: string;
    customer: string;
    merchant: string;
    amountMinor: number;
    state: string;
    isNew: number;
    transferId: string | null;
    rechargeId: string | null;
  }>(
    `SELECT HEX(slip_id) AS id, kind, HEX(payment_id) AS paymentId, customer, merchant, amount_minor AS amountMinor, state,
       ${isNew}, HEX(transfer_id) AS transferId, HEX(recharge_id) AS rechargeId
     FROM ${schemaOf('payment')}.slip WHERE ${recent}`,
    [since, since],
  );
  return rows.map(({ id, kind, customer, merchant, amountMinor, state, ...row }) => {
    const isPayment = kind === 'PAYMENT';
    const [from, to] = isPayment ? [customer, 'house:merchants'] : ['house:merchants', customer];
    return {
      kind: isPayment ? 'payment' : 'refund',
      id: uuid(id),
      state,
      isNew: row.isNew === 1,
      account: customer,
      merchant,
      ...(isPayment ? {} : { paymentId: uuid(row.paymentId) }),
      amountMinor,
      legs: [{ transferId: uuidOr(row.transferId), from, to, amountMinor }],
      payment: undefined,
      holds: [],
      rechargeId: uuidOr(row.rechargeId),
    };
  });
}

/** What the bank has paid out is booked, and our commission: below zero it is given back. */
async function settlements({ ask, schemaOf, since }: Stage): Promise<readonly Saga[]> {
  const rows = await ask<{
    id: string;
    merchant: string;
    netMinor: number;
    commissionMinor: number;
    state: string;
    isNew: number;
    firmbankingId: string | null;
    transferId: string | null;
    commissionId: string | null;
  }>(
    `SELECT HEX(line_id) AS id, merchant, net_minor AS netMinor,
       commission_minor + carried_commission_minor AS commissionMinor, state,
       (ended_at IS NULL OR ended_at >= ?) AS isNew, HEX(firmbanking_id) AS firmbankingId,
       HEX(transfer_id) AS transferId, HEX(commission_transfer_id) AS commissionId
     FROM ${schemaOf('settlement')}.settlement_line WHERE ended_at IS NULL OR ended_at >= ? - INTERVAL 1 HOUR`,
    [since, since],
  );
  return rows.map(({ id, merchant, netMinor, commissionMinor, state, ...row }) => {
    const [from, to] = ['house:merchants', 'house:commission'];
    const earned = { transferId: uuidOr(row.commissionId), amountMinor: Math.abs(commissionMinor) };
    return {
      kind: 'settlement',
      id: uuid(id),
      state,
      isNew: row.isNew === 1,
      account: merchant,
      amountMinor: netMinor,
      legs: [
        ...(netMinor > 0
          ? [{ transferId: uuidOr(row.transferId), from, to: 'house:bank', amountMinor: netMinor }]
          : []),
        ...(commissionMinor > 0 ? [{ ...earned, from, to }] : []),
        ...(commissionMinor < 0 ? [{ ...earned, from: to, to: from }] : []),
      ],
      payment:
        netMinor > 0
          ? { firmbankingId: uuidOr(row.firmbankingId), from: 'house', to: merchant, amountMinor: netMinor }
          : undefined,
      holds: [],
      rechargeId: null,
    };
  });
}

async function legs({ ask, schemaOf, since }: Stage): Promise<SagaRows['legs']> {
  const money = schemaOf('money');
  const rows = await ask<SagaRows['legs'][number]>(
    `SELECT HEX(t.transfer_id) AS transferId, a.account_id AS \`from\`, b.account_id AS \`to\`,
       t.amount_minor AS amountMinor, t.reason
     FROM ${money}.ledger_transfer t
     JOIN ${money}.ledger_account a ON a.account_no = t.from_no
     JOIN ${money}.ledger_account b ON b.account_no = t.to_no
     WHERE t.booked_at >= ? - INTERVAL 1 HOUR`,
    [since],
  );
  return rows.map((row) => ({
    ...row,
    transferId: uuid(row.transferId),
    from: accountOf(row.from),
    to: accountOf(row.to),
  }));
}

async function firmbankings({ ask, schemaOf, since }: Stage): Promise<SagaRows['payments']> {
  const rows = await ask<Omit<SagaRows['payments'][number], 'isNew'> & { isNew: number }>(
    `SELECT HEX(firmbanking_id) AS firmbankingId, from_owner AS \`from\`, to_owner AS \`to\`, amount_minor AS amountMinor,
       state, ${isNew}
     FROM ${schemaOf('banking')}.firmbanking WHERE ${recent}`,
    [since, since],
  );
  return rows.map((row) => ({ ...row, firmbankingId: uuid(row.firmbankingId), isNew: row.isNew === 1 }));
}
