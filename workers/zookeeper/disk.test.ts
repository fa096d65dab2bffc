import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import test, { type ExecutionContext } from 'ava';
import { diskBytes } from './disk.ts';

/** A server that answers `dirs` like that, and then hangs up as ZooKeeper does; its `host:port`. */
async function answering(t: ExecutionContext, answer: string): Promise<string> {
  const server = createServer((socket) => {
    socket.once('data', (asked) => socket.end(String(asked) === 'dirs' ? answer : ''));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('snapshots and log in one folder are counted once', async (t) => {
  t.is(await diskBytes(await answering(t, 'datadir_size: 67113003\nlogdir_size: 67113003\n')), 67_113_003);
});

test('who refuses to say is no empty disk', async (t) => {
  const server = await answering(t, 'dirs is not executed because it is not in the whitelist.\n');
  await t.throwsAsync(diskBytes(server), {
    code: 'MUSTER_ZOOKEEPER_REFUSES',
    message: /not in the whitelist/,
  });
});

test('nor is who is not there', async (t) => {
  await t.throwsAsync(diskBytes('127.0.0.1:1'), { code: 'MUSTER_ZOOKEEPER_DOWN' });
});
