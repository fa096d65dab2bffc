/** The join worker as a process of its own on a real cluster (KAFKA_BROKERS; topics must exist). */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { join as path } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import test from 'ava';
import Value from 'typebox/value';
import winston from 'winston';
import { enrichedPurchase, promotionLogic } from '../../catalog/events/promotion.ts';
import { topics } from '../../catalog/topics.ts';
import { type OracleAct, type OraclePurchase, oracle } from '../../drills/checker/oracle.ts';
import { type Kafka, type OutgoingRecord, type Producer, partitionFor } from '../kafka/kafka.ts';
import { connectKafka } from '../kafka/kafkajs.ts';

const brokers = (process.env.KAFKA_BROKERS ?? '127.0.0.1:9092').split(',');
const run = randomUUID().slice(0, 8);
const log = winston.createLogger({ silent: true });
const iso = (ms: number) => new Date(ms).toISOString();

let kafka: Kafka;
let producer: Producer;
let partitions = 0;
let child: ChildProcess | undefined;
let port = 28_900 + Math.floor(Math.random() * 90);

async function startWorker(): Promise<void> {
  port += 1;
  const root = path(import.meta.dirname, '../..');
  const worker = spawn(process.execPath, [path(root, 'workers/main.ts'), 'promotion-join'], {
    cwd: root,
    // Its log (errors only) belongs to what a failed test shows.
    stdio: ['ignore', 2, 'inherit'],
    env: {
      PATH: process.env.PATH,
      MUSTER_ENV: 'ci',
      PROCESS_NAME: 'promotion',
      KAFKA_BROKERS: brokers.join(','),
      HTTP_HOST: '127.0.0.1',
      HTTP_PORT: String(port),
      PSEUDONYM_KEY: '01'.repeat(32),
      LOG_LEVEL: 'error',
      MYSQL_HOST: '127.0.0.1',
      MYSQL_PORT: '3306',
      MYSQL_USER: 'unused',
      MYSQL_PASSWORD: 'unused',
      MYSQL_DATABASE: 'unused',
      REDIS_HOST: '127.0.0.1',
      REDIS_PORT: '6379',
      REDIS_PASSWORD: 'unused',
    },
  });
  child = worker;
  for (const until = Date.now() + 60_000; Date.now() < until; ) {
    if (worker.exitCode !== null) throw new Error(`the worker ended with ${worker.exitCode}`);
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      (response) => response.ok,
      () => false,
    );
    if (ready) return;
    await sleep(200);
  }
  throw new Error('the worker was not ready within 60 s');
}

async function endWorker(signal: NodeJS.Signals): Promise<number | null> {
  const ending = child;
  child = undefined;
  if (ending === undefined || ending.exitCode !== null) return null;
  const ended = once(ending, 'exit');
  ending.kill(signal);
  const [code] = (await ended) as [number | null];
  return code;
}

interface Seen {
  readonly key: string;
  readonly value: Record<string, unknown>;
  readonly raw: Buffer | null;
  readonly headers: Record<string, string>;
}

/** A topic from its present end on. */
async function tail(topic: string): Promise<() => Promise<Seen[]>> {
  const positions = new Map(
    (await kafka.admin.offsets(topic)).map(({ partition, high }) => [partition, high]),
  );
  const seen: Seen[] = [];
  return async () => {
    for (const { partition, high } of await kafka.admin.offsets(topic)) {
      const from = positions.get(partition) ?? 0;
      for await (const records of kafka.read(topic, partition, from, high))
        for (const { key, value, headers, offset } of records) {
          positions.set(partition, offset + 1);
          let parsed: Record<string, unknown> = {};
          try {
            parsed = JSON.parse(String(value));
          } catch {}
          seen.push({
            key: String(key),
            value: parsed,
            raw: value,
            headers: Object.fromEntries(Object.entries(headers).map(([name, one]) => [name, String(one)])),
          });
        }
    }
    return seen;
  };
}

async function until<T>(look: () => Promise<T | undefined>, what: string, timeoutMs = 30_000): Promise<T> {
  for (const end = Date.now() + timeoutMs; ; await sleep(50)) {
    const found = await look();
    if (found !== undefined) return found;
    if (Date.now() > end) throw new Error(`waited in vain for ${what}`);
  }
}

const wrongPartition = (userId: string) => (partitionFor(Buffer.from(userId), partitions) + 1) % partitions;

