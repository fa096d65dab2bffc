/** What the views of tab Food share: the phone that each is on, what its person is told, how an order stands. */
import { useEffect, useState } from 'preact/hooks';
import { photoOf } from './food-world.js';
import { money, timeOf } from './format.js';
import { html } from './html.js';
import { Failure } from './parts.js';
import { picture } from './server.js';
import { say } from './words.js';

/** A person's screen, with what they were told last on top: as an app shows it (push) or a messenger. */
export const Phone = ({ role, title, text, look, told, names, failure, children }) => html`
  <section aria-labelledby="${role}-title" class="card phone" id=${role}>
    <div class="head">
      <h2 id="${role}-title">${title}</h2>
      <p>${text}</p>
    </div>
    <ol class="told ${look}" id="${role}-told" aria-live="polite" aria-label=${say`What is told: ${title}`}>
      ${told.length === 0 && html`<li class="empty">${say`Nothing was told yet.`}</li>`}
      ${told.map(
        ({ id, orderId, message, at }) => html`
          <li key=${id}>
            <span class="badge" aria-hidden="true">m</span>
            <span class="words">
              <span class="from">${look === 'push' ? 'muster eats' : 'Bunsik · muster'}</span>
              ${names.has(orderId) && html`<b>${names.get(orderId)}</b> `}${message}
            </span>
            <time>${timeOf(at)}</time>
          </li>`,
      )}
    </ol>
    <${Failure} of=${failure} />
    ${children}
  </section>`;

const steps = ['PLACED', 'ACCEPTED', 'COOKING', 'CALLED', 'ASSIGNED', 'DELIVERED'];
const wordsOf = () => ({
  PLACED: say`placed`,
  ACCEPTED: say`accepted`,
  COOKING: say`being cooked`,
  CALLED: say`looking for a rider`,
  ASSIGNED: say`a rider has it`,
  DELIVERING: say`on its way`,
  DELIVERED: say`delivered`,
  DELIVERY_FAILED: say`no rider is free`,
  CANCELLED: say`cancelled, money back`,
  REFUND_REQUESTED: say`complaint under review`,
  REFUND_APPROVED: say`refunded`,
  REFUND_REJECTED: say`complaint rejected`,
  REDELIVERY: say`will be cooked again`,
});
const bad = ['DELIVERY_FAILED', 'REFUND_REJECTED'];
const over = ['CANCELLED', 'REFUND_APPROVED'];
const open = ['REFUND_REQUESTED', 'REDELIVERY'];
const kinds = Object.entries({ bad, over, open });
const kindOf = (state) => kinds.find(([, states]) => states.includes(state))?.[0] ?? 'good';

/** How far an order has come: six dots, and the word for it. */
function Way({ state }) {
  const at = steps.indexOf(state === 'DELIVERING' ? 'ASSIGNED' : state);
  return html`
    <p class="way ${kindOf(state)}" data-state=${state}>
      ${at >= 0 && html`<span class="dots" aria-hidden="true">${steps.map((step, nth) => html`<i key=${step} class=${nth <= at ? 'on' : ''}></i>`)}</span>`}
      <span>${wordsOf()[state]}</span>
    </p>`;
}

/** An order as each of them sees it, with what they can do about it below. */
export const OrderCard = ({ order, children }) => html`
  <li key=${order.orderId} class="order" data-order=${order.orderId}>
    <p class="dish"><b>${order.quantity} × ${order.name}</b><span>${money(order.paid)}</span></p>
    <${Way} state=${order.state} />
    ${order.complaint && html`<blockquote>“${order.complaint}”${order.rejection && html`<br />— “${order.rejection}”`}</blockquote>`}
    ${children}
  </li>`;

/** What a complaint shows; only those of the order may see it. */
export function Photo({ world, role, order }) {
  const [address, setAddress] = useState(undefined);
  const { photoId } = order;
  useEffect(() => {
    photoOf(world, role, order)
      .then((where) => picture(...where))
      .then(setAddress)
      .catch(() => setAddress(undefined));
  }, [photoId]);
  return address === undefined
    ? html`<p class="photo empty">${say`The photo cannot be shown.`}</p>`
    : html`<img class="photo" src=${address} alt=${say`What the customer complains about`} />`;
}
