import { createServer, type ServerResponse } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { openEventStream } from './sse.ts';

async function serve(t: ExecutionContext, handler: (response: ServerResponse) => void): Promise<number> {
  const server = createServer((_request, response) => handler(response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return (server.address() as AddressInfo).port;
}

test('a client that does not read is dropped, with an event that says so', async (t) => {
  let sent = 0;
  let closed = false;
  const dropped = new Promise<void>((resolve) => {
    void serve(t, (response) => {
      const stream = openEventStream(response, { heartbeatMs: 1_000, maxBufferedBytes: 100_000 });
      stream.onClose(() => {
        closed = true;
      });
      const data = 'x'.repeat(10_000);
      const send = () => {
        while (stream.send('data', data)) {
          sent += 1;
          if (sent % 10 === 0) return void setImmediate(send);
        }
        resolve();
      };
      send();
    }).then((port) => {
      const socket = connect(port, '127.0.0.1', () =>
        socket.write('GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n'),
      );
      socket.pause();
      t.teardown(() => socket.destroy());
      void dropped.then(() => {
        let text = '';
        socket.on('data', (chunk) => {
          text = (text + chunk.toString('latin1')).slice(-5_000);
        });
        socket.resume();
        socket.on('end', () => seen(text));
      });
    });
  });
  let seen = (_text: string) => {};
  const end = new Promise<string>((resolve) => {
    seen = resolve;
  });
  await dropped;
  t.regex(await end, /event: dropped\ndata: \{"code":"MUSTER_CLIENT_TOO_SLOW"/);
  t.true(sent < 2_000, `${sent} events of 10 kB were buffered`);
  for (let i = 0; i < 100 && !closed; i += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  t.true(closed);
});

test('heartbeats are comments, and data cannot break out of its line', async (t) => {
  const port = await serve(t, (response) => {
    const stream = openEventStream(response, { heartbeatMs: 10, maxBufferedBytes: 100_000 });
    stream.send('data', { text: 'a\n\nevent: forged\n' }, 'run-1');
    setTimeout(() => stream.end(), 60);
  });
  const text = await (await fetch(`http://127.0.0.1:${port}`)).text();
  t.regex(text, /^: still here$/m);
  t.regex(text, /^id: run-1\nevent: data\ndata: \{"text":"a\\n\\nevent: forged\\n"\}$/m);
  t.notRegex(text, /^event: forged/m);
});
