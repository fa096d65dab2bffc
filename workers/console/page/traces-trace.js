/** One trace: its spans below each other over time, with what they say of themselves, and what was logged on the way. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { milliseconds, number, short, timeOf } from './format.js';
import { html } from './html.js';
import { Card, Failure, Mark } from './parts.js';
import { call, settings } from './server.js';
import { say } from './words.js';

/** Spans are sent a few seconds after they end. */
const triesAgain = 6;
const againMs = 2_000;
const rowsAtOnce = 300;

const rowsOf = (nodes, depth = 0) =>
  nodes.flatMap((node) => [{ node, depth }, ...rowsOf(node.children, depth + 1)]);

const pathOf = (id) => `/console/traces/${encodeURIComponent(id)}`;

/** The trace, and again until all of it has arrived. */
function useTrace(id) {
  const [seen, setSeen] = useState({ isWaiting: true });
  useEffect(() => {
    let isOver = false;
    async function look(tries) {
      const answer = await call('GET', pathOf(id)).catch((failure) => ({ failure }));
      if (isOver) return;
      const mayCome = answer.failure?.code === 'MUSTER_TRACE_UNKNOWN' || answer.isComplete === false;
      const isWaiting = mayCome && tries < triesAgain;
      setSeen({ ...answer, isWaiting, failure: isWaiting ? undefined : answer.failure });
      if (isWaiting) setTimeout(() => !isOver && look(tries + 1), againMs);
    }
    look(0);
    return () => {
      isOver = true;
    };
  }, [id]);
  return seen;
}

const Links = ({ of }) =>
  of.map(
    ({ traceId, spanId }) => html`
      <a key=${spanId} class="trace" href="#traces/${traceId}">${say`span ${spanId} of trace ${short(traceId)}`}</a> `,
  );

const Details = ({ node: { attributes, links } }) => html`
  <dl class="about">
    ${attributes.map(({ key, value }) => html`<dt>${key}</dt><dd>${String(value)}</dd>`)}
    ${links.length > 0 && html`<dt>${say`Linked with`}</dt><dd><${Links} of=${links} /></dd>`}
  </dl>`;

