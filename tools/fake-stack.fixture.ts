/** A stack over an engine of files: its terraform plans what it is told to, and makes only what it is asked for by name. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { environments } from '../catalog/environments.ts';
import { fakeEngine, makes } from '../environment/fake-engine.fixture.ts';
import type { PlannedChange, StackInfo } from './terraform.ts';

export async function fakeStack(
  t: Parameters<typeof fakeEngine>[0],
  name: string,
  changes: readonly PlannedChange[],
  engine: Omit<Parameters<typeof fakeEngine>[1], 'terraform'>,
): Promise<{ readonly stack: StackInfo; readonly deeds: () => Promise<readonly string[]> }> {
  const plan = {
    resource_changes: changes.map(({ address, actions }) => ({ address, change: { actions } })),
  };
  const { deeds } = await fakeEngine(t, {
    ...engine,
    terraform: `
      if [ "$1" = show ]; then echo '${JSON.stringify(plan)}'; fi
      for one in "$@"; do case "$one" in -target=*) name=\${one##*.}; ${makes(`${environments.dev.prefix}-$name`).replaceAll("'", '"')} ;; esac; done`,
  });
  const folder = await mkdtemp(join(tmpdir(), 'muster-stack-'));
  t.teardown(() => rm(folder, { recursive: true }));
  await writeFile(join(folder, 'cdk.tf.json'), '{"terraform":{}}');
  await mkdir(join(folder, '.terraform'));
  return { stack: { name, folder, dependencies: [] }, deeds };
}
