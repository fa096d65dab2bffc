/** A form that moves a member's money: to whom, how much, and whether what is missing is recharged. */
import { labelOf } from './bank.js';
import { won } from './format.js';
import { html } from './html.js';
import { Failure, useAction } from './parts.js';
import { say } from './words.js';

/**
 * `targets`: values and what people call them. `account`: the bank account to recharge from, if there is one. `onAsk` gets the
 * value that was chosen, and the wish as my-pay takes it.
 */
export function MoveForm({ name, title, to, targets, amountMinor, account, onAsk }) {
  const { busy, failure, run } = useAction();
  async function ask(event) {
    event.preventDefault();
    const { target, amount, recharge } = Object.fromEntries(new FormData(event.currentTarget));
    await run(() =>
      onAsk(target, {
        amount: won(Number(amount)),
        ...(recharge === undefined ? {} : { rechargeFrom: account.accountId }),
      }),
    );
  }
  return html`
    <form class="controls" id="${name}-form" onSubmit=${ask}>
      <label class="grow">${to}
        <select id="${name}-to" name="target">
          ${targets.map(([value, called]) => html`<option key=${value} value=${value}>${called}</option>`)}
        </select>
      </label>
      <label>${say`Amount, ₩`}
        <input id="${name}-amount" name="amount" type="number" min="1" step="1" defaultValue=${amountMinor} required inputmode="numeric" />
      </label>
      <button type="submit" class="primary" id=${name} disabled=${busy}>${title}</button>
      <label class="check">
        <input type="checkbox" name="recharge" defaultChecked disabled=${account === undefined} />
        ${account === undefined ? say`Open a bank account to recharge what is missing` : say`Recharge what is missing from ${labelOf(account)}`}
      </label>
    </form>
    <${Failure} of=${failure} />`;
}
