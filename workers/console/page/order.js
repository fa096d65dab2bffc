/** An order that is placed and paid, and what paying again does. */
import { useEffect, useState } from 'preact/hooks';
import { money, short, won } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { Card, Failure, TraceLink, useAction } from './parts.js';
import { call, id, operatorToken, tokensOf } from './server.js';
import { say } from './words.js';

const names = new Map();
export const nameOf = (productId) => names.get(productId) ?? say`product ${short(productId)}`;

const samples = [
  ['무선 이어폰', 59_000],
  ['한우 등심 1kg', 89_000],
  ['Running Shoes 270', 74_500],
  ['제주 감귤 5kg', 21_900],
  ['Mechanical Keyboard', 129_000],
];

async function productsOnSale() {
  const { products } = await call('GET', '/products?limit=500');
  for (const { productId, name } of products) names.set(productId, name);
  return products.filter(({ stock }) => stock > 0).slice(0, 50);
}

async function sellSamples() {
  const token = await operatorToken();
  for (const [name, amountMinor] of samples)
    await call('POST', '/products', { name, price: won(amountMinor), stock: 100_000 }, { token });
}

const payOrder = ({ orderId, amount, token }, key) =>
  call(
    'POST',
    `/orders/${orderId}/pay`,
    { paymentInfo: { method: 'card', amount } },
    { 'idempotency-key': key, token },
  );

export function Order() {
  const [products, setProducts] = useState(undefined);
  const [steps, setSteps] = useState([]);
  const [payment, setPayment] = useState(undefined);
  const { busy, failure, run } = useAction();
  const load = () => run(async () => setProducts(await productsOnSale()));
  useEffect(() => void load(), []);

  /** Runs a request and shows it as a step. Undefined: it was refused. */
  async function act(work, describe) {
    const beganAt = performance.now();
    const step = (text, traceId, bad) => {
      const tookMs = Math.round(performance.now() - beganAt);
      setSteps((before) => [...before, { text, tookMs, traceId, bad }]);
      log(text, traceId);
    };
    try {
      const answer = await work();
      step(describe(answer), answer.traceId, false);
      return answer;
    } catch (error) {
      step(error.message, error.traceId, true);
      return undefined;
    }
  }

  async function order(event) {
    event.preventDefault();
    const { product, quantity } = Object.fromEntries(new FormData(event.currentTarget));
    setSteps([]);
    setPayment(undefined);
    await run(async () => {
      const items = [{ productId: product, quantity: Math.max(1, Number(quantity) || 1) }];
      const [token] = await tokensOf('customer', [`console-${id()}`]);
      const placed = await act(
        () => call('POST', '/orders', { items }, { token }),
        ({ orderId, totalAmount }) => say`Order ${short(orderId)} placed, ${money(totalAmount)}`,
      );
      if (placed === undefined) return;
      const one = { orderId: placed.orderId, amount: placed.totalAmount, token, key: `console-${id()}` };
      const paid = await act(
        () => payOrder(one, one.key),
        ({ paymentId }) => say`Paid: payment ${short(paymentId)}`,
      );
      if (paid !== undefined) setPayment(one);
    });
  }

  const again = (key, describe) => run(() => act(() => payOrder(payment, key), describe));
  const none = products?.length === 0;
  return html`
    <${Card} name="order" title=${say`Order and pay`} text=${say`One transaction for payment, order, stock and events.`}>
      <form class="controls" id="order-form" onSubmit=${order}>
        <label class="grow">${say`Product`}
          <select id="order-product" name="product">
            ${products?.map(
              ({ productId, name, price }) =>
                html`<option key=${productId} value=${productId}>${name} · ${money(price)}</option>`,
            )}
          </select>
        </label>
        <label>${say`Quantity`}
          <input id="order-quantity" name="quantity" type="number" min="1" max="99" value="2" inputmode="numeric" />
        </label>
        <button type="submit" class="primary" id="order-start" disabled=${busy || !products?.length}>${say`Place and pay`}</button>
      </form>
      ${
        none &&
        html`<p>${say`Nothing is on sale.`}
          <button type="button" id="order-samples" disabled=${busy}
            onClick=${() => run(sellSamples).then(load)}>${say`Put five products on sale`}</button></p>`
      }
      <div class="controls">
        <button type="button" id="pay-same" disabled=${busy || payment === undefined}
          onClick=${() => again(payment.key, ({ paymentId }) => say`The same answer: payment ${short(paymentId)}, taken once`)}>
          ${say`Send the payment again`}</button>
        <button type="button" id="pay-other" disabled=${busy || payment === undefined}
          onClick=${() => again(`console-${id()}`, ({ paymentId }) => say`Paid: payment ${short(paymentId)}`)}>
          ${say`Pay once more, with a new key`}</button>
      </div>
      <${Failure} of=${failure} />
      <ol id="order-steps" class="steps" aria-live="polite">
        ${steps.length === 0 && html`<li class="empty">${say`Nothing ordered yet.`}</li>`}
        ${steps.map(
          ({ text, tookMs, traceId, bad }, at) => html`
            <li key=${at} class=${bad ? 'bad' : ''}>
              <span>${bad && html`<span aria-hidden="true">✕ </span>`}${text}</span>
              <span class="took">${tookMs} ms</span>
              <${TraceLink} of=${traceId} />
            </li>`,
        )}
      </ol>
    <//>`;
}
