/** HTTP of products and orders. Answers name customers by their pseudonym, never by the user id. */

import { SpanStatusCode, trace } from '@opentelemetry/api';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { Kysely } from 'kysely';
import type { Registry } from 'prom-client';
import { Type } from 'typebox';
import { money } from '../../catalog/events/promotion.ts';
import { metrics } from '../../catalog/metrics.ts';
import { isNotNow } from '../base/errors.ts';
import { uuidV7 } from '../base/ids.ts';
import { counter } from '../base/metrics.ts';
import { pseudonym } from '../base/pseudonym.ts';
import { errorBody, failures, HttpError, inUse, refused } from '../http/errors.ts';
import { idempotencyKey, needKey, onceOf } from '../http/idempotent.ts';
import { onlyOf, userOf } from '../http/principals.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import { traceparentOf } from '../kafka/tracing-kafka.ts';
import { groupCommit } from '../store/group-commit.ts';
import { type PaymentCall, payOrders } from './payments.ts';
import {
  createProduct,
  findOrder,
  listProducts,
  type OrderPlacement,
  type OrderTables,
  type OrderView,
  paymentStore,
  placeOrders,
  saveProductChange,
} from './store.ts';

const tracer = trace.getTracer('muster/order');

const productBody = Type.Object({
  productId: Type.String(),
  name: Type.String(),
  price: money,
  stock: Type.Integer(),
});
const orderStatus = Type.Enum(['PENDING', 'COMPLETED', 'FAILED', 'EXPIRED']);
const item = Type.Object({
  productId: Type.String({ minLength: 1, maxLength: 40 }),
  quantity: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
});
const productPath = Type.Object({ productId: Type.String({ minLength: 1, maxLength: 40 }) });
const orderPath = Type.Object({ orderId: Type.String({ minLength: 1, maxLength: 40 }) });
const tags = ['orders'];
/** An order or payment that comes alone goes at once; under load transactions keep their distance and grow. */
const gathering = { most: 100, waiting: 2_000, everyMs: 20 };

export interface OrderRoutesOptions {
  /** An order that is not paid by then expires. */
  readonly payWithinMs: number;
  database(): Promise<Kysely<OrderTables>>;
  readonly pseudonymKey: Buffer;
  readonly registry: Registry;
}

export function registerOrderRoutes(http: FastifyInstance, options: OrderRoutesOptions): void {
  const app = typed(http);
  registerProducts(app, options);
  registerOrders(app, options);
  registerPaying(app, options);
}

function registerProducts(app: TypedHttp, { database, pseudonymKey }: OrderRoutesOptions): void {
  app.post(
    '/products',
    {
      config: { callers: ['merchant', 'operator'] },
      schema: {
        summary: 'Add a product',
        tags,
        headers: idempotencyKey.optional,
        body: Type.Object({
          name: Type.String({ minLength: 1, maxLength: 200 }),
          price: money,
          stock: Type.Integer({ minimum: 0, maximum: 1_000_000_000 }),
        }),
        response: { 201: productBody, 409: errorBody, 422: errorBody, 503: errorBody },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const product = await createProduct(
        await database(),
        {
          name: body.name.trim().normalize('NFC') || body.name,
          price: inUse(body.price, 'price'),
          stock: body.stock,
        },
        onceOf(request, 'order', pseudonymKey),
        Date.now(),
      );
      return reply.code(201).send(product);
    },
  );

  app.get(
    '/products',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'Products, the newest first',
        tags,
        querystring: Type.Object({ limit: Type.Integer({ minimum: 1, maximum: 500, default: 100 }) }),
        response: { 200: Type.Object({ products: Type.Array(productBody) }), 422: errorBody, 503: errorBody },
      },
    },
    async ({ query }) => ({
      products: await listProducts(await database(), query.limit),
    }),
  );

  app.patch(
    '/products/:productId',
    {
      config: { callers: ['merchant', 'operator'] },
      schema: {
        summary: 'Change the price of a product, or add to its stock',
        description:
          'Orders that were placed keep their price. `addStock` may be negative; it is added to what is there, so that sales at the same time are not lost; sent twice it would count twice, so it needs an Idempotency-Key.',
        tags,
        params: productPath,
        headers: idempotencyKey.optional,
        body: Type.Object({
          price: Type.Optional(money),
          addStock: Type.Optional(Type.Integer({ minimum: -1_000_000_000, maximum: 1_000_000_000 })),
        }),
        response: { 200: productBody, ...failures },
      },
    },
    async (request) => {
      const { params, body } = request;
      const call = onceOf(request, 'order', pseudonymKey);
      if (body.addStock !== undefined) needKey(call, 'addStock sent twice would count twice');
      const changed = await saveProductChange(
        await database(),
        params.productId,
        {
          ...(body.price === undefined ? {} : { price: inUse(body.price, 'price') }),
          ...(body.addStock === undefined ? {} : { addStock: body.addStock }),
        },
        call,
        Date.now(),
      );
      if (!changed.ok) throw refused(changed.refusal);
      return changed.product;
    },
  );
}

