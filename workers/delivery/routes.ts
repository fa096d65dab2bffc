/** HTTP of food delivery: shops and their menus, and orders as their customers, owners and riders see and move them. */
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { type TObject, Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { uuidPattern } from '../../catalog/events/uuid.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { errorBody, failures, HttpError, inUse, refused } from '../http/errors.ts';
import { idempotencyKey, onceOf } from '../http/idempotent.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import { type Order, type State, states, unknownOrder } from './machine.ts';
import type { PersonRole } from './notifications.ts';
import type { ShopStore } from './shops.ts';
import type { AskedByPeople, DeliveryStore } from './store.ts';

export interface DeliveryRoutesOptions {
  readonly shops: ShopStore;
  readonly deliveries: Pick<DeliveryStore, 'place' | 'step' | 'find' | 'findOf'>;
  readonly pseudonymKey: Buffer;
  /** Called when an order has entered a state by what a person asked; repeats included. */
  onChanged(state: State): void;
}

export const tags = ['delivery'];
export const answers = { ...failures, 403: errorBody };
const anyone = { callers: 'anyone' } as const;
const owners = { callers: ['owner'] } as const;
const parties = { callers: ['customer', 'owner', 'rider', 'operator'] } as const;
const uuid = (description: string) => Type.String({ pattern: uuidPattern, description });
const text = (maxLength: number, description: string) =>
  Type.String({ minLength: 1, maxLength, pattern: '\\S', description });
export const district = Type.String({
  maxLength: 100,
  pattern: '^[^\\p{Cc}\\p{Cs}\\s]([^\\p{Cc}\\p{Cs}]*[^\\p{Cc}\\p{Cs}\\s])?$',
  description: 'where it goes, and whose riders deliver there, written as of members, e.g. Gangnam-gu',
});
const last = 'ffffffff-ffff-ffff-ffff-ffffffffffff';
const page = Type.Object({
  limit: Type.Integer({ minimum: 1, maximum: 200, default: 50 }),
  before: Type.String({ pattern: uuidPattern, default: last }),
});
const strict = { additionalProperties: false } as const;

const orderBody = Type.Object({
  orderId: Type.String(),
  shopId: Type.String(),
  itemId: Type.String(),
  name: Type.String({ description: 'of the dish' }),
  quantity: Type.Integer(),
  paid: money,
  refunded: Type.Object({ amountMinor: Type.Integer(), currency: Type.String() }),
  district: Type.String(),
  state: Type.Enum([...states]),
  version: Type.Integer({ description: 'one more with each step' }),
  changedAt: Type.String(),
  deliveredAt: Type.Optional(Type.String()),
  wanted: Type.Optional(Type.Enum(['REFUND', 'REDELIVERY'])),
  complaint: Type.Optional(Type.String({ description: 'for customer, owner and staff' })),
  photoId: Type.Optional(
    Type.String({ description: 'for customer, owner and staff: GET …/photos/{photoId} shows it' }),
  ),
  rejection: Type.Optional(Type.String({ description: 'for customer, owner and staff' })),
});

/** The role and the pseudonym of who calls. */
export const personOf = ({ principal }: FastifyRequest, key: Buffer) => ({
  role: principal!.role as PersonRole,
  who: pseudonym(key, principal!.subject),
});

/** An order, for who is of it and for staff. Throws 404. */
export async function findFor(
  request: FastifyRequest,
  deliveries: Pick<DeliveryStore, 'find'>,
  key: Buffer,
  orderId: string,
): Promise<Order> {
  const { role, who } = personOf(request, key);
  const found = await deliveries.find(orderId);
  const isStaff = request.principal!.role === 'operator';
  if (found === undefined || !(isStaff || found[role] === who)) throw refused(unknownOrder.refusal);
  return found;
}

export function registerDeliveryRoutes(http: FastifyInstance, options: DeliveryRoutesOptions): void {
  const app = typed(http);
  registerShops(app, options);
  registerOrders(app, options);
  registerSteps(app, options);
}

function registerShops(app: TypedHttp, { shops, pseudonymKey }: DeliveryRoutesOptions): void {
  app.post(
    '/delivery/shops',
    {
      config: owners,
      schema: {
        summary: 'Open a shop',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object({ name: text(100, 'of the shop, for everybody') }, strict),
        response: { 201: Type.Object({ shopId: Type.String() }), ...answers },
      },
    },
    async (request, reply) => {
      const { who } = personOf(request, pseudonymKey);
      const shopId = await shops.openShop(who, request.body.name, onceOf(request, 'delivery', pseudonymKey)!);
      return reply.code(201).send({ shopId });
    },
  );

  app.get(
    '/delivery/shops',
    {
      config: anyone,
      schema: {
        summary: 'Shops, the newest first',
        description: '`next` is there while there may be more: pass it as `before`.',
        tags,
        querystring: page,
        response: {
          200: Type.Object({
            shops: Type.Array(Type.Object({ shopId: Type.String(), name: Type.String() })),
            next: Type.Optional(Type.String()),
          }),
          ...answers,
        },
      },
    },
    async ({ query }) => {
      const found = await shops.shops(query);
      return { shops: [...found], ...(found.length < query.limit ? {} : { next: found.at(-1)!.shopId }) };
    },
  );

  app.post(
    '/delivery/shops/:shopId/items',
    {
      config: owners,
      schema: {
        summary: 'Put a dish on the menu of a shop of yours',
        tags,
        headers: idempotencyKey.required,
        params: Type.Object({ shopId: uuid('as answered by POST /delivery/shops') }),
        body: Type.Object(
          {
            name: text(100, 'of the dish'),
            price: money,
            stock: Type.Integer({ minimum: 0, maximum: 1_000_000_000, description: 'how many there are' }),
          },
          strict,
        ),
        response: { 201: Type.Object({ itemId: Type.String() }), ...answers },
      },
    },
    async (request, reply) => {
      const { who } = personOf(request, pseudonymKey);
      const price = inUse(request.body.price, 'price');
      if (price.amountMinor < 1)
        throw new HttpError(422, 'MUSTER_AMOUNT_INVALID', 'the request is not valid', [
          { field: 'price.amountMinor', reason: 'must be above zero' },
        ]);
      const call = onceOf(request, 'delivery', pseudonymKey)!;
      const added = await shops.addItem(who, request.params.shopId, { ...request.body, price }, call);
      if (!added.ok) throw refused(added.refusal);
      return reply.code(201).send({ itemId: added.itemId });
    },
  );

  app.post(
    '/delivery/items/:itemId/stock',
    {
      config: owners,
      schema: {
        summary: 'More of a dish of yours, or less of what is left',
        tags,
        headers: idempotencyKey.required,
        params: Type.Object({ itemId: uuid('as in the menu') }),
        body: Type.Object({ quantity: Type.Integer({ minimum: -1e9, maximum: 1e9 }) }, strict),
        response: { 204: Type.Null(), ...answers },
      },
    },
    async (request, reply) => {
      const { who } = personOf(request, pseudonymKey);
      const call = onceOf(request, 'delivery', pseudonymKey)!;
      const done = await shops.addStock(who, request.params.itemId, request.body.quantity, call);
      if (!done.ok) throw refused(done.refusal);
      return reply.code(204).send(null);
    },
  );

  app.get(
    '/delivery/shops/:shopId/menu',
    {
      config: anyone,
      schema: {
        summary: 'What a shop offers, and how much of it is left',
        tags,
        params: Type.Object({ shopId: uuid('the shop') }),
        response: {
          200: Type.Object({
            items: Type.Array(
              Type.Object({
                itemId: Type.String(),
                name: Type.String(),
                price: money,
                stock: Type.Integer(),
              }),
            ),
          }),
          ...answers,
        },
      },
    },
    async ({ params }) => ({ items: [...(await shops.menu(params.shopId))] }),
  );
}

function registerOrders(app: TypedHttp, options: DeliveryRoutesOptions): void {
  const { deliveries, pseudonymKey, onChanged } = options;
  app.post(
    '/delivery/orders',
    {
      config: { callers: ['customer'] },
      schema: {
        summary: 'Order a dish',
        description: 'Takes its stock and is taken as paid, or is refused: 409 MUSTER_OUT_OF_STOCK.',
        tags,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            itemId: uuid('as in the menu'),
            quantity: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
            district,
          },
          strict,
        ),
        response: { 201: Type.Object({ orderId: Type.String() }), ...answers },
      },
    },
    async (request, reply) => {
      const { who: customer } = personOf(request, pseudonymKey);
      const call = onceOf(request, 'delivery', pseudonymKey)!;
      const placed = await deliveries.place({ customer, ...request.body }, call);
      if (!placed.ok) throw refused(placed.refusal);
      onChanged('PLACED');
      return reply.code(201).send({ orderId: placed.orderId });
    },
  );

  app.get(
    '/delivery/orders/:orderId',
    {
      config: parties,
      schema: {
        summary: 'An order as it is now, for its customer, owner and rider, and for staff',
        tags,
        params: Type.Object({ orderId: uuid('as answered by POST /delivery/orders') }),
        response: { 200: orderBody, ...answers },
      },
    },
    async (request) => {
      const found = await findFor(request, deliveries, pseudonymKey, request.params.orderId);
      return viewFor(request.principal!.role, found);
    },
  );

  app.get(
    '/delivery/orders',
    {
      config: { callers: ['customer', 'owner', 'rider'] },
      schema: {
        summary: 'Your orders: those you placed, of your shops, or that you deliver; the newest first',
        description: '`next` is there while there may be more: pass it as `before`.',
        tags,
        querystring: page,
        response: {
          200: Type.Object({ orders: Type.Array(orderBody), next: Type.Optional(Type.String()) }),
          ...answers,
        },
      },
    },
    async (request) => {
      const person = personOf(request, pseudonymKey);
      const found = await deliveries.findOf(person, request.query);
      const next = found.length < request.query.limit ? {} : { next: found.at(-1)!.orderId };
      return { orders: found.map((order) => viewFor(person.role, order)), ...next };
    },
  );
}

