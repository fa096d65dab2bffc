// The console: everything it shows comes from the public API of the same server.
const $ = (id) => document.getElementById(id);
const settings = await (await fetch('/console/settings')).json();
$('environment').textContent = settings.environment;
if (settings.jaegerUrl) {
  $('jaeger').href = settings.jaegerUrl;
  $('jaeger').hidden = false;
}

/** An element with text and children; text is never read as HTML. */
function element(name, options = {}, ...children) {
  const made = Object.assign(document.createElement(name), options);
  made.append(...children.filter((child) => child !== undefined));
  return made;
}

/** The parsed answer with its trace id; throws what the API says is wrong, with the trace id too. */
async function call(method, path, body, { token, ...headers } = {}) {
  const response = await fetch(path, {
    method,
    headers: {
      ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const traceId = response.headers.get('traceparent')?.split('-')[1];
  const answer = await response.json();
  if (response.ok) return { ...answer, traceId };
  const { code, message } = answer.error ?? {};
  throw Object.assign(new Error(`${code ?? response.status}: ${message ?? ''}`), { traceId, code });
}

/** Tokens of the people whom this page plays. */
const tokensOf = async (role, users) => (await call('POST', '/console/tokens', { role, users })).tokens;
const [operator] = await tokensOf('operator', ['console']);

function traceLink(traceId) {
  if (!traceId || !settings.jaegerUrl) return undefined;
  return element('a', {
    href: `${settings.jaegerUrl}/trace/${traceId}`,
    target: '_blank',
    rel: 'noreferrer',
    title: `./muster trace ${traceId}`,
    textContent: 'trace',
  });
}

const longestLog = 12;
function log(text, traceId) {
  const list = $('log');
  list.querySelector('.empty')?.remove();
  const time = element('time', { textContent: new Date().toLocaleTimeString([], { hour12: false }) });
  list.prepend(element('li', {}, time, element('span', { textContent: text }), traceLink(traceId)));
  while (list.children.length > longestLog) list.lastChild.remove();
}

const won = (price) =>
  new Intl.NumberFormat(undefined, { style: 'currency', currency: price.currency }).format(
    price.amountMinor /
      10 **
        new Intl.NumberFormat('en', { style: 'currency', currency: price.currency }).resolvedOptions()
          .maximumFractionDigits,
  );
const id = () => crypto.getRandomValues(new Uint32Array(2)).join('');

// --- coupon rush -----------------------------------------------------------------------------------------------------

let rush;

function show({ accepted, outcomes, pushedMs, stock, asked }) {
  const count = (test) => outcomes.filter(test).length;
  const issued = count(({ outcome }) => outcome === 'SUCCESS');
  $('rush-accepted').textContent = accepted;
  $('rush-issued').textContent = `${issued} of ${stock}`;
  $('rush-out').textContent = count(({ reason }) => reason === 'OUT_OF_STOCK');
  $('rush-twice').textContent = count(({ reason }) => reason === 'DUPLICATE');
  const sorted = pushedMs.toSorted((a, b) => a - b);
  const at = (share) =>
    sorted.length === 0
      ? '–'
      : `${Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))])} ms`;
  $('rush-p50').textContent = at(0.5);
  $('rush-p99').textContent = at(0.99);
  return { issued, done: outcomes.length === asked };
}

/** A WebSocket for a person; resolves when it is live. */
function listen(token, onOutcome) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`${location.origin.replace('http', 'ws')}/coupons/ws`, [
      'muster',
      `bearer.${token}`,
    ]);
    socket.onmessage = ({ data }) => {
      const { type, id, data: outcome } = JSON.parse(data);
      if (type === 'ready') resolve(socket);
      if (type !== 'coupon-outcome') return;
      onOutcome(outcome);
      socket.send(JSON.stringify({ type: 'ack', ids: [id] }));
    };
    socket.onerror = () => reject(new Error('the push channel could not be opened'));
  });
}

