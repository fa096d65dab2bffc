/** Tab Food: food delivery as its customer, its owner and its rider see it, side by side and live. */
import { useCallback, useEffect, useState } from 'preact/hooks';
import { Customer } from './food-customer.js';
import { Owner } from './food-owner.js';
import { Rider } from './food-rider.js';
import { ask, forget, lookAt, openWorld, roles, tokens, worldOfThisBrowser } from './food-world.js';
import { html } from './html.js';
import { log } from './log.js';
import { Card, Failure, useAction } from './parts.js';
import { follow } from './server.js';
import { say } from './words.js';

const longest = 3;
const nothing = { items: [], customer: [], owner: [], rider: [] };
const silence = { customer: [], owner: [], rider: [] };

/** One look at a time; what is wanted meanwhile is one more after it. */
function oneAtATime(work) {
  let running = false;
  let again = false;
  return async () => {
    again = true;
    if (running) return;
    running = true;
    while (again) {
      again = false;
      await work();
    }
    running = false;
  };
}

export function Food({ active }) {
  const [world, setWorld] = useState(worldOfThisBrowser);
  const [seen, setSeen] = useState(nothing);
  const [told, setTold] = useState(silence);
  const [failure, setFailure] = useState(undefined);
  const opening = useAction();

  const look = useCallback(
    oneAtATime(async () => {
      if (world === undefined) return;
      try {
        setSeen(await lookAt(world));
        setFailure(undefined);
      } catch (error) {
        setFailure(error);
      }
    }),
    [world],
  );

  /** Each of them has an app: what it is told is shown, acknowledged, and a reason to look. */
  useEffect(() => {
    if (world === undefined || !active) return undefined;
    const leaving = new AbortController();
    const show = (role, { type, id, data }) => {
      void look();
      if (type !== 'notification') return;
      const [key] = id.split('.');
      setTold((before) => {
        const others = before[role].filter((one) => one.id !== key);
        return { ...before, [role]: [{ id: key, ...data }, ...others].slice(0, longest) };
      });
      void ask(world, role, 'POST', '/notifications/events/acks', { ids: [key] }).catch(() => {});
    };
    tokens(world)
      .then((all) => {
        for (const role of roles)
          void follow('/delivery/notifications/events', all[role], leaving.signal, (event) =>
            show(role, event),
          );
      })
      .catch(setFailure);
    return () => leaving.abort();
  }, [world, active, look]);

  function tell(text, { traceId }) {
    log(text, traceId);
    void look();
  }
  const open = () =>
    opening.run(async () => {
      setSeen(nothing);
      setTold(silence);
      setWorld(await openWorld());
      log(say`A shop has opened, and a rider is on duty`);
    });
  const close = () => {
    forget();
    setWorld(undefined);
  };
  const names = new Map(roles.flatMap((role) => seen[role].map(({ orderId, name }) => [orderId, name])));
  const shared = (role) => ({ world, orders: seen[role], told: told[role], names, tell });
  return html`
    <${Card} name="food" title=${say`Food delivery`} wide
      text=${say`You are all three: order, cook, deliver. Each phone is pushed what its person is told; nothing is asked for on a timer.`}>
      <div class="controls">
        ${
          world === undefined
            ? html`<button type="button" class="primary" id="open-shop" disabled=${opening.busy} onClick=${open}>${say`Open a shop with three dishes and a rider`}</button>`
            : html`<button type="button" class="plain" id="close-shop" onClick=${close}>${say`Begin anew`}</button>`
        }
      </div>
      <${Failure} of=${opening.failure ?? failure} />
    <//>
    ${
      world &&
      html`
      <div class="phones wide" key=${world.shopId}>
        <${Customer} items=${seen.items} ...${shared('customer')} />
        <${Owner} ...${shared('owner')} />
        <${Rider} ...${shared('rider')} />
      </div>`
    }`;
}
