/** A member's bank account at a bank for trying, and recharges from it. */
import { money, short, won } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { Card, Failure, useAction } from './parts.js';
import { tokenFor } from './people.js';
import { call, id, operatorToken, pay, payOnce } from './server.js';
import { say } from './words.js';

const bank = 'demo';
/** In a bank account that was opened here. */
const firstDeposit = 1_000_000;
const houseDeposit = 100_000_000;

const openAtBank = (accountNumber, depositMinor) =>
  call('PUT', `/console/banks/${bank}/accounts/${accountNumber}`, { depositMinor });

/** Makes our contract with the bank and our account there, where there is none yet. */
async function ensureContract() {
  const staff = await operatorToken();
  const { contracts } = await pay(staff, 'GET', '/pay/banking/contracts');
  const known = contracts.find((each) => each.bank === bank);
  if (known?.state === 'ACTIVE' && known.corporateAccountId !== undefined) return;
  const path = `/pay/banking/contracts/${bank}`;
  await payOnce(staff, 'PUT', path, {
    state: 'ACTIVE',
    expiresAt: '2100-01-01T00:00:00Z',
    fee: won(300),
    callLimitMinor: 10_000_000,
    dayLimitMinor: 10_000_000_000,
  });
  const accountNumber = `900-${id()}`;
  await openAtBank(accountNumber, houseDeposit);
  const ours = await payOnce(staff, 'POST', '/pay/banking/accounts', {
    ofTheHouse: true,
    bank,
    accountNumber,
  });
  const { traceId } = await payOnce(staff, 'PUT', `${path}/corporate-account`, { accountId: ours.accountId });
  log(say`my-pay has a contract and an account at bank ${bank}`, traceId);
}

export const labelOf = ({ bank: at, accountNumber }) => `${at} ${accountNumber}`;

export function Bank({ me, accounts, onDone }) {
  const { busy, failure, run } = useAction();
  const open = () =>
    run(async () => {
      await ensureContract();
      const accountNumber = `110-${id()}`;
      await openAtBank(accountNumber, firstDeposit);
      const { traceId } = await payOnce(await tokenFor(me), 'POST', '/pay/banking/accounts', {
        bank,
        accountNumber,
      });
      log(
        say`${me.name} has registered an account at bank ${bank} with ${money(won(firstDeposit))} in it`,
        traceId,
      );
      await onDone();
    });
  async function recharge(event) {
    event.preventDefault();
    const { amount, accountId } = Object.fromEntries(new FormData(event.currentTarget));
    await run(async () => {
      const { rechargeId, traceId } = await payOnce(await tokenFor(me), 'POST', '/pay/money/recharges', {
        accountId,
        amount: won(Number(amount)),
      });
      log(say`Recharge ${short(rechargeId)} of ${money(won(Number(amount)))} accepted`, traceId);
      await onDone();
    });
  }
  return html`
    <${Card} name="bank" title=${say`Recharge`} text=${say`From a registered bank account; the bank outside is a stub with books of its own.`}>
      ${
        accounts.length > 0 &&
        html`
        <form class="controls" id="recharge-form" onSubmit=${recharge}>
          <label class="grow">${say`From`}
            <select name="accountId">
              ${accounts.map((each) => html`<option key=${each.accountId} value=${each.accountId}>${labelOf(each)}</option>`)}
            </select>
          </label>
          <label>${say`Amount, ₩`}
            <input id="recharge-amount" name="amount" type="number" min="1" step="1" defaultValue="50000" required inputmode="numeric" />
          </label>
          <button type="submit" class="primary" id="recharge" disabled=${busy}>${say`Recharge`}</button>
        </form>`
      }
      <div class="controls">
        <button type="button" id="open-bank" class=${accounts.length === 0 ? 'primary' : ''} disabled=${busy} onClick=${open}>
          ${accounts.length === 0 ? say`Open bank account with ${money(won(firstDeposit))}` : say`Open another bank account with ${money(won(firstDeposit))}`}</button>
      </div>
      <${Failure} of=${failure} />
    <//>`;
}
