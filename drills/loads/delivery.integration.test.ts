/**
 * The load `delivery` against the real routes and workers on a real database (MYSQL_*), with Kafka in memory, through an entrance that
 * loses answers: what people were told and what the rows say agree. An entrance that breaks a promise is caught by the judge.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import test, { type ExecutionContext } from 'ava';
import { startDelivery } from '../../workers/delivery.fixture.ts';
import { tokenOf } from '../../workers/http/testing.ts';
import { scratchDatabases } from '../../workers/store/database.fixture.ts';
import { runDelivery } from '../../workers/traffic/delivery.ts';
import { checkDelivery } from '../checker/delivery.ts';
import { seen } from '../checker/seen.fixture.ts';
import { openStores } from '../checker/stores.ts';

let scratch: Awaited<ReturnType<typeof scratchDatabases>>;
let run = 0;
test.before(async (t) => {
  t.timeout(120_000);
  scratch = await scratchDatabases('load_delivery');
});
test.after.always(() => scratch?.drop());

interface Asked {
  readonly method: string;
  readonly path: string;
  /** Of those that change something. */
  readonly number: number;
  readonly key: string | undefined;
}
type Answer = { readonly status: number; readonly body: string };

/** Lets people live for some seconds behind an entrance that treats what they ask for so (undefined: no answer), and judges. */
async function judged(
  t: ExecutionContext,
  treat: (
    asked: Asked,
    forward: (more?: Record<string, string>) => Promise<Answer>,
  ) => Promise<Answer | undefined>,
  // Long enough for a machine that has little time for it: whose patience ends is not what is judged.
  retryForMs = 120_000,
) {
  t.timeout(600_000);
  const delivery = await startDelivery(scratch.of('delivery'), (error) => t.fail(error.message));
  let number = 0;
  const server = createServer(async (request, response) => {
    const { method, url: path } = request as { method: string; url: string };
    const body = await buffer(request);
    const type = request.headers['content-type'];
    const key = request.headers['idempotency-key'] as string | undefined;
    const forward = async (more: Record<string, string> = {}): Promise<Answer> => {
      const answer = await fetch(`http://127.0.0.1:${delivery.http.address().port}${path}`, {
        method,
        headers: {
          authorization: request.headers.authorization!,
          ...(key === undefined ? {} : { 'idempotency-key': key }),
          ...(type === undefined ? {} : { 'content-type': type }),
          ...more,
        },
        ...(body.length === 0 ? {} : { body }),
      });
      return { status: answer.status, body: await answer.text() };
    };
    const asked = { method, path, key, number: method === 'POST' ? number++ : -1 };
    const answer = await treat(asked, forward).catch(() => undefined);
    if (answer === undefined) response.destroy();
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const stores = openStores(
    Object.fromEntries(Object.entries(scratch.settings).map(([name, value]) => [name, String(value)])),
  );
  t.teardown(async () => {
    server.close();
    server.closeAllConnections();
    await stores.close();
    await delivery.close();
  });
  run += 1;
  const told = await runDelivery(
    {
      deliveryUrl: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      tokenOf,
      prefix: `run-${run}-person`,
      district: `run-${run}`,
      seed: 7,
      retryForMs,
      // As many as the load of a drill has at this rate.
      count: { customers: 6, owners: 2, riders: 24 },
    },
    { rate: 8, durationMs: 8_000 },
  );
  const rows = await stores.delivery({
    itemIds: told.dishes.map(({ itemId }) => itemId),
    districts: [...new Set(told.riders.map(({ district }) => district))],
  });
  const records = delivery.kafka.sent.map(({ topic, value }, offset) =>
    seen({ topic, offset, value: String(value) }),
  );
  t.log({ orders: told.orders.length, problems: told.problems });
  return {
    told,
    verdict: checkDelivery(told, rows, (topic) => records.filter((one) => one.topic === topic), [
      `run-${run}-person`,
    ]),
  };
}
const kinds = ({ findings }: { readonly findings: readonly { readonly kind: string }[] }) => [
  ...new Set(findings.map(({ kind }) => kind)),
];

test.serial(
  'lost answers: every order ends as its people were told, and each change is told once',
  async (t) => {
    const { told, verdict } = await judged(t, async ({ number }, forward) => {
      if (number >= 0 && number % 11 === 3) return { status: 503, body: '{}' };
      const answer = await forward();
      return number >= 0 && number % 7 === 2 ? undefined : answer;
    });
    t.deepEqual(verdict.findings, []);
    t.is(verdict.inDoubt, 0);
    t.true(verdict.acked > 50, String(verdict.acked));
    const ends = new Set(told.orders.map(({ end }) => end));
    for (const end of ['DELIVERED', 'CANCELLED', 'REFUND_APPROVED', 'REFUND_REJECTED'])
      t.true(ends.has(end), end);
    t.true(told.orders.some(({ outcome, owes }) => outcome === 'refused' && owes === 'refused'));
  },
);

test.serial(
  'an entrance that does each thing twice, or answers what it has not done, is caught',
  async (t) => {
    const twice = await judged(t, async ({ path, key }, forward) => {
      const answer = await forward();
      if (path === '/delivery/orders' && answer.status === 201)
        await forward({ 'idempotency-key': `again-${key}` });
      return answer;
    });
    t.true(kinds(twice.verdict).includes('from-nowhere'));
    const orderId = '01a223fb-0000-7000-8000-000000000000';
    const forgets = await judged(
      t,
      async ({ path, number }, forward) =>
        path === '/delivery/orders' && number % 4 === 0
          ? { status: 201, body: JSON.stringify({ orderId }) }
          : forward(),
      // What is forgotten has no end to wait for.
      15_000,
    );
    t.true(forgets.verdict.findings.some(({ kind, id }) => kind === 'lost' && id === orderId));
  },
);
