/** The rider's phone: on duty or off, and what is to be delivered. Who does nothing delivers after a second. */
import { useState } from 'preact/hooks';
import { OrderCard, Phone } from './food-parts.js';
import { ask, setDuty } from './food-world.js';
import { html } from './html.js';
import { useAction } from './parts.js';
import { say } from './words.js';

export function Rider({ world, orders, told, names, tell }) {
  const { busy, failure, run } = useAction();
  const [isOn, setOn] = useState(true);
  const step = ({ orderId, version }, path, what) =>
    run(async () => tell(what, await ask(world, 'rider', 'POST', `/orders/${orderId}/${path}`, { version })));
  const turn = () => {
    setOn(!isOn);
    return run(async () => {
      try {
        const answer = await setDuty(world, !isOn);
        tell(isOn ? say`The rider is off duty` : say`The rider is on duty`, answer);
      } catch (error) {
        // With an order on his way he is not.
        setOn(isOn);
        throw error;
      }
    });
  };
  return html`
    <${Phone} role="rider" title=${say`Rider`} text=${say`Has delivered a second after getting an order, or on saying so earlier.`} look="push" told=${told} names=${names} failure=${failure}>
      <label class="check">
        <input type="checkbox" id="on-duty" checked=${isOn} disabled=${busy} onChange=${turn} />
        ${say`On duty in ${world.district}`}
      </label>
      <ul class="orders">
        ${orders.length === 0 && html`<li class="empty">${say`No order was his yet.`}</li>`}
        ${orders.map(
          (one) => html`
            <${OrderCard} key=${one.orderId} order=${one}>
              <div class="acts">
                ${one.state === 'ASSIGNED' && html`<button type="button" disabled=${busy} onClick=${() => step(one, 'leave', say`The rider leaves`)}>${say`Leave`}</button>`}
                ${['ASSIGNED', 'DELIVERING'].includes(one.state) && html`<button type="button" class="primary" disabled=${busy} onClick=${() => step(one, 'deliver', say`The rider has delivered`)}>${say`Delivered`}</button>`}
              </div>
            <//>`,
        )}
      </ul>
    <//>`;
}
