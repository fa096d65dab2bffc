/** What became of a message between services, by its id: who has produced it, who has handled it, who has not. */
import { useState } from 'preact/hooks';
import { timeOf } from './format.js';
import { html } from './html.js';
import { Card, Failure, State, useAction } from './parts.js';
import { operatorToken, pay } from './server.js';

const stateOf = ({ status, processedStatus }) =>
  processedStatus === 'failure' ? 'FAILED' : status.toUpperCase();

const rowsOf = ({ status, producedBy, createdTimestamp, handledBy, awaits }) => [
  {
    ...{ who: producedBy ?? 'nobody of ours', at: createdTimestamp },
    what: status === 'waiting' ? 'decided it; it is not on its topic yet' : 'produced it',
  },
  ...handledBy.map(({ group, result, processedTimestamp }) => ({
    ...{ who: group, at: processedTimestamp },
    what: `handled it: ${result.toLowerCase().replaceAll('_', ' ')}`,
  })),
  ...awaits.map((group) => ({ who: group, what: 'has not handled it' })),
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
    <${Card} name="messages" title="Messages" wide
      text="For staff: what became of a message between services. How a recharge or a remittance ended is told under its id and “-decided”.">
      <form class="controls" id="message-form" onSubmit=${ask}>
        <label class="grow">Id of the message
          <input id="message-id" name="messageId" defaultValue=${newest} required maxlength="255" autocomplete="off" spellcheck="false" />
        </label>
        <button type="submit" class="primary" id="find-message" disabled=${busy}>Find</button>
      </form>
      <${Failure} of=${failure} />
      ${found.map(
        (message) => html`
          <div class="scroll" role="region" aria-label="Message on ${message.topic}" tabindex="0" key=${message.topic}>
            <table class="message">
              <caption>${message.topic} <${State} of=${stateOf(message)} /></caption>
              <thead>
                <tr><th scope="col">When</th><th scope="col">Who</th><th scope="col">What</th></tr>
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