function purchaseRecord(id: string, userId: string, atMs: number, partition?: number): OutgoingRecord {
  const value = {
    orderId: id,
    uid: userId,
    productId: 'mug',
    qty: 1,
    price: '10,000',
    ts: atMs,
    card_no: '4111111111111234',
  };
  return {
    topic: topics.purchase.name,
    key: partition === undefined ? userId : null,
    value: JSON.stringify(value),
    ...(partition === undefined ? {} : { partition }),
  };
}

function actRecord(userId: string, atMs: number, promotionId = 'spring', partition?: number): OutgoingRecord {
  const value = { user_id: userId, promo_id: promotionId, event: 'click', timestamp: iso(atMs) };
  return {
    topic: topics.promoBehavior.name,
    key: partition === undefined ? userId : null,
    value: JSON.stringify(value),
    ...(partition === undefined ? {} : { partition }),
  };
}

test.before(async () => {
  kafka = connectKafka({ brokers, clientId: 'join-test', log });
  partitions = (await kafka.admin.partitionCounts([topics.purchase.name])).get(topics.purchase.name) ?? 0;
  producer = await kafka.producer('join-test');
  await startWorker();
});

test.after.always(async () => {
  await endWorker('SIGTERM');
  await kafka?.close();
});

test.serial(
  'a click and a purchase of a plain producer come out as a promotion within 2 s, wherever they were put',
  async (t) => {
    const promotion = await tail(topics.promotion.name);
    const enriched = await tail(topics.purchaseEnriched.name);
    const now = Date.now();
    const user = `user-${run}-a`;
    const stray = `user-${run}-b`;
    await producer.send([
      actRecord(user, now - 2_000),
      actRecord(stray, now - 3_000, 'spring', wrongPartition(stray)),
    ]);
    await sleep(300);
    const sentMs = Date.now();
    await producer.send([
      purchaseRecord(`${run}-a`, user, now),
      purchaseRecord(`${run}-b`, stray, now, wrongPartition(stray)),
    ]);
    for (const [id, seconds] of [
      [`${run}-a`, 2],
      [`${run}-b`, 3],
    ] as const) {
      const found = await until(
        async () => (await promotion()).find(({ value }) => value.purchaseId === id),
        id,
      );
      t.true(Date.now() - sentMs < 2_000, `${Date.now() - sentMs} ms`);
      t.true(Value.Check(promotionLogic, found.value));
      t.deepEqual(found.value.promotions, [
        { promotionId: 'spring', action: 'click', secondsBefore: seconds },
      ]);
      t.deepEqual(found.value.price, { amountMinor: 10_000, currency: 'KRW' });
      t.is(found.value.cardLast4, '1234');
      t.regex(String(found.headers.ce_id), new RegExp(`^u_[\\w-]{22}:${id}:2$`));
      t.is(found.headers.ce_type, 'PromotionLogic');
      const other = await until(
        async () => (await enriched()).find(({ value }) => value.purchaseId === id),
        id,
      );
      t.true(Value.Check(enrichedPurchase, other.value));
      t.false(String(other.raw).includes(`user-${run}`));
    }
  },
);

test.serial(
  'a purchase without acts comes out with 0 within 2 s, and is corrected by an act that comes later',
  async (t) => {
    const enriched = await tail(topics.purchaseEnriched.name);
    const now = Date.now();
    const user = `user-${run}-c`;
    await producer.send([purchaseRecord(`${run}-c`, user, now)]);
    const answers = async (count: number) => {
      const list = (await enriched()).filter(({ value }) => value.purchaseId === `${run}-c`);
      return list.length >= count ? list : undefined;
    };
    const [first] = await until(() => answers(1), 'the answer');
    t.true(Date.now() - now < 2_000, `${Date.now() - now} ms`);
    t.is(first!.value.promotion_affect, 0);
    t.is(first!.value.version, 1);
    await producer.send([actRecord(user, now - 300_000), actRecord(user, now - 300_001)]);
    const list = await until(() => answers(2), 'the correction');
    t.like(list[1]!.value, { promotion_affect: 1, version: 2, purchaseId: `${run}-c` });
  },
);

