/** What the tabs are made of. */
import { useState } from 'preact/hooks';
import { timeOf } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { settings } from './server.js';
import { say, translated } from './words.js';

export const Card = ({ name, title, text, wide, children }) => html`
  <section aria-labelledby="${name}-title" class=${wide ? 'card wide' : 'card'}>
    <div class="head">
      <h2 id="${name}-title">${title}</h2>
      <p>${text}</p>
    </div>
    ${children}
  </section>`;

/** To Jaeger where it has a page, else to room Traces. */
export const TraceLink = ({ of }) => {
  if (!of || !(settings.jaegerUrl || settings.hasTraces)) return undefined;
  const title = `./muster trace ${of}`;
  return settings.jaegerUrl
    ? html`<a class="trace" href="${settings.jaegerUrl}/trace/${of}" target="_blank" rel="noreferrer" title=${title}>${say`trace`}</a>`
    : html`<a class="trace" href="#traces/${of}" title=${title}>${say`trace`}</a>`;
};

/** What went wrong, where it did. */
export const Failure = ({ of }) =>
  of &&
  html`<p class="failure" role="alert"><span aria-hidden="true">✕</span> ${of.message} <${TraceLink} of=${of.traceId} /></p>`;

const marks = { done: '✓', failed: '✕', open: '…', unknown: '?' };

/** A state by mark and word: never by its colour alone. */
export const Mark = ({ kind, children }) =>
  html`<span class="state ${kind}"><span aria-hidden="true">${marks[kind]}</span> ${children}</span>`;

const kinds = { DONE: 'done', CARRIED: 'done', FAILED: 'failed', STOPPED: 'failed' };
const kindOf = (state) => kinds[state] ?? 'open';

/** The state of something that takes time. */
export const State = ({ of, reason }) =>
  html`<${Mark} kind=${kindOf(of)}>${words(of)}${reason && `: ${words(reason)}`}<//>`;

/** PAYING_OUT as people say it. */
export const words = (name) => translated(name.toLowerCase().replaceAll('_', ' '));

/** What was asked for, the newest first: `{key, text, state, reason, requestedAt, traceId}`. */
export const Steps = ({ id, rows, nothing }) => html`
  <ol id=${id} class="steps" aria-live="polite">
    ${rows.length === 0 && html`<li class="empty">${nothing}</li>`}
    ${rows.map(
      ({ key, text, state, reason, requestedAt, traceId }) => html`
        <li key=${key}>
          <span>${text}<br /><span class="took">${timeOf(requestedAt)}</span></span>
          <${State} of=${state} reason=${reason} />
          <${TraceLink} of=${traceId} />
        </li>`,
    )}
  </ol>`;

/** Work that a control begins: whether it runs, and what went wrong. */
export function useAction() {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState(undefined);
  async function run(work) {
    setBusy(true);
    setFailure(undefined);
    try {
      return await work();
    } catch (error) {
      setFailure(error);
      log(error.message, error.traceId);
      return undefined;
    } finally {
      setBusy(false);
    }
  }
  return { busy, failure, run };
}
