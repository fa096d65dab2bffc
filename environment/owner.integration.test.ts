import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'ava';
import { execa } from 'execa';
import { environments } from '../catalog/environments.ts';
import { claim, markOf, refuseForeign } from './owner.ts';

test('an environment belongs to the state folder that deployed it: others are refused, until it is taken over', async (t) => {
  const environment = { ...environments.dev, prefix: `muster-test-${process.pid}` };
  const folders = await Promise.all(['a', 'b'].map((one) => mkdtemp(join(tmpdir(), `muster-owner-${one}-`))));
  const [ours, theirs] = folders as [string, string];
  t.teardown(async () => {
    await execa('docker', ['volume', 'rm', '--force', markOf(environment)]);
    await Promise.all(folders.map((folder) => rm(folder, { recursive: true })));
  });
  // What is looked at of a container is the engine that it is in.
  const running = [{ dockerUri: undefined }] as never;
  const asks = (folder: string, takesOver = false, containers = running) =>
    refuseForeign(environment, { containers, known: 1, takesOver, folder });

  await asks(ours);
  await claim(environment, ours);
  await asks(ours);
  const refused = await t.throwsAsync(() => asks(theirs), { code: 'MUSTER_FOREIGN_ENVIRONMENT' });
  t.true(refused.message.includes(ours));
  await asks(theirs, false, [] as never);
  await asks(theirs, true);
  await claim(environment, theirs);
  await asks(theirs);
  await t.throwsAsync(() => asks(ours), { code: 'MUSTER_FOREIGN_ENVIRONMENT' });
});
