import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import test from 'ava';
import { environments } from '../catalog/environments.ts';
import { checkout } from '../environment/paths.ts';

const parts = ['kafka', 'data', 'observability', 'services'];

test('cdktf needs no preparation: with nothing set it finds the stacks of every environment, their secrets private', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'muster-cdktf-'));
  t.teardown(() => rm(folder, { recursive: true }));
  const { PATH } = process.env;
  await promisify(execFile)(process.execPath, ['tools/cdktf-app.ts'], {
    cwd: checkout,
    env: { PATH, HOME: folder, CDKTF_OUTDIR: join(folder, 'out') },
  });
  const { stacks } = JSON.parse(await readFile(join(folder, 'out/manifest.json'), 'utf8')) as {
    stacks: Record<string, { synthesizedStackPath: string }>;
  };
  t.deepEqual(
    Object.keys(stacks).sort(),
    Object.keys(environments)
      .flatMap((name) => parts.map((part) => `${name}-${part}`))
      .sort(),
  );
  for (const { synthesizedStackPath } of Object.values(stacks))
    t.is((await stat(join(folder, 'out', synthesizedStackPath))).mode & 0o077, 0, synthesizedStackPath);
});
