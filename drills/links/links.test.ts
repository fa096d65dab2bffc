import { once } from 'node:events';
import { createServer } from 'node:http';
import test from 'ava';
import { environments } from '../../catalog/environments.ts';
import { startLinks } from './links.ts';

test('clients are sent to proxies, which lose what they are told to and say how much that was', async (t) => {
  let asked = 0;
  const api = createServer((_request, response) => {
    asked += 1;
    response.end('done');
  });
  api.listen(0, '127.0.0.1');
  await once(api, 'listening');
  t.teardown(() => void api.close());
  const { port } = api.address() as { port: number };
  const { processes } = environments.ci;
  const environment = {
    ...environments.ci,
    processes: {
      ...processes,
      list: processes.list.map((spec) => (spec.name === 'api' ? { ...spec, gatewayPort: port } : spec)),
    },
  };
  const variables = { KAFKA_BROKERS: 'the brokers', MUSTER_API_URL: 'the api', MYSQL_HOST: 'the database' };
  const links = await startLinks(environment, variables, () => 0.5);
  t.teardown(() => links.close());

  const brokers = links.variables.KAFKA_BROKERS!.split(',');
  t.is(new Set(brokers).size, environment.kafka.nodes.length);
  for (const broker of brokers) t.regex(broker, /^127\.0\.0\.1:\d+$/);
  t.is(links.variables.MYSQL_HOST, 'the database');
  const url = links.variables.MUSTER_API_URL!;
  const get = async () => (await fetch(url, { headers: { connection: 'close' } })).text();
  t.is(await get(), 'done');

  const mend = links.spoil({ loseAnswers: 1 });
  await t.throwsAsync(get);
  t.is(mend(), '1 answers lost');
  t.is(await get(), 'done');
  t.is(asked, 3);

  const idle = links.spoil({ loseAnswers: 1 });
  t.throws(idle, { code: 'MUSTER_LINK_IDLE' });
  const slow = links.spoil({ delayMs: { least: 1, most: 2 } });
  t.is(await get(), 'done');
  t.is(slow(), '0 answers lost');
});
