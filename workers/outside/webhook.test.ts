import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { postWebhook } from './webhook.ts';

/** A receiver that does as the handler says; resolves to how the webhook ended. */
async function answerOf(
  t: ExecutionContext,
  handler: (request: IncomingMessage, response: ServerResponse) => void,
  timeoutMs = 30_000,
) {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const baseUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return postWebhook(
    { baseUrl, timeoutMs },
    {
      path: '/webhooks/payment-completed',
      idempotencyKey: 'e-1',
      body: Buffer.from('{"orderId":"o"}'),
      attempt: 1,
    },
  );
}

test('the body goes to the path of its event with the idempotency key', async (t) => {
  let seen: unknown;
  const answer = await answerOf(t, async (request, response) => {
    let text = '';
    for await (const chunk of request) text += chunk;
    const { method, url, headers } = request;
    seen = { method, url, key: headers['idempotency-key'], type: headers['content-type'], text };
    response.writeHead(204).end();
  });
  t.deepEqual(answer, { outcome: '2xx', status: 204, inDoubt: false });
  t.deepEqual(seen, {
    method: 'POST',
    url: '/webhooks/payment-completed',
    key: 'e-1',
    type: 'application/json',
    text: '{"orderId":"o"}',
  });
});

test('an answer is no doubt, whatever it says; a redirect is not followed', async (t) => {
  for (const [status, outcome] of [
    [302, '3xx'],
    [404, '4xx'],
    [503, '5xx'],
  ] as const)
    t.deepEqual(
      await answerOf(t, (_, response) => void response.writeHead(status, { location: '/' }).end()),
      {
        outcome,
        status,
        inDoubt: false,
      },
    );
});

test('no answer in time, or a connection that breaks, leaves a doubt', async (t) => {
  t.deepEqual(await answerOf(t, () => {}, 300), { outcome: 'timeout', status: null, inDoubt: true });
  t.deepEqual(await answerOf(t, (request) => void request.socket.destroy()), {
    outcome: 'network',
    status: null,
    inDoubt: true,
  });
});

test('nobody there: nothing was sent, so there is no doubt', async (t) => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  const answer = await postWebhook(
    { baseUrl: `http://127.0.0.1:${port}`, timeoutMs: 30_000 },
    { path: '/x', idempotencyKey: 'e-1', body: Buffer.from('{}'), attempt: 1 },
  );
  t.deepEqual(answer, { outcome: 'network', status: null, inDoubt: false });
});

test('a status counts although its body never ends or is cut off', async (t) => {
  const endless = await answerOf(t, (_, response) => {
    response.writeHead(200);
    const more = setInterval(() => response.write('x'.repeat(16_384)), 1);
    response.once('close', () => clearInterval(more));
  });
  t.is(endless.outcome, '2xx');
  const cut = await answerOf(t, (_, response) => {
    response.writeHead(500, { 'content-length': '100' });
    response.write('x');
    setImmediate(() => response.destroy());
  });
  t.is(cut.outcome, '5xx');
});