/** Throws 404 also when it is another customer's. */
async function ownOrder(
  { database, pseudonymKey }: OrderRoutesOptions,
  request: Pick<FastifyRequest, 'principal'>,
  orderId: string,
): Promise<OrderView> {
  const order = await findOrder(await database(), orderId);
  const only = onlyOf(request);
  if (order === undefined || (only !== undefined && order.user !== pseudonym(pseudonymKey, only)))
    throw new HttpError(404, 'MUSTER_ORDER_UNKNOWN', 'there is no such order');
  return order;
}

function registerOrders(app: TypedHttp, options: OrderRoutesOptions): void {
  const { database, pseudonymKey } = options;
  const placed = counter(options.registry, metrics.order.orders);
  const place = groupCommit(
    async (placements: readonly OrderPlacement[]) =>
      placeOrders(await database(), placements, Date.now(), options.payWithinMs),
    gathering,
  );

  app.post(
    '/orders',
    {
      config: { callers: ['customer', 'operator'] },
      schema: {
        summary: 'Place an order',
        description: 'Prices are taken as they are now; stock is taken when the order is paid.',
        tags,
        headers: idempotencyKey.optional,
        body: Type.Object(
          {
            userId: Type.Optional(
              Type.String({
                minLength: 1,
                maxLength: 200,
                description: 'the customer, kept as a pseudonym only; a customer may leave it out',
              }),
            ),
            items: Type.Array(item, { minItems: 1, maxItems: 100 }),
          },
          { examples: [{ userId: 'user-000123', items: [{ productId: '<productId>', quantity: 2 }] }] },
        ),
        response: {
          201: Type.Object({ orderId: Type.String(), totalAmount: money, status: orderStatus }),
          409: errorBody,
          422: errorBody,
          503: errorBody,
        },
      },
    },
    async (request, reply) => {
      const { userId, items } = request.body;
      const user = pseudonym(pseudonymKey, userOf(request, userId));
      const call = onceOf(request, 'order', pseudonymKey, { user });
      const answer = await place({ user, items, call });
      if (!answer.ok) throw refused(answer.refusal);
      placed.inc();
      const { orderId, total, status } = answer.order;
      return reply.code(201).send({ orderId, totalAmount: total, status });
    },
  );

  app.get(
    '/orders/:orderId',
    {
      config: { callers: ['customer', 'operator'] },
      schema: {
        summary: 'What became of an order',
        tags,
        params: orderPath,
        response: {
          200: Type.Object({
            orderId: Type.String(),
            status: orderStatus,
            reason: Type.Optional(
              Type.String({ description: 'why it was not paid: OUT_OF_STOCK, or NOT_PAID_IN_TIME' }),
            ),
            productId: Type.Optional(Type.String({ description: 'the product that was short' })),
            user: Type.String({ description: 'pseudonym of the customer' }),
            items: Type.Array(
              Type.Object({ productId: Type.String(), quantity: Type.Integer(), unitPrice: money }),
            ),
            totalAmount: money,
            paymentId: Type.Optional(Type.String()),
            createdAt: Type.String(),
            settledAt: Type.Optional(
              Type.String({ description: 'when it was completed, failed or expired' }),
            ),
          }),
          404: errorBody,
          503: errorBody,
        },
      },
    },
    async (request) => orderView(await ownOrder(options, request, request.params.orderId)),
  );
}

