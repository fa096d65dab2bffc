/** Best-sellers, as they become it. */
import { number } from './format.js';
import { html } from './html.js';
import { useLook } from './look.js';
import { nameOf } from './order.js';
import { Card } from './parts.js';
import { call } from './server.js';
import { say } from './words.js';

const lookMs = 2_000;
const ask = () => call('GET', '/ranking/products?limit=8');

export function Ranking({ active }) {
  // The last ranking stays when one cannot be read; the next look comes soon.
  const { seen } = useLook(active, ask, lookMs);
  const products = seen?.products ?? [];
  return html`
    <${Card} name="ranking" title=${say`Best-sellers`} text=${say`Counted from the events of paid orders.`}>
      <ol id="ranking" class="ranking">
        ${products.length === 0 && html`<li class="empty">${say`Nothing sold yet.`}</li>`}
        ${products.map(
          ({ rank, productId, quantity }) => html`
            <li key=${productId}>
              <span class="rank">${rank}</span>
              <span class="bar" title=${productId}>
                <progress max=${products[0].quantity} value=${quantity} aria-hidden="true"></progress>
                ${nameOf(productId)}
              </span>
              <span class="sold">${number(quantity)}</span>
            </li>`,
        )}
      </ol>
    <//>`;
}
