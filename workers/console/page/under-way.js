/** What a member has asked for, the newest first, with its state and its trace. */
import { money, timeOf } from './format.js';
import { html } from './html.js';
import { Card, State, TraceLink } from './parts.js';
import { nameOf } from './people.js';

const longest = 8;

const rowOfRecharge = ({ rechargeId: key, amount, ...rest }) => ({
  ...{ key, text: `Recharge ${money(amount)}`, ...rest },
});

function rowOfRemittance({ remittanceId: key, amount, fee, receiver, recharge, ...rest }) {
  const to = receiver === undefined ? 'a bank account' : nameOf(receiver);
  const more = [
    ...(fee.amountMinor > 0 ? [`fee ${money(fee)}`] : []),
    ...(recharge === undefined ? [] : [`${money(recharge)} recharged for it`]),
  ];
  const text = `Send ${money(amount)} to ${to}${more.length > 0 ? ` (${more.join(', ')})` : ''}`;
  return { key, text, ...rest };
}

export function UnderWay({ recharges, remittances }) {
  const rows = [...recharges.map(rowOfRecharge), ...remittances.map(rowOfRemittance)]
    .toSorted((a, b) => b.requestedAt.localeCompare(a.requestedAt))
    .slice(0, longest);
  return html`
    <${Card} name="under-way" title="Asked for" text="Accepted at once, carried out whatever is down; the end is pushed.">
      <ol id="under-way" class="steps" aria-live="polite">
        ${rows.length === 0 && html`<li class="empty">Nothing was asked for yet.</li>`}
        ${rows.map(
          ({ key, text, state, reason, requestedAt, traceId }) => html`
            <li key=${key}>
              <span>${text}<br /><span class="took">${timeOf(requestedAt)}</span></span>
              <${State} of=${state} reason=${reason} />
              <${TraceLink} of=${traceId} />
            </li>`,
        )}
      </ol>
    <//>`;
}
