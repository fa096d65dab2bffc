/** Which ids of topics are in no table, asked of a real MySQL or MariaDB (MYSQL_*); the topics are handed in. */
import { randomUUID } from 'node:crypto';
import test from 'ava';
import { sql } from 'kysely';
import { told } from '../catalog/told.ts';
import { bytesOfUuid } from '../workers/base/ids.ts';
import type { Kafka } from '../workers/kafka/kafka.ts';
import { scratchDatabases } from '../workers/store/database.fixture.ts';
import { reconcile } from './reconcile.ts';

let databases: Awaited<ReturnType<typeof scratchDatabases>>;

test.before(async (t) => {
  t.timeout(120_000);
  databases = await scratchDatabases('reconcile');
});
test.after.always(() => databases.drop());

/** Topics of one partition each, whose first record is older than anybody asks for. */
function topicsWith(events: Readonly<Record<string, readonly unknown[]>>): Kafka {
  const of = (topic: string) => [{ older: true }, ...(events[topic] ?? [])];
  return {
    admin: {
      offsets: async (topic: string) => [{ partition: 0, low: 0, high: of(topic).length }],
      offsetsAt: async () => new Map([[0, 1]]),
    },
    async *read(topic: string, _: number, from: number, to: number) {
      yield of(topic)
        .slice(from, to)
        .map((event) => ({ value: Buffer.from(typeof event === 'string' ? event : JSON.stringify(event)) }));
    },
  } as unknown as Kafka;
}

const unknownIn = async (events: Readonly<Record<string, readonly unknown[]>>) => {
  const all = await reconcile(topicsWith(events), databases.of('shop'), databases.settings.MYSQL_DATABASE, 1);
  return Object.fromEntries(all.map(({ topic, looked, unknown }) => [topic, { looked, unknown }]));
};

test('what each topic tells of and no table has is named, once', async (t) => {
  const ids = new Map(told.map(({ topic }) => [topic.name, randomUUID()]));
  const events = told.map(
    ({ topic, field }) =>
      [
        topic.name,
        ['not JSON', { other: 1 }, ...[1, 2].map((version) => ({ [field]: ids.get(topic.name), version }))],
      ] as const,
  );
  t.deepEqual(
    await unknownIn(Object.fromEntries(events)),
    Object.fromEntries([...ids].map(([topic, id]) => [topic, { looked: 1, unknown: [id] }])),
  );
});

test('a row that is there but not as far as the event says does not know it', async (t) => {
  const shop = databases.of('shop');
  const [old, fresh, pending, decided] = [randomUUID(), randomUUID(), randomUUID(), randomUUID()];
  for (const [id, version] of [
    [old, 3],
    [fresh, 4],
  ] as const)
    await sql`INSERT INTO shop_product (product_id, name, amount_minor, currency, stock, version, created_at)
      VALUES (${id}, 'cup', 1, 'KRW', 1, ${version}, UTC_TIMESTAMP(3))`.execute(shop);
  for (const [id, decidedAt] of [
    [pending, null],
    [decided, '2026-11-30 01:02:03.004'],
  ] as const)
    await sql`INSERT INTO coupon_request (request_id, coupon_id, user_id, status, requested_at, decided_at)
      VALUES (${bytesOfUuid(id)}, 'c', ${id}, ${decidedAt === null ? 'PENDING' : 'COMPLETED'}, UTC_TIMESTAMP(3), ${decidedAt})`.execute(
      shop,
    );
  const { 'product-events': products, 'coupon-results': results } = await unknownIn({
    'product-events': [old, fresh].map((productId) => ({ productId, version: 4 })),
    'coupon-results': [pending, decided].map((requestId) => ({ requestId })),
  });
  t.deepEqual(products, { looked: 2, unknown: [old] });
  t.deepEqual(results, { looked: 2, unknown: [pending] });
});
