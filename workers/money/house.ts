/**
 * Our own accounts: what members' money stands against. Everybody's transfers touch them, so each is many sub-accounts, of
 * which a process uses one: `house:bank:KRW/3`. Nothing is asked of their balance before a transfer, so no two processes
 * ever wait for each other there; what the account holds is the sum of its sub-accounts.
 */
export const houses = ['bank', 'fee', 'merchants', 'commission'] as const;
/** `bank`: what lies at the bank. `fee`, `commission`: what we have earned. `merchants`: what we owe merchants. */
export type House = (typeof houses)[number];

/** Enough that two processes seldom meet; when they do they only wait. */
const subAccounts = 16;

/** The names of the sub-accounts of one process. */
export function houseAccounts(process = Math.floor(Math.random() * subAccounts)) {
  return (house: House, currency: string): string => `house:${house}:${currency}/${process}`;
}

export const isHouse = (accountId: string): boolean => accountId.startsWith('house:');

/** The account that a sub-account is a part of, without its currency: `house:bank`. */
export function houseOf(accountId: string): { readonly name: string; readonly currency: string } {
  const [, house, currency] = /^house:(\w+):([A-Z]{3})\/\d+$/.exec(accountId)!;
  return { name: `house:${house}`, currency: currency! };
}
