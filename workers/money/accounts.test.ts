import test from 'ava';
import { stateFor } from './accounts.ts';
import type { AccountState } from './ledger.ts';

const account = (state: AccountState, balanceMinor = 0, heldMinor = 0) => ({
  state,
  balanceMinor,
  heldMinor,
});

test('an account takes the state of its member; one that is closed stays so', (t) => {
  for (const before of ['OPEN', 'SUSPENDED'] as const) {
    t.is(stateFor('ACTIVE', account(before, 5), false), 'OPEN');
    t.is(stateFor('SUSPENDED', account(before, 5), false), 'SUSPENDED');
    t.is(stateFor('CLOSED', account(before), false), 'CLOSED');
  }
  for (const member of ['ACTIVE', 'SUSPENDED', 'CLOSED'] as const)
    t.is(stateFor(member, account('CLOSED'), false), 'CLOSED');
});

test('who leaves with money in the account, or under way, leaves it where nobody can use it', (t) => {
  t.is(stateFor('CLOSED', account('OPEN', 1), false), 'SUSPENDED');
  t.is(stateFor('CLOSED', account('OPEN', 5, 5), false), 'SUSPENDED');
  t.is(stateFor('CLOSED', account('SUSPENDED', 1), false), 'SUSPENDED');
  t.is(stateFor('CLOSED', account('OPEN'), true), 'SUSPENDED', 'money is on its way');
});
