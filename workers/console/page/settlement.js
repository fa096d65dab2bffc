/** What a shop gets to its bank account for what it sold. */
import { money, signedMoney, timeOf } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { Card, Failure, State, useAction } from './parts.js';
import { operatorToken, payOnce } from './server.js';
import { say } from './words.js';

const minus = ({ amountMinor, currency }) => signedMoney({ amountMinor: -amountMinor, currency });

export function Settlements({ settlements, onDone }) {
  const { busy, failure, run } = useAction();
  const settle = () =>
    run(async () => {
      const { runNo, traceId } = await payOnce(await operatorToken(), 'POST', '/pay/settlements');
      log(say`Staff settles with all shops: run ${runNo}`, traceId);
      await onDone();
    });
  const retry = (settlementId) =>
    run(async () => {
      const path = `/pay/settlements/${settlementId}/retry`;
      const { traceId } = await payOnce(await operatorToken(), 'POST', path);
      log(say`Staff tries a settlement again`, traceId);
      await onDone();
    });
  return html`
    <${Card} name="settlements" title=${say`Settlement`} wide
      text=${say`What was paid less what was given back and our commission, in one transfer to the shop’s newest bank account: each midnight, or when staff says so.`}>
      <div class="controls">
        <button type="button" class="primary" id="settle" disabled=${busy} onClick=${settle}>${say`Settle now`}</button>
      </div>
      <${Failure} of=${failure} />
      <div class="scroll" role="region" aria-label=${say`Settlements`} tabindex="0">
        <table id="settlements">
          <caption class="hidden">${say`The newest settlements of the shop`}</caption>
          <thead>
            <tr><th scope="col">${say`When`}</th><th scope="col">${say`Run`}</th><th scope="col" class="number">${say`Paid`}</th>
              <th scope="col" class="number">${say`Given back`}</th><th scope="col" class="number">${say`Commission`}</th>
              <th scope="col" class="number">${say`To the bank`}</th><th scope="col" class="apart">${say`State`}</th></tr>
          </thead>
          <tbody>
            ${settlements.length === 0 && html`<tr><td colspan="7" class="empty">${say`Nothing was settled yet.`}</td></tr>`}
            ${settlements.map(
              ({ settlementId, runNo, madeAt, paid, refunded, commission, net, state, reason }) => html`
                <tr key=${settlementId}>
                  <td>${timeOf(madeAt)}</td>
                  <td>${runNo}</td>
                  <td class="number">${money(paid)}</td>
                  <td class="number">${minus(refunded)}</td>
                  <td class="number">${minus(commission)}</td>
                  <td class="number">${signedMoney(net)}</td>
                  <td class="apart"><${State} of=${state} reason=${reason} />
                    ${
                      state === 'STOPPED' &&
                      html`<button type="button" class="plain" disabled=${busy} onClick=${() => retry(settlementId)}>${say`Try again`}</button>`
                    }</td>
                </tr>`,
            )}
          </tbody>
        </table>
      </div>
    <//>`;
}
