/** HTTP of what orders come to: the ranking in Redis, and the data platform's answers. */
import type { FastifyInstance } from 'fastify';
import type { Kysely } from 'kysely';
import type { RedisClientType } from 'redis';
import { type Static, type TSchema, Type } from 'typebox';
import { topics } from '../../catalog/topics.ts';
import { errorBody, HttpError } from '../http/errors.ts';
import { type TypedHttp, typed } from '../http/typed.ts';
import type { Kafka } from '../kafka/kafka.ts';
import {
  type AnalyticsTables,
  customerBehaviour,
  type Period,
  productPreferences,
  salesByProduct,
  salesOverTime,
} from './analytics.ts';
import { clearRanking, isPartial, topProducts } from './ranking.ts';

const dayMs = 86_400_000;

export interface FiguresRoutesOptions {
  redis(): Promise<RedisClientType>;
  readonly kafka: Pick<Kafka, 'admin'>;
  /** The data platform's database. */
  readonly analytics: Kysely<AnalyticsTables>;
}

const time = (description: string) =>
  Type.Optional(
    Type.String({
      pattern: '^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}(:\\d{2}(\\.\\d{1,3})?)?(Z|[+-]\\d{2}:\\d{2})$',
      description,
    }),
  );
const period = {
  from: time('ISO-8601 with offset; by default 7 days before `to`'),
  to: time('not included; by default now'),
};
const limit = (preset: number) => Type.Integer({ minimum: 1, maximum: 1_000, default: preset });
const pseudonym = Type.String({
  pattern: '^u_[A-Za-z0-9_-]{22}$',
  description: 'pseudonym, never a user id',
});
const tags = ['ranking and analytics'];
const answers = (body: TSchema) => ({ 200: body, 422: errorBody, 503: errorBody });

export function registerFiguresRoutes(http: FastifyInstance, options: FiguresRoutesOptions): void {
  const app = typed(http);
  registerRanking(app, options);
  registerAnalytics(app, options);
}

function registerRanking(app: TypedHttp, options: FiguresRoutesOptions): void {
  app.get(
    '/ranking/products',
    {
      config: { callers: 'anyone' },
      schema: {
        summary: 'Best-sellers: products by quantity sold',
        tags,
        querystring: Type.Object({ limit: limit(10) }),
        response: answers(
          Type.Object({
            products: Type.Array(
              Type.Object({ rank: Type.Integer(), productId: Type.String(), quantity: Type.Integer() }),
            ),
            partial: Type.Boolean({ description: 'orders are missing that nobody has any more' }),
          }),
        ),
      },
    },
    async ({ query }) => {
      const redis = await options.redis();
      const [products, partial] = await Promise.all([topProducts(redis, query.limit), isPartial(redis)]);
      return { products: products.map((product, index) => ({ rank: index + 1, ...product })), partial };
    },
  );

  app.post(
    '/ranking/products/rebuild',
    {
      config: { callers: ['operator'] },
      schema: {
        summary: 'Empty the ranking and make it anew',
        description:
          'For operators. From topic order-completed; when that no longer holds its beginning, from the sums of the data platform. `partial` of GET /ranking/products says when neither knows all orders.',
        tags,
        response: { 202: Type.Object({ orders: Type.Integer() }), 503: errorBody },
      },
    },
    async (_request, reply) => {
      const offsets = await options.kafka.admin.offsets(topics.orderCompleted.name);
      await clearRanking(await options.redis(), offsets.length);
      return reply.code(202).send({ orders: offsets.reduce((sum, { low, high }) => sum + high - low, 0) });
    },
  );
}

