/** Tab Pay: my-pay as its members and its staff see it. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import { Bank } from './bank.js';
import { Buy } from './buy.js';
import { money, short } from './format.js';
import { html } from './html.js';
import { Ledger } from './ledger.js';
import { log } from './log.js';
import { Messages } from './messages.js';
import { Failure } from './parts.js';
import { learnName, learnNames, People, peopleOfThisBrowser, tokenFor } from './people.js';
import { Sales } from './sales.js';
import { Send } from './send.js';
import { follow, operatorToken, pay } from './server.js';
import { Settlements } from './settlement.js';
import { UnderWay } from './under-way.js';
import { Wallet } from './wallet.js';
import { say } from './words.js';

const lookMs = 2_000;
const nothing = {
  ...{ account: undefined, entries: [], accounts: [], recharges: [] },
  ...{ remittances: [], payments: [], settlements: [] },
};

/** All that a member sees of their own. */
async function ownOf(me) {
  const token = await tokenFor(me);
  const get = (path) => pay(token, 'GET', path);
  const account = await get(`/pay/money/accounts/${me.memberId}`).catch((error) => {
    // It follows membership's event, a moment after the member has joined.
    if (error.code === 'MUSTER_ACCOUNT_UNKNOWN') return undefined;
    throw error;
  });
  if (account === undefined) return nothing;
  const isShop = me.type === 'MERCHANT';
  const [{ entries }, { accounts }, { recharges }, { payments }, { remittances }, { settlements }] =
    await Promise.all([
      get(`/pay/money/accounts/${me.memberId}/history?limit=8`),
      get('/pay/banking/accounts'),
      get('/pay/money/recharges?limit=8'),
      get('/pay/payments?limit=8'),
      isShop ? { remittances: [] } : get('/pay/remittances?limit=8'),
      isShop ? get('/pay/settlements?limit=8') : { settlements: [] },
    ]);
  for (const { merchant } of isShop ? payments : []) learnName(merchant, me.name);
  return {
    account,
    entries,
    recharges,
    payments,
    remittances,
    settlements,
    accounts: accounts.filter(({ state }) => state === 'OPEN'),
  };
}

const newestTransfers = async () =>
  (await pay(await operatorToken(), 'GET', '/pay/money/transfers?limit=8')).transfers;

/** Tells how what a member asked for has ended, as it is pushed; each is acknowledged. */
async function followEnds(me, signal, onEnd) {
  const token = await tokenFor(me);
  const tell = async (path, what, { state, reason, amount, refundId, ...ids }) => {
    const which = ids.rechargeId ?? ids.remittanceId ?? ids.paymentId;
    const { refunds = [], ...asked } = await pay(token, 'GET', `${path}/${which}`).catch(() => ({}));
    const { traceId } = refunds.find((refund) => refund.refundId === refundId) ?? asked;
    const why = reason === undefined ? '' : ` (${reason})`;
    const named = refundId === undefined ? what() : say`refund of ${what()}`;
    log(say`Pushed to ${me.name}: ${named} ${short(which)} of ${money(amount)} is ${state}${why}`, traceId);
    onEnd();
  };
  const listen = (path, what) =>
    follow(`${path}/events`, token, signal, ({ type, id, data }) => {
      if (!type.endsWith('-outcome')) return;
      void pay(token, 'POST', `${path}/events/acks`, { ids: [id] }).catch(() => {});
      void tell(path, what, data);
    });
  void listen('/pay/money/recharges', () => say`recharge`);
  if (me.type === 'PERSON') {
    void listen('/pay/remittances', () => say`remittance`);
    void listen('/pay/payments', () => say`payment`);
  }
}

export function Pay({ active }) {
  const [people, setPeople] = useState(peopleOfThisBrowser);
  const [me, setMe] = useState(people[0]);
  const [own, setOwn] = useState(nothing);
  const [transfers, setTransfers] = useState([]);
  const [failure, setFailure] = useState(undefined);

  const look = useCallback(async () => {
    try {
      const [mine, newest] = await Promise.all([me === undefined ? nothing : ownOf(me), newestTransfers()]);
      if (me !== undefined) learnNames(me, mine.entries, newest);
      setOwn(mine);
      setTransfers(newest);
      setFailure(undefined);
    } catch (error) {
      setFailure(error);
    }
  }, [me]);

  useEffect(() => {
    if (!active) return undefined;
    void look();
    const timer = setInterval(() => document.visibilityState === 'visible' && look(), lookMs);
    return () => clearInterval(timer);
  }, [active, look]);

  useEffect(() => {
    // A browser has six connections to a server: what is missed meanwhile is told at the next one.
    if (me === undefined || !active) return undefined;
    const leaving = new AbortController();
    followEnds(me, leaving.signal, look).catch(setFailure);
    return () => leaving.abort();
  }, [active, me, look]);

  const onChange = (all, who) => {
    setPeople(all);
    setOwn(nothing);
    setMe(who ?? all[0]);
  };
  const { account, entries, accounts, recharges, remittances, payments, settlements } = own;
  const isShop = me?.type === 'MERCHANT';
  const newest = recharges[0]?.rechargeId ?? remittances[0]?.remittanceId;
  return html`
    <${People} people=${people} me=${me} onChange=${onChange} />
    ${failure && html`<div class="wide"><${Failure} of=${failure} /></div>`}
    ${
      me &&
      html`
      <div class="column" key="has ${me.memberId}">
        <${Wallet} me=${me} account=${account} entries=${entries} />
        <${UnderWay} recharges=${recharges} remittances=${remittances} bought=${isShop ? [] : payments} />
      </div>
      <div class="column" key="does ${me.memberId}">
        ${
          isShop
            ? html`<${Sales} me=${me} payments=${payments} onDone=${look} />`
            : html`
              <${Send} me=${me} people=${people} accounts=${accounts} onDone=${look} />
              <${Buy} me=${me} people=${people} accounts=${accounts} onDone=${look} />`
        }
        <${Bank} me=${me} accounts=${accounts} onDone=${look} />
      </div>
      ${isShop && html`<${Settlements} settlements=${settlements} onDone=${look} />`}`
    }
    <${Ledger} transfers=${transfers} />
    <${Messages} newest=${newest && `${newest}-decided`} />`;
}
