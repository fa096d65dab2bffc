/** What the API and the receiver of webhooks say of orders: claims, which are compared with the stores. */
import type { BankTransfer } from './banking.ts';
import { listLimit, type OrderClaims } from './orders.ts';
import { NotChecked } from './verdict.ts';

/**
 * Rejects with NotChecked when one of them is not known or does not answer.
 * @param variables of the environment: MUSTER_API_URL, MUSTER_API_TOKEN, MUSTER_OUTSIDE_WORLD_URL
 */
export async function claimsOf(
  orderIds: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<OrderClaims> {
  const api = variables.MUSTER_API_URL!;
  const received = await receivedOf(orderIds, variables);
  const orders = new Map<string, { status: string; paymentId?: string }>();
  await eachAtOnce(orderIds, async (id) => {
    const order = await ask<{ status: string; paymentId?: string }>(`${api}/orders/${id}`, variables);
    if (order !== undefined) orders.set(id, order);
  });
  const { products: stock } = (await ask<Listed<{ stock: number }>>(`${api}/products?limit=500`, variables))!;
  const { products: ranked } = (await ask<Listed<{ quantity: number }>>(
    `${api}/ranking/products?limit=${listLimit}`,
    variables,
  ))!;
  return {
    orders,
    received,
    stock: new Map(stock.map((one) => [one.productId, one.stock])),
    ranked: new Map(ranked.map((one) => [one.productId, one.quantity])),
  };
}

/**
 * How often the receiver of webhooks has done the work of each order. Rejects with NotChecked when it is not known or does
 * not answer.
 * @param variables of the environment: MUSTER_OUTSIDE_WORLD_URL
 */
export async function receivedOf(
  orderIds: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<ReadonlyMap<string, number>> {
  const outside = variables.MUSTER_OUTSIDE_WORLD_URL;
  if (outside === undefined)
    throw new NotChecked('webhooks', 'the receiver of webhooks is not known in this environment');
  const received = new Map<string, number>();
  await eachAtOnce(orderIds, async (id) => {
    const got = await ask<{ effects: number }>(`${outside}/received?orderId=${id}&limit=1`);
    received.set(id, got?.effects ?? 0);
  });
  return received;
}

/**
 * What the API says is in members' accounts. Rejects with NotChecked when it does not answer.
 * @param variables of the environment: MUSTER_PAY_URL, MUSTER_API_TOKEN
 */
export async function balancesOf(
  members: readonly string[],
  variables: Readonly<Record<string, string>>,
): Promise<ReadonlyMap<string, number>> {
  const balances = new Map<string, number>();
  await eachAtOnce(members, async (member) => {
    const url = `${variables.MUSTER_PAY_URL!}/pay/money/accounts/${encodeURIComponent(member)}`;
    const account = await ask<{ balance: { amountMinor: number } }>(url, variables);
    if (account !== undefined) balances.set(member, account.balance.amountMinor);
  });
  return balances;
}

/**
 * What a bank outside has decided since then, by its statement. Rejects with NotChecked when it is not known or does not answer.
 * @param variables of the environment: MUSTER_OUTSIDE_WORLD_URL
 */
export async function bankBooksOf(
  bank: string,
  sinceMs: number,
  variables: Readonly<Record<string, string>>,
): Promise<readonly BankTransfer[]> {
  const outside = variables.MUSTER_OUTSIDE_WORLD_URL;
  if (outside === undefined) throw new NotChecked(bank, 'the banks are not known in this environment');
  const transfers: BankTransfer[] = [];
  const since = encodeURIComponent(new Date(sinceMs).toISOString());
  for (let after: string | undefined = '0'; after !== undefined; ) {
    const url: string = `${outside}/banks/${bank}/statement?since=${since}&after=${after}`;
    const page: { readonly entries: readonly BankTransfer[]; readonly next?: string } | undefined =
      await ask(url);
    transfers.push(...(page?.entries ?? []));
    after = page?.next;
  }
  return transfers;
}

/**
 * What banks outside say is in these accounts, by bank and number, and what everything at all banks sums to. Rejects with
 * NotChecked when they are not known or do not answer.
 * @param variables of the environment: MUSTER_OUTSIDE_WORLD_URL
 */
export async function atBanksOf(
  places: readonly { readonly bank: string; readonly accountNumber: string }[],
  variables: Readonly<Record<string, string>>,
): Promise<{ readonly accounts: ReadonlyMap<string, number>; readonly sumMinor: number }> {
  const outside = variables.MUSTER_OUTSIDE_WORLD_URL;
  if (outside === undefined) throw new NotChecked('banks', 'the banks are not known in this environment');
  const accounts = new Map<string, number>();
  await eachAtOnce(places, async ({ bank, accountNumber }) => {
    const url = `${outside}/banks/${bank}/accounts/${accountNumber}`;
    const account = await ask<{ balanceMinor: number }>(url);
    if (account !== undefined) accounts.set(`${bank} ${accountNumber}`, account.balanceMinor);
  });
  const { sumMinor } = (await ask<{ sumMinor: number }>(`${outside}/banks/sum`))!;
  return { accounts, sumMinor };
}

interface Listed<Item> {
  readonly products: readonly ({ readonly productId: string } & Item)[];
}

/** Undefined: there is no such thing (404). */
async function ask<Answer>(
  url: string,
  { MUSTER_API_TOKEN: token }: Readonly<Record<string, string>> = {},
): Promise<Answer | undefined> {
  const { pathname, host } = new URL(url);
  let status: number | string;
  try {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(url, { signal: AbortSignal.timeout(10_000), headers });
    if (response.ok) return (await response.json()) as Answer;
    status = response.status;
  } catch (error) {
    status = (error as Error).message;
  }
  if (status === 404) return undefined;
  throw new NotChecked(pathname, `${host} did not answer: ${status}`);
}

async function eachAtOnce<Item>(
  items: readonly Item[],
  action: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = items.values();
  const hand = async () => {
    for (const item of queue) await action(item);
  };
  await Promise.all(Array.from({ length: 16 }, hand));
}
