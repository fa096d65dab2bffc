import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { type Dialogue, plainDialogue, startProxy } from './proxy.ts';

/** A server that answers each line with the same in capitals, and notes what it was asked. */
async function shouter(t: ExecutionContext): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    let rest = '';
    socket.on('data', (piece) => {
      const lines = (rest + String(piece)).split('\n');
      rest = lines.pop()!;
      for (const line of lines) {
        asked.push(line);
        socket.write(`${line.toUpperCase()}\n`);
      }
    });
  });
  return { port: await listening(t, server), asked };
}

async function listening(t: ExecutionContext, server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => void server.close());
  return (server.address() as { port: number }).port;
}

async function proxyTo(
  t: ExecutionContext,
  port: number,
  random: () => number = () => 0.5,
  dialogue: () => Dialogue = plainDialogue,
) {
  const proxy = await startProxy({ target: { host: '127.0.0.1', port }, dialogue, random });
  t.teardown(() => proxy.close());
  return proxy;
}

/** A client that collects what it hears; `end` settles when its connection is gone. */
function clientOf(t: ExecutionContext, port: number) {
  const socket: Socket = connect({ host: '127.0.0.1', port });
  t.teardown(() => void socket.destroy());
  let text = '';
  const waiting: (() => void)[] = [];
  const wake = () => {
    for (const look of waiting.splice(0)) look();
  };
  socket.on('data', (piece) => {
    text += String(piece);
    wake();
  });
  socket.on('error', () => undefined);
  const end = new Promise<void>((resolve) => socket.on('close', () => resolve()));
  return {
    socket,
    end,
    heard: () => text,
    async hears(wanted: string) {
      while (!text.includes(wanted)) await new Promise<void>((resolve) => waiting.push(resolve));
    },
  };
}

/** Numbers in this order, then the last one for ever. */
const sequence = (...numbers: number[]) => {
  let at = 0;
  return () => numbers[Math.min(at++, numbers.length - 1)]!;
};

test('a good link carries both ways, and the last word of either side', async (t) => {
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    const pieces: Buffer[] = [];
    socket.on('data', (piece) => pieces.push(piece));
    // Speaks only when it has heard everything.
    socket.on('end', () => socket.end(Buffer.concat(pieces)));
  });
  const proxy = await proxyTo(t, await listening(t, server));
  const client = clientOf(t, proxy.port);
  const much = 'x'.repeat(300_000);
  client.socket.end(much);
  await client.end;
  t.is(client.heard(), much);
});

test('a lost answer: the server has done it, the client hears nothing and loses its connection', async (t) => {
  const { port, asked } = await shouter(t);
  const proxy = await proxyTo(t, port);
  proxy.set({ loseAnswers: 1 });
  const client = clientOf(t, proxy.port);
  client.socket.write('pay\n');
  await client.end;
  t.deepEqual(asked, ['pay']);
  t.is(client.heard(), '');
  t.is(proxy.lost(), 1);
});

test('a share of the answers is lost, on connections that are open already, until the link is good again', async (t) => {
  const { port } = await shouter(t);
  const proxy = await proxyTo(t, port, sequence(0.25, 0.24, 0.25));
  const first = clientOf(t, proxy.port);
  first.socket.write('a\n');
  await first.hears('A\n');
  proxy.set({ loseAnswers: 0.25 });
  first.socket.write('b\n');
  await first.hears('B\n');
  first.socket.write('c\n');
  await first.end;
  t.is(first.heard(), 'A\nB\n');
  t.is(proxy.lost(), 1);
  proxy.set({});
  const second = clientOf(t, proxy.port);
  second.socket.write('d\n');
  await second.hears('D\n');
  t.is(proxy.lost(), 1);
});

test('what a server says unasked is no answer, and is not lost', async (t) => {
  const server = createServer((socket) => void socket.write('hello\n'));
  const proxy = await proxyTo(t, await listening(t, server));
  proxy.set({ loseAnswers: 1 });
  const client = clientOf(t, proxy.port);
  await client.hears('hello\n');
  t.is(proxy.lost(), 0);
});

test('a slow link: each piece waits, and none overtakes another', async (t) => {
  const { port } = await shouter(t);
  // The first piece waits for long, the later ones would be there at once.
  const proxy = await proxyTo(t, port, sequence(1, 0));
  proxy.set({ delayMs: { least: 0, most: 160 } });
  const client = clientOf(t, proxy.port);
  client.socket.setNoDelay(true);
  const sentMs = performance.now();
  client.socket.write('a\n');
  await new Promise<void>((resolve) => setTimeout(resolve, 20));
  client.socket.write('b\n');
  await client.hears('B\n');
  t.true(performance.now() - sentMs >= 79);
  t.is(client.heard(), 'A\nB\n');
});

test('the delay is added to a round trip: half of it on each way', async (t) => {
  const { port, asked } = await shouter(t);
  const proxy = await proxyTo(t, port, () => 0);
  proxy.set({ delayMs: { least: 200, most: 500 } });
  const client = clientOf(t, proxy.port);
  const sentMs = performance.now();
  client.socket.write('a\n');
  const arrived = new Promise<number>((resolve) => {
    const look = setInterval(() => {
      if (asked.length === 0) return;
      clearInterval(look);
      resolve(performance.now() - sentMs);
    }, 1);
  });
  t.true((await arrived) >= 99);
  await client.hears('A\n');
  t.true(performance.now() - sentMs >= 199);
});

test('where nobody listens, and where the protocol is not understood, the client is cut off', async (t) => {
  const closed = createServer();
  const port = await listening(t, closed);
  closed.close();
  const nobody = await proxyTo(t, port);
  await clientOf(t, nobody.port).end;

  const { port: other } = await shouter(t);
  const strange = await proxyTo(
    t,
    other,
    () => 0,
    () => ({
      asked() {
        throw new Error('what is this?');
      },
      answered: () => [],
    }),
  );
  const client = clientOf(t, strange.port);
  client.socket.write('a\n');
  await client.end;
  t.is(client.heard(), '');
});

test('closing cuts what is open', async (t) => {
  const { port } = await shouter(t);
  const proxy = await proxyTo(t, port);
  const client = clientOf(t, proxy.port);
  client.socket.write('a\n');
  await client.hears('A\n');
  await proxy.close();
  await client.end;
  await clientOf(t, proxy.port).end;
  t.pass();
});
