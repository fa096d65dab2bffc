/** Best-sellers, as they become it. */
import { useEffect, useState } from 'preact/hooks';
import { html } from './html.js';
import { nameOf } from './order.js';
import { Card } from './parts.js';
import { call } from './server.js';

const lookMs = 2_000;

export function Ranking({ active }) {
  const [products, setProducts] = useState([]);
  useEffect(() => {
    if (!active) return undefined;
    const look = async () => {
      if (document.visibilityState !== 'visible') return;
      // The last ranking stays when one cannot be read; the next look comes soon.
      const found = await call('GET', '/ranking/products?limit=8').catch(() => undefined);
      if (found !== undefined) setProducts(found.products);
    };
    void look();
    const timer = setInterval(look, lookMs);
    return () => clearInterval(timer);
  }, [active]);
  return html`
    <${Card} name="ranking" title="Best-sellers" text="Counted from the events of paid orders.">
      <ol id="ranking" class="ranking">
        ${products.length === 0 && html`<li class="empty">Nothing sold yet.</li>`}
        ${products.map(
          ({ rank, productId, quantity }) => html`
            <li key=${productId}>
              <span class="rank">${rank}</span>
              <span class="bar" title=${productId}>
                <progress max=${products[0].quantity} value=${quantity} aria-hidden="true"></progress>
                ${nameOf(productId)}
              </span>
              <span class="sold">${quantity.toLocaleString()}</span>
            </li>`,
        )}
      </ol>
    <//>`;
}
