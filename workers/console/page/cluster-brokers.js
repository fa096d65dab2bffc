/** The brokers: who is there, who is the controller, what each leads and keeps. */
import { number } from './format.js';
import { html } from './html.js';
import { Card, Mark } from './parts.js';
import { say } from './words.js';

/** The worker reads all of it every 5 s: what is older than this nobody has seen lately. */
const oldSeconds = 20;

const Broker = ({ id, isThere, leads, copies, inSync, isController }) => html`
  <tr>
    <th scope="row">${id}${isController && html` <span class="tag">${say`controller`}</span>`}</th>
    <td><${Mark} kind=${isThere ? 'done' : 'failed'}>${isThere ? say`there` : say`away`}<//></td>
    <td class="number">${number(leads)}</td>
    <td class="number">${number(copies)}</td>
    <td class="number"><${Mark} kind=${inSync === copies ? 'done' : 'open'}>${number(inSync)}<//></td>
  </tr>`;

export function Brokers({ of, isStale }) {
  const { brokers, controller, ageSeconds } = of;
  const age = number(Math.round(ageSeconds));
  return html`
    <${Card} name="brokers" title=${say`Brokers`} wide
      text=${say`As the worker lag has read it from the cluster; asked for again every 5 seconds while you look.`}>
      <p class="notice" role="status">${
        (isStale || ageSeconds > oldSeconds) &&
        html`<${Mark} kind="unknown">${isStale ? say`What is shown is old.` : say`Not all of it could be read for ${age} s: a part is old.`}<//>`
      } ${controller === null && html`<${Mark} kind="failed">${say`There is no controller.`}<//>`}</p>
      <div class="scroll" role="region" aria-label=${say`All brokers`} tabindex="0">
        <table id="brokers">
          <caption class="hidden">${say`All brokers`}</caption>
          <thead>
            <tr><th scope="col">${say`Broker`}</th><th scope="col">${say`State`}</th><th scope="col" class="number">${say`Leads`}</th>
              <th scope="col" class="number">${say`Copies`}</th><th scope="col" class="number">${say`In sync`}</th></tr>
          </thead>
          <tbody>
            ${brokers.map((one) => html`<${Broker} key=${one.id} ...${one} isController=${one.id === controller} />`)}
          </tbody>
        </table>
      </div>
    <//>`;
}
