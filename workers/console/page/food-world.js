/** A shop with its owner, a customer and a rider whom this page plays, and all that it does for them. */
import { won } from './format.js';
import { call, id, once, settings, tokenOf } from './server.js';

export const roles = ['customer', 'owner', 'rider'];

const place = `muster-food-${settings.environment}`;
const dishes = [
  ['Bibimbap', 9_000],
  ['Kimchi jjigae', 8_500],
  ['Fried chicken', 18_000],
];
const stock = 30;

/** `{id, shopId, district}`; undefined: none was opened from this browser. */
export function worldOfThisBrowser() {
  try {
    return JSON.parse(localStorage.getItem(place) ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

export const forget = () => localStorage.removeItem(place);

const tokenFor = (world, role) => tokenOf(role, `console-${world.id}-${role}`);
const way = (path) => `/console/delivery${path}`;

export const ask = async (world, role, method, path, body) =>
  call(method, way(path), body, { token: await tokenFor(world, role), ...(method === 'POST' ? once() : {}) });

/** Opens a shop with three dishes, and lets a rider begin work where nobody else works. */
export async function openWorld() {
  const world = { id: id(), district: `Console ${id().slice(-6)}` };
  const { shopId } = await ask(world, 'owner', 'POST', '/shops', { name: 'Bunsik' });
  for (const [name, amountMinor] of dishes)
    await ask(world, 'owner', 'POST', `/shops/${shopId}/items`, { name, price: won(amountMinor), stock });
  await setDuty(world, true);
  const opened = { ...world, shopId };
  localStorage.setItem(place, JSON.stringify(opened));
  return opened;
}

export const setDuty = (world, isOn) =>
  ask(world, 'rider', 'PUT', '/riders/me', { district: world.district, state: isOn ? 'FREE' : 'OFF' });

/** What each of them sees. */
export async function lookAt(world) {
  const [{ items }, ...lists] = await Promise.all([
    call('GET', way(`/shops/${world.shopId}/menu`)),
    ...roles.map((role) => ask(world, role, 'GET', '/orders?limit=4')),
  ]);
  return { items, ...Object.fromEntries(roles.map((role, at) => [role, lists[at].orders])) };
}

export const tokens = async (world) =>
  Object.fromEntries(await Promise.all(roles.map(async (role) => [role, await tokenFor(world, role)])));

/** Sends the photo first: the complaint names it. */
export async function complain(world, { orderId }, { photo, ...complaint }) {
  const form = new FormData();
  form.append('file', photo);
  const { photoId } = await ask(world, 'customer', 'POST', `/orders/${orderId}/photos`, form);
  return ask(world, 'customer', 'POST', `/orders/${orderId}/refund-request`, { ...complaint, photoId });
}

export const photoOf = async (world, role, { orderId, photoId }) => [
  way(`/orders/${orderId}/photos/${photoId}`),
  await tokenFor(world, role),
];
