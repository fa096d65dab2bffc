import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { claimsOf } from './claims.ts';
import { NotChecked } from './verdict.ts';

/** A server that answers these paths, and 404 to others; a number is a status without an answer. */
async function served(t: ExecutionContext, answers: Readonly<Record<string, object | number>>) {
  const server = createServer((request, response) => {
    const answer = answers[new URL(request.url!, 'http://localhost').pathname] ?? 404;
    response.statusCode = typeof answer === 'number' ? answer : 200;
    response.end(JSON.stringify(answer));
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  t.teardown(() => server.close());
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { MUSTER_API_URL: url, MUSTER_OUTSIDE_WORLD_URL: url, MUSTER_API_TOKEN: 'token' };
}

const well = {
  '/orders/o1': { status: 'COMPLETED', paymentId: 'pay-o1' },
  '/received': { effects: 1 },
  '/products': { products: [{ productId: 'p1', stock: 7 }] },
  '/ranking/products': { products: [{ productId: 'p1', quantity: 3 }] },
};

test('what the API and the receiver say is told; an order that the API does not know is left out', async (t) => {
  const claims = await claimsOf(['o1', 'o2'], await served(t, well));
  t.deepEqual([...claims.orders], [['o1', { status: 'COMPLETED', paymentId: 'pay-o1' }]]);
  t.deepEqual([...claims.stock], [['p1', 7]]);
  t.deepEqual([...claims.ranked], [['p1', 3]]);
  t.is(claims.received.get('o1'), 1);
});

test('a receiver that is not known was not checked', async (t) => {
  const { MUSTER_OUTSIDE_WORLD_URL: _, ...variables } = await served(t, well);
  await t.throwsAsync(claimsOf(['o1'], variables), { instanceOf: NotChecked, message: /not known/ });
});

for (const path of Object.keys(well))
  test(`without an answer to ${path} nothing was checked`, async (t) => {
    const variables = await served(t, { ...well, [path]: 503 });
    const error = await t.throwsAsync(claimsOf(['o1'], variables), { instanceOf: NotChecked });
    t.is((error as NotChecked).id, path);
  });
