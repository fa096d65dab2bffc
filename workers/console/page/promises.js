/** Tab Promises: what is promised, whether it holds now, and when and how often somebody looks. */
import { momentOf, number, timeOf } from './format.js';
import { html } from './html.js';
import { useLook } from './look.js';
import { Card, Failure, Mark } from './parts.js';
import { call, operatorToken } from './server.js';
import { say, translated } from './words.js';

const lookMs = 5_000;
const ask = async () => call('GET', '/console/promises', undefined, { token: await operatorToken() });

/** The worst first. */
const statuses = ['broken', 'not checked', 'holds'];
const marks = { broken: 'failed', 'not checked': 'unknown', holds: 'done' };
const seconds = (ms) => say`${number(ms / 1_000)} s`;

/** Whoever cannot ask knows nothing of now. */
const unknown = (promises, { message: why }) =>
  promises.map((one) => ({ ...one, status: 'not checked', why }));

function wordOf({ status, broken, brokenSince }) {
  if (status === 'holds') return say`holds`;
  const found = broken > 0 && say`broken ${number(broken)}×, since ${momentOf(brokenSince)}`;
  if (status === 'broken') return found;
  return found ? say`not checked; before: ${found}` : say`not checked`;
}

const Row = ({ of }) => html`
  <tr>
    <th scope="row" class="wrap">${translated(of.promised)}<br /><code class="took">${of.name}</code></th>
    <td class="wrap"><${Mark} kind=${marks[of.status]}>${wordOf(of)}<//>
      ${of.why && html`<br /><span class="took">${of.why}</span>`}
      ${of.status !== 'holds' && of.ids.map((id) => html`<br key=${id} /><code>${id}</code>`)}
    </td>
    <td>${of.checkedAt === null ? say`never` : timeOf(of.checkedAt)}</td>
    <td class="number">${seconds(of.checkedEveryMs)}</td>
    <td class="number">${of.brokenAfterMs === 0 ? say`at once` : seconds(of.brokenAfterMs)}</td>
    <td class="wrap apart">${translated(of.idsOf)}</td>
  </tr>`;

export function Promises({ active }) {
  const { seen, failure } = useLook(active, ask, lookMs);
  if (seen === undefined)
    return html`
      <div class="wide"><${Failure} of=${failure} />
        ${!failure && html`<p class="empty">${say`The promises are asked for.`}</p>`}</div>`;
  const promises = failure ? unknown(seen.promises, failure) : seen.promises;
  const rows = statuses.flatMap((status) => promises.filter((one) => one.status === status));
  const holding = promises.filter(({ status }) => status === 'holds').length;
  return html`
    <${Card} name="promises" title=${say`Promises`} wide
      text=${say`Checked all the time on the live stores and topics. What nobody has looked at is not checked: silence is not health.`}>
      <${Failure} of=${failure} />
      <p id="promises-verdict" class="verdict ${holding === promises.length ? 'good' : 'bad'}" role="status">
        ${say`${holding} of ${promises.length} are checked and hold.`}</p>
      <div class="scroll" role="region" aria-label=${say`All promises`} tabindex="0">
        <table id="promises">
          <caption class="hidden">${say`All promises`}</caption>
          <thead>
            <tr><th scope="col">${say`Promise`}</th><th scope="col">${say`State`}</th><th scope="col">${say`Checked at`}</th>
              <th scope="col" class="number">${say`Checked every`}</th><th scope="col" class="number">${say`Broken after`}</th>
              <th scope="col" class="apart">${say`Looked at`}</th></tr>
          </thead>
          <tbody>${rows.map((one) => html`<${Row} key=${one.name} of=${one} />`)}</tbody>
        </table>
      </div>
    <//>`;
}
