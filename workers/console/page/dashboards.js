/** Room Dashboards: what Grafana shows, drawn by the console’s server and asked for again while somebody looks. */
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { useAddress } from './address.js';
import { timeOf } from './format.js';
import { html } from './html.js';
import { Card, Failure } from './parts.js';
import { call, settings } from './server.js';
import { say, translated } from './words.js';

const againMs = 15_000;
const ranges = () => [
  [15, say`15 minutes`],
  [60, say`1 hour`],
  [360, say`6 hours`],
];

/** A drawing has a style of its own, so it has a tree of its own. */
function Drawing({ markup }) {
  const host = useRef();
  useLayoutEffect(() => {
    const tree = host.current.shadowRoot ?? host.current.attachShadow({ mode: 'open' });
    if (tree.childElementCount === 0)
      tree.innerHTML = '<link rel="stylesheet" href="/console/dashboards.css"><div class="muster"></div>';
    // Whoever reads in it by the keyboard would lose the place.
    if (tree.activeElement !== null) return;
    const box = tree.lastElementChild;
    box.innerHTML = markup;
    // A style that stands in the markup is not allowed; one that is set here is.
    for (const part of box.querySelectorAll('[data-style]')) part.style.cssText = part.dataset.style;
  }, [markup]);
  return html`<div ref=${host} class="drawing wide"></div>`;
}

/** Asks for the drawing at once, and again while it is looked at. */
function useDrawing(path, active, isLive) {
  const [seen, setSeen] = useState({});
  useEffect(() => {
    if (!active) return undefined;
    let isOver = false;
    let timer;
    async function look() {
      if (document.visibilityState === 'visible') {
        const answer = await call('GET', path).catch((failure) => ({ failure }));
        // What was drawn last stays to be seen.
        if (!isOver) setSeen((before) => ({ ...before, failure: undefined, ...answer, path }));
      }
      if (!isOver && isLive) timer = setTimeout(look, againMs);
    }
    look();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [path, active, isLive]);
  return { ...seen, isNew: seen.path !== path };
}

const Choice = ({ id, label, value, options, onChange }) => html`
  <label class="grow">${label}
    <select id=${id} value=${value} onChange=${(event) => onChange(event.currentTarget.value)}>
      ${options.map(([key, text]) => html`<option key=${key} value=${key} selected=${key === value}>${text}</option>`)}
    </select>
  </label>`;

export function Dashboards({ active }) {
  const slug = useAddress('dashboards') ?? 'overview';
  const [list, setList] = useState([]);
  const [range, setRange] = useState(60);
  const [chosen, setChosen] = useState({});
  const [isLive, setLive] = useState(true);
  useEffect(() => {
    call('GET', '/console/dashboards').then(
      ({ dashboards }) => setList(dashboards),
      () => {},
    );
  }, []);
  const of = chosen.slug === slug ? chosen.values : {};
  const query = new URLSearchParams({ rangeMinutes: range, ...of });
  const {
    drawnAt,
    html: markup,
    variables = [],
    panels = [],
    failure,
    isNew,
  } = useDrawing(`/console/dashboards/${encodeURIComponent(slug)}?${query}`, active, isLive);
  const choose = (name, value) => {
    const { [name]: _, ...others } = of;
    setChosen({ slug, values: value === '' ? others : { ...others, [name]: value } });
  };
  return html`
    <${Card} name="dashboards" title=${translated('Dashboards')} wide
      text=${say`What the environment measures, by the question that it answers. Times are UTC.`}>
      <div class="controls">
        <${Choice} id="dashboard" label=${say`Dashboard`} value=${slug} options=${list.map((one) => [one.slug, one.title])}
          onChange=${(next) => {
            location.hash = `dashboards/${next}`;
          }} />
        <${Choice} id="range" label=${say`The last`} value=${range} options=${ranges()} onChange=${(next) => setRange(Number(next))} />
        ${variables.map(
          ({ name, label, values }) => html`
            <${Choice} key="${slug} ${name}" id="variable-${name}" label=${label} value=${of[name] ?? ''}
              options=${[['', say`All`], ...values.map((value) => [value, value])]} onChange=${(value) => choose(name, value)} />`,
        )}
        <label class="check">
          <input type="checkbox" id="live" checked=${isLive} onChange=${(event) => setLive(event.currentTarget.checked)} />
          ${say`Draw it again every ${againMs / 1000} s`}
        </label>
      </div>
      <${Failure} of=${failure} />
      <p class="took" id="drawn">
        ${isNew || drawnAt === undefined ? say`Drawing …` : html`<time>${say`As of ${timeOf(drawnAt)}.`}</time>`}
        ${settings.grafanaUrl && html` <a class="trace" href=${settings.grafanaUrl} target="_blank" rel="noreferrer">${say`Grafana has them, too.`}</a>`}
      </p>
      <details>
        <summary>${say`What the panels show`}</summary>
        <dl class="about">
          ${panels.map(({ title, description, empty }) => html`<dt>${title}${empty && ` (${say`no data`})`}</dt><dd>${description}</dd>`)}
        </dl>
      </details>
    <//>
    ${markup !== undefined && html`<${Drawing} markup=${markup} />`}`;
}