function Span({ node, depth, wholeUs }) {
  const [isOpen, setOpen] = useState(false);
  const { name, service, offsetUs, durationUs, error, byLink, orphan, links } = node;
  const share = (us) => `${((us / Math.max(1, wholeUs)) * 100).toFixed(2)}%`;
  const details = `span-${node.traceId}-${node.spanId}`;
  const notes = [
    ...(byLink ? [say`by link`] : []),
    ...(links.length > 0 ? [say`${number(links.length)} links`] : []),
    ...(orphan ? [say`its parent is missing`] : []),
  ];
  return html`
    <tr class="span">
      <td style=${{ paddingLeft: `${depth * 14}px` }}>
        <button type="button" class="plain" aria-expanded=${String(isOpen)} aria-controls=${details} onClick=${() => setOpen(!isOpen)}>
          <span aria-hidden="true">${isOpen ? '▾' : '▸'}</span> ${name}</button>
        ${error !== undefined && html` <${Mark} kind="failed">${error}<//>`}
        ${notes.length > 0 && html` <span class="took">${notes.join(', ')}</span>`}
      </td>
      <td>${service}</td>
      <td class="number">+${milliseconds(offsetUs)}</td>
      <td class="number">${milliseconds(durationUs)}</td>
      <td class="course" aria-hidden="true">
        <span class=${error === undefined ? 'lasting' : 'lasting bad'} style=${{ marginLeft: share(offsetUs), width: share(durationUs) }}></span>
      </td>
    </tr>
    <tr id=${details} hidden=${!isOpen}><td colspan="5">${isOpen && html`<${Details} node=${node} />`}</td></tr>`;
}

function Spans({ of: { roots, durationUs } }) {
  const [most, setMost] = useState(rowsAtOnce);
  const rows = rowsOf(roots);
  return html`
    <div class="scroll" role="region" aria-label=${say`Spans`} tabindex="0">
      <table id="spans">
        <caption class="hidden">${say`Spans as they began, each below the one that caused it`}</caption>
        <thead>
          <tr><th scope="col">${say`Span`}</th><th scope="col">${say`Service`}</th><th scope="col" class="number">${say`After`}</th>
            <th scope="col" class="number">${say`Took`}</th><th scope="col" class="course">${say`Course`}</th></tr>
        </thead>
        <tbody>
          ${rows
            .slice(0, most)
            .map(
              ({ node, depth }) =>
                html`<${Span} key="${node.traceId} ${node.spanId}" node=${node} depth=${depth} wholeUs=${durationUs} />`,
            )}
        </tbody>
      </table>
    </div>
    ${rows.length > most && html`<button type="button" onClick=${() => setMost(most + rowsAtOnce)}>${say`${number(rows.length - most)} more`}</button>`}`;
}

const marks = { error: 'failed', warn: 'open' };

const Line = ({ of: { at, process, level, message, line } }) => html`
  <tr>
    <td>${timeOf(at)}</td>
    <td>${process}</td>
    <td>${marks[level] === undefined ? level : html`<${Mark} kind=${marks[level]}>${level}<//>`}</td>
    <td class="message"><details><summary>${message}</summary><code>${line}</code></details></td>
  </tr>`;

function Lines({ id }) {
  const [{ lines, failure }, setSeen] = useState({});
  useEffect(() => {
    call('GET', `${pathOf(id)}/logs`)
      .catch((error) => ({ failure: error }))
      .then(setSeen);
  }, [id]);
  return html`
    <${Card} name="trace-lines" title=${say`What was logged on the way`} wide
      text=${say`Work that goes well is not logged, only traced.`}>
      <${Failure} of=${failure} />
      ${lines?.length === 0 && html`<p class="empty">${say`No line in the log store names this trace.`}</p>`}
      ${
        lines?.length > 0 &&
        html`<div class="scroll" role="region" aria-label=${say`Log lines`} tabindex="0">
          <table id="trace-logs">
            <caption class="hidden">${say`Log lines`}</caption>
            <thead>
              <tr><th scope="col">${say`When`}</th><th scope="col">${say`Process`}</th><th scope="col">${say`Level`}</th>
                <th scope="col">${say`Message`}</th></tr>
            </thead>
            <tbody>${lines.map((one, index) => html`<${Line} key=${index} of=${one} />`)}</tbody>
          </table>
        </div>`
      }
    <//>`;
}

function summaryOf({ roots, spans, services, durationUs, startedAtMs, traceIds, isWaiting }) {
  if (roots === undefined)
    return isWaiting ? say`It is looked for: spans arrive some seconds after they end.` : '';
  const others = traceIds.length - 1;
  return [
    say`${number(spans)} spans of ${services.join(', ')}`,
    say`began ${timeOf(startedAtMs)}, took ${milliseconds(durationUs)}`,
    ...(others > 0 ? [say`with ${number(others)} that it is linked with`] : []),
    ...(isWaiting ? [say`more may come`] : []),
  ].join('; ');
}

export function Trace({ id }) {
  const heading = useRef();
  const trace = useTrace(id);
  // The link that led here may be in a room that is not shown any more.
  useEffect(() => heading.current.focus(), []);
  return html`
    <section class="card wide" aria-labelledby="trace-title">
      <div class="head">
        <h2 id="trace-title" ref=${heading} tabindex="-1">${say`Trace ${id}`}</h2>
        <p aria-live="polite">${summaryOf(trace)}</p>
      </div>
      <p>
        <a class="trace" href="#traces">${say`All traces`}</a>
        ${settings.jaegerUrl && html` · <a class="trace" href="${settings.jaegerUrl}/trace/${id}" target="_blank" rel="noreferrer">${say`in Jaeger`}</a>`}
        ${' · '}<code>./muster trace ${id}</code>
      </p>
      <${Failure} of=${trace.failure} />
      ${trace.roots !== undefined && html`<${Spans} of=${trace} />`}
    </section>
    ${trace.roots !== undefined && html`<${Lines} id=${id} />`}`;
}
