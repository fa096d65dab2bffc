/** What a shop was paid, and giving it back in part or whole. */
import { money, short, won } from './format.js';
import { html } from './html.js';
import { log } from './log.js';
import { Card, Failure, Steps, useAction } from './parts.js';
import { nameOf, tokenFor } from './people.js';
import { payOnce } from './server.js';
import { say } from './words.js';

const leftOf = ({ amount, refunded }) => amount.amountMinor - refunded.amountMinor;

const rowsOf = ({ paymentId, customer, refunds, ...payment }) => [
  ...refunds
    .map((refund) => ({
      ...{ ...refund, key: refund.refundId },
      text: say`${money(refund.amount)} given back of ${money(payment.amount)}`,
    }))
    .reverse(),
  { ...payment, key: paymentId, text: say`${money(payment.amount)} from ${nameOf(customer)}` },
];

export function Sales({ me, payments, onDone }) {
  const { busy, failure, run } = useAction();
  const open = payments.filter((payment) => payment.state === 'DONE' && leftOf(payment) > 0);
  async function giveBack(event) {
    event.preventDefault();
    const { paymentId, amount } = Object.fromEntries(new FormData(event.currentTarget));
    await run(async () => {
      const path = `/pay/payments/${paymentId}/refunds`;
      const wish = { amount: won(Number(amount)) };
      const { refundId, traceId } = await payOnce(await tokenFor(me), 'POST', path, wish);
      log(say`Refund ${short(refundId)} of ${money(wish.amount)} accepted`, traceId);
      await onDone();
    });
  }
  return html`
    <${Card} name="sales" title=${say`Sales`} text=${say`Given back in parts or as a whole, and never more than was paid.`}>
      ${
        open.length > 0 &&
        html`
        <form class="controls" id="refund-form" onSubmit=${giveBack}>
          <label class="grow">${say`Payment`}
            <select id="refund-payment" name="paymentId">
              ${open.map(
                ({ paymentId, amount, customer }) => html`
                  <option key=${paymentId} value=${paymentId}>${say`${money(amount)} from ${nameOf(customer)}, ${short(paymentId)}`}</option>`,
              )}
            </select>
          </label>
          <label>${say`Amount, ₩`}
            <input id="refund-amount" name="amount" type="number" min="1" step="1" defaultValue="3000" required inputmode="numeric" />
          </label>
          <button type="submit" class="primary" id="refund" disabled=${busy}>${say`Give back`}</button>
        </form>`
      }
      <${Failure} of=${failure} />
      <${Steps} id="sales" rows=${payments.flatMap(rowsOf)} nothing=${say`Nothing was sold yet.`} />
    <//>`;
}
