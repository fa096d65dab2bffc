/** Money to another member or out to the own bank account, recharged when it is short. */

import { labelOf } from './bank.js';
import { money, short } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { MoveForm } from './move.js';
import { Card } from './parts.js';
import { learnName, tokenFor } from './people.js';
import { pay, payOnce } from './server.js';
import { say } from './words.js';

export function Send({ me, people, accounts, onDone }) {
  const others = people.filter(({ memberId, type }) => memberId !== me.memberId && type === 'PERSON');
  async function send(to, wish) {
    const [kind, target] = to.split(' ');
    const token = await tokenFor(me);
    const { remittanceId, traceId } = await payOnce(token, 'POST', '/pay/remittances', {
      ...(kind === 'member' ? { to: target } : { toAccountId: target }),
      ...wish,
    });
    log(say`Remittance ${short(remittanceId)} of ${money(wish.amount)} accepted`, traceId);
    const { receiver } = await pay(token, 'GET', `/pay/remittances/${remittanceId}`);
    if (receiver !== undefined) learnName(receiver, others.find(({ memberId }) => memberId === target).name);
    await onDone();
  }
  const targets = [
    ...others.map(({ memberId, name }) => [`member ${memberId}`, name]),
    ...accounts.map((each) => [`account ${each.accountId}`, say`own account: ${labelOf(each)}`]),
  ];
  return html`
    <${Card} name="send" title=${say`Send money`} text=${say`A saga: every step is a row that a crash resumes, and has a key of its own.`}>
      ${
        targets.length === 0
          ? html`<p class="empty">${say`There is nobody to send to: join as somebody else, or open a bank account.`}</p>`
          : html`<${MoveForm} name="send" title=${say`Send`} to=${say`To`} targets=${targets} amountMinor="12000"
              account=${accounts[0]} onAsk=${send} />`
      }
    <//>`;
}
