/** On a real Redis: REDIS_HOST, REDIS_PORT, REDIS_PASSWORD. A server that hangs or goes away is a relay before it. */
import { randomUUID } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import { Writable } from 'node:stream';
import test, { type ExecutionContext } from 'ava';
import { createLog } from '../base/log.ts';
import { closeRedis, connectRedis, type RedisOptions, withLock } from './redis.ts';

const options: RedisOptions = {
  host: process.env.REDIS_HOST ?? '127.0.0.1',
  port: Number(process.env.REDIS_PORT ?? 6379),
  password: process.env.REDIS_PASSWORD || undefined,
  clientName: 'test',
  log: createLog({
    process: 'test',
    level: 'error',
    stream: new Writable({ write: (_c, _e, done) => done() }),
  }),
};

async function client(t: ExecutionContext, changes: Partial<RedisOptions> = {}) {
  const connected = await connectRedis({ ...options, ...changes });
  t.teardown(() => closeRedis(connected, 200));
  return connected;
}

/** A TCP relay to the real server that can hang and cut. */
async function relay(t: ExecutionContext) {
  const sockets = new Set<Socket>();
  const server = createServer((near) => {
    const far = connect(options.port, options.host);
    near.pipe(far);
    far.pipe(near);
    for (const socket of [near, far]) {
      sockets.add(socket);
      socket.on('error', () => {});
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const cut = () => {
    for (const socket of sockets) socket.destroy();
    sockets.clear();
    return new Promise<void>((resolve) => server.close(() => resolve()));
  };
  t.teardown(cut);
  return {
    port,
    cut,
    hang: () => {
      for (const socket of sockets) socket.pause().unpipe();
    },
    again: () => new Promise<void>((resolve) => server.listen(port, '127.0.0.1', () => resolve())),
  };
}

test('of many who want a lock one holds it at a time, and tokens only grow', async (t) => {
  const clients = await Promise.all([client(t), client(t), client(t)]);
  const key = `test:${randomUUID()}`;
  let inside = 0;
  const fences: number[] = [];
  await Promise.all(
    Array.from({ length: 30 }, (_, i) =>
      withLock(
        clients[i % 3]!,
        key,
        5_000,
        async ({ fence }) => {
          t.is(++inside, 1);
          fences.push(fence);
          await new Promise((resolve) => setTimeout(resolve, 2));
          inside--;
        },
        { waitMs: 10_000 },
      ),
    ),
  );
  t.is(fences.length, 30);
  t.deepEqual(
    fences,
    fences.toSorted((a, b) => a - b),
  );
  t.is(new Set(fences).size, 30);
});

test('a lock that is held is MUSTER_LOCK_HELD at once, and free again after an error of its holder', async (t) => {
  const redis = await client(t);
  const key = `test:${randomUUID()}`;
  await t.throwsAsync(
    withLock(redis, key, 5_000, async () => {
      await t.throwsAsync(
        withLock(redis, key, 5_000, async () => {}),
        { code: 'MUSTER_LOCK_HELD' },
      );
      throw new Error('work failed');
    }),
    { message: 'work failed' },
  );
  t.is(await withLock(redis, key, 5_000, async () => 'free'), 'free');
});

test('a holder that overstays is told, the next has a higher token, and the late release does not take it away', async (t) => {
  const redis = await client(t);
  const key = `test:${randomUUID()}`;
  let firstFence = 0;
  let endFirst = () => {};
  const aborted = new Promise<boolean>((resolve) => {
    void withLock(redis, key, 150, async ({ fence, signal }) => {
      firstFence = fence;
      await new Promise((overstay) => setTimeout(overstay, 250));
      resolve(signal.aborted);
      await new Promise<void>((end) => {
        endFirst = end;
      });
    });
  });
  t.true(await aborted);
  await withLock(redis, key, 5_000, async ({ fence, signal }) => {
    t.true(fence > firstFence);
    endFirst();
    await new Promise((resolve) => setTimeout(resolve, 50));
    t.false(signal.aborted);
    t.is(await redis.exists(`lock:${key}`), 1);
  });
  t.is(await redis.exists(`lock:${key}`), 0);
});

test('no server, or a wrong password, is told within the deadline', async (t) => {
  const startedMs = Date.now();
  await t.throwsAsync(connectRedis({ ...options, port: 1, connectDeadlineMs: 300 }), {
    code: 'MUSTER_REDIS_DOWN',
  });
  t.true(Date.now() - startedMs < 1_000);
  if (options.password !== undefined)
    await t.throwsAsync(connectRedis({ ...options, password: 'wrong', connectDeadlineMs: 1_000 }));
});

test('a server that hangs is MUSTER_REDIS_DOWN after the command deadline', async (t) => {
  const between = await relay(t);
  const redis = await client(t, { host: '127.0.0.1', port: between.port, commandTimeoutMs: 150 });
  t.is(await redis.ping(), 'PONG');
  between.hang();
  const startedMs = Date.now();
  await t.throwsAsync(redis.ping(), { code: 'MUSTER_REDIS_DOWN' });
  t.true(Date.now() - startedMs < 1_000);
});

test('while the server is away commands fail at once; when it is back they work again', async (t) => {
  const between = await relay(t);
  const redis = await client(t, { host: '127.0.0.1', port: between.port });
  await between.cut();
  await new Promise((resolve) => setTimeout(resolve, 50));
  const startedMs = Date.now();
  await t.throwsAsync(redis.ping(), { code: 'MUSTER_REDIS_DOWN' });
  t.true(Date.now() - startedMs < 200);
  await between.again();
  const endMs = Date.now() + 8_000;
  let answer: string | undefined;
  while (answer === undefined && Date.now() < endMs) {
    answer = await redis.ping().catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  t.is(answer, 'PONG');
});
