/** Money to another member or out to the own bank account, recharged when it is short. */

import { labelOf } from './bank.js';
import { money, short, won } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { Card, Failure, useAction } from './parts.js';
import { learnName, tokenFor } from './people.js';
import { pay, payOnce } from './server.js';

export function Send({ me, people, accounts, onDone }) {
  const { busy, failure, run } = useAction();
  const others = people.filter(({ memberId, type }) => memberId !== me.memberId && type === 'PERSON');
  const [first] = accounts;
  async function send(event) {
    event.preventDefault();
    const { to, amount, recharge } = Object.fromEntries(new FormData(event.currentTarget));
    const [kind, target] = to.split(' ');
    await run(async () => {
      const token = await tokenFor(me);
      const { remittanceId, traceId } = await payOnce(token, 'POST', '/pay/remittances', {
        ...(kind === 'member' ? { to: target } : { toAccountId: target }),
        amount: won(Number(amount)),
        ...(recharge === undefined ? {} : { rechargeFrom: first.accountId }),
      });
      log(`Remittance ${short(remittanceId)} of ${money(won(Number(amount)))} accepted`, traceId);
      const { receiver } = await pay(token, 'GET', `/pay/remittances/${remittanceId}`);
      if (receiver !== undefined)
        learnName(receiver, others.find(({ memberId }) => memberId === target).name);
      await onDone();
    });
  }
  const targets = [
    ...others.map(({ memberId, name }) => [`member ${memberId}`, name]),
    ...accounts.map((each) => [`account ${each.accountId}`, `own account: ${labelOf(each)}`]),
  ];
  return html`
    <${Card} name="send" title="Send money" text="A saga: every step is a row that a crash resumes, and has a key of its own.">
      ${targets.length === 0 && html`<p class="empty">There is nobody to send to: join as somebody else, or open a bank account.</p>`}
      ${
        targets.length > 0 &&
        html`
        <form class="controls" id="send-form" onSubmit=${send}>
          <label class="grow">To
            <select id="send-to" name="to">
              ${targets.map(([value, name]) => html`<option key=${value} value=${value}>${name}</option>`)}
            </select>
          </label>
          <label>Amount, ₩
            <input id="send-amount" name="amount" type="number" min="1" step="1" defaultValue="12000" required inputmode="numeric" />
          </label>
          <button type="submit" class="primary" id="send" disabled=${busy}>Send</button>
          <label class="check">
            <input type="checkbox" name="recharge" defaultChecked disabled=${first === undefined} />
            ${first === undefined ? 'Open a bank account to recharge what is missing' : `Recharge what is missing from ${labelOf(first)}`}
          </label>
        </form>`
      }
      <${Failure} of=${failure} />
    <//>`;
}
