import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test from 'ava';
import { runMoney } from './money.ts';

test('members of the load are opened although the store says "not now" to the first tries', async (t) => {
  const opened = new Map<string, number>();
  const server = createServer((request, response) => {
    const answer = (status: number, body: object = {}) =>
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    request.resume().on('end', () => {
      const url = request.url!;
      if (request.method !== 'PUT') return answer(201, { transferId: url });
      opened.set(url, (opened.get(url) ?? 0) + 1);
      return opened.get(url) === 1 ? answer(503, { error: { code: 'MUSTER_STORE_AWAY' } }) : answer(200);
    });
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  t.teardown(() => server.close());
  const { members } = await runMoney({
    payUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    token: 'token',
    memberPrefix: 'test',
    rate: 1,
    durationMs: 0,
    retryForMs: 10_000,
  });
  t.is(members.length, 21);
  t.deepEqual([...opened.values()], Array(21).fill(2));
});