test.serial(
  'what cannot be understood goes to the dead letters with its bytes and the reason, and stops nothing',
  async (t) => {
    const dead = await tail(topics.purchaseDlq.name);
    const deadActs = await tail(topics.promoBehaviorDlq.name);
    const enriched = await tail(topics.purchaseEnriched.name);
    const now = Date.now();
    const user = `user-${run}-d`;
    const partition = partitionFor(Buffer.from(user), partitions);
    const bad = (value: Buffer | string | null, topic = topics.purchase.name) => ({
      topic,
      key: user,
      value,
      partition,
    });
    await producer.send([
      bad('{"broken'),
      bad(Buffer.from([0xff, 0x00, 0x80])),
      bad(null),
      bad('[1]'),
      bad(JSON.stringify({ orderId: 'x', uid: user, productId: 'mug', qty: -1, price: 1, ts: now })),
      bad(
        JSON.stringify({
          orderId: 'x',
          uid: user,
          productId: 'mug',
          qty: 1,
          price: 1,
          ts: '2026-02-31 10:00:00',
        }),
      ),
      purchaseRecord(`${run}-d`, user, now),
      { ...purchaseRecord(`${run}-d`, user, now + 1) },
      bad(JSON.stringify({ uid: user, promo_id: 'm', event: 'bought', ts: now }), topics.promoBehavior.name),
    ]);
    const codes = await until(async () => {
      const list = (await dead()).filter(({ key }) => key === user);
      return list.length >= 7 ? list : undefined;
    }, 'dead letters');
    t.deepEqual(
      codes.map(({ headers }) => headers['muster-error-code']),
      [
        'MUSTER_JSON_INVALID',
        'MUSTER_NOT_UTF8',
        'MUSTER_EMPTY_VALUE',
        'MUSTER_NOT_OBJECT',
        'MUSTER_QUANTITY_INVALID',
        'MUSTER_TIME_INVALID',
        'MUSTER_DUPLICATE_ID_OTHER_BODY',
      ],
    );
    t.deepEqual(codes[1]!.raw, Buffer.from([0xff, 0x00, 0x80]));
    t.is(codes[2]!.raw, null);
    for (const { headers } of codes) {
      t.regex(headers['muster-source']!, /^purchase-\d+-\d+$/);
      t.false(headers['muster-error-reason']!.includes(run));
    }
    const acts = await until(async () => (await deadActs()).find(({ key }) => key === user), 'a dead act');
    t.is(acts.headers['muster-error-code'], 'MUSTER_FIELD_INVALID');
    await until(
      async () => (await enriched()).find(({ value }) => value.purchaseId === `${run}-d`),
      'the good one',
    );
  },
);

test.serial(
  'killed in the middle of the work and started again, it loses nothing and agrees with the oracle',
  async (t) => {
    const enriched = await tail(topics.purchaseEnriched.name);
    const purchases: OraclePurchase[] = [];
    const acts: OracleAct[] = [];
    const feed = async (rounds: number) => {
      for (let round = 0; round < rounds; round += 1) {
        const records: OutgoingRecord[] = [];
        const now = Date.now();
        for (let i = 0; i < 20; i += 1) {
          const user = `user-${run}-k${Math.floor(Math.random() * 60)}`;
          const at = now - Math.floor(Math.random() * 400_000);
          const partition = Math.random() < 0.1 ? wrongPartition(user) : undefined;
          if (Math.random() < 0.5) {
            const id = `${run}-k${purchases.length}`;
            purchases.push({ purchaseId: id, userId: user, purchasedAt: iso(at) });
            records.push(purchaseRecord(id, user, at, partition));
          } else {
            const promotionId = `m${Math.floor(Math.random() * 5)}`;
            acts.push({ userId: user, promotionId, action: 'click', actedAt: iso(at) });
            records.push(actRecord(user, at, promotionId, partition));
          }
        }
        await producer.send(records);
        await sleep(50);
      }
    };
    for (let kill = 0; kill < 3; kill += 1) {
      const feeding = feed(60);
      await sleep(1_000 + Math.random() * 1_000);
      await endWorker('SIGKILL');
      await feeding;
      await startWorker();
    }
    const expected = oracle(purchases, acts);
    const last = await until(
      async () => {
        const best = new Map<string, Seen>();
        for (const one of await enriched()) {
          const id = String(one.value.purchaseId);
          const known = best.get(id);
          if (known === undefined || (one.value.version as number) >= (known.value.version as number))
            best.set(id, one);
        }
        for (const [id, { promotions }] of expected)
          if (best.get(id)?.value.version !== promotions.length + 1) return undefined;
        return best;
      },
      'every purchase with the version the oracle wants',
      40_000,
    );
    for (const [id, { affect, promotions }] of expected) {
      const { value } = last.get(id)!;
      t.is(value.promotion_affect, affect);
      t.deepEqual(value.promotions, promotions);
    }
    t.log(`${purchases.length} purchases, ${acts.length} acts`);
  },
);

test.serial('on SIGTERM it drains and exits 0', async (t) => {
  const before = Date.now();
  t.is(await endWorker('SIGTERM'), 0);
  t.true(Date.now() - before < 10_000);
});
