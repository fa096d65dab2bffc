/** The consumer groups: how many read, and how far behind they are. */
import { number } from './format.js';
import { html } from './html.js';
import { Card, Mark } from './parts.js';
import { say } from './words.js';

const marks = { ok: 'done', warn: 'open', rewind: 'open', stop: 'failed', stall: 'failed' };
const wordsOf = () => ({
  ok: say`keeps up`,
  warn: say`falls behind`,
  rewind: say`was set back`,
  stop: say`nobody reads`,
  stall: say`stands still`,
});

const tenths = { maximumFractionDigits: 1 };

const Group = ({ id, members, status, topics, lag, lagSeconds }) => html`
  <tr>
    <th scope="row">${id}</th>
    <td>${
      lag === null
        ? html`<${Mark} kind="unknown">${say`not known`}<//>`
        : html`<${Mark} kind=${marks[status]}>${wordsOf()[status]}<//>`
    }</td>
    <td class="number">${number(members)}</td>
    <td class="number">${lag === null ? say`not known` : number(lag)}</td>
    <td class="number">${lagSeconds === null ? say`not known` : say`${number(lagSeconds, tenths)} s`}</td>
    <td class="wrap apart">${topics.join(', ')}</td>
  </tr>`;

export const Groups = ({ groups }) => html`
  <${Card} name="groups" title=${say`Groups`} wide
    text=${say`How far behind each is: records still to be read, and for how long the next of them has been waiting.`}>
    <div class="scroll" role="region" aria-label=${say`All groups`} tabindex="0">
      <table id="groups">
        <caption class="hidden">${say`All groups`}</caption>
        <thead>
          <tr><th scope="col">${say`Group`}</th><th scope="col">${say`State`}</th><th scope="col" class="number">${say`Members`}</th>
            <th scope="col" class="number">${say`Lag, records`}</th><th scope="col" class="number">${say`Lag, seconds`}</th>
            <th scope="col" class="apart">${say`Topics`}</th></tr>
        </thead>
        <tbody>
          ${groups.length === 0 && html`<tr><td colspan="6" class="empty">${say`There are no groups.`}</td></tr>`}
          ${groups.map((one) => html`<${Group} key=${one.id} ...${one} />`)}
        </tbody>
      </table>
    </div>
  <//>`;
