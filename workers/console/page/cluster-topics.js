/** The topics, each with its partitions: who leads, who has a copy, who is behind. */
import { number } from './format.js';
import { html } from './html.js';
import { Card, Mark } from './parts.js';
import { say } from './words.js';

const missing = ({ replicas, inSync }) => replicas.filter((id) => !inSync.includes(id));

function StateOf({ partitions }) {
  const leaderless = partitions.filter(({ leader }) => leader === null).length;
  const behind = partitions.filter((one) => missing(one).length > 0).length;
  if (leaderless > 0) return html`<${Mark} kind="failed">${say`${leaderless} without a leader`}<//>`;
  if (behind > 0) return html`<${Mark} kind="open">${say`${behind} with a copy that is behind`}<//>`;
  return html`<${Mark} kind="done">${say`all copies in sync`}<//>`;
}

const offset = (at) => (at === null ? say`not known` : number(at));

const Partition = ({ of }) => html`
  <tr>
    <th scope="row">${of.partition}</th>
    <td>${of.leader ?? say`nobody`}</td>
    <td>${of.replicas.join(', ')}</td>
    <td>${missing(of).join(', ') || say`none`}</td>
    <td class="number">${offset(of.start)}</td>
    <td class="number">${offset(of.end)}</td>
  </tr>`;

const Topic = ({ name, partitions }) => html`
  <li>
    <details>
      <summary><b>${name}</b> <span class="took">${say`partitions: ${partitions.length}`}</span> <${StateOf} partitions=${partitions} /></summary>
      <div class="scroll" role="region" aria-label=${say`Partitions of ${name}`} tabindex="0">
        <table>
          <caption class="hidden">${say`Partitions of ${name}`}</caption>
          <thead>
            <tr><th scope="col">${say`Partition`}</th><th scope="col">${say`Leader`}</th><th scope="col">${say`Copies on`}</th>
              <th scope="col">${say`Behind`}</th><th scope="col" class="number">${say`Log start`}</th>
              <th scope="col" class="number">${say`Log end`}</th></tr>
          </thead>
          <tbody>${partitions.map((one) => html`<${Partition} key=${one.partition} of=${one} />`)}</tbody>
        </table>
      </div>
    </details>
  </li>`;

export const Topics = ({ topics }) => html`
  <${Card} name="topics" title=${say`Topics`} wide text=${say`Open one to see who leads its partitions, and who has copies of them.`}>
    <ul id="topics" class="topics">
      ${topics.map((one) => html`<${Topic} key=${one.name} ...${one} />`)}
    </ul>
  <//>`;