const version = Type.Integer({
  minimum: 1,
  description: 'of the order that this is about; 409 MUSTER_ORDER_CHANGED when it has gone on since',
});
const plain = Type.Object({ version: Type.Optional(version) }, strict);
/** A rider may be assigned to an order again: his word must say which time. */
const ofVersion = Type.Object({ version }, strict);

/** Each a route of its own: who may, what is needed. */
const stepRoutes: readonly {
  readonly path: string;
  readonly step: AskedByPeople['step'];
  readonly role: PersonRole;
  readonly summary: string;
  readonly body: TObject;
}[] = [
  { path: 'accept', step: 'accept', role: 'owner', summary: 'Accept an order', body: plain },
  { path: 'cook', step: 'cook', role: 'owner', summary: 'Begin to cook', body: plain },
  { path: 'call', step: 'call', role: 'owner', summary: 'Call for a rider', body: plain },
  {
    path: 'cancel',
    step: 'cancel',
    role: 'customer',
    summary: 'Cancel an order that the owner has not accepted, or that no rider could be found for',
    body: plain,
  },
  {
    path: 'call-again',
    step: 'callAgain',
    role: 'customer',
    summary: 'Look for a rider once more',
    body: plain,
  },
  { path: 'leave', step: 'leave', role: 'rider', summary: 'Leave with the order', body: ofVersion },
  { path: 'deliver', step: 'deliver', role: 'rider', summary: 'Confirm the delivery', body: ofVersion },
  {
    path: 'refund-request',
    step: 'requestRefund',
    role: 'customer',
    summary: 'Ask for a refund or a redelivery, within 10 minutes after the delivery',
    body: Type.Object(
      {
        version: Type.Optional(version),
        wanted: Type.Enum(['REFUND', 'REDELIVERY']),
        complaint: text(500, 'what is wrong'),
        photoId: uuid('of what is wrong, as answered by POST …/photos'),
      },
      strict,
    ),
  },
  { path: 'approve', step: 'approve', role: 'owner', summary: 'Approve what is asked for', body: plain },
  {
    path: 'reject',
    step: 'reject',
    role: 'owner',
    summary: 'Reject what is asked for, with a reason',
    body: Type.Object({ version: Type.Optional(version), rejection: text(500, 'the reason') }, strict),
  },
];

