/** Members of my-pay whom this page plays. Their names are on this page only: my-pay knows pseudonyms. */
import { useState } from 'preact/hooks';
import { html } from './html.js';
import { log } from './log.js';
import { Card, Failure, useAction } from './parts.js';
import { call, id, once, settings, tokenOf } from './server.js';
import { say } from './words.js';

const place = `muster-people-${settings.environment}`;

export function peopleOfThisBrowser() {
  try {
    return JSON.parse(localStorage.getItem(place) ?? '[]');
  } catch {
    return [];
  }
}

const remember = (people) => localStorage.setItem(place, JSON.stringify(people));

const roleOf = ({ type }) => (type === 'MERCHANT' ? 'merchant' : 'customer');
export const tokenFor = (person) => tokenOf(roleOf(person), person.memberId);

const names = new Map();
/** The name of a pseudonym that this page has seen on one of its people's transfers. */
export const nameOf = (pseudonym) => names.get(pseudonym) ?? pseudonym;

export const learnName = (pseudonym, name) => names.set(pseudonym, name);

/**
 * Whose pseudonyms those are that stand in transfers: a person's history has the same transfers, and says of each which side is
 * the other.
 */
export function learnNames({ name }, entries, transfers) {
  const sides = new Map(transfers.map(({ transferId, entries: both }) => [transferId, both]));
  for (const { transferId, other } of entries)
    for (const { account } of sides.get(transferId) ?? [])
      if (account !== other && !account.startsWith('house:')) learnName(account, name);
}

async function join({ name, type }) {
  const member = {
    ...{ type, name, email: `${id()}@console.example`, password: crypto.randomUUID?.() ?? id() + id() },
    ...{ address: '1 Teheran-ro', district: 'Gangnam-gu' },
  };
  const { memberId, traceId } = await call('POST', '/console/pay/members', member, once());
  log(say`${name} has joined my-pay`, traceId);
  return { memberId, name, type };
}

async function logIn({ email, password }) {
  const { memberId, token } = await call('POST', '/console/pay/members/login', { email, password });
  const { name, type } = await call('GET', `/console/pay/members/${memberId}`, undefined, { token });
  return { memberId, name, type };
}

export function People({ people, me, onChange }) {
  const [isOld, setOld] = useState(false);
  const { busy, failure, run } = useAction();
  const change = (all, who) => {
    remember(all);
    onChange(all, who);
  };
  async function enter(event) {
    event.preventDefault();
    const form = event.currentTarget;
    const asked = Object.fromEntries(new FormData(form));
    await run(async () => {
      const person = await (isOld ? logIn(asked) : join(asked));
      form.reset();
      change([...people.filter(({ memberId }) => memberId !== person.memberId), person], person);
    });
  }
  const text =
    people.length === 0
      ? say`Nobody has joined from this browser yet. Join as two people, and send money from one to the other.`
      : say`Members who have joined from this browser; my-pay itself knows them by pseudonyms only.`;
  return html`
    <${Card} name="people" title=${say`Who you are`} wide text=${text}>
      ${
        people.length > 0 &&
        html`
        <fieldset class="chips">
          <legend class="hidden">${say`Play`}</legend>
          ${people.map(
            (person) => html`
              <label key=${person.memberId} class="chip">
                <input type="radio" name="me" value=${person.memberId} checked=${person.memberId === me?.memberId}
                  onChange=${() => change(people, person)} />
                ${person.type === 'MERCHANT' ? say`${person.name} (shop)` : person.name}
              </label>`,
          )}
          <button type="button" class="plain" id="forget"
            onClick=${() =>
              change(
                people.filter((one) => one !== me),
                undefined,
              )}>${say`Forget ${me?.name}`}</button>
        </fieldset>`
      }
      <form class="controls" id="join-form" onSubmit=${enter}>
        ${
          isOld
            ? html`
              <label class="grow">${say`E-mail`} <input name="email" type="email" required autocomplete="username" /></label>
              <label class="grow">${say`Password`} <input name="password" type="password" required autocomplete="current-password" /></label>`
            : html`
              <label class="grow">${say`Name`} <input id="join-name" name="name" required maxlength="60" placeholder="Alice" autocomplete="off" /></label>
              <label>${say`As`} <select name="type"><option value="PERSON">${say`a person`}</option><option value="MERCHANT">${say`a shop`}</option></select></label>`
        }
        <button type="submit" class="primary" id="join" disabled=${busy}>${isOld ? say`Log in` : say`Join`}</button>
        <button type="button" class="plain" onClick=${() => setOld(!isOld)}>
          ${isOld ? say`Join as somebody new` : say`Log in as a member`}</button>
      </form>
      <${Failure} of=${failure} />
    <//>`;
}