function registerPaying(app: TypedHttp, options: OrderRoutesOptions): void {
  const { database, pseudonymKey } = options;
  const payments = counter(options.registry, metrics.order.payments);
  const store = paymentStore(database);
  const pay = groupCommit((calls: readonly PaymentCall[]) => payOrders(store, calls, Date.now()), gathering);

  app.post(
    '/orders/:orderId/pay',
    {
      config: { callers: ['customer', 'operator'] },
      schema: {
        summary: 'Pay an order',
        description:
          'The payment, the order, the stock and the events commit together or not at all. The same request under the same Idempotency-Key gives the same answer; after 503 or a lost connection it is the way to learn whether the payment took place. Of a card only the last four digits are kept.',
        tags,
        params: orderPath,
        headers: idempotencyKey.required,
        body: Type.Object(
          {
            paymentInfo: Type.Object({
              method: Type.String({ pattern: '^[A-Za-z][A-Za-z0-9_-]{0,19}$' }),
              amount: money,
              card: Type.Optional(
                Type.String({ pattern: '^(?:\\d[ -]?){11,18}\\d$', description: 'card number' }),
              ),
            }),
          },
          {
            examples: [{ paymentInfo: { method: 'card', amount: { amountMinor: 59_000, currency: 'KRW' } } }],
          },
        ),
        response: {
          200: Type.Object({ paymentId: Type.String(), status: Type.Literal('COMPLETED') }),
          404: errorBody,
          409: errorBody,
          422: errorBody,
          503: errorBody,
        },
      },
    },
    async (request) => {
      const { params } = request;
      if (onlyOf(request) !== undefined) await ownOrder(options, request, params.orderId);
      const { method, amount, card } = request.body.paymentInfo;
      const digits = card?.replace(/[ -]/g, '');
      // Whose key it is, is known with the order.
      const call = onceOf(request, 'order', pseudonymKey, {
        asked: [params.orderId, method, amount.amountMinor, amount.currency, digits ?? null],
      })!;
      // Made here and not in the run, which belongs to many requests: the events go on in this one's trace.
      const span = tracer.startSpan('commit payment');
      const context = span.spanContext();
      try {
        const answer = await pay({
          orderId: params.orderId,
          idempotencyKey: call.key,
          requestHash: String(call.body),
          amount: inUse(amount, 'paymentInfo.amount'),
          paymentId: uuidV7(Date.now()),
          method,
          cardLast4: digits?.slice(-4),
          traceparent: span.isRecording() ? traceparentOf(context) : undefined,
        });
        if (!answer.ok) throw refused(answer.refusal);
        payments.inc({ outcome: answer.repeated ? 'REPEATED' : 'COMPLETED' });
        return { paymentId: answer.paymentId, status: 'COMPLETED' as const };
      } catch (error) {
        const { code } = error as { code?: string };
        const known = error instanceof HttpError && error.status < 500;
        payments.inc({ outcome: known ? String(code).replace('MUSTER_', '') : 'UNAVAILABLE' });
        span.setAttribute('error.type', String(code));
        if (!known) span.setStatus({ code: SpanStatusCode.ERROR });
        if (!isNotNow(error)) throw error;
        throw new HttpError(
          503,
          'MUSTER_DATABASE_DOWN',
          'it is not known here whether the order is paid: send the same again with the same Idempotency-Key',
          undefined,
          { cause: error },
        );
      } finally {
        span.end();
      }
    },
  );
}

function orderView(order: OrderView) {
  return {
    orderId: order.orderId,
    status: order.status,
    ...(order.failedProductId === undefined
      ? {}
      : { reason: 'OUT_OF_STOCK', productId: order.failedProductId }),
    ...(order.status === 'EXPIRED' ? { reason: 'NOT_PAID_IN_TIME' } : {}),
    user: order.user,
    items: order.lines.map(({ productId, quantity, unitAmountMinor }) => ({
      productId,
      quantity,
      unitPrice: { amountMinor: unitAmountMinor, currency: order.total.currency },
    })),
    totalAmount: order.total,
    ...(order.paymentId === undefined ? {} : { paymentId: order.paymentId }),
    createdAt: new Date(order.createdAtMs).toISOString(),
    ...(order.settledAtMs === undefined ? {} : { settledAt: new Date(order.settledAtMs).toISOString() }),
  };
}