async function startRush() {
  const number = (name) => Math.max(1, Math.min(Number($(name).max), Math.round(Number($(name).value) || 1)));
  const [people, each, stock] = [number('rush-people'), number('rush-each'), number('rush-stock')];
  rush?.sockets.forEach((socket) => {
    socket.close();
  });
  const run = { accepted: 0, outcomes: [], pushedMs: [], stock, asked: people * each, sockets: [] };
  rush = run;
  const button = $('rush-start');
  button.disabled = true;
  $('rush-verdict').className = 'verdict';
  $('rush-verdict').textContent = 'Everybody takes a place …';
  const tiles = Array.from({ length: people }, () => element('i', { className: 'tile' }));
  $('tiles').replaceChildren(...tiles);
  show(run);
  try {
    const coupon = { name: `Console rush ${new Date().toISOString()}`, stock };
    const { couponId } = await call('POST', '/coupons', coupon, { token: operator });
    const prefix = `console-${id()}`;
    const tokens = await tokensOf(
      'customer',
      tiles.map((_, person) => `${prefix}-${person}`),
    );
    /** When each request was accepted; an outcome may overtake the answer to its request. */
    const acceptedAt = new Map();
    const finished = Promise.withResolvers();
    const onOutcome = (tile, sentAt) => (outcome) => {
      if (run !== rush) return;
      run.outcomes.push(outcome);
      run.pushedMs.push(performance.now() - (acceptedAt.get(outcome.requestId) ?? sentAt()));
      if (outcome.outcome === 'SUCCESS') {
        tile.className = 'tile won';
        tile.title = 'has a coupon';
        if (run.outcomes.filter((one) => one.outcome === 'SUCCESS').length <= 3)
          log(`Coupon ${outcome.couponHistoryId.slice(-8)} issued`, outcome.traceId);
      } else if (!tile.classList.contains('won') && outcome.reason === 'OUT_OF_STOCK') {
        tile.className = 'tile lost';
        tile.title = 'too late';
      }
      if (show(run).done) finished.resolve();
    };
    const sentAt = Array.from({ length: people }, () => performance.now());
    run.sockets = await Promise.all(
      tiles.map((tile, person) =>
        listen(
          tokens[person],
          onOutcome(tile, () => sentAt[person]),
        ),
      ),
    );
    $('rush-verdict').textContent = 'Go!';
    const refused = [];
    await Promise.all(
      tiles.flatMap((tile, person) =>
        Array.from({ length: each }, async () => {
          tile.classList.add('waiting');
          sentAt[person] = performance.now();
          try {
            const { requestId } = await call(
              'POST',
              '/coupons/issue',
              { couponId },
              { token: tokens[person] },
            );
            acceptedAt.set(requestId, performance.now());
            run.accepted += 1;
          } catch (error) {
            run.asked -= 1;
            refused.push(error);
          }
          if (run === rush) show(run);
        }),
      ),
    );
    if (refused.length > 0)
      log(`${refused.length} requests were not accepted: ${refused[0].message}`, refused[0].traceId);
    if (run.outcomes.length < run.asked)
      await Promise.race([finished.promise, new Promise((resolve) => setTimeout(resolve, 30_000))]);
    const { issued, done } = show(run);
    const stored = await call('GET', `/coupons/${couponId}`);
    const right = done && issued === Math.min(stock, people) && stored.issued === issued;
    $('rush-verdict').className = `verdict ${right ? 'good' : 'bad'}`;
    $('rush-verdict').textContent = right
      ? `${issued} coupons for ${people} people, ${run.outcomes.length} answers, and the store agrees.`
      : `${run.outcomes.length} of ${run.asked} answers after 30 s; the store says ${stored.issued} are issued.`;
    log(
      `Rush: ${run.accepted} requests by ${people} people for ${stock} coupons, ${issued} issued`,
      stored.traceId,
    );
  } catch (error) {
    $('rush-verdict').className = 'verdict bad';
    $('rush-verdict').textContent = error.message;
    log(error.message, error.traceId);
  } finally {
    for (const socket of run.sockets) socket.close();
    button.disabled = false;
  }
}

$('rush-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void startRush();
});

// --- orders ----------------------------------------------------------------------------------------------------------

const names = new Map();
const samples = [
  ['무선 이어폰', 59_000],
  ['한우 등심 1kg', 89_000],
  ['Running Shoes 270', 74_500],
  ['제주 감귤 5kg', 21_900],
  ['Mechanical Keyboard', 129_000],
];

