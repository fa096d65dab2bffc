/** A payment at a shop, recharged when the money is short. */
import { money, short } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { MoveForm } from './move.js';
import { Card } from './parts.js';
import { learnName, tokenFor } from './people.js';
import { pay, payOnce } from './server.js';
import { say } from './words.js';

export function Buy({ me, people, accounts, onDone }) {
  const shops = people.filter(({ type }) => type === 'MERCHANT');
  async function buy(merchantId, wish) {
    const token = await tokenFor(me);
    const { paymentId, traceId } = await payOnce(token, 'POST', '/pay/payments', { merchantId, ...wish });
    log(say`Payment ${short(paymentId)} of ${money(wish.amount)} accepted`, traceId);
    const { merchant } = await pay(token, 'GET', `/pay/payments/${paymentId}`);
    learnName(merchant, shops.find(({ memberId }) => memberId === merchantId).name);
    await onDone();
  }
  return html`
    <${Card} name="buy" title=${say`Pay at a shop`} text=${say`What a shop was paid is its slip: it can be given back, and is settled with the shop.`}>
      ${
        shops.length === 0
          ? html`<p class="empty">${say`There is no shop: join as one.`}</p>`
          : html`<${MoveForm} name="buy" title=${say`Pay now`} to=${say`At`} amountMinor="9000" account=${accounts[0]} onAsk=${buy}
              targets=${shops.map(({ memberId, name }) => [memberId, name])} />`
      }
    <//>`;
}
