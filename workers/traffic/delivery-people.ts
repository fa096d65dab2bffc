/** People of food delivery who open shops and begin work, and the apps in which they are shown what they are told. */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from './client.ts';
import type { PersonRole } from './delivery-plans.ts';

export interface Person {
  readonly role: PersonRole;
  /** Of the token. */
  readonly subject: string;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Rider extends Person {
  readonly district: string;
}

export interface Dish {
  readonly itemId: string;
  readonly owner: Person;
  readonly priceMinor: number;
  /** When it was put on the menu. */
  readonly stock: number;
  readonly scarce: boolean;
}

export interface People {
  readonly customers: readonly Person[];
  readonly riders: readonly Rider[];
  readonly dishes: readonly Dish[];
  /** Those that riders work in. */
  readonly districts: readonly string[];
}

export interface PeopleOptions {
  /** A token of somebody in a role. */
  tokenOf(role: PersonRole, subject: string): Promise<string>;
  /** What ids of people begin with. */
  readonly prefix: string;
  /** What the districts begin with, in which nobody else works. */
  readonly district: string;
  /** How many there are; riders share one or two districts. Default: 6 customers, 2 owners, 4 riders. */
  readonly count?: { readonly customers: number; readonly owners: number; readonly riders: number };
}

const plenty = 1_000_000;
const scarce = 5;
/** What is wrong with a dish: a PNG of 16 pixels a side, as a form. Small, so that it costs the platform little at any rate. */
export const photo = {
  headers: { 'content-type': 'multipart/form-data; boundary=photo' },
  body: Buffer.concat([
    Buffer.from('--photo\r\ncontent-disposition: form-data; name="file"; filename="dish.png"\r\n\r\n'),
    Buffer.from(
      'iVBORw0KGgoAAAANSUhEUgAAABAAAAAQAgMAAABinRfyAAAACVBMVEXmoDw8bmTw8PDy+jfUAAAACXBIWXMAAAPoAAAD6AG1e1JrAAAAN0lEQVQI12MIBQKG0KyVQGLVqlCGsFWrpjJELeBaypDVwLSSIYuBAZMASYCVgBWDtUEMCA0NBQD1HRllSmFetAAAAABJRU5ErkJggg==',
      'base64',
    ),
    Buffer.from('\r\n--photo--\r\n'),
  ]),
};
/** With the header of a request that is sent once however often it is tried. */
export const keyed = ({ headers }: Person, key: string = randomUUID()) => ({
  ...headers,
  'idempotency-key': key,
});

/** Shops with a menu, and riders who are free. Rejects when that does not go well. */
export async function gather(client: Client, options: PeopleOptions): Promise<People> {
  const { tokenOf, prefix, district } = options;
  const count = options.count ?? { customers: 6, owners: 2, riders: 4 };
  const many = (role: PersonRole, length: number) =>
    Promise.all(
      Array.from({ length }, async (_, index): Promise<Person> => {
        const subject = `${prefix}-${role}-${index}`;
        return { role, subject, headers: { authorization: `Bearer ${await tokenOf(role, subject)}` } };
      }),
    );
  const districts = ['east', 'west'].slice(0, count.riders).map((name) => `${district}-${name}`);
  const riders = (await many('rider', count.riders)).map((person, index) => ({
    ...person,
    district: districts[index % districts.length]!,
  }));
  for (const rider of riders) await beginWork(client, rider);
  const dishes: Dish[] = [];
  for (const [index, owner] of (await many('owner', count.owners)).entries()) {
    const { shopId } = await made(client, '/delivery/shops', owner, { name: `Shop ${index + 1}` });
    for (const stock of [plenty, scarce]) {
      const priceMinor = 8_000 + 500 * index;
      const price = { amountMinor: priceMinor, currency: 'KRW' };
      const name = stock === scarce ? 'Dish of the day' : 'Noodles';
      const { itemId } = await made(client, `/delivery/shops/${shopId}/items`, owner, { name, price, stock });
      dishes.push({ itemId: String(itemId), owner, priceMinor, stock, scarce: stock === scarce });
    }
  }
  return { customers: await many('customer', count.customers), riders, dishes, districts };
}

async function made(client: Client, path: string, who: Person, body: object) {
  const answer = await client.insist(path, body, keyed(who));
  if (answer?.status !== 201) throw new Error(`POST ${path} answered ${answer?.status ?? 'nothing'}`);
  return answer.json;
}

/** Who has an order of before delivers it first. */
async function beginWork(client: Client, { district, headers }: Rider): Promise<void> {
  const answer = await client.insist('/delivery/riders/me', { district, state: 'FREE' }, headers, 'PUT');
  if (answer?.status !== 204 && answer?.status !== 409)
    throw new Error(`PUT /delivery/riders/me answered ${answer?.status ?? 'nothing'}`);
}

/** What somebody was shown, each once, in the order in which it came. */
export interface Shown {
  readonly role: PersonRole;
  readonly subject: string;
  readonly seen: readonly { readonly orderId: string; readonly version: number; readonly state: string }[];
}

const lookEveryMs = 2_000;

/**
 * Looks for what people are told until it is stopped, and then until they have been told as many as they wait for.
 * @param keeps what they were shown; not in a run without an end
 */
export function openApps(client: Client, people: readonly Person[], keeps: boolean) {
  const shown = people.map((person) => ({ person, seen: new Map<number, Shown['seen'][number]>() }));

  async function look({ person, seen }: (typeof shown)[number]): Promise<void> {
    const answer = await client
      .call('GET', '/delivery/notifications?limit=200', undefined, person.headers)
      .catch(() => undefined);
    if (answer?.status !== 200) return;
    const list = answer.json.notifications as (Shown['seen'][number] & { readonly no: number })[];
    if (list.length === 0) return;
    // One that could not be marked comes again.
    for (const { no, orderId, version, state } of list)
      if (keeps && !seen.has(no)) seen.set(no, { orderId, version, state });
    const nos = list.map(({ no }) => no);
    await client
      .call('POST', '/delivery/notifications/shown', { nos }, person.headers)
      .catch(() => undefined);
  }

  const lookAll = () => Promise.all(shown.map(look));
  const ending = new AbortController();
  const looking = (async () => {
    while (!ending.signal.aborted) {
      await lookAll();
      await sleep(lookEveryMs, undefined, { signal: ending.signal }).catch(() => undefined);
    }
  })();

  return {
    /** @param owed how many a person waits for at least; untilMs: performance.now() */
    async end(owed: ReadonlyMap<string, number>, untilMs: number): Promise<readonly Shown[]> {
      ending.abort();
      await looking;
      const isBehind = () => shown.some(({ person, seen }) => seen.size < (owed.get(person.subject) ?? 0));
      do await lookAll();
      while (isBehind() && performance.now() < untilMs && (await sleep(500, true)));
      return shown.map(({ person: { role, subject }, seen }) => ({
        role,
        subject,
        seen: [...seen.values()],
      }));
    },
  };
}
