/** The owner's phone: what comes in, and what is complained about. */
import { OrderCard, Phone, Photo } from './food-parts.js';
import { ask } from './food-world.js';
import { html } from './html.js';
import { useAction } from './parts.js';
import { say } from './words.js';

/** What the owner does next about an order in a state. */
const nextOf = () => ({
  PLACED: ['accept', say`Accept`, say`The owner has accepted`],
  ACCEPTED: ['cook', say`Cook`, say`The owner cooks`],
  REDELIVERY: ['cook', say`Cook again`, say`The owner cooks again`],
  COOKING: ['call', say`Call a rider`, say`The owner calls a rider`],
  REFUND_REQUESTED: ['approve', say`Approve`, say`The owner approves`],
});

export function Owner({ world, orders, told, names, tell }) {
  const { busy, failure, run } = useAction();
  const step = ({ orderId }, path, what, body = {}) =>
    run(async () => tell(what, await ask(world, 'owner', 'POST', `/orders/${orderId}/${path}`, body)));
  function reject(event, order) {
    event.preventDefault();
    return step(
      order,
      'reject',
      say`The owner rejects`,
      Object.fromEntries(new FormData(event.currentTarget)),
    );
  }
  return html`
    <${Phone} role="owner" title=${say`Owner`} text=${say`Accepts, cooks, calls a rider, decides on complaints.`} look="messenger" told=${told} names=${names} failure=${failure}>
      <ul class="orders">
        ${orders.length === 0 && html`<li class="empty">${say`No orders yet.`}</li>`}
        ${orders.map((one) => {
          const [path, title, what] = nextOf()[one.state] ?? [];
          return html`
            <${OrderCard} key=${one.orderId} order=${one}>
              ${one.photoId && html`<${Photo} world=${world} role="owner" order=${one} />`}
              ${one.state === 'REFUND_REQUESTED' && html`<p class="wants">${one.wanted === 'REFUND' ? say`Wants the money back.` : say`Wants the dish once more.`}</p>`}
              ${path && html`<div class="acts"><button type="button" class="primary" disabled=${busy} onClick=${() => step(one, path, what)}>${title}</button></div>`}
              ${
                one.state === 'REFUND_REQUESTED' &&
                html`
                <form class="controls" onSubmit=${(event) => reject(event, one)}>
                  <label class="grow">${say`Or why not`} <input name="rejection" required maxlength="500" placeholder=${say`It was hot`} autocomplete="off" /></label>
                  <button type="submit" disabled=${busy}>${say`Reject`}</button>
                </form>`
              }
            <//>`;
        })}
      </ul>
    <//>`;
}
