/** The owner's phone: what comes in, and what is complained about. */
import { OrderCard, Phone, Photo } from './food-parts.js';
import { ask } from './food-world.js';
import { html } from './html.js';
import { useAction } from './parts.js';

/** What the owner does next about an order in a state. */
const next = {
  PLACED: ['accept', 'Accept', 'has accepted'],
  ACCEPTED: ['cook', 'Cook', 'cooks'],
  REDELIVERY: ['cook', 'Cook again', 'cooks again'],
  COOKING: ['call', 'Call a rider', 'calls a rider'],
  REFUND_REQUESTED: ['approve', 'Approve', 'approves'],
};

export function Owner({ world, orders, told, names, tell }) {
  const { busy, failure, run } = useAction();
  const step = ({ orderId }, path, what, body = {}) =>
    run(async () =>
      tell(`The owner ${what}`, await ask(world, 'owner', 'POST', `/orders/${orderId}/${path}`, body)),
    );
  function reject(event, order) {
    event.preventDefault();
    return step(order, 'reject', 'rejects', Object.fromEntries(new FormData(event.currentTarget)));
  }
  return html`
    <${Phone} role="owner" title="Owner" text="Accepts, cooks, calls a rider, decides on complaints." look="messenger" told=${told} names=${names} failure=${failure}>
      <ul class="orders">
        ${orders.length === 0 && html`<li class="empty">No orders yet.</li>`}
        ${orders.map((one) => {
          const [path, title, what] = next[one.state] ?? [];
          return html`
            <${OrderCard} key=${one.orderId} order=${one}>
              ${one.photoId && html`<${Photo} world=${world} role="owner" order=${one} />`}
              ${one.state === 'REFUND_REQUESTED' && html`<p class="wants">Wants ${one.wanted === 'REFUND' ? 'the money back' : 'the dish once more'}.</p>`}
              ${path && html`<div class="acts"><button type="button" class="primary" disabled=${busy} onClick=${() => step(one, path, what)}>${title}</button></div>`}
              ${
                one.state === 'REFUND_REQUESTED' &&
                html`
                <form class="controls" onSubmit=${(event) => reject(event, one)}>
                  <label class="grow">Or why not <input name="rejection" required maxlength="500" placeholder="It was hot" autocomplete="off" /></label>
                  <button type="submit" disabled=${busy}>Reject</button>
                </form>`
              }
            <//>`;
        })}
      </ul>
    <//>`;
}