function registerAnalytics(app: TypedHttp, { analytics }: FiguresRoutesOptions): void {
  app.get(
    '/analytics/sales',
    {
      config: { callers: ['merchant', 'operator'] },
      schema: {
        summary: 'Sales over time (UTC) and by product',
        tags,
        querystring: Type.Object({
          ...period,
          by: Type.Union([Type.Literal('hour'), Type.Literal('day')], { default: 'hour' }),
          productId: Type.Optional(Type.String({ maxLength: 200, description: 'only this product' })),
          limit: limit(20),
        }),
        response: answers(
          Type.Object({
            over: Type.Array(
              Type.Object({
                start: Type.String(),
                orders: Type.Integer(),
                amountMinor: Type.Integer({ description: 'minor units' }),
                currency: Type.String(),
              }),
            ),
            products: Type.Array(
              Type.Object({
                productId: Type.String(),
                name: Type.Optional(Type.String()),
                orders: Type.Integer(),
                quantity: Type.Integer(),
                amountMinor: Type.Integer({ description: 'minor units' }),
                currency: Type.String(),
              }),
              { description: 'the most sold first; empty when one product was asked for' },
            ),
          }),
        ),
      },
    },
    ({ query }) =>
      asked(async () => {
        const during = periodOf(query);
        const [over, products] = await Promise.all([
          salesOverTime(analytics, during, query.by, query.productId),
          query.productId === undefined ? salesByProduct(analytics, during, query.limit) : [],
        ]);
        return { over, products };
      }),
  );

  app.get(
    '/analytics/customers',
    {
      config: { callers: ['merchant', 'operator'] },
      schema: {
        summary: 'Customers by what they spent, and how many come back',
        tags,
        querystring: Type.Object({ ...period, limit: limit(20) }),
        response: answers(
          Type.Object({
            customers: Type.Integer(),
            returning: Type.Integer({ description: 'with more than one order' }),
            orders: Type.Integer(),
            top: Type.Array(
              Type.Object({
                user: pseudonym,
                orders: Type.Integer(),
                amountMinor: Type.Integer({ description: 'minor units' }),
                currency: Type.String(),
                firstOrderAt: Type.String(),
                lastOrderAt: Type.String(),
              }),
            ),
          }),
        ),
      },
    },
    ({ query }) => asked(() => customerBehaviour(analytics, periodOf(query), query.limit)),
  );

  app.get(
    '/analytics/preferences',
    {
      config: { callers: ['merchant', 'operator'] },
      schema: {
        summary: 'Products by how many customers buy them and buy them again; of all customers or of one',
        tags,
        querystring: Type.Object({ ...period, user: Type.Optional(pseudonym), limit: limit(20) }),
        response: answers(
          Type.Object({
            products: Type.Array(
              Type.Object({
                productId: Type.String(),
                name: Type.Optional(Type.String()),
                customers: Type.Integer(),
                boughtAgain: Type.Integer({ description: 'customers with more than one order of it' }),
                quantity: Type.Integer(),
              }),
            ),
          }),
        ),
      },
    },
    ({ query }) =>
      asked(async () => ({
        products: await productPreferences(analytics, periodOf(query), query.limit, query.user),
      })),
  );
}

function periodOf(query: Static<TSchema> & { from?: string; to?: string }): Period {
  const toMs = query.to === undefined ? Date.now() : Date.parse(query.to);
  const fromMs = query.from === undefined ? toMs - 7 * dayMs : Date.parse(query.from);
  const wrong = Number.isNaN(fromMs) ? 'from' : Number.isNaN(toMs) ? 'to' : undefined;
  if (wrong !== undefined)
    throw new HttpError(422, 'MUSTER_VALIDATION', 'the query is not valid', [
      { field: wrong, reason: 'there is no such time' },
    ]);
  return { fromMs, toMs };
}

/** Before the data platform has made its database ready there is nothing to be asked: that is "not now". */
async function asked<T>(question: () => Promise<T>): Promise<T> {
  try {
    return await question();
  } catch (error) {
    const { code } = error as { code?: string };
    if (code !== 'MUSTER_DATABASE_DENIED' && code !== 'ER_NO_SUCH_TABLE') throw error;
    throw new HttpError(
      503,
      'MUSTER_DATABASE_DOWN',
      'the data platform is not ready yet; try again',
      undefined,
      {
        cause: error,
      },
    );
  }
}
