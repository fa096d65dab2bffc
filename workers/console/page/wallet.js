/** What a member has, and what was booked on the account. */
import { money, signedMoney, timeOf } from './format.js';
import { html } from './html.js';
import { Card, words } from './parts.js';
import { nameOf } from './people.js';
import { say, translated } from './words.js';

export function Wallet({ me, account, entries }) {
  const held = account && account.balance.amountMinor - account.available.amountMinor;
  const heldText = account && money({ ...account.balance, amountMinor: held });
  return html`
    <${Card} name="wallet" title=${say`${me.name}’s money`} text=${say`Balance and history, from the ledger as it is now.`}>
      <p class="balance">
        <output id="balance" aria-live="polite">${account === undefined ? '…' : money(account.balance)}</output>
        ${held > 0 && html`<span class="held">${say`${heldText} of it under way`}</span>`}
        ${account === undefined && html`<span class="held">${say`the account is being opened`}</span>`}
        ${account !== undefined && account.state !== 'OPEN' && html`<span class="held">${say`the account is ${words(account.state)}`}</span>`}
      </p>
      <div class="scroll" role="region" aria-label=${say`Entries`} tabindex="0">
        <table id="history">
          <caption class="hidden">${say`The newest entries of ${me.name}’s account`}</caption>
          <thead>
            <tr><th scope="col">${say`When`}</th><th scope="col">${say`What`}</th><th scope="col">${say`With`}</th>
              <th scope="col" class="number">${say`Amount`}</th><th scope="col" class="number">${say`Balance`}</th></tr>
          </thead>
          <tbody>
            ${entries.length === 0 && html`<tr><td colspan="5" class="empty">${say`Nothing was booked yet.`}</td></tr>`}
            ${entries.map(
              ({ transferId, amountMinor, balanceMinor, currency, other, reason, bookedAt }) => html`
                <tr key="${transferId} ${balanceMinor}">
                  <td>${timeOf(bookedAt)}</td>
                  <td>${translated(reason)}</td>
                  <td class="name" title=${other}>${nameOf(other)}</td>
                  <td class="number">${signedMoney({ amountMinor, currency })}</td>
                  <td class="number">${money({ amountMinor: balanceMinor, currency })}</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    <//>`;
}
