/** What became of a message between services, by its id: who has produced it, who has handled it, who has not. */
import { useState } from 'preact/hooks';
import { timeOf } from './format.js';
import { html } from './html.js';
import { Card, Failure, State, useAction, words } from './parts.js';
import { operatorToken, pay } from './server.js';
import { say } from './words.js';

const stateOf = ({ status, processedStatus }) =>
  processedStatus === 'failure' ? 'FAILED' : status.toUpperCase();

const rowsOf = ({ status, producedBy, createdTimestamp, handledBy, awaits }) => [
  {
    ...{ who: producedBy ?? say`nobody of ours`, at: createdTimestamp },
    what: status === 'waiting' ? say`decided it; it is not on its topic yet` : say`produced it`,
  },
  ...handledBy.map(({ group, result, processedTimestamp }) => ({
    ...{ who: group, at: processedTimestamp },
    what: say`handled it: ${words(result)}`,
  })),
  ...awaits.map((group) => ({ who: group, what: say`has not handled it` })),
];

/** `newest`: the id that is asked for unless somebody types another. */
export function Messages({ newest }) {
  const { busy, failure, run } = useAction();
  const [found, setFound] = useState([]);
  async function ask(event) {
    event.preventDefault();
    const { messageId } = Object.fromEntries(new FormData(event.currentTarget));
    const path = `/pay/messages/${encodeURIComponent(messageId.trim())}`;
    const answer = await run(async () => pay(await operatorToken(), 'GET', path));
    setFound(answer?.messages ?? []);
  }
  return html`
    <${Card} name="messages" title=${say`Messages`} wide
      text=${say`For staff: what became of a message between services. How a recharge or a remittance ended is told under its id and “-decided”.`}>
      <form class="controls" id="message-form" onSubmit=${ask}>
        <label class="grow">${say`Id of the message`}
          <input id="message-id" name="messageId" defaultValue=${newest} required maxlength="255" autocomplete="off" spellcheck="false" />
        </label>
        <button type="submit" class="primary" id="find-message" disabled=${busy}>${say`Find`}</button>
      </form>
      <${Failure} of=${failure} />
      ${found.map(
        (message) => html`
          <div class="scroll" role="region" aria-label=${say`Message on ${message.topic}`} tabindex="0" key=${message.topic}>
            <table class="message">
              <caption>${message.topic} <${State} of=${stateOf(message)} /></caption>
              <thead>
                <tr><th scope="col">${say`When`}</th><th scope="col">${say`Who`}</th><th scope="col">${say`What`}</th></tr>
              </thead>
              <tbody>
                ${rowsOf(message).map(
                  ({ who, what, at }) => html`
                    <tr key="${who}"><td>${at && timeOf(at)}</td><td>${who}</td><td>${what}</td></tr>`,
                )}
              </tbody>
            </table>
          </div>`,
      )}
    <//>`;
}
