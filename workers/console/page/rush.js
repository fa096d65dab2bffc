/** A coupon rush: everybody asks at the same moment, and all that is told of it is what the API says. */
import { useRef, useState } from 'preact/hooks';
import { short } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { Card } from './parts.js';
import { call, id, operatorToken, tokensOf } from './server.js';
import { say } from './words.js';

/** A WebSocket for a person; resolves when it is live. */
function listen(token, onOutcome) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/coupons/ws`, [
      'muster',
      `bearer.${token}`,
    ]);
    socket.onmessage = ({ data }) => {
      const { type, id: event, data: outcome } = JSON.parse(data);
      if (type === 'ready') resolve(socket);
      if (type !== 'coupon-outcome') return;
      onOutcome(outcome);
      socket.send(JSON.stringify({ type: 'ack', ids: [event] }));
    };
    socket.onerror = () => reject(new Error(say`the push channel could not be opened`));
  });
}

const patienceMs = 30_000;
const newRun = ({ people, each, stock }) => ({
  ...{ people, each, stock, asked: people * each, accepted: 0, outcomes: [], pushedMs: [], sockets: [] },
  tiles: Array.from({ length: people }, () => ''),
  verdict: { text: say`Everybody takes a place …`, kind: '' },
  finished: Promise.withResolvers(),
});

/** Takes places, asks, and counts what comes; `changed` is called for everything that is seen. */
async function carryOut(run, changed) {
  const { people, each, stock } = run;
  const couponToken = await operatorToken();
  const { couponId } = await call(
    'POST',
    '/coupons',
    { name: `Console rush ${new Date().toISOString()}`, stock },
    { token: couponToken },
  );
  const prefix = `console-${id()}`;
  const tokens = await tokensOf(
    'customer',
    run.tiles.map((_, person) => `${prefix}-${person}`),
  );
  /** When each request was accepted; an outcome may overtake the answer to its request. */
  const acceptedAt = new Map();
  const sentAt = run.tiles.map(() => performance.now());
  const onOutcome = (person) => (outcome) => {
    run.outcomes.push(outcome);
    run.pushedMs.push(performance.now() - (acceptedAt.get(outcome.requestId) ?? sentAt[person]));
    if (outcome.outcome === 'SUCCESS') {
      run.tiles[person] = 'won';
      if (issuedIn(run) <= 3) log(say`Coupon ${short(outcome.couponHistoryId)} issued`, outcome.traceId);
    } else if (run.tiles[person] !== 'won' && outcome.reason === 'OUT_OF_STOCK') run.tiles[person] = 'lost';
    if (run.outcomes.length === run.asked) run.finished.resolve();
    changed();
  };
  run.sockets = await Promise.all(tokens.map((token, person) => listen(token, onOutcome(person))));
  run.verdict = { text: say`Go!`, kind: '' };
  const refused = [];
  const askOnce = async (person) => {
    run.tiles[person] ||= 'waiting';
    sentAt[person] = performance.now();
    try {
      const asked = await call('POST', '/coupons/issue', { couponId }, { token: tokens[person] });
      acceptedAt.set(asked.requestId, performance.now());
      run.accepted += 1;
    } catch (error) {
      run.asked -= 1;
      refused.push(error);
    }
    changed();
  };
  await Promise.all(run.tiles.flatMap((_, person) => Array.from({ length: each }, () => askOnce(person))));
  if (refused.length > 0)
    log(say`${refused.length} requests were not accepted: ${refused[0].message}`, refused[0].traceId);
  if (run.outcomes.length < run.asked)
    await Promise.race([run.finished.promise, new Promise((resolve) => setTimeout(resolve, patienceMs))]);
  const issued = issuedIn(run);
  const stored = await call('GET', `/coupons/${couponId}`);
  const isRight =
    run.outcomes.length === run.asked && issued === Math.min(stock, people) && stored.issued === issued;
  run.verdict = isRight
    ? {
        kind: 'good',
        text: say`${issued} coupons for ${people} people, ${run.outcomes.length} answers, and the store agrees.`,
      }
    : {
        kind: 'bad',
        text: say`${run.outcomes.length} of ${run.asked} answers after 30 s; the store says ${stored.issued} are issued.`,
      };
  log(
    say`Rush: ${run.accepted} requests by ${people} people for ${stock} coupons, ${issued} issued`,
    stored.traceId,
  );
}

const issuedIn = (run) => run.outcomes.filter(({ outcome }) => outcome === 'SUCCESS').length;

function percentile(times, share) {
  if (times.length === 0) return '–';
  const sorted = times.toSorted((a, b) => a - b);
  return `${Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))])} ms`;
}

const titlesOf = () => ({ won: say`has a coupon`, lost: say`too late`, waiting: say`waiting` });
const labelsOf = () => ({ people: say`People`, each: say`Requests each`, stock: say`Coupons` });
const fields = [
  ['people', 120, 60],
  ['each', 5, 2],
  ['stock', 1_000, 20],
];

export function Rush() {
  const [run, setRun] = useState(undefined);
  const [busy, setBusy] = useState(false);
  const [, redraw] = useState(0);
  const current = useRef();

  async function start(event) {
    event.preventDefault();
    const asked = Object.fromEntries(new FormData(event.currentTarget));
    const sizes = fields.map(([name, most]) => [
      name,
      Math.max(1, Math.min(most, Math.round(Number(asked[name]) || 1))),
    ]);
    const next = newRun(Object.fromEntries(sizes));
    current.current = next;
    const changed = () => current.current === next && redraw((n) => n + 1);
    setRun(next);
    setBusy(true);
    try {
      await carryOut(next, changed);
    } catch (error) {
      next.verdict = { text: error.message, kind: 'bad' };
      log(error.message, error.traceId);
    } finally {
      for (const socket of next.sockets) socket.close();
      setBusy(false);
      changed();
    }
  }

  const count = (reason) => run?.outcomes.filter((one) => one.reason === reason).length ?? '–';
  const titles = titlesOf();
  const labels = labelsOf();
  const figures = [
    [say`accepted`, 'rush-accepted', run?.accepted ?? '–'],
    [say`issued`, 'rush-issued', run === undefined ? '–' : say`${issuedIn(run)} of ${run.stock}`],
    [say`out of stock`, 'rush-out', count('OUT_OF_STOCK')],
    [say`asked twice`, 'rush-twice', count('DUPLICATE')],
    [say`answer pushed, p50`, 'rush-p50', percentile(run?.pushedMs ?? [], 0.5)],
    ['p99', 'rush-p99', percentile(run?.pushedMs ?? [], 0.99)],
  ];
  return html`
    <${Card} name="rush" title=${say`Coupon rush`} wide
      text=${say`Everybody asks at the same moment; the first to be durable win. Outcomes arrive live.`}>
      <form class="controls" id="rush-form" onSubmit=${start}>
        ${fields.map(
          ([name, most, usual]) => html`
            <label key=${name}>${labels[name]}
              <input id="rush-${name}" name=${name} type="number" min="1" max=${most} defaultValue=${usual} inputmode="numeric" />
            </label>`,
        )}
        <button type="submit" id="rush-start" class="primary" disabled=${busy}>${say`Start the rush`}</button>
      </form>
      <div class="tiles" id="tiles" role="img" aria-label=${say`One tile for each person: waiting, got a coupon, or went empty-handed`}>
        ${run?.tiles.map((kind, at) => html`<i key=${at} class="tile ${kind}" title=${titles[kind]}></i>`)}
      </div>
      <p class="legend">
        ${['waiting', 'won', 'lost'].map((kind) => html`<span key=${kind}><i class="tile ${kind}"></i> ${titles[kind]}</span>`)}
      </p>
      <dl class="figures">
        ${figures.map(([label, name, value]) => html`<div key=${name}><dt>${label}</dt><dd id=${name}>${value}</dd></div>`)}
      </dl>
      <p id="rush-verdict" class="verdict ${run?.verdict.kind}" role="status" aria-live="polite">${run?.verdict.text}</p>
    <//>`;
}
