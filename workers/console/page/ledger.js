/** The books as staff sees them: what was booked, with both sides of each transfer. */
import { signedMoney, timeOf } from './format.js';
import { html } from './html.js';
import { Card } from './parts.js';
import { nameOf } from './people.js';
import { say, translated } from './words.js';

const sumOf = (entries) => entries.reduce((sum, { amountMinor }) => sum + amountMinor, 0);

const Sum = ({ amountMinor, currency }) => html`
  <span class="state ${amountMinor === 0 ? 'done' : 'failed'}">${signedMoney({ amountMinor, currency })} <span aria-hidden="true">${amountMinor === 0 ? '✓' : '✕'}</span></span>`;

export function Ledger({ transfers }) {
  const currencies = Map.groupBy(transfers, ({ currency }) => currency);
  return html`
    <${Card} name="ledger" title=${say`Ledger`} wide
      text=${say`For staff: the newest transfers of everybody. Each has a debit and a credit of one amount, so every sum is zero.`}>
      <div class="scroll" role="region" aria-label=${say`Transfers`} tabindex="0">
        <table id="ledger">
          <caption class="hidden">${say`The newest transfers with both sides`}</caption>
          <thead>
            <tr><th scope="col">${say`Booked`}</th><th scope="col">${say`What`}</th><th scope="col">${say`Debit`}</th><th scope="col" class="number">${say`Amount`}</th>
              <th scope="col" class="apart">${say`Credit`}</th><th scope="col" class="number">${say`Amount`}</th><th scope="col" class="number">${say`Sum`}</th></tr>
          </thead>
          <tbody>
            ${transfers.length === 0 && html`<tr><td colspan="7" class="empty">${say`Nothing was booked yet.`}</td></tr>`}
            ${transfers.flatMap(({ transferId, bookedAt, currency, entries, corrects }) =>
              Array.from({ length: entries.length / 2 }, (_, leg) => {
                const [debit, credit] = entries.slice(2 * leg, 2 * leg + 2);
                return html`
                  <tr key="${transferId} ${leg}">
                    <td>${timeOf(bookedAt)}</td>
                    <td>${translated(debit.reason)}${corrects && say`, taken back`}</td>
                    <td class="name" title=${debit.account}>${nameOf(debit.account)}</td>
                    <td class="number">${signedMoney({ ...debit, currency })}</td>
                    <td class="name apart" title=${credit.account}>${nameOf(credit.account)}</td>
                    <td class="number">${signedMoney({ ...credit, currency })}</td>
                    <td class="number"><${Sum} amountMinor=${sumOf([debit, credit])} currency=${currency} /></td>
                  </tr>`;
              }),
            )}
          </tbody>
          <tfoot>
            ${[...currencies].map(
              ([currency, some]) => html`
                <tr key=${currency}>
                  <th scope="row" colspan="6">${say`All of these, in ${currency}`}</th>
                  <td class="number"><${Sum} amountMinor=${sumOf(some.flatMap(({ entries }) => entries))} currency=${currency} /></td>
                </tr>`,
            )}
          </tfoot>
        </table>
      </div>
    <//>`;
}