function registerSteps(app: TypedHttp, options: DeliveryRoutesOptions): void {
  const { deliveries, pseudonymKey, onChanged } = options;
  for (const { path, step, role, summary, body } of stepRoutes)
    app.post(
      `/delivery/orders/:orderId/${path}`,
      {
        config: { callers: [role] },
        schema: {
          summary,
          tags,
          headers: idempotencyKey.required,
          params: Type.Object({ orderId: uuid('the order') }),
          body,
          response: {
            200: Type.Object({ state: Type.Enum([...states]), version: Type.Integer() }),
            ...answers,
          },
        },
      },
      async (request) => {
        const { version: ifVersion, ...needed } = request.body as { readonly version?: number };
        const asked = { step, ...needed, ...(ifVersion === undefined ? {} : { ifVersion }) };
        const taken = await deliveries.step(
          request.params.orderId,
          personOf(request, pseudonymKey),
          asked as AskedByPeople,
          onceOf(request, 'delivery', pseudonymKey)!,
        );
        if (!taken.ok) throw refused(taken.refusal);
        onChanged(taken.state);
        return { state: taken.state, version: taken.version };
      },
    );
}

/** What customer and owner write to each other is not for the rider. */
function viewFor(role: string, order: Order) {
  const { orderId, shopId, itemId, quantity, currency, district, state, version } = order;
  const { deliveredAtMs, wanted, complaint, photoId, rejection } = order;
  const written = role === 'rider' ? {} : { complaint, photoId, rejection };
  const known = Object.entries({ wanted, ...written }).filter(([, value]) => value !== undefined);
  return {
    ...{ orderId, shopId, itemId, name: order.itemName, quantity, district, state, version },
    paid: { amountMinor: order.paidMinor, currency },
    refunded: { amountMinor: order.refundedMinor, currency },
    changedAt: new Date(order.changedAtMs).toISOString(),
    ...(deliveredAtMs === undefined ? {} : { deliveredAt: new Date(deliveredAtMs).toISOString() }),
    ...Object.fromEntries(known),
  };
}
