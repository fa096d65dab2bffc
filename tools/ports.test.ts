import { createServer } from 'node:net';
import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { describeTaken, publishedPorts, takenPorts } from './ports.ts';

const listen = async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { server, port: (server.address() as { port: number }).port };
};

test('every published port is known with its part, and parts that are left out have none', (t) => {
  const all = publishedPorts(environments.dev, new Set());
  t.true(all.some(({ part, port }) => part === 'kafka-1' && port === 19_091));
  t.true(
    all.some(({ part, port, setting }) => `${part} ${port} ${setting}` === 'pages 19090 cmak.publishedPort'),
  );
  t.false(publishedPorts(environments.dev, new Set(['cmak'])).some(({ port }) => port === 19_090));
});

test('ports on other machines are not looked at here', (t) => {
  t.deepEqual(publishedPorts(environments.prod, new Set()), []);
});

test('a port that some program listens on is taken, unless that program is ours', async (t) => {
  const { server, port } = await listen();
  const entry = {
    port,
    ip: '127.0.0.1',
    part: 'mysql-entrance',
    name: 'sql',
    setting: 'mysql.entrance.publishedPort',
  };
  t.deepEqual(await takenPorts([entry], new Set()), [entry]);
  t.deepEqual(await takenPorts([entry], new Set([port])), []);
  // Nobody else can take the port while it is ours here; on another address it is free.
  t.deepEqual(await takenPorts([{ ...entry, ip: '127.0.0.2' }], new Set()), []);
  await new Promise((resolve) => server.close(resolve));
});

test('the error names the part, who holds the port, and how to change it', (t) => {
  const entry = {
    port: 19_033,
    ip: '127.0.0.1',
    part: 'mysql-entrance',
    name: 'sql',
    setting: 'mysql.entrance.publishedPort',
  };
  const { code, message } = describeTaken([entry], new Map([[19_033, 'mysqld (process 7)']]));
  t.is(code, 'MUSTER_PORTS_IN_USE');
  t.regex(message, /port 19033 on 127\.0\.0\.1 \(mysql-entrance, sql\) is in use by mysqld \(process 7\)/);
  t.regex(message, /change mysql\.entrance\.publishedPort in catalog\/environments\.ts/);
});
