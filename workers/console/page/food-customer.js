/** The customer's phone: the menu, and orders with what can still be done about them. */
import { OrderCard, Phone, Photo } from './food-parts.js';
import { ask, complain } from './food-world.js';
import { money, short, timeOf } from './format.js';
import { html } from './html.js';
import { useAction } from './parts.js';
import { say } from './words.js';

const refundMs = 600_000;

export function Customer({ world, items, orders, told, names, tell }) {
  const { busy, failure, run } = useAction();
  const step = ({ orderId }, path, what) =>
    run(async () => tell(what, await ask(world, 'customer', 'POST', `/orders/${orderId}/${path}`, {})));
  const order = ({ itemId, name }) =>
    run(async () => {
      const wish = { itemId, quantity: 1, district: world.district };
      const placed = await ask(world, 'customer', 'POST', '/orders', wish);
      tell(say`Order ${short(placed.orderId)} placed: ${name}`, placed);
    });
  return html`
    <${Phone} role="customer" title=${say`Customer`} text=${say`Orders, follows, complains.`} look="push" told=${told} names=${names} failure=${failure}>
      <ul class="menu">
        ${items.map(
          (item) => html`
            <li key=${item.itemId}>
              <span>${item.name}<br /><span class="took">${money(item.price)} · ${say`${item.stock} left`}</span></span>
              <button type="button" disabled=${busy || item.stock === 0} onClick=${() => order(item)}>${say`Order`}</button>
            </li>`,
        )}
      </ul>
      <ul class="orders">
        ${orders.map(
          (one) => html`
            <${OrderCard} key=${one.orderId} order=${one}>
              <div class="acts">
                ${['PLACED', 'DELIVERY_FAILED'].includes(one.state) && html`<button type="button" disabled=${busy} onClick=${() => step(one, 'cancel', say`The customer has cancelled`)}>${say`Cancel`}</button>`}
                ${one.state === 'DELIVERY_FAILED' && html`<button type="button" class="primary" disabled=${busy} onClick=${() => step(one, 'call-again', say`The customer calls again`)}>${say`Call again`}</button>`}
              </div>
              ${one.photoId && html`<${Photo} world=${world} role="customer" order=${one} />`}
              ${one.state === 'DELIVERED' && html`<${Complaint} world=${world} order=${one} tell=${tell} />`}
            <//>`,
        )}
      </ul>
    <//>`;
}

function Complaint({ world, order, tell }) {
  const { busy, failure, run } = useAction();
  const until = Date.parse(order.deliveredAt) + refundMs;
  async function send(event) {
    event.preventDefault();
    const { photo, complaint, wanted } = Object.fromEntries(new FormData(event.currentTarget));
    await run(async () =>
      tell(say`The customer complains`, await complain(world, order, { photo, complaint, wanted })),
    );
  }
  return html`
    <details>
      <summary>${say`Something is wrong?`}</summary>
      <form class="controls" onSubmit=${send}>
        <label class="grow">${say`Photo`} <input type="file" name="photo" accept="image/jpeg,image/png,image/webp" required /></label>
        <label class="grow">${say`What is wrong`} <input name="complaint" required maxlength="500" placeholder=${say`It came cold`} autocomplete="off" /></label>
        <label class="grow">${say`You want`}
          <select name="wanted"><option value="REFUND">${say`the money back`}</option><option value="REDELIVERY">${say`the dish once more`}</option></select>
        </label>
        <button type="submit" class="primary" disabled=${busy}>${say`Complain`}</button>
      </form>
      <p class="took">${say`Until ${timeOf(until)}, ten minutes after it was delivered.`}</p>
      ${failure && html`<p class="failure" role="alert"><span aria-hidden="true">✕</span> ${failure.message}</p>`}
    </details>`;
}
