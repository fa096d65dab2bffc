/** The console: a shell with tabs. To load it changes nothing. */
import { render } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Food } from './food.js';
import { html } from './html.js';
import { Log } from './log.js';
import { Pay } from './pay.js';
import { settings } from './server.js';
import { Shop } from './shop.js';

const tabs = [
  { name: 'shop', title: 'Shop', Panel: Shop },
  ...(settings.hasPay ? [{ name: 'pay', title: 'Pay', Panel: Pay }] : []),
  ...(settings.hasDelivery ? [{ name: 'food', title: 'Food', Panel: Food }] : []),
];
const named = () => tabs.find(({ name }) => `#${name}` === location.hash) ?? tabs[0];

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
    <div class="tabs" role="tablist" aria-label="What to try" ref=${list} onKeyDown=${onKeyDown}>
      ${tabs.map((tab) => {
        const isSelected = tab === selected;
        return html`
          <button type="button" role="tab" id="tab-${tab.name}" aria-controls="panel-${tab.name}"
            aria-selected=${String(isSelected)} tabIndex=${isSelected ? 0 : -1}
            onClick=${() => {
              location.hash = tab.name;
            }}>${tab.title}</button>`;
      })}
    </div>`;
}

function Console() {
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
      <nav aria-label="Elsewhere">
        <a href="/docs">API</a>
        ${settings.jaegerUrl && html`<a href=${settings.jaegerUrl}>Traces</a>`}
      </nav>
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