async function loadProducts() {
  let { products } = await call('GET', '/products?limit=500');
  if (products.length === 0) {
    for (const [name, amount] of samples)
      await call(
        'POST',
        '/products',
        { name, price: { amountMinor: amount, currency: 'KRW' }, stock: 100_000 },
        { token: operator },
      );
    ({ products } = await call('GET', '/products?limit=500'));
  }
  for (const { productId, name } of products) names.set(productId, name);
  $('order-product').replaceChildren(
    ...products
      .filter(({ stock }) => stock > 0)
      .slice(0, 50)
      .map(({ productId, name, price }) =>
        element('option', { value: productId, textContent: `${name} · ${won(price)}` }),
      ),
  );
}

let lastPayment;

function step(text, options = {}) {
  const list = $('order-steps');
  list.querySelector('.empty')?.remove();
  const took = options.tookMs === undefined ? undefined : `${Math.round(options.tookMs)} ms`;
  list.append(
    element(
      'li',
      { className: options.bad ? 'bad' : '' },
      element('span', { textContent: text }),
      took && element('span', { className: 'took', textContent: took }),
      traceLink(options.traceId),
    ),
  );
}

/** Runs a request and shows it as a step. Undefined: it was refused. */
async function act(work, describe) {
  const beganAt = performance.now();
  try {
    const answer = await work();
    step(describe(answer), { tookMs: performance.now() - beganAt, traceId: answer.traceId });
    log(describe(answer), answer.traceId);
    return answer;
  } catch (error) {
    step(error.message, { bad: true, tookMs: performance.now() - beganAt, traceId: error.traceId });
    log(error.message, error.traceId);
    return undefined;
  }
}

const pay = ({ orderId, amount, token }, key) =>
  call(
    'POST',
    `/orders/${orderId}/pay`,
    { paymentInfo: { method: 'card', amount } },
    { 'idempotency-key': key, token },
  );

$('order-form').addEventListener('submit', async (event) => {
  event.preventDefault();
  $('order-start').disabled = true;
  $('order-steps').replaceChildren();
  lastPayment = undefined;
  const items = [
    { productId: $('order-product').value, quantity: Math.max(1, Number($('order-quantity').value) || 1) },
  ];
  const [token] = await tokensOf('customer', [`console-${id()}`]);
  const order = await act(
    () => call('POST', '/orders', { items }, { token }),
    ({ orderId, totalAmount }) => `Order ${orderId.slice(-8)} placed, ${won(totalAmount)}`,
  );
  if (order !== undefined) {
    const payment = { orderId: order.orderId, amount: order.totalAmount, token, key: `console-${id()}` };
    const paid = await act(
      () => pay(payment, payment.key),
      ({ paymentId }) => `Paid: payment ${paymentId.slice(-8)}`,
    );
    if (paid !== undefined) lastPayment = payment;
  }
  $('pay-same').disabled = $('pay-other').disabled = lastPayment === undefined;
  $('order-start').disabled = false;
  void loadRanking();
});

$('pay-same').addEventListener('click', () =>
  act(
    () => pay(lastPayment, lastPayment.key),
    ({ paymentId }) => `The same answer: payment ${paymentId.slice(-8)}, taken once`,
  ),
);
$('pay-other').addEventListener('click', () =>
  act(
    () => pay(lastPayment, `console-${id()}`),
    ({ paymentId }) => `Paid: payment ${paymentId.slice(-8)}`,
  ),
);

// --- ranking ---------------------------------------------------------------------------------------------------------

async function loadRanking() {
  try {
    const { products } = await call('GET', '/ranking/products?limit=8');
    if (products.length === 0) return;
    const most = products[0].quantity;
    $('ranking').replaceChildren(
      ...products.map(({ rank, productId, quantity }) =>
        element(
          'li',
          {},
          element('span', { className: 'rank', textContent: rank }),
          element(
            'span',
            { className: 'bar', title: productId },
            element('progress', { max: most, value: quantity, ariaHidden: 'true' }),
            names.get(productId) ?? `product ${productId.slice(-8)}`,
          ),
          element('span', { className: 'sold', textContent: quantity.toLocaleString() }),
        ),
      ),
    );
  } catch {
    // The last ranking stays; the next look comes in two seconds.
  }
}

await loadProducts().catch((error) => log(error.message, error.traceId));
await loadRanking();
setInterval(() => document.visibilityState === 'visible' && loadRanking(), 2_000);
document.body.dataset.ready = 'true';
