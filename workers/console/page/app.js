/** The console: a shell with tabs. To load it changes nothing. */
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Cluster } from './cluster.js';
import { Dashboards } from './dashboards.js';
import { Food } from './food.js';
import { html } from './html.js';
import { Log } from './log.js';
import { Pay } from './pay.js';
import { Promises } from './promises.js';
import { settings } from './server.js';
import { Shop } from './shop.js';
import { Traces } from './traces.js';
import { language, say, speak, translated } from './words.js';

const tabs = [
  { name: 'shop', title: 'Shop', Panel: Shop },
  ...(settings.hasPay ? [{ name: 'pay', title: 'Pay', Panel: Pay }] : []),
  ...(settings.hasDelivery ? [{ name: 'food', title: 'Food', Panel: Food }] : []),
  ...(settings.hasCluster ? [{ name: 'cluster', title: 'Cluster', Panel: Cluster }] : []),
  ...(settings.hasPromises ? [{ name: 'promises', title: 'Promises', Panel: Promises }] : []),
  ...(settings.hasDashboards ? [{ name: 'dashboards', title: 'Dashboards', Panel: Dashboards }] : []),
  ...(settings.hasTraces ? [{ name: 'traces', title: 'Traces', Panel: Traces }] : []),
];
/** What follows a room's name is the room's: `#traces/<id>`. */
const named = () => tabs.find(({ name }) => `#${name}` === location.hash.split('/')[0]) ?? tabs[0];

function Tabs({ selected }) {
  const list = useRef();
  /** As the pattern of tabs has it: arrows, Home and End go on, and select. */
  function onKeyDown(event) {
    const at = tabs.indexOf(selected);
    const to = {
      ArrowRight: (at + 1) % tabs.length,
      ArrowLeft: (at + tabs.length - 1) % tabs.length,
      Home: 0,
      End: tabs.length - 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    location.hash = tabs[to].name;
    list.current.children[to].focus();
  }
  return html`
    <div class="tabs" role="tablist" aria-label=${say`What to try`} ref=${list} onKeyDown=${onKeyDown}>
      ${tabs.map((tab) => {
        const isSelected = tab === selected;
        return html`
          <button type="button" role="tab" id="tab-${tab.name}" aria-controls="panel-${tab.name}"
            aria-selected=${String(isSelected)} tabIndex=${isSelected ? 0 : -1}
            onClick=${() => {
              location.hash = tab.name;
            }}>${translated(tab.title)}</button>`;
      })}
    </div>`;
}

/** The other language, in itself. */
const others = { en: ['ko', '한국어'], ko: ['en', 'English'] };

function Language({ onChange }) {
  const [other, itsName] = others[language()];
  return html`
    <button type="button" class="plain" id="language" lang=${other} onClick=${() => {
      speak(other);
      onChange(other);
    }}>${itsName}</button>`;
}

function Console() {
  // All is drawn anew in another language.
  const [, setLanguage] = useState(language());
  const [selected, select] = useState(named());
  const [opened, setOpened] = useState(new Set([selected]));
  useEffect(() => {
    const onHash = () => {
      select(named());
      setOpened((before) => new Set([...before, named()]));
    };
    addEventListener('hashchange', onHash);
    document.body.dataset.ready = 'true';
    return () => removeEventListener('hashchange', onHash);
  }, []);
  return html`
    <header>
      <h1>muster <span id="environment">${settings.environment}</span></h1>
      <${Tabs} selected=${selected} />
      <nav aria-label=${say`Elsewhere`}>
        <a href="/docs">API</a>
        ${settings.jaegerUrl && html`<a href=${settings.jaegerUrl}>Jaeger</a>`}
      </nav>
      <${Language} onChange=${setLanguage} />
    </header>
    <main>
      ${tabs.map(
        (tab) => html`
          <div role="tabpanel" class="panel" id="panel-${tab.name}" aria-labelledby="tab-${tab.name}"
            hidden=${tab !== selected}>
            ${opened.has(tab) && html`<${tab.Panel} active=${tab === selected} />`}
          </div>`,
      )}
      <${Log} />
    </main>`;
}

render(html`<${Console} />`, document.body);
