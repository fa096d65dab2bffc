/** Room Traces: find one by who took part, how long it took and whether it failed; or show the one that the address names. */
import { useEffect, useState } from 'preact/hooks';
import { useAddress } from './address.js';
import { milliseconds, number, timeOf } from './format.js';
import { html } from './html.js';
import { Card, Failure, Mark, useAction } from './parts.js';
import { call, settings } from './server.js';
import { Trace } from './traces-trace.js';
import { say, translated } from './words.js';

const ranges = () => [
  [15, say`15 minutes`],
  [60, say`1 hour`],
  [360, say`6 hours`],
  [1440, say`1 day`],
];

const Row = ({ of: { id, startedAtMs, name, service, durationUs, spans, services, failed } }) => html`
  <tr>
    <td>${timeOf(startedAtMs)}</td>
    <td><a class="trace" href="#traces/${id}">${service} ${name}</a></td>
    <td class="number">${milliseconds(durationUs)}</td>
    <td class="number">${number(spans)}</td>
    <td class="apart">${services.join(', ')}</td>
    <td>${failed > 0 && html`<${Mark} kind="failed">${say`${number(failed)} failed`}<//>`}</td>
  </tr>`;

const Found = ({ traces }) => html`
  <div class="scroll" role="region" aria-label=${say`Traces that were found`} tabindex="0">
    <table id="found-traces">
      <caption class="hidden">${say`Traces that were found`}</caption>
      <thead>
        <tr><th scope="col">${say`Began`}</th><th scope="col">${say`First span`}</th><th scope="col" class="number">${say`Took`}</th>
          <th scope="col" class="number">${say`Spans`}</th><th scope="col" class="apart">${say`Services`}</th>
          <th scope="col">${say`Failures`}</th></tr>
      </thead>
      <tbody>
        ${traces.length === 0 && html`<tr><td colspan="6" class="empty">${say`There is none.`}</td></tr>`}
        ${traces.map((one) => html`<${Row} key=${one.id} of=${one} />`)}
      </tbody>
    </table>
  </div>`;

const Options = ({ of }) => of.map((name) => html`<option key=${name} value=${name}>${name}</option>`);

function Search() {
  const { busy, failure, run } = useAction();
  const [services, setServices] = useState([]);
  const [operations, setOperations] = useState([]);
  const [traces, setTraces] = useState(undefined);
  const ask = async (wanted) =>
    setTraces((await call('GET', `/console/traces?${new URLSearchParams(wanted)}`)).traces);
  const choose = (service) =>
    run(async () => {
      setOperations([]);
      const path = `/console/traces/operations?${new URLSearchParams({ service })}`;
      setOperations((await call('GET', path)).operations);
    });
  useEffect(() => {
    run(async () => {
      const found = (await call('GET', '/console/traces/services')).services;
      setServices(found);
      if (found.length === 0) return;
      await choose(found[0]);
      await ask({ service: found[0], rangeMinutes: 60 });
    });
  }, []);
  const find = (event) => {
    event.preventDefault();
    const wanted = [...new FormData(event.currentTarget)].filter(([, value]) => value !== '');
    return run(() => ask(wanted));
  };
  const show = (event) => {
    event.preventDefault();
    location.hash = `traces/${new FormData(event.currentTarget).get('id').trim()}`;
  };
  return html`
    <${Card} name="traces" title=${translated('Traces')} wide
      text=${say`Some requests are followed through every process that they pass. Times are those of this browser.`}>
      <form class="controls" id="traces-form" onSubmit=${find}>
        <label class="grow">${say`Service`}
          <select id="trace-service" name="service" required onChange=${(event) => choose(event.currentTarget.value)}>
            <${Options} of=${services} />
          </select>
        </label>
        <label class="grow">${say`Operation`}
          <select id="trace-operation" name="operation">
            <option value="">${say`any`}</option>
            <${Options} of=${operations} />
          </select>
        </label>
        <label>${say`At least, ms`}
          <input type="number" name="minDurationMs" min="1" max="3600000" step="1" />
        </label>
        <label class="grow">${say`The last`}
          <select name="rangeMinutes">
            ${ranges().map(([minutes, text]) => html`<option key=${minutes} value=${minutes} selected=${minutes === 60}>${text}</option>`)}
          </select>
        </label>
        <label class="check"><input type="checkbox" id="trace-failed" name="isFailed" value="true" /> ${say`Only those with a failure`}</label>
        <button type="submit" class="primary" id="find-traces" disabled=${busy}>${say`Find`}</button>
      </form>
      <form class="controls" id="trace-form" onSubmit=${show}>
        <label class="grow">${say`Or the id of a trace`}
          <input name="id" required pattern="\\s*[0-9a-fA-F]{16,32}\\s*" maxlength="40" autocomplete="off" spellcheck="false" />
        </label>
        <button type="submit">${say`Show`}</button>
      </form>
      <${Failure} of=${failure} />
      ${traces !== undefined && html`<${Found} traces=${traces} />`}
      ${settings.jaegerUrl && html`<p><a class="trace" href=${settings.jaegerUrl} target="_blank" rel="noreferrer">${say`Jaeger has them, too.`}</a></p>`}
    <//>`;
}

export function Traces() {
  const id = useAddress('traces');
  return html`
    <div class="room wide" hidden=${id !== undefined}><${Search} /></div>
    ${id !== undefined && html`<${Trace} key=${id} id=${id} />`}`;
}
