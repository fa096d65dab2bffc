import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { type WebSocket, WebSocketServer } from 'ws';
import { openOutcomeStream } from './outcome-stream.ts';

test('an acknowledgement that is not answered is sent again, until it is', async (t) => {
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  t.teardown(() => server.close());
  await once(server, 'listening');
  const heard: string[][] = [];
  const answered = new Promise<void>((resolve) => {
    server.on('connection', (client: WebSocket) => {
      const say = (message: object) => client.send(JSON.stringify(message));
      client.on('message', (text) => {
        const { ids } = JSON.parse(String(text)) as { ids: string[] };
        heard.push(ids);
        // The first could not be noted.
        if (heard.length < 2) return;
        say({ type: 'acked', data: { ids: ['r1'] } });
        resolve();
      });
      say({ type: 'ready', data: {} });
      say({
        type: 'coupon-outcome',
        id: 'r1.s1',
        data: { requestId: 'r1', couponId: 'c', outcome: 'SUCCESS' },
      });
    });
  });
  const seen: string[] = [];
  const { port } = server.address() as AddressInfo;
  const stream = openOutcomeStream(`http://127.0.0.1:${port}`, 'token', 'u1', ({ requestId }) =>
    seen.push(requestId),
  );
  await answered;
  stream.close();
  t.deepEqual(seen, ['r1']);
  t.deepEqual(heard, [['r1.s1'], ['r1']]);
});
