/** Tab Cluster: brokers, topics and groups, as the worker lag has read them last. */
import { Brokers } from './cluster-brokers.js';
import { Groups } from './cluster-groups.js';
import { Topics } from './cluster-topics.js';
import { html } from './html.js';
import { useLook } from './look.js';
import { Failure } from './parts.js';
import { call } from './server.js';
import { say } from './words.js';

const lookMs = 5_000;
const ask = () => call('GET', '/console/cluster');

export function Cluster({ active }) {
  const { seen, failure } = useLook(active, ask, lookMs);
  return html`
    ${failure && html`<div class="wide"><${Failure} of=${failure} /></div>`}
    ${seen === undefined && !failure && html`<p class="empty wide">${say`The cluster is asked for.`}</p>`}
    ${
      seen &&
      html`
      <${Brokers} of=${seen} isStale=${failure !== undefined} />
      <${Groups} groups=${seen.groups} />
      <${Topics} topics=${seen.topics} />`
    }`;
}
