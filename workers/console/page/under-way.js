/** What a member has asked for, the newest first, with its state and its trace. */
import { money } from './format.js';
import { html } from './html.js';
import { Card, Steps } from './parts.js';
import { nameOf } from './people.js';
import { say } from './words.js';

const longest = 8;

const rechargedFor = (recharge) => (recharge === undefined ? [] : [say`${money(recharge)} recharged for it`]);
const inBrackets = (more) => (more.length > 0 ? ` (${more.join(', ')})` : '');

const rowOfRecharge = ({ rechargeId: key, amount, ...rest }) => ({
  ...{ key, text: say`Recharge ${money(amount)}`, ...rest },
});

function rowOfRemittance({ remittanceId: key, amount, fee, receiver, recharge, ...rest }) {
  const to = receiver === undefined ? say`a bank account` : nameOf(receiver);
  const more = [...(fee.amountMinor > 0 ? [say`fee ${money(fee)}`] : []), ...rechargedFor(recharge)];
  return { key, text: say`Send ${money(amount)} to ${to}${inBrackets(more)}`, ...rest };
}

function rowOfPayment({ paymentId: key, amount, merchant, recharge, refunded, ...rest }) {
  const more = [
    ...rechargedFor(recharge),
    ...(refunded.amountMinor > 0 ? [say`${money(refunded)} given back`] : []),
  ];
  return { key, text: say`Pay ${money(amount)} to ${nameOf(merchant)}${inBrackets(more)}`, ...rest };
}

export function UnderWay({ recharges, remittances, bought }) {
  const rows = [
    ...recharges.map(rowOfRecharge),
    ...remittances.map(rowOfRemittance),
    ...bought.map(rowOfPayment),
  ]
    .toSorted((a, b) => b.requestedAt.localeCompare(a.requestedAt))
    .slice(0, longest);
  return html`
    <${Card} name="under-way" title=${say`Asked for`} text=${say`Accepted at once, carried out whatever is down; the end is pushed.`}>
      <${Steps} id="under-way" rows=${rows} nothing=${say`Nothing was asked for yet.`} />
    <//>`;
}
