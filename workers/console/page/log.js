/** What happened on this page, the newest first. */
import { useEffect, useState } from 'preact/hooks';
import { timeOf } from './format.js';
import { html } from './html.js';
import { Card, TraceLink } from './parts.js';
import { say } from './words.js';

const longest = 12;
let lines = [];
let tell = () => {};

export function log(text, traceId) {
  lines = [{ key: performance.now() + Math.random(), at: Date.now(), text, traceId }, ...lines].slice(
    0,
    longest,
  );
  tell(lines);
}

export function Log() {
  const [shown, show] = useState(lines);
  useEffect(() => {
    tell = show;
    show(lines);
  }, []);
  return html`
    <${Card} name="log" title=${say`What happened`} wide
      text=${say`The newest first; each line leads to its trace, from the request to the push.`}>
      <ol id="log" class="log">
        ${shown.length === 0 && html`<li class="empty">${say`Nothing yet: start a rush, place an order, send money, or order a dish.`}</li>`}
        ${shown.map(
          ({ key, at, text, traceId }) => html`
            <li key=${key}>
              <time>${timeOf(at)}</time>
              <span>${text}</span>
              <${TraceLink} of=${traceId} />
            </li>`,
        )}
      </ol>
    <//>`;
}
